from pathlib import Path

import pytest

from impasto.options.errors import OptionError
from impasto.options.translate import EXPORT_SUFFIXES, ExportOptions


def test_the_name_of_a_file_says_its_format() -> None:
    for kind, suffix in EXPORT_SUFFIXES.items():
        assert ExportOptions(format=kind, output=Path(f"a{suffix}")).output == Path(f"a{suffix}")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"a.pt does not end in .onnx, as --format onnx does"):
        ExportOptions(output=Path("a.pt"))
    with pytest.raises(OptionError, match=r"did you mean .onnx\?"):
        ExportOptions(output=Path("a.onx"))


def test_epochs_and_bends_are_checked() -> None:
    with pytest.raises(OptionError, match="latest, best or the number of an epoch"):
        ExportOptions(epoch="last")
    with pytest.raises(OptionError, match="grid_bend_px"):
        ExportOptions(grid_bend_px=9)
