"""Planted leaks are each found; the clean study of 200 pictures passes."""

import json
import os
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.options.errors import SurveyError
from impasto.options.survey import SurveyExportOptions
from impasto.survey.audit.job import audit_study
from impasto.survey.audit.report import Audit
from impasto.survey.export.archive import write_archive
from impasto.survey.export.job import export_study
from impasto.survey.key import Key, read_key

SIDE = 32


def paint(folder: Path, count: int, seed: int, name: str) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for index in range(count):
        coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(folder / f"{name}{index:04d}.png")
    return folder


@dataclass(frozen=True)
class Sample:
    """A study that a test may spoil."""

    folder: Path
    archive: Path
    key: Key

    def tokens(self, label: str) -> list[str]:
        pictures = self.key.pictures.items()
        return [name for name, one in pictures if one.label == label and one.kind == "scored"]

    def picture(self, token: str) -> Path:
        return self.folder / "images" / f"{token}.png"

    def audit(self, *, archive: bool = False, **changes: object) -> Audit:
        # Fewer permutations than by default, for speed; they still allow p-values below alpha.
        return audit_study(
            self.folder,
            self.key,
            archive=self.archive if archive else None,
            permutations=2999,
            **changes,  # type: ignore[arg-type]
        )

    def leaks(self, *, archive: bool = False) -> set[str]:
        return {row.name for row in self.audit(archive=archive).of("leak")}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    root = tmp_path_factory.mktemp("studies")
    options = SurveyExportOptions(
        output=root / "study",
        real=paint(root / "holidays", 102, 1, "snapshot"),
        fake=[f"pixelforge={paint(root / 'generated', 102, 2, 'sample')}"],
        per_class=100,
        width=SIDE,
        height=SIDE,
        orders=12,
        seed=3,
    )
    done = export_study(options)
    return Sample(folder=done.folder, archive=done.archive, key=read_key(done.key))


@pytest.fixture
def sample(exported: Sample, tmp_path: Path) -> Sample:
    folder, archive = tmp_path / "study", tmp_path / "study.zip"
    shutil.copytree(exported.folder, folder)
    shutil.copy2(exported.archive, archive)
    return replace(exported, folder=folder, archive=archive)


@pytest.mark.slow
def test_a_clean_study_of_200_pictures_passes(exported: Sample) -> None:
    audit = exported.audit(archive=True)
    assert audit.passed
    assert audit.pictures == 204
    assert audit.of("leak", "fault", "warning") == []
    rows = {row.name: row for row in audit.rows}
    for name in ("file length", "file times", "chunk lengths", "zip length", "metadata"):
        assert rows[name].detail == "the same for all"
    assert rows["name rank"].p is not None
    assert rows["name rank"].p > 0.001


def test_the_audit_is_the_same_each_time(exported: Sample) -> None:
    assert exported.audit().table() == exported.audit().table()


def set_chunk(path: Path, kind: bytes, content: bytes) -> None:
    """Put a chunk before the last, as PNG wants it."""
    stored = path.read_bytes()
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    chunk = struct.pack(">I", len(content)) + kind + content + checksum
    path.write_bytes(stored[:-12] + chunk + stored[-12:])


def leak_times(sample: Sample) -> None:
    for place, label in enumerate(("real", "fake")):
        for number, token in enumerate(sample.tokens(label)):
            # Both spread widely; fakes only tend to be later.
            seconds = 10**9 + 100 * number + 4000 * place
            os.utime(sample.picture(token), (seconds, seconds))


def leak_sizes(sample: Sample) -> None:
    for token in sample.tokens("fake"):
        with Image.open(sample.picture(token)) as picture:
            picture.load()
        picture.save(sample.picture(token), compress_level=9)


def leak_dimensions(sample: Sample) -> None:
    for token in sample.tokens("real")[:90]:
        with Image.open(sample.picture(token)) as picture:
            picture.resize((SIDE + 1, SIDE)).save(sample.picture(token), compress_level=0)


def leak_format(sample: Sample) -> None:
    for token in sample.tokens("real"):
        with Image.open(sample.picture(token)) as picture:
            picture.convert("RGB").save(sample.picture(token), "JPEG", quality=90)


def leak_tables(sample: Sample) -> None:
    for label, quality in (("real", 90), ("fake", 91)):
        for token in sample.tokens(label):
            with Image.open(sample.picture(token)) as picture:
                picture.convert("RGB").save(sample.picture(token), "JPEG", quality=quality)


def leak_mode(sample: Sample) -> None:
    for token in sample.tokens("fake"):
        with Image.open(sample.picture(token)) as picture:
            picture.convert("RGBA").save(sample.picture(token), compress_level=0)


def leak_rights(sample: Sample) -> None:
    for token in sample.tokens("fake"):
        sample.picture(token).chmod(0o600)


def leak_name_order(sample: Sample) -> None:
    """Names that are no words, and in the alphabet tend to begin with the real ones."""
    rename(sample, lambda label, number: f"{'bc'[label == 'fake' or number > 80]}{number:05d}x")


def leak_names(sample: Sample) -> None:
    rename(sample, lambda label, number: f"{number:05d}{label}")


def leak_name_ends(sample: Sample) -> None:
    rename(sample, lambda label, number: f"x{number * 7919 % 1000:05d}{label[-1]}")


def rename(sample: Sample, name: Callable[[str, int], str]) -> None:
    new = {
        token: name(label, number)
        for label in ("real", "fake")
        for number, token in enumerate(sample.tokens(label))
    }
    stored = sample.folder / "study.json"
    study = json.loads(stored.read_text(encoding="utf-8"))
    for token, other in new.items():
        sample.picture(token).rename(sample.folder / "images" / f"{other}.png")
        study["pictures"][token] = f"images/{other}.png"
    stored.write_text(json.dumps(study), encoding="utf-8")


def leak_order(sample: Sample) -> None:
    """In each order the fakes come first, or last: on average everything is in the middle."""
    kinds = {token: label for label in ("real", "fake") for token in sample.tokens(label)}
    stored = sample.folder / "study.json"
    study = json.loads(stored.read_text(encoding="utf-8"))
    for place, order in enumerate(study["orders"]):
        ends = ("real", "fake") if place % 2 else ("fake", "real")
        order.sort(key=lambda trial: ends.index(kinds.get(trial[0], "real")))
    stored.write_text(json.dumps(study), encoding="utf-8")


def leak_page(sample: Sample) -> None:
    """A class of an element that only careful readers find."""
    page = sample.folder / "index.html"
    lines = [
        f'<link rel="preload" href="images/{token}.png" class="{kind}">'
        for token, kind in sorted(
            (token, kind)
            for label, kind in (("real", "a"), ("fake", "b"))
            for token in sample.tokens(label)
        )
    ]
    text = page.read_text(encoding="utf-8").replace("</head>", "\n".join(lines) + "</head>")
    page.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (leak_times, "file times"),
        (leak_sizes, "file length"),
        (leak_dimensions, "width"),
        (leak_format, "format"),
        (leak_tables, "quantisation tables"),
        (leak_mode, "samples"),
        (leak_rights, "file rights"),
        (leak_names, "names"),
        (leak_name_ends, "name's letters"),
        (leak_name_order, "name rank"),
        (leak_order, "position"),
        (leak_page, "index.html: surroundings"),
    ],
)
def test_a_planted_leak_is_found(
    sample: Sample, plant: Callable[[Sample], None], found: str
) -> None:
    plant(sample)
    assert found in sample.leaks()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"eXIf", b"MM\0*\0\0\0\x08\0\0"),
        (b"tEXt", b"Software\0pixelforge 2"),
        (b"iCCP", b"sRGB\0\0x"),
        (b"tIME", b"\x07\xe8\x05\x01\0\0\0"),
        (b"pHYs", b"\0\0\x0b\x13\0\0\x0b\x13\x01"),
    ],
)
def test_metadata_in_a_single_picture_is_a_leak(
    sample: Sample, kind: bytes, content: bytes
) -> None:
    token = sample.tokens("fake")[0]
    set_chunk(sample.picture(token), kind, content)
    audit = sample.audit()
    named = [row.detail for row in audit.of("leak") if row.name == "metadata"]
    assert len(named) == 1
    assert named[0].startswith(f"{token}.png holds {kind.decode()}:")
    assert [row.detail for row in audit.of("fault")] == [
        f"images/{token}.png was changed since the export"
    ]


def test_bytes_after_the_end_of_a_picture_are_a_leak(sample: Sample) -> None:
    path = sample.picture(sample.tokens("real")[0])
    path.write_bytes(path.read_bytes() + b"real")
    assert "metadata" in sample.leaks()


def test_exif_of_a_jpeg_is_a_leak(sample: Sample) -> None:
    leak_tables(sample)
    path = sample.picture(sample.tokens("fake")[0])
    exif = Image.Exif()
    exif[305] = "pixelforge"
    with Image.open(path) as picture:
        picture.save(path, "JPEG", exif=exif)
    details = [row.detail for row in sample.audit().of("leak") if row.name == "metadata"]
    assert any("marker E1" in detail and "Exif" in detail for detail in details)


def rewrite_zip(sample: Sample, change: Callable[[list[zipfile.ZipInfo]], None]) -> None:
    with zipfile.ZipFile(sample.archive) as archive:
        entries = archive.infolist()
        contents = {entry.filename: archive.read(entry) for entry in entries}
    change(entries)
    with zipfile.ZipFile(sample.archive, "w") as archive:
        for entry in entries:
            archive.writestr(entry, contents[entry.filename])


def test_the_order_of_a_zip_and_its_times_are_looked_at(sample: Sample) -> None:
    fakes = set(sample.tokens("fake"))

    def by_truth(entries: list[zipfile.ZipInfo]) -> None:
        entries.sort(key=lambda entry: Path(entry.filename).stem in fakes)
        for entry in entries:
            if Path(entry.filename).stem in fakes:
                entry.date_time = (2024, 5, 1, 12, 0, 0)

    rewrite_zip(sample, by_truth)
    assert {"zip order", "zip times"} <= sample.leaks(archive=True)


def test_a_zip_that_is_compressed_is_a_leak_or_a_warning(sample: Sample) -> None:
    def squeeze(entries: list[zipfile.ZipInfo]) -> None:
        for entry in entries:
            entry.compress_type = zipfile.ZIP_DEFLATED

    rewrite_zip(sample, squeeze)
    rows = {row.name: row.status for row in sample.audit(archive=True).rows}
    assert rows["zip length"] in ("warning", "leak")


def test_a_zip_with_another_file_is_a_fault(sample: Sample) -> None:
    with zipfile.ZipFile(sample.archive, "a") as archive:
        archive.writestr("study-x/notes.txt", "pixelforge made half of them")
    audit = sample.audit(archive=True)
    assert "the archive holds notes.txt, the folder does not" in [
        row.detail for row in audit.of("fault")
    ]


def test_a_zip_that_is_none_is_a_fault(sample: Sample) -> None:
    sample.archive.write_bytes(b"PK\x03\x04 and so on")
    assert not sample.audit(archive=True).passed


@pytest.mark.parametrize(
    "write",
    [
        lambda source: f"<!-- {source} -->",
        lambda source: source.removesuffix(".png"),
        lambda source: source.upper(),
        lambda source: f"?picture={source.replace('s', '%73')}",
        lambda source: f'"{source.replace("s", chr(92) + "u0073")}"',
        lambda source: f"<p>{source.replace('s', '&#115;')}</p>",
        lambda source: f"generated/{source[:3]}",
        lambda source: f"{source[:3]} is by PixelForge",
    ],
)
def test_secret_words_are_found_in_any_public_text(
    sample: Sample, write: Callable[[str], str]
) -> None:
    source = Path(sample.key.pictures[sample.tokens("real")[0]].source).name
    path = sample.folder / "platforms" / "qualtrics.txt"
    path.write_text(path.read_text(encoding="utf-8") + write(source), encoding="utf-8")
    assert "text of platforms/qualtrics.txt" in sample.leaks()


def test_a_key_in_the_folder_is_a_leak(sample: Sample, exported: Sample) -> None:
    key = exported.folder.with_name("study.key.json")
    shutil.copy(key, sample.folder / "notes.json")
    assert "text of notes.json" in sample.leaks()


def test_a_link_to_a_source_is_a_leak(sample: Sample) -> None:
    token = sample.tokens("real")[0]
    source = Path(sample.key.pictures[token].source)
    sample.picture(token).unlink()
    sample.picture(token).symlink_to(source)
    assert {"links", "file kind"} & sample.leaks()


def test_a_picture_that_is_gone_or_exchanged_is_a_fault(sample: Sample) -> None:
    first, second = sample.tokens("real")[:2]
    sample.picture(first).unlink()
    shutil.copy2(sample.picture(second), sample.picture(sample.tokens("fake")[0]))
    details = [row.detail for row in sample.audit().of("fault")]
    assert any(detail.startswith(f"images/{first}.png: No such file") for detail in details)
    assert sum("was changed since the export" in detail for detail in details) == 1


def test_the_truth_of_a_judged_picture_among_practice_is_a_leak(sample: Sample) -> None:
    stored = sample.folder / "study.json"
    study = json.loads(stored.read_text(encoding="utf-8"))
    study["practice"].append({"trial": [sample.tokens("fake")[0]], "answer": "fake"})
    stored.write_text(json.dumps(study), encoding="utf-8")
    assert "practice" in sample.leaks()


def test_times_that_only_copying_has_changed_are_a_warning(sample: Sample) -> None:
    for number, path in enumerate(sorted((sample.folder / "images").iterdir())):
        os.utime(path, (10**9 + number, 10**9 + number))
    audit = sample.audit()
    assert audit.passed
    assert [row.name for row in audit.of("warning")] == ["file times"]


def reorder(sample: Sample, arrange: Callable[[list[str], list[str]], list[str]]) -> None:
    """Replace all orders; ``arrange`` gets mixed real and fake pictures."""
    stored = sample.folder / "study.json"
    study = json.loads(stored.read_text(encoding="utf-8"))
    rng = np.random.default_rng(0)
    for order in study["orders"]:
        reals = rng.permutation(sample.tokens("real")).tolist()
        fakes = rng.permutation(sample.tokens("fake")).tolist()
        order[:] = [[token] for token in arrange(reals, fakes)]
    stored.write_text(json.dumps(study), encoding="utf-8")


def alternate(reals: list[str], fakes: list[str]) -> list[str]:
    return [token for pair in zip(reals, fakes, strict=True) for token in pair]


def in_balanced_halves(reals: list[str], fakes: list[str]) -> list[str]:
    rng = np.random.default_rng(len(reals) + ord(reals[0][0]))
    half = len(reals) // 2
    halves = ([*reals[:half], *fakes[:half]], [*reals[half:], *fakes[half:]])
    return [token for part in halves for token in rng.permutation(part).tolist()]


@pytest.mark.parametrize(
    ("arrange", "found"),
    [
        (alternate, "orders: like neighbors"),
        (in_balanced_halves, "orders: balance of halves"),
    ],
)
def test_rules_of_orders_that_follow_from_the_truth_are_leaks(
    sample: Sample, arrange: Callable[[list[str], list[str]], list[str]], found: str
) -> None:
    reorder(sample, arrange)
    assert found in sample.leaks()


def test_orders_by_chance_are_no_leak(sample: Sample) -> None:
    rng = np.random.default_rng(1)
    reorder(sample, lambda reals, fakes: rng.permutation([*reals, *fakes]).tolist())
    assert not {name for name in sample.leaks() if name.startswith("orders")}


def test_pixels_that_differ_are_a_warning_and_no_leak(sample: Sample) -> None:
    rng = np.random.default_rng(1)
    for token in sample.tokens("fake"):
        with Image.open(sample.picture(token)) as picture:
            pixels = np.asarray(picture).astype(float)
        noisy = np.clip(pixels + rng.normal(0, 12, pixels.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(sample.picture(token), compress_level=0)
    audit = sample.audit()
    assert "pixels: fine detail" in [row.name for row in audit.of("warning")]
    assert not any(row.name.startswith("pixels") for row in audit.of("leak"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-3], "is no JSON"),
        (lambda text: f"[{text}]", "is no study"),
        (lambda text: re.sub(r"images/(\w+)\.png", r"../\1.png", text), "lies outside"),
        (lambda text: re.sub(r'"images/\w+\.png"', '"/etc/passwd"', text), "lies outside"),
        (lambda text: text.replace('"survey_id": "', '"survey_id": "z'), "the key is of"),
        (lambda text: text.replace('"orders"', '"orderz"'), "is no study"),
    ],
)
def test_a_tampered_study_is_refused(
    sample: Sample, change: Callable[[str], str], message: str
) -> None:
    path = sample.folder / "study.json"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(SurveyError, match=message):
        sample.audit()


def test_a_folder_without_a_study_is_refused(exported: Sample, tmp_path: Path) -> None:
    with pytest.raises(SurveyError, match=r"no study\.json"):
        audit_study(tmp_path, exported.key)


def test_a_new_zip_of_the_same_folder_passes(sample: Sample) -> None:
    sample.archive.unlink()
    write_archive(sample.folder, sample.archive, prefix="other")
    assert sample.audit(archive=True).passed
