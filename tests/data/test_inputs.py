from pathlib import Path

import pytest

from impasto.data.files import output_names
from impasto.data.inputs import gather_pictures
from impasto.options.errors import FolderError


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def gathered(paths: list[Path], folder: Path) -> tuple[list[str], Path]:
    """Names relative to the root, which must work for :func:`output_names` as well."""
    found, root = gather_pictures(paths, exclude=folder / "out")
    output_names(found, root=root, suffix=".png")
    assert all(path.is_file() for path in found)
    return [path.relative_to(root).as_posix() for path in found], root


def test_one_folder(tmp_path: Path) -> None:
    make(tmp_path, "in/b.jpg", "in/a.png", "in/deep/c.png", "in/notes.txt")
    assert gathered([tmp_path / "in"], tmp_path) == (
        ["a.png", "b.jpg", "deep/c.png"],
        tmp_path / "in",
    )


def test_one_folder_keeps_the_paths_as_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "in/a.png")
    monkeypatch.chdir(tmp_path)
    found, root = gather_pictures([Path("in")], exclude=Path("out"))
    assert (found, root) == ([Path("in/a.png")], Path("in"))


def test_one_file_may_have_any_name(tmp_path: Path) -> None:
    make(tmp_path, "in/scan.dat", "in/other.png")
    assert gathered([tmp_path / "in" / "scan.dat"], tmp_path) == (["scan.dat"], tmp_path / "in")


def test_folders_and_files_in_the_order_given_each_once(tmp_path: Path) -> None:
    make(tmp_path, "x/a.png", "x/b.png", "y/a.png", "z/deep/q.png")
    paths = [tmp_path / "y", tmp_path / "x" / "b.png", tmp_path / "x", tmp_path / "z/deep/q.png"]
    assert gathered(paths, tmp_path) == (
        ["y/a.png", "x/b.png", "x/a.png", "z/deep/q.png"],
        tmp_path,
    )
    assert gathered([tmp_path / "x", tmp_path / "x"], tmp_path)[0] == ["a.png", "b.png"]


def test_a_folder_and_one_within(tmp_path: Path) -> None:
    make(tmp_path, "x/a.png", "x/deep/b.png")
    paths = [tmp_path / "x" / "deep", tmp_path / "x"]
    assert gathered(paths, tmp_path) == (["deep/b.png", "a.png"], tmp_path / "x")


@pytest.mark.parametrize(
    "paths",
    [
        ["../in/a.png"],
        ["../in/a.png", "../in/b.png"],
        ["../in/a.png", "../here/../in"],
        ["a.png", "../in/b.png"],
        [".", "../in"],
    ],
)
def test_paths_through_a_parent_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str]
) -> None:
    make(tmp_path, "in/a.png", "in/b.png", "here/a.png")
    monkeypatch.chdir(tmp_path / "here")
    names, root = gathered([Path(path) for path in paths], tmp_path)
    assert root.is_absolute()
    assert len(names) == len(set(names)) >= len(paths)


def test_the_same_file_by_two_ways_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "in/a.png", "here/b.png")
    (tmp_path / "link").symlink_to("in")
    monkeypatch.chdir(tmp_path / "here")
    paths = [Path("../in/a.png"), tmp_path / "in", Path("../link")]
    assert gathered(paths, tmp_path) == (["a.png"], tmp_path / "in")


def test_linked_folders(tmp_path: Path) -> None:
    make(tmp_path, "real/deep/a.png", "real/deep/b.png")
    (tmp_path / "link").symlink_to("real/deep")
    assert gathered([tmp_path / "link" / "a.png"], tmp_path)[0] == ["a.png"]
    paths = [tmp_path / "link" / "a.png", tmp_path / "link" / "b.png"]
    assert gathered(paths, tmp_path)[0] == ["a.png", "b.png"]


def test_a_linked_picture_keeps_its_own_name(tmp_path: Path) -> None:
    make(tmp_path, "store/0001.png", "in/b.png")
    (tmp_path / "in" / "monet.png").symlink_to("../store/0001.png")
    paths = [tmp_path / "in" / "monet.png", tmp_path / "in" / "b.png"]
    assert gathered(paths, tmp_path) == (["monet.png", "b.png"], tmp_path / "in")
    assert gathered([tmp_path / "in", tmp_path / "in/b.png"], tmp_path)[0] == ["b.png", "monet.png"]


def test_the_output_is_left_out(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "out/a.png", "x/b.png")
    assert gathered([tmp_path], tmp_path)[0] == ["a.png", "x/b.png"]
    assert gathered([tmp_path, tmp_path / "x"], tmp_path)[0] == ["a.png", "x/b.png"]


def test_missing_and_empty(tmp_path: Path) -> None:
    make(tmp_path, "photos/a.png", "empty/notes.txt")
    for paths in ([tmp_path / "photo"], [tmp_path / "photos", tmp_path / "photo"]):
        with pytest.raises(FolderError, match=r"no such folder; did you mean .*photos\?"):
            gather_pictures(paths, exclude=tmp_path / "out")
    with pytest.raises(FolderError, match="holds no picture"):
        gather_pictures([tmp_path / "empty"], exclude=tmp_path / "out")


def test_other_drives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "x/a.png", "y/b.png")

    def different_drives(_paths: object) -> str:
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr("os.path.commonpath", different_drives)
    with pytest.raises(FolderError, match="lies on another drive") as caught:
        gather_pictures([tmp_path / "x", tmp_path / "y"], exclude=tmp_path / "out")
    assert caught.value.folder == tmp_path / "y"
