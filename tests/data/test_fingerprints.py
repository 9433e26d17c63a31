"""What changed in a set of files is said in words: every kind of change, and none where none is."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from impasto.data.fingerprints import count_moved, describe_changes, fingerprint

Change = Callable[[tuple[Path, Path]], object]


def write(folder: Path, name: str, size: int, second: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(bytes(size))
    os.utime(folder / name, (second, second))
    return folder / name


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    A, B = tmp_path / "A", tmp_path / "B"
    for index in range(4):
        write(A, f"{index}.png", 10 + index, 1000 + 10 * index)
    for index in range(3):
        write(B / "deep", f"b{index}.png", 20 + index, 2000 + 10 * index)
    return A, B


def marks(A: Path, B: Path) -> dict[str, Tensor]:
    return {
        name: fingerprint(sorted(path for path in folder.rglob("*") if path.is_file()), folder)
        for name, folder in (("A", A), ("B", B))
    }


def swap(folders: tuple[Path, Path]) -> None:
    A, B = folders
    A.rename(B.with_name("other"))
    B.rename(A)
    B.with_name("other").rename(B)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda _: None, ""),
        (lambda f: write(f[0], "9.png", 5, 5), "A: 1 added (of 4 before, 5 now)"),
        (lambda f: (f[0] / "1.png").unlink(), "A: 1 removed (of 4 before, 3 now)"),
        (lambda f: write(f[0], "2.png", 99, 1020), "A: 1 changed (of 4 before, 4 now)"),
        (
            lambda f: write(f[0], "2.png", 12, 9999),
            "A: 1 with another time and the same size (copied, or replaced) (of 4 before, 4 now)",
        ),
        (lambda f: write(f[0], "2.png", 12, 1022), ""),  # FAT keeps times to two seconds
        (
            lambda f: (f[0] / "3.png").rename(f[0] / "new.png"),
            "A: 1 renamed (of 4 before, 4 now)",
        ),
        (
            lambda f: [
                (f[1] / "deep" / "b0.png").unlink(),
                write(f[1], "c.png", 7, 7),
                write(f[0], "0.png", 1, 1),
                (f[0] / "1.png").rename(f[0] / "z.png"),
            ],
            "A: 1 renamed, 1 changed (of 4 before, 4 now); "
            "B: 1 added, 1 removed (of 3 before, 3 now)",
        ),
        (swap, "A and B are swapped"),
    ],
)
def test_changes_in_words(folders: tuple[Path, Path], change: Change, says: str) -> None:
    before = marks(*folders)
    change(folders)
    assert describe_changes(before, marks(*folders)) == says


def test_a_moved_folder_is_the_same(folders: tuple[Path, Path], tmp_path: Path) -> None:
    before = marks(*folders)
    moved = [folder.rename(tmp_path / f"moved-{folder.name}") for folder in folders]
    assert not describe_changes(before, marks(*moved))


def test_a_copy_has_other_times_only(folders: tuple[Path, Path], tmp_path: Path) -> None:
    before = marks(*folders)
    copies = [tmp_path / "copies" / folder.name for folder in folders]
    for folder, copy in zip(folders, copies, strict=True):
        shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    for says in describe_changes(before, marks(*copies)).split("; "):
        assert "with another time and the same size" in says
        assert "added" not in says


def test_the_form_of_a_name_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, "e\u0301.png", 1, 1)
    write(tmp_path, "\u00e9.png", 1, 1)
    one, other = (fingerprint([path], tmp_path) for path in sorted(tmp_path.iterdir()))
    assert one.tolist() == other.tolist()


def test_a_file_that_is_gone_and_whole_paths(tmp_path: Path) -> None:
    lost = tmp_path / "lost.png"
    assert fingerprint([lost], None)[0, 1:].tolist() == [-1, -1]
    assert fingerprint([lost], None)[0, 0] != fingerprint([lost], tmp_path)[0, 0]
    assert fingerprint([], None).shape == (0, 3)


def test_files_that_moved_between_sets(folders: tuple[Path, Path]) -> None:
    before = marks(*folders)
    (folders[0] / "1.png").rename(folders[1] / "1.png")
    assert count_moved(before["A"], marks(*folders)["B"]) == 1
    assert count_moved(before["A"], before["B"]) == 0
