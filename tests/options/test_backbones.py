from pathlib import Path

import pytest

from impasto.options import OptionError, StylizeOptions
from impasto.options.losses import LossOptions


def test_a_name_stays_a_name() -> None:
    options = StylizeOptions(backbone="resnet50", weights=Path("file.pth"))
    assert (options.backbone, options.weights) == ("resnet50", Path("file.pth"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".PT"])
def test_a_file_is_the_weights(suffix: str) -> None:
    options = StylizeOptions(backbone=f"runs/own{suffix}")
    assert (options.backbone, options.weights) == ("auto", Path(f"runs/own{suffix}"))
    losses = LossOptions(lambda_perceptual=1.0, perceptual_backbone=f"own{suffix}")
    assert losses.perceptual_weights == Path(f"own{suffix}")


def test_a_run_directory_is_its_weights(tmp_path: Path) -> None:
    (tmp_path / "backbone.safetensors").touch()
    assert StylizeOptions(backbone=str(tmp_path)).weights == tmp_path / "backbone.safetensors"


def test_two_files_are_refused() -> None:
    with pytest.raises(OptionError, match=r"own.pth is a file of weights, and --weights is b.pth"):
        StylizeOptions(backbone="own.pth", weights=Path("b.pth"))
    with pytest.raises(OptionError, match=r"--perceptual_weights is b.pth"):
        LossOptions(
            lambda_perceptual=1.0, perceptual_backbone="own.pth", perceptual_weights=Path("b.pth")
        )
