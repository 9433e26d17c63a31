from pathlib import Path
from typing import Any

import pytest

from impasto.options import EvaluateOptions, ModelsOptions, OptionError, flatten, make


def test_flat_and_back() -> None:
    options = EvaluateOptions(real=Path("a"), inputs=Path("b"), epochs=["5", "all"], seed=3)
    assert make(EvaluateOptions, flatten(options)) == options
    assert make(ModelsOptions, {"checkpoints_dir": "x"}).checkpoints_dir == Path("x")


def test_epochs_are_texts_and_each_counts_once() -> None:
    numbers: Any = [5, "latest", "5"]
    assert EvaluateOptions(real=Path("a"), epochs=numbers).epochs == ("5", "latest")


def test_a_run_of_backbone_train_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "backbone.safetensors").touch()
    options = EvaluateOptions(real=Path("a"), backbone=str(tmp_path))
    assert (options.backbone, options.weights) == ("auto", tmp_path / "backbone.safetensors")


def test_what_needs_a_network_needs_none_to_be_named() -> None:
    """There is one: that of published figures where its file is found, else lite."""
    assert EvaluateOptions(real=Path("a"), backbone="inception").weights is None
    assert EvaluateOptions(real=Path("a"), best_by="kid", layer="block4.expand").backbone == "auto"
    published = EvaluateOptions(real=Path("a"), weights=Path("pt_inception-2015.pth"))
    assert published.backbone == "inception"
    assert EvaluateOptions(real=Path("a"), weights=Path("vgg19.pth")).backbone == "auto"


@pytest.mark.parametrize(
    ("changes", "option", "says"),
    [
        ({"size_px": 48}, "size_px", "48 is not a power of two"),
        ({"size_px": 8}, "size_px", "8 is not a power of two of at least 16"),
        ({"patches": 10}, "patches", "10"),
        ({"max_pictures": 0}, "max_pictures", "0 is not above 0"),
        ({"seed": -1}, "seed", "-1 is not between 0 and"),
        ({"epochs": []}, "epochs", "expected at least one"),
        (
            {"epochs": ["last"]},
            "epochs",
            "expected latest, best, all or the number of an epoch, got 'last'",
        ),
        (
            {"backbone": "none", "weights": Path("w.pth")},
            "weights",
            "no effect without a network; leave --backbone none out",
        ),
        ({"backbone": "none", "layer": "relu1_1"}, "layer", "leave --backbone none out"),
        ({"backbone": "none", "styles": ["a.png"]}, "styles", "leave --backbone none out"),
        (
            {"backbone": "none", "best_by": "kid"},
            "best_by",
            "kid compares features of a network; leave --backbone none out",
        ),
        ({"backbone": "none", "best_by": "fid"}, "best_by", "fid compares features of a network"),
        ({"best_by": "style"}, "best_by", "style needs style pictures: --styles"),
        ({"styles": ["a.png"], "best_by": "combined"}, "best_by", "the contents as --inputs"),
        (
            {"real": None, "styles": ["a.png"], "best_by": "swd"},
            "best_by",
            "swd compares with real pictures; give --real",
        ),
        ({"real": None}, "real", "is missing; give a folder of real pictures, or --styles"),
        (
            {"real": None, "styles": ["a.png"], "more_real": Path("b")},
            "more_real",
            "is compared with real pictures, and there are none",
        ),
        (
            {"backbone": "inception", "weights": Path("w.pth"), "layer": "pool"},
            "layer",
            "always compared at its last pooling layer",
        ),
        (
            {"backbone": "w.safetensors", "weights": Path("w.pth")},
            "backbone",
            "expected one of the two",
        ),
    ],
)
def test_bad_values_name_their_option(changes: dict[str, Any], option: str, says: str) -> None:
    with pytest.raises(OptionError) as raised:
        EvaluateOptions(**{"real": Path("a"), **changes})
    assert raised.value.option == option
    assert says in str(raised.value)
