"""Exports: what is chosen, what is written, and that nothing is left half done."""

import io
import itertools
import json
import os
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from impasto.data import read_picture
from impasto.options.errors import FolderError, ImpastoError, OptionError, PictureError, SurveyError
from impasto.options.survey import SurveyExportOptions
from impasto.survey.audit.pictures import read_container
from impasto.survey.export.archive import staged
from impasto.survey.export.job import Exported, export_study
from impasto.survey.export.select import scene_of
from impasto.survey.key import Key, KeyedPicture, read_key, read_study
from impasto.survey.study import Study

SIDE = 32


def options(root: Path, **changes: Any) -> SurveyExportOptions:
    values: dict[str, Any] = {
        "output": root / "study",
        "real": root / "real",
        "fake": [f"gan={root / 'gan'}"],
        "per_class": 3,
        "practice": 2,
        "attention": 2,
        "orders": 6,
        "width": SIDE,
        "height": SIDE,
        "seed": 1,
    }
    return SurveyExportOptions(**{**values, **changes})


@pytest.fixture
def root(tmp_path: Path, picture_folder: Callable[..., Path]) -> Path:
    """Folders of pictures of the same names: none may be shown both real and fake."""
    picture_folder("real", count=10, seed=1)
    picture_folder("gan", count=10, seed=2)
    picture_folder("other", count=10, seed=3)
    return tmp_path


def stored(done: Exported) -> tuple[Study, Key]:
    return read_study(done.folder), read_key(done.key)


def by_kind(key: Key, kind: str) -> dict[str, KeyedPicture]:
    return {token: one for token, one in key.pictures.items() if one.kind == kind}


def test_balanced_disjoint_and_every_scene_once(root: Path) -> None:
    study, key = stored(export_study(options(root)))
    scored, practice = by_kind(key, "scored"), by_kind(key, "practice")
    assert Counter(one.label for one in scored.values()) == {"real": 3, "fake": 3}
    assert Counter(one.label for one in practice.values()) == {"real": 1, "fake": 1}
    assert Counter(one.label for one in by_kind(key, "attention").values()) == {
        "real": 1,
        "fake": 1,
    }
    scenes = [scene_of(Path(one.source)) for one in (*scored.values(), *practice.values())]
    assert len(set(scenes)) == len(scenes)
    assert {one.trial[0]: one.answer for one in study.practice} == {
        token: one.label for token, one in practice.items()
    }
    assert len(study.orders) == 6
    shown = sorted([*scored, *by_kind(key, "attention")])
    for order in study.orders:
        assert sorted(trial[0] for trial in order) == shown
        assert key.pictures[order[0][0]].kind == "scored"
    assert len({tuple(order) for order in study.orders}) == 6


def test_the_folder_is_complete_and_holds_nothing_else(root: Path) -> None:
    done = export_study(options(root))
    files = {path.relative_to(done.folder).as_posix() for path in done.folder.rglob("*.*")}
    images = {f"images/{token}.png" for token in read_key(done.key).pictures}
    platforms = ("google_forms.gs", "jspsych.html", "mturk.csv", "mturk.html", "qualtrics.txt")
    assert files == {
        *images,
        *(f"platforms/{name}" for name in platforms),
        *("index.html", "study.json", "survey.css", "survey.js"),
    }
    assert sorted(path.name for path in root.iterdir()) == [
        *("gan", "other", "real", "study", "study.key.json", "study.zip"),
    ]
    assert stat.S_IMODE(done.key.stat().st_mode) == 0o600


def test_files_have_one_length_no_metadata_and_no_history(root: Path) -> None:
    for path in (root / "real").iterdir():
        with Image.open(path) as picture:
            picture.load()
        exif = Image.Exif()
        exif[315] = "somebody"
        picture.save(path.with_suffix(".jpg"), exif=exif, dpi=(300, 300), comment=b"real")
        path.unlink()
    done = export_study(options(root))
    paths = sorted((done.folder / "images").iterdir())
    containers = [read_container(path.read_bytes()) for path in paths]
    assert len(set(containers)) == 1
    assert containers[0].chunks == "IHDR IDAT IEND"
    assert containers[0].metadata == ()
    assert len({path.stat().st_size for path in paths}) == 1
    everything = [done.folder, *done.folder.rglob("*")]
    assert {path.stat().st_mtime for path in everything} == {315532800.0}
    assert {stat.S_IMODE(path.stat().st_mode) for path in everything} == {0o644, 0o755}


def test_the_archive_is_in_order_of_names_and_of_one_time(root: Path) -> None:
    done = export_study(options(root))
    with zipfile.ZipFile(done.archive) as archive:
        entries = archive.infolist()
        for entry in entries:
            inside = entry.filename.partition("/")[2]
            assert archive.read(entry) == (done.folder / inside).read_bytes()
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert {name.partition("/")[0] for name in names} == {done.study.survey_id}
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {(entry.compress_type, entry.external_attr) for entry in entries} == {
        (zipfile.ZIP_STORED, 0o100644 << 16)
    }


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes(root: Path) -> None:
    first = export_study(options(root))
    for path in (root / "real").iterdir():
        os.utime(path, (1, 1))
    second = export_study(options(root, output=root / "again"))
    third = export_study(options(root, output=root / "third", seed=2))
    assert everything_in(first.folder) == everything_in(second.folder)
    assert first.archive.read_bytes() == second.archive.read_bytes()
    assert read_key(first.key).pictures == read_key(second.key).pictures
    assert not set(read_key(first.key).pictures) & set(read_key(third.key).pictures)


def test_without_a_seed_one_is_drawn_that_nobody_guesses(root: Path) -> None:
    keys = [
        read_key(export_study(options(root, output=root / name, seed=None)).key)
        for name in ("a", "b")
    ]
    assert keys[0].seed != keys[1].seed
    assert min(key.seed for key in keys) > 2**32  # fails once in 2**30 runs
    again = read_key(export_study(options(root, output=root / "c", seed=keys[0].seed)).key)
    assert again.pictures == keys[0].pictures


def test_several_generators_and_as_many_real_pictures(
    root: Path, picture_folder: Callable[..., Path]
) -> None:
    picture_folder("real", count=30, seed=4)
    fakes = [f"gan={root / 'gan'}", f'Gatys\'s "best" / ü={root / "other"}']
    _, key = stored(export_study(options(root, fake=fakes, practice=4)))
    assert Counter(one.generator for one in by_kind(key, "scored").values()) == {
        "": 6,
        "gan": 3,
        'Gatys\'s "best" / ü': 3,
    }
    assert Counter(one.generator for one in by_kind(key, "practice").values()) == {
        "": 2,
        "gan": 1,
        'Gatys\'s "best" / ü': 1,
    }


def test_too_few_scenes_are_refused_or_repeated_but_never_neighbors(
    root: Path,
) -> None:
    with pytest.raises(ImpastoError, match=r"different scenes.*--repeat_sources true"):
        export_study(options(root, per_class=7))
    done = export_study(options(root, per_class=7, repeat_sources=True, orders=40))
    study, key = stored(done)
    scenes = {token: scene_of(Path(one.source)) for token, one in key.pictures.items()}
    times = Counter(scenes[token] for token in by_kind(key, "scored"))
    assert max(times.values()) == 2
    # Practice keeps clear of what is judged.
    assert not {scenes[token] for token in by_kind(key, "practice")} & set(times)
    for order in study.orders:
        judged = [trial[0] for trial in order if key.pictures[trial[0]].kind == "scored"]
        assert all(scenes[one] != scenes[other] for one, other in itertools.pairwise(judged))
    assert any("scenes are shown more than once" in note for note in done.notes)


@pytest.mark.parametrize("question", ["real", "fake"])
def test_pairs_have_one_of_each_and_balanced_sides(
    root: Path, picture_folder: Callable[..., Path], question: str
) -> None:
    picture_folder("real", count=20, seed=1)
    study, key = stored(
        export_study(options(root, protocol="pair", question=question, per_class=4, orders=30))
    )
    assert study.question == question
    sides = Counter[str]()
    for order in study.orders:
        for left, right in order:
            labels = {key.pictures[left].label, key.pictures[right].label}
            assert labels == {"real", "fake"}
            assert key.pictures[left].kind == key.pictures[right].kind
            sides[key.pictures[left].label] += key.pictures[left].kind == "scored"
    assert sides == {"real": 60, "fake": 60}
    for practice in study.practice:
        assert key.pictures[practice.trial[0]].label == practice.answer
        assert key.pictures[practice.trial[1]].label != practice.answer


def test_a_timed_study_says_how_long_and_has_no_forms_that_cannot(root: Path) -> None:
    done = export_study(options(root, protocol="timed", exposure_ms=250, mask_ms=40))
    study, _ = stored(done)
    assert (study.exposure_ms, study.mask_ms) == (250, 40)
    assert sorted(path.name for path in (done.folder / "platforms").iterdir()) == [
        *("jspsych.html", "mturk.csv", "mturk.html"),
    ]


def test_short_runs_in_many_orders_would_tell_the_truth(root: Path) -> None:
    with pytest.raises(OptionError, match=r"2: only one in 2\^\d+ ways.*take 4 or more"):
        export_study(options(root, per_class=4, max_run=2, orders=100))
    done = export_study(options(root, per_class=4, max_run=3, orders=2))
    key = read_key(done.key)
    for order in done.study.orders:
        kinds = [key.pictures[trial[0]] for trial in order]
        labels = "".join(one.label[0] for one in kinds if one.kind == "scored")
        assert "rrrr" not in labels
        assert "ffff" not in labels


def test_pixels_go_one_way_whatever_the_file_is(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    picture_folder("gan", count=5, seed=2)
    rng = np.random.default_rng(0)
    folder = tmp_path / "real"
    folder.mkdir()
    for index in range(5):
        coarse = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
        wide = Image.fromarray(coarse).resize((96, 64), Image.Resampling.BICUBIC)
        wide.save(folder / f"wide {index}.png")
    key = read_key(export_study(options(tmp_path, per_class=2)).key)
    for token, one in key.pictures.items():
        if one.label == "fake" or one.kind == "attention":
            continue
        shown = read_picture(tmp_path / "study" / "images" / f"{token}.png").rgb
        with Image.open(one.source) as picture:
            # The middle 64 x 64 pixels, to 32 x 32.
            middle = picture.crop((16, 0, 80, 64)).resize((32, 32), Image.Resampling.BICUBIC)
        # At the sides the filter sees what lies beyond the crop.
        differences = np.abs(shown.astype(int) - np.asarray(middle))
        assert differences[:, 2:-2].max() <= 1
        assert differences.max() <= 40


def test_equalize_puts_every_picture_through_jpeg_once(root: Path) -> None:
    plain = export_study(options(root))
    done = export_study(options(root, output=root / "jpegs", equalize="jpeg:60"))
    key = read_key(done.key)
    for token, one in key.pictures.items():
        if one.kind == "attention":
            continue
        before = read_picture(plain.folder / "images" / f"{token}.png").rgb
        file = io.BytesIO()
        Image.fromarray(before).save(file, "JPEG", quality=60, subsampling="4:2:0")
        with Image.open(file) as picture:
            expected = np.asarray(picture.convert("RGB"))
        after = read_picture(done.folder / "images" / f"{token}.png").rgb
        assert np.array_equal(after, expected)


def test_attention_checks_differ_and_are_as_long_as_the_others(root: Path) -> None:
    done = export_study(options(root, attention=5))
    cards = by_kind(read_key(done.key), "attention")
    assert Counter(one.label for one in cards.values()) == {"real": 3, "fake": 2}
    assert len({one.picture_sha256 for one in cards.values()}) == 5


# What can go wrong.


def test_a_damaged_picture_is_named_and_passed_over(root: Path) -> None:
    chosen = {one.source for one in read_key(export_study(options(root)).key).pictures.values()}
    damaged = sorted(Path(source) for source in chosen if "real" in source)[0]
    damaged.write_bytes(damaged.read_bytes()[:200])
    done = export_study(options(root, output=root / "again"))
    assert list(done.passed_over) == [damaged]
    key = read_key(done.key)
    assert str(damaged) not in {one.source for one in key.pictures.values()}
    assert len(by_kind(key, "scored")) == 6


def test_too_few_readable_pictures_are_refused_with_their_names(root: Path) -> None:
    for path in sorted((root / "gan").iterdir())[3:]:
        path.write_bytes(b"no picture")
    with pytest.raises(ImpastoError, match=r"too few fake \(gan\).*there are 3(.|\n)*09\.png"):
        export_study(options(root))
    assert not (root / "study").exists()


def test_the_same_picture_real_and_fake_is_refused(root: Path) -> None:
    first = sorted((root / "real").iterdir())[0]
    for place, path in enumerate((root / "gan").iterdir()):
        path.rename(path.with_name(f"g{place}.png"))
    for path in (root / "gan").iterdir():
        path.write_bytes(first.read_bytes())
    for path in (root / "real").iterdir():
        path.write_bytes(first.read_bytes())
    with pytest.raises(PictureError, match="cannot be both real and fake"):
        export_study(options(root))


def test_the_same_picture_twice_in_a_folder_is_passed_over(root: Path) -> None:
    files = sorted((root / "real").iterdir())
    for path in files[1:6]:
        path.write_bytes(files[0].read_bytes())
    done = export_study(options(root))
    assert len({one.picture_sha256 for one in read_key(done.key).pictures.values()}) == 10


def test_folders_that_overlap_are_refused(root: Path) -> None:
    (root / "both").mkdir()
    (root / "real").rename(root / "both" / "real")
    (root / "gan").rename(root / "both" / "gan")
    with pytest.raises(FolderError, match="is real and fake"):
        export_study(options(root, real=root / "both", fake=[f"gan={root / 'both' / 'gan'}"]))


def test_links_count_as_what_they_lead_to(root: Path) -> None:
    (root / "gan" / "linked.png").symlink_to(root / "real" / "00.png")
    with pytest.raises(FolderError, match="is real and fake"):
        export_study(options(root))


@pytest.mark.parametrize("there", ["study", "study.zip", "study.key.json"])
def test_nothing_is_replaced(root: Path, there: str) -> None:
    (root / there).symlink_to(root / "nowhere")
    with pytest.raises(SurveyError, match="exists, and an export replaces nothing"):
        export_study(options(root))
    assert (root / there).is_symlink()


def test_names_that_no_file_system_or_page_likes(root: Path) -> None:
    strange = [
        *("a\nb.png", "q'uo\"te.png", "<script>alert(1)<script>.png", "${base_url}.png"),
        *("ünï — 图.png", "%2e%2e.png", "--help.png", "[[PageBreak]].png"),
    ]
    for path, name in zip(sorted((root / "real").iterdir()), strange, strict=False):
        path.rename(path.with_name(name))
    broken = os.fsdecode(b"\xff\xfe.png")
    (root / "real" / "08.png").rename(root / "real" / broken)
    done = export_study(options(root, per_class=9, practice=0, fake=[f"gan={root / 'other'}"],
                          repeat_sources=True))  # fmt: skip
    assert done.audit.passed
    sources = [one.source for one in read_key(done.key).pictures.values()]
    assert sum(name in "\n".join(sources) for name in strange) >= 7


def test_a_leak_stops_the_export_and_leaves_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(folder: Path, study: Study) -> None:
        (folder / "study.json").write_text(json.dumps(study.as_dict()), encoding="utf-8")
        (folder / "index.html").write_text("<!-- made with <b>gan</b> -->", encoding="utf-8")

    monkeypatch.setattr("impasto.survey.export.job.write_site", careless)
    with pytest.raises(SurveyError, match=r"(?s)was not written.*name of a generator"):
        export_study(options(root))
    assert sorted(path.name for path in root.iterdir()) == ["gan", "other", "real"]


def test_a_failing_disk_leaves_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("impasto.survey.export.job.write_archive", full)
    with pytest.raises(OSError, match="No space left"):
        export_study(options(root))
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_full_or_read_only_disk_is_one_message_and_stays_clean(
    root: Path, small_disk: Path
) -> None:
    with pytest.raises(OSError, match="No space left"):
        export_study(options(root, output=small_disk / "study", width=256, height=256))
    assert list(small_disk.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)  # noqa: S607
    with pytest.raises(FolderError, match="cannot be written: Read-only"):
        export_study(options(root, output=small_disk / "study"))


def test_letters_that_the_font_lacks_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.survey.export.job._system_fonts", list)
    texts = root / "texts.yaml"
    texts.write_text("attention_card: 请回答\n", encoding="utf-8")
    with pytest.raises(ImpastoError, match=r"no font for the cards .* has '.'"):
        export_study(options(root, texts=texts))
    assert export_study(options(root, texts=texts, attention=0)).audit.passed


def test_what_is_renamed_goes_back_when_the_last_cannot(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_rename = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if Path(target) == root / "study":
            raise OSError(5, "Input/output error")
        return real_rename(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(OSError, match="Input/output"):
        export_study(options(root))
    monkeypatch.undo()
    assert sorted(path.name for path in root.iterdir()) == ["gan", "other", "real"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_a_killed_export_leaves_nothing_half_done(
    root: Path, number: signal.Signals, start_process: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    words = [
        *("survey", "export", "--real", root / "real", "--fake", f"gan={root / 'gan'}"),
        *("--per_class", 3, "--practice", 2, "--width", 64, "--height", 64),
        *("--output", root / "study", "--orders", 3000),
    ]
    command = [sys.executable, "-m", "impasto.scripts.main", *map(str, words)]
    process = start_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(root.glob(".impasto-export-*/study/images/*")):
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(120) != 0
    visible = sorted(path.name for path in root.iterdir() if not path.name.startswith("."))
    assert visible == ["gan", "other", "real"]
    if number != signal.SIGKILL:
        assert not list(root.glob(".impasto*"))
    # The next one sweeps up.
    export_study(options(root))
    assert not list(root.glob(".impasto*"))


def test_two_exports_beside_each_other_leave_each_other_alone(root: Path) -> None:
    with staged(root / "one") as first:
        (first / "a").write_text("a", encoding="utf-8")
        export_study(options(root))
        assert (first / "a").is_file()
    assert not first.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fake": ["gan"]}, "--fake: expected NAME=FOLDER, got 'gan'"),
        ({"fake": ["real=x"]}, "could be mistaken for an answer"),
        ({"fake": ["a=x", "a=y"]}, "'a' is given twice"),
        ({"fake": ["a\nb=x"]}, "printable"),
        ({"survey_id": "../x"}, "--survey_id"),
        ({"equalize": "jpeg:0"}, "--equalize"),
        ({"base_url": "javascript:alert(1)"}, "--base_url"),
        ({"base_url": "https://a.org/\"onload='x'"}, "--base_url"),
        ({"seed": -1}, "--seed"),
        ({"per_class": 0}, "--per_class"),
        ({"key": Path("study/key.json"), "output": Path("study")}, "participants see"),
        ({"key": Path("study.zip"), "output": Path("study")}, "is also the archive"),
        ({"width": 10**6}, "--width"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as raised:
        options(tmp_path, **changes)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"practice": 3}, "--practice: 3 is odd"),
        ({"practice": 3, "protocol": "timed"}, "--practice: 3 is odd"),
        ({"exposure_ms": 500}, "--exposure_ms: goes with --protocol timed.*, not single"),
        ({"exposure_ms": 500, "protocol": "pair"}, "--exposure_ms: .*, not pair"),
        ({"protocol": "pairs"}, "--protocol: 'pairs': .*did you mean pair"),
    ],
)
def test_what_the_protocol_does_not_allow_is_refused_before_anything_is_read(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        export_study(options(tmp_path, **changes))
    assert not list(tmp_path.iterdir())


def test_missing_folders_are_refused(root: Path) -> None:
    for changes, message in (
        ({"real": None}, "--real: is missing"),
        ({"fake": []}, "--fake: is missing"),
        ({"real": root / "reel"}, "did you mean"),
    ):
        with pytest.raises(ImpastoError, match=message):
            export_study(options(root, **changes))


def test_a_real_study(monet2photo: Path, tmp_path: Path) -> None:
    done = export_study(
        options(
            tmp_path,
            real=monet2photo / "testB",
            fake=[f"monet={monet2photo / 'testA'}"],
            per_class=10,
            width=256,
            height=256,
        )
    )
    assert done.audit.passed
    assert done.audit.pictures == 22
