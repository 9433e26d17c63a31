"""Tests."""

import logging
import os
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from impasto.data.files import (
    fit_name,
    gather_pictures,
    is_passed_over,
    list_pictures,
    output_names,
)
from impasto.data.formats import PICTURE_SUFFIXES
from impasto.data.provenance import PREVIEWS_MARK
from impasto.options.errors import FolderError


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


@pytest.fixture
def world_folder() -> Iterator[Path]:
    """A folder that every user can reach, which the private tmp_path of root is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root passes every permission check: be nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def listed(folder: Path, exclude: Path | None = None) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_pictures(folder, exclude=exclude)]


class TestListPictures:
    def test_every_suffix_in_any_case_and_no_other(self, tmp_path: Path) -> None:
        wanted = [f"a{suffix}" for suffix in PICTURE_SUFFIXES]
        wanted += [f"B{suffix.upper()}" for suffix in PICTURE_SUFFIXES]
        make(tmp_path, *wanted, "notes.txt", "jpg", "a.jpg.part", "movie.mp4")
        assert set(listed(tmp_path)) == set(wanted)
        assert len(PICTURE_SUFFIXES) == 20

    def test_order_is_that_of_posix_paths(self, tmp_path: Path) -> None:
        # "-" < "." < "/" in code points: comparing Path objects part by part orders these
        # differently from comparing the whole string.
        make(tmp_path, "b/z.png", "b-1.png", "b.png", "B.png", "10.png", "9.png")
        assert listed(tmp_path) == ["10.png", "9.png", "B.png", "b-1.png", "b.png", "b/z.png"]

    def test_previews_are_no_pictures(self, tmp_path: Path) -> None:
        make(tmp_path, "a.png", "page/before/a.webp", f"page/{PREVIEWS_MARK}", "other/page/b.png")
        assert listed(tmp_path) == ["a.png", "other/page/b.png"]
        with pytest.raises(FolderError):
            list_pictures(tmp_path / "page")

    def test_paths_begin_with_the_folder_as_given(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make(tmp_path, "in/a.png")
        monkeypatch.chdir(tmp_path)
        assert list_pictures(Path("in")) == [Path("in/a.png")]

    def test_hidden_is_skipped_below_but_not_above(self, tmp_path: Path) -> None:
        folder = tmp_path / ".hidden"
        make(folder, "a.png", ".b.png", "._a.png", ".git/c.png", "d/.e/f.png")
        assert listed(folder) == ["a.png"]

    def test_excluded_folder_is_left_out_whole(self, tmp_path: Path) -> None:
        make(tmp_path, "a.png", "out/b.png", "out/deep/c.png", "output/d.png")
        (tmp_path / "way").symlink_to("out")
        assert listed(tmp_path, tmp_path / "x" / ".." / "out") == ["a.png", "output/d.png"]
        assert listed(tmp_path, tmp_path / "missing") == [
            "a.png",
            "out/b.png",
            "out/deep/c.png",
            "output/d.png",
        ]

    def test_folder_inside_the_excluded_one(self, tmp_path: Path) -> None:
        make(tmp_path, "in/a.png")
        for exclude in (tmp_path / "in", tmp_path):
            with pytest.raises(FolderError, match="choose an output folder elsewhere"):
                list_pictures(tmp_path / "in", exclude=exclude)

    def test_links_are_followed_once_and_never_in_circles(self, tmp_path: Path) -> None:
        folder = tmp_path / "in"
        make(folder, "real/a.png", "z/b.png")
        make(tmp_path, "elsewhere/c.png")
        (folder / "z" / "up").symlink_to(folder)
        (folder / "again").symlink_to(folder / "real")
        (folder / "far").symlink_to(tmp_path / "elsewhere")
        (folder / "file.png").symlink_to(tmp_path / "elsewhere" / "c.png")
        (folder / "dead.png").symlink_to(tmp_path / "missing.png")
        (folder / "self.png").symlink_to(folder / "self.png")
        assert listed(folder) == ["far/c.png", "file.png", "real/a.png", "z/b.png"]

    def test_folders_that_link_to_each_other(self, tmp_path: Path) -> None:
        # With a check of ancestors only, nine folders linked to one another take 9! visits.
        names = [f"f{index}" for index in range(9)]
        make(tmp_path, *(f"{name}/a.png" for name in names))
        for name in names:
            for other in names:
                (tmp_path / name / f"to-{other}").symlink_to(tmp_path / other)
        assert listed(tmp_path) == [f"{name}/a.png" for name in names]

    def test_missing_folder_names_the_nearest(self, tmp_path: Path) -> None:
        make(tmp_path, "monet2photo/trainA/a.png", "unlike/b.png", "monet2foto.txt")
        with pytest.raises(FolderError) as caught:
            list_pictures(tmp_path / "monet2foto" / "trainA")
        assert f"did you mean {tmp_path / 'monet2photo'}?" in str(caught.value)
        assert caught.value.folder == tmp_path / "monet2foto" / "trainA"
        with pytest.raises(FolderError, match="has no 'qqqq' and nothing of a like name"):
            list_pictures(tmp_path / "qqqq")

    def test_file_instead_of_folder(self, tmp_path: Path) -> None:
        make(tmp_path, "a.png")
        with pytest.raises(FolderError, match="is a file, not a folder"):
            list_pictures(tmp_path / "a.png")

    def test_folder_without_pictures(self, tmp_path: Path) -> None:
        make(tmp_path, "a.txt", "deep/b.npy", ".hidden.png")
        with pytest.raises(FolderError) as caught:
            list_pictures(tmp_path)
        assert all(suffix in str(caught.value) for suffix in PICTURE_SUFFIXES)
        assert "found only 2 files (1 .npy, 1 .txt)" in str(caught.value)
        assert "trainA" not in str(caught.value)
        (tmp_path / "trainA").mkdir()
        (tmp_path / "trainB").mkdir()
        with pytest.raises(FolderError, match="trainA and trainB exist but hold no picture"):
            list_pictures(tmp_path)

    def test_other_files_are_told_of(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        make(tmp_path, "a.png", "b.MOV", "deep/c.mov", "deep/d.txt", "README", ".hidden.txt")
        make(tmp_path, "page/.previews", "page/notes.txt", "index.html")  # a page of ours
        make(tmp_path, "out/result.txt")
        with caplog.at_level(logging.INFO):
            assert listed(tmp_path, tmp_path / "out") == ["a.png"]
        assert caplog.messages == [
            f"{tmp_path}: 4 files (2 .mov, 1 without an ending, 1 .txt) not looked at, as their "
            "names do not end like those of pictures"
        ]

    def test_many_endings_are_cut_short(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        make(tmp_path, "a.png", *(f"{index}.x{index:02d}" for index in range(12)), "b.x11")
        with caplog.at_level(logging.INFO):
            listed(tmp_path)
        expected = (
            "13 files (2 .x11, 1 .x00, 1 .x01, 1 .x02, 1 .x03, 1 .x04, 1 .x05, 1 .x06, "
            "4 of 4 other endings) not"
        )
        assert expected in caplog.messages[0]

    def test_nothing_is_told_where_all_are_pictures(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        make(tmp_path, "a.png", "b.HEIC", "c.jfif", "d.ppm", "e.avif")
        with caplog.at_level(logging.INFO):
            assert len(listed(tmp_path)) == 5
        assert not caplog.messages

    @pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
    def test_sub_folder_that_may_not_be_listed(self, world_folder: Path) -> None:
        make(world_folder, "a.png", "secret/b.png")
        (world_folder / "secret").chmod(0)
        with as_ordinary_user(), pytest.raises(FolderError, match="secret: cannot be listed"):
            list_pictures(world_folder)


def named(*inputs: str, suffix: str = ".png") -> list[str]:
    root = Path("/in")
    return [
        str(name) for name in output_names([root / i for i in inputs], root=root, suffix=suffix)
    ]


class TestOutputNames:
    def test_tree_is_kept_and_suffix_replaced(self) -> None:
        assert named("a/b.jpg", "b.v2.JPG", "c") == ["a/b.png", "b.v2.png", "c.png"]

    def test_all_of_a_collision_keep_their_ending(self) -> None:
        assert named("b.jpg", "c.jpg", "b.png") == ["b.jpg.png", "c.png", "b.png.png"]

    def test_case_and_unicode_form_collide(self) -> None:
        assert named("b.jpg", "B.png") == ["b.jpg.png", "B.png.png"]
        assert named("e\u0301.jpg", "\u00e9.gif") == ["e\u0301.jpg.png", "\u00e9.gif.png"]
        assert named("A/x.jpg", "a/x.gif") == ["A/x.jpg.png", "a/x.gif.png"]

    def test_longer_name_that_meets_a_short_one(self) -> None:
        assert named("b.jpg", "b.png", "b.jpg.gif") == [
            "b.jpg.png",
            "b.png.png",
            "b.jpg.gif.png",
        ]

    def test_inputs_that_differ_in_case_only_are_numbered(self) -> None:
        assert named("b.jpg", "B.jpg") == ["b.jpg-2.png", "B.jpg.png"]
        assert named("b.jpg", "B.jpg", "b.jpg-2.gif") == [
            "b.jpg-3.png",
            "B.jpg.png",
            "b.jpg-2.png",
        ]

    def test_name_that_is_a_folder_of_another(self) -> None:
        assert named("a.jpg", "a.png/x.jpg") == ["a.jpg.png", "a.png/x.png"]

    def test_refusals(self) -> None:
        with pytest.raises(ValueError, match="begin with a dot, got 'png'"):
            named("a.jpg", suffix="png")
        with pytest.raises(ValueError, match="elsewhere"):
            output_names([Path("/elsewhere/a.jpg")], root=Path("/in"), suffix=".png")

    # Few letters, so that most lists collide in some way; both forms of e-acute, and the Kelvin
    # sign, whose lower case is k.
    letters = st.sampled_from(["a", "A", "k", "\u212a", "\u00e9", "e\u0301", "."])
    part = st.lists(letters, min_size=1, max_size=2).map("".join)
    ending = st.sampled_from(["", ".jpg", ".JPG", ".png", ".jpg-2", ".jpg.png", ".png.jpg"])
    name = st.tuples(part, ending).map("".join).filter(lambda text: text not in {".", ".."})
    path = st.lists(name, min_size=1, max_size=2).map("/".join)

    @settings(max_examples=300, deadline=None)
    @given(
        inputs=st.lists(path, max_size=8),
        suffix=st.sampled_from([".png", ".jpg"]),
        data=st.data(),
    )
    def test_never_collides_and_ignores_order(
        self, inputs: list[str], suffix: str, data: st.DataObject
    ) -> None:
        names = named(*inputs, suffix=suffix)
        folded = [unicodedata.normalize("NFC", name).casefold() for name in names]
        assert len(set(folded)) == len(inputs)
        parents = {str(parent) for name in folded for parent in PurePosixPath(name).parents}
        assert parents.isdisjoint(folded)
        for source, name in zip(inputs, names, strict=True):
            assert name.endswith(suffix)
            assert PurePosixPath(name).parent == PurePosixPath(source).parent
        order = data.draw(st.permutations(range(len(inputs))))
        shuffled = named(*(inputs[index] for index in order), suffix=suffix)
        assert sorted(zip(inputs, names, strict=True)) == sorted(
            zip((inputs[index] for index in order), shuffled, strict=True)
        )


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
        with pytest.raises(FolderError, match=r"no such file or folder; did you mean .*photos\?"):
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


SYSTEM_FOLDERS = [
    *("@eaDir", "#recycle", "$RECYCLE.BIN", "$Recycle.Bin", "System Volume Information"),
    *("lost+found", ".Trashes", ".Trash-1000", "__MACOSX", "@Recycle", ".snapshot"),
]


@pytest.mark.parametrize("name", SYSTEM_FOLDERS)
def test_folders_of_systems_are_passed_over(tmp_path: Path, name: str) -> None:
    make(tmp_path, "a.png", f"{name}/a.png", f"deep/{name}/thumb.jpg", f"deep/my {name}/b.png")
    assert is_passed_over(name)
    assert listed(tmp_path) == ["a.png", f"deep/my {name}/b.png"]
    # Who names one means it.
    assert listed(tmp_path / name) == ["a.png"]


def test_a_folder_of_the_system_that_cannot_be_opened_ends_nothing(world_folder: Path) -> None:
    # On a disk of its own, lost+found is of root alone.
    make(world_folder, "a.png", "lost+found/b.png")
    (world_folder / "lost+found").chmod(0o700)
    with as_ordinary_user():
        assert listed(world_folder) == ["a.png"]


def test_deep_folders_are_not_looked_up_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = "/".join("d" for _ in range(100))
    make(tmp_path, f"in/{deep}/a.png", "in/out/b.png", f"in/{deep}/c/out/c.png")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "in" / "out")
    (tmp_path / "in" / "inside").symlink_to(tmp_path / "in" / "out" / "deeper")
    make(tmp_path, "in/out/deeper/d.png")
    looked_up = []
    real_path = os.path.realpath

    def count(*words: Any, **named: Any) -> str:
        looked_up.append(words)
        return str(real_path(*words, **named))

    monkeypatch.setattr(os.path, "realpath", count)
    assert listed(tmp_path / "in", tmp_path / "in" / "out") == [
        f"{deep}/a.png",
        f"{deep}/c/out/c.png",
    ]
    # The folder, what is left out, and the link into it.
    assert len(looked_up) == 3


class TestNamesThatAreTooLong:
    @pytest.mark.parametrize(
        "name",
        ["a" * 251 + ".png", "\u6a21" * 83 + ".png", "e\u0301" * 84 + "x.c", "a" * 255],
    )
    def test_what_fits_is_kept(self, name: str) -> None:
        assert fit_name(name) == name

    @pytest.mark.parametrize(
        "name",
        [
            *("a" * 252 + ".png", "\u6a21" * 84 + ".png", "\u6a21" * 200 + ".webp"),
            *("a" * 256, "a" * 100 + "." + "b" * 300, os.fsdecode(b"\xe9" * 300 + b".jpg")),
        ],
    )
    def test_what_does_not_is_cut_between_letters_and_keeps_its_ending(
        self, tmp_path: Path, name: str
    ) -> None:
        fitted = fit_name(name)
        assert 240 <= len(os.fsencode(fitted)) <= 255 or "\udce9" in name
        assert len(os.fsencode(fitted)) <= 255
        assert Path(fitted).suffix == Path(name).suffix or len(Path(name).suffix) > 16
        (tmp_path / fitted).write_text("x")
        start = fitted.partition("~")[0]
        assert name.startswith(start)
        assert fit_name(name) == fitted
        assert fit_name(f"other {name}") != fitted

    def test_two_that_begin_alike_stay_two(self) -> None:
        one, two = ("a" * 300 + end for end in ("1.png", "2.png"))
        assert fit_name(one) != fit_name(two)

    def test_outputs_of_long_names_that_meet_can_be_written(self, tmp_path: Path) -> None:
        # Side by side, these keep their own ending, which leaves no place for another.
        stem = "a" * 251
        names = [f"{stem}.png", f"{stem}.PNG", "b" * 251 + ".gif", "\u6a21" * 83 + ".bmp"]
        make(tmp_path, *names)
        inputs = [tmp_path / name for name in names]
        outputs = output_names(inputs, root=tmp_path, suffix=".webp")
        assert len(set(outputs)) == 4
        for output in outputs:
            (tmp_path / "out" / output).parent.mkdir(exist_ok=True)
            (tmp_path / "out" / output).write_text("x")
            assert output.suffix == ".webp"
        assert len(list((tmp_path / "out").iterdir())) == 4
