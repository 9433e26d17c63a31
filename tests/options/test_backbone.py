"""Options of `impasto backbone train`: defaults, refusals, and the way to a file and back."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from impasto.options import FolderError, OptionError, flatten, make
from impasto.options.backbone import BACKBONE_MAY_CHANGE, BackboneOptions, ClassDataOptions
from impasto.options.config import preset_names

PRESETS = Path(__file__).parents[2] / "options" / "presets" / "backbones"
TWO = ("a", "b")


@pytest.mark.parametrize("name", preset_names("backbones"))
def test_presets_are_valid(name: str) -> None:
    loaded = yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    assert isinstance(make(BackboneOptions, loaded), BackboneOptions)


def test_options_survive_a_file() -> None:
    options = make(
        BackboneOptions,
        {"classes": ["cat=cats", "dog=/dogs"], "val_classes": ["cat=c", "dog=d"], "size": 64},
    )
    again = make(BackboneOptions, yaml.safe_load(yaml.safe_dump(flatten(options))))
    assert flatten(again) == flatten(options)
    assert again.data.class_folders == options.data.class_folders


def test_what_may_change_exists() -> None:
    assert set(flatten(BackboneOptions())) >= BACKBONE_MAY_CHANGE


def test_sizes_unless_given() -> None:
    assert ClassDataOptions().side == 128
    assert ClassDataOptions(dataset="cifar100").side == 32
    assert ClassDataOptions(dataset="cifar100", size=64).side == 64


def test_folders_of_classes() -> None:
    data = ClassDataOptions(dataroot=Path("data"), classes=("cat", "dog=/pets/dogs", "wolf=x/y=z"))
    assert data.class_folders == {
        "cat": Path("data/cat"),
        "dog": Path("/pets/dogs"),
        "wolf": Path("data/x/y=z"),
    }
    assert data.val_class_folders == {}


def test_held_out_folders_are_looked_for_in_the_folder_for_them() -> None:
    root, val = Path("data"), Path("val")
    named = ("a=train_a", "b=train_b")
    same = ClassDataOptions(dataroot=root, classes=named, val_folder=val)
    assert same.val_class_folders == {"a": val / "train_a", "b": val / "train_b"}
    words = ("b=test_b", "a=test_a")
    others = ClassDataOptions(dataroot=root, classes=named, val_folder=val, val_classes=words)
    assert others.val_class_folders == {"a": val / "test_a", "b": val / "test_b"}
    inside = ClassDataOptions(dataroot=root, classes=named, val_classes=words)
    assert inside.val_class_folders == {"a": root / "test_a", "b": root / "test_b"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size": 31}, "size: must be at least 32, got 31"),
        ({"val_share": 0.0}, "val_share: 0.0 leaves no held-out pictures"),
        ({"val_share": 1.0}, "val_share: 1.0"),
        ({"smallest_area": 0.0}, "smallest_area: 0.0"),
        ({"smallest_area": 1.1}, "smallest_area: 1.1"),
        ({"largest_area": 1.1}, "largest_area: 1.1 is not between"),
        ({"smallest_area": 0.5, "largest_area": 0.4}, "largest_area: 0.4 is not between .* 0.5"),
        ({"light": -0.1}, "light: -0.1"),
        ({"batch_size": 1}, "batch_size: must be at least 2, got 1"),
        ({"num_threads": -1}, "num_threads: must be at least 0, got -1"),
        ({"classes": ["cats"]}, "expected two classes or more, got cats"),
        ({"classes": ["cats", "cats=x"]}, "a class is named twice"),
        ({"classes": ["cats=", "dogs"]}, "expected NAME=FOLDER, got 'cats='"),
        ({"classes": ["=cats", "dogs"]}, "expected NAME=FOLDER, got '=cats'"),
        ({"val_classes": TWO}, r"expected the classes of --classes \(none\), got a, b"),
        (
            {"classes": TWO, "val_classes": ["a", "c"]},
            r"expected the classes of --classes \(a, b\), got a, c",
        ),
        (
            {"classes": ["a=/x", "b"], "val_folder": Path("v")},
            "the folder /x of --classes is absolute",
        ),
        (
            {"dataset": "cifar100", "classes": TWO},
            "classes: can only be used with --dataset folder",
        ),
        ({"dataset": "caltech101", "val_folder": Path("v")}, "val_folder: can only be used with"),
        ({"download": True}, "download: can only be used with --dataset cifar100 or caltech101"),
        ({"depth": 16, "width": 0.01}, "width: 0.01 is not between 0.0625 and 4"),
        ({"pooled": 0}, "pooled: 0 is not above 0"),
        ({"dropout": 1.0}, "dropout: 1.0"),
        ({"n_epochs": 0}, "n_epochs: 0"),
        ({"patience": 0}, "patience: 0"),
        ({"max_images": 0}, "max_images: 0"),
        ({"lr": 0.0}, "lr: 0.0"),
        ({"weight_decay": -1.0}, "weight_decay: must be at least 0, got -1.0"),
        ({"plateau_patience": -1}, "plateau_patience: must be at least 0, got -1"),
        ({"plateau_factor": 1.0}, "plateau_factor: 1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing: 1.0"),
        ({"name": "a/b"}, "name: 'a/b' cannot name a folder"),
        ({"display": "paper"}, "display"),
        ({"plateau_patients": 3}, "did you mean plateau_patience"),
    ],
)
def test_what_cannot_be_is_refused_by_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        make(BackboneOptions, changes)


@pytest.mark.parametrize(
    ("options", "there", "says"),
    [
        ({"dataroot": "d"}, [], "--dataroot NEW"),
        ({"dataroot": "d", "classes": TWO}, ["d/a"], "--dataroot NEW"),
        ({"classes": ["a=/none/a", "b=/none/b"]}, [], "--classes CLASS=NEW ..."),
        (
            {"dataroot": "d", "classes": ["a", "b=/none/b"]},
            [],
            "--dataroot NEW --classes CLASS=NEW ...",
        ),
        ({"dataroot": "d", "val_folder": "v"}, ["d"], "--val_folder NEW"),
        ({"dataroot": "d", "val_folder": "v"}, ["v"], "--dataroot NEW"),
        (
            {"dataroot": "d", "classes": TWO, "val_classes": ["a=/none/a", "b=/none/b"]},
            ["d/a", "d/b"],
            "--val_classes CLASS=NEW ...",
        ),
        (
            {"dataroot": "d", "classes": TWO, "val_classes": ["a=c", "b=e"]},
            ["d/a", "d/b", "d/c"],
            "--dataroot NEW",
        ),
        ({"dataset": "cifar100", "dataroot": "d"}, [], "--dataroot NEW"),
    ],
)
def test_what_says_where_moved_pictures_are_now(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    there: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in there:
        Path(folder).mkdir(parents=True)
    data = make(ClassDataOptions, options)
    with pytest.raises(FolderError) as caught:
        data.require_unmoved()
    assert str(caught.value).endswith(f"where they are now: add {says} --allow_changes")


def test_in_python_the_cure_is_for_python() -> None:
    data = make(ClassDataOptions, {"classes": ["a=/none/a", "b=/none/b"], "dataroot": "/none"})
    with pytest.raises(FolderError, match=r'pass classes=\["CLASS=NEW", ...\], allow_changes=True'):
        data.require_unmoved(in_python=True)
