"""The work of an export: it grows with its pictures, not with their square; nothing is in vain."""

import itertools
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
from PIL import Image

from impasto.options.errors import ImpastoError, OptionError, PictureError
from impasto.options.survey import SurveyExportOptions
from impasto.survey.audit import orders as audit_orders
from impasto.survey.audit.texts import _Index, find_terms
from impasto.survey.export import job, orders, select
from impasto.survey.export.job import draw_check, export_study, find_font
from impasto.survey.export.orders import Shown, make_orders
from impasto.survey.key import read_key
from impasto.survey.study import Study


def make_pictures(folder: Path, count: int, seed: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for index in range(count):
        noise = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        noise.resize((32, 32)).save(folder / f"{folder.name}{index}.png")


def options(root: Path, **changes: Any) -> SurveyExportOptions:
    values: dict[str, Any] = {
        "output": root / "study",
        "real": root / "real",
        "fake": [f"gan={root / 'gan'}"],
        "per_class": 3,
        "practice": 2,
        "orders": 6,
        "width": 32,
        "height": 32,
        "seed": 1,
    }
    return SurveyExportOptions(**{**values, **changes})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_pictures(tmp_path / "real", 8, 1)
    make_pictures(tmp_path / "gan", 8, 2)
    return tmp_path


def count_calls(work: Callable[[], object]) -> int:
    """Count the calls of functions, of Python and of C, that some work takes."""
    calls = 0

    def note(_frame: object, event: str, _what: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.slow
def test_an_export_of_five_times_the_pictures_takes_five_times_the_calls(tmp_path: Path) -> None:
    make_pictures(tmp_path / "real", 102, 1)
    make_pictures(tmp_path / "gan", 102, 2)
    calls = {}
    for count in (20, 100):
        made = options(tmp_path, per_class=count, output=tmp_path / f"s{count}", orders=10)
        calls[count] = count_calls(partial(export_study, made))
    sys.stdout.write(f"calls by pictures of a class: {calls}\n")
    # What does not depend on the number of pictures is in both.
    assert calls[100] < 5 * calls[20]


class Counted(list[Any]):
    """A list that counts the items that are read."""

    read = 0

    def __getitem__(self, place: Any) -> Any:
        got = super().__getitem__(place)
        type(self).read += len(got) if isinstance(place, slice) else 1
        return got

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            type(self).read += 1
            yield item


def test_whether_a_picture_fits_is_told_by_the_last_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come before it: slices and loops are no calls, so items read are counted."""
    most: dict[int, int] = {}
    whole = orders._mix

    def counting(items: Any, rng: Any, fits: Callable[[Any, Any], bool]) -> Any:
        def counted(before: Any, one: Any) -> bool:
            given = Counted(before)
            Counted.read = 0
            fit = fits(given, one)
            most[len(items)] = max(most.get(len(items), 0), Counted.read)
            return fit

        return whole(items, rng, counted)

    monkeypatch.setattr(orders, "_mix", counting)
    for count in (20, 400):
        shown = [Shown(token=f"t{n}", fake=n % 2 == 0, scene=f"s{n}") for n in range(count)]
        rng = np.random.default_rng(0)
        assert len(make_orders(shown, [], rng, count=2, pairs=False, max_run=8)[0]) == count
    # The one before it, and a run.
    assert most == {20: 1 + 8, 400: 1 + 8}


def test_a_run_of_sides_is_told_by_the_last_ones() -> None:
    before = Counted([True, False] * 5000)
    Counted.read = 0
    assert not orders._too_long(before, False, 8)
    assert orders._too_long(Counted([True] * 8), True, 8)
    assert not orders._too_long(Counted([True] * 7), True, 8)
    assert Counted.read == 8 + 8 + 7
    # And no more of them is handed over: of coins that fall in turns, the first row is taken.
    pairs = [
        tuple(Shown(token=f"{side}{n}", fake=side == "f", scene=f"{n}") for side in "rf")
        for n in range(1000)
    ]

    class Coins:
        def integers(self, *_: Any, **__: Any) -> "Coins":
            return self

        def astype(self, _: type) -> "Coins":
            return self

        def tolist(self) -> Counted:
            return Counted([True, False] * 500)

        def permutation(self, count: int) -> Any:
            return np.arange(count)

    Counted.read = 0
    made = orders._sides(pairs, Coins(), 8)  # type: ignore[arg-type]
    assert made[:2] == [("f0", "r0"), ("r1", "f1")]
    # Each is looked at twice, here and in the result, and so is a run before each but the first.
    assert Counted.read == 1000 + 1000 + sum(min(8, place) for place in range(1000))


def test_a_text_is_looked_at_once_however_many_secrets_are_searched_for() -> None:
    looked_at = {}
    for count in (500, 4000):
        text = " ".join(f"t{number:06d}.png 1" for number in range(count))
        terms = {f"photo {number}.png": "name of a source" for number in range(count)}
        assert find_terms(text, terms) == ([], [])
        index = _Index(text, terms)
        assert all(index.find(term) is None for term in terms)
        looked_at[count] = index.looked_at
    # "png" is everywhere, "1" as often, "photo" and the numbers nowhere: nothing is compared.
    assert looked_at == {500: 0, 4000: 0}
    hits, _ = find_terms("a t000001.png, Photo 3.PNG; b", {"photo 3.png": "name of a source"})
    assert [hit.around for hit in hits] == ["a t000001.png, photo 3.png; b"]


@pytest.mark.parametrize("term", ["...", "- -", "山川", "été", "a.山", "1-2"])
def test_terms_of_any_signs_are_found_as_words(term: str) -> None:
    for around, found in ((f"x {term} y", True), (f"9{term}", False), (f"{term}z", False)):
        hits, _ = find_terms(around, {term: "name of a source"})
        assert [hit.term for hit in hits] == ([term] if found else [])
    # The first may have no border, and the second overlaps it.
    hits, _ = find_terms(f"b{term}{term[-1]} {term} ", {term: "name of a source"})
    assert len(hits) == 1


def test_orders_are_measured_in_few_steps_however_many_pictures_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And as by hand: the longest run, and the share of like neighbors, of each labeling."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=(50, 12)).astype(bool)
    orders = np.array([rng.permutation(12) for _ in range(3)])
    measured = audit_orders._measure(labels, orders, is_pair=False)
    for row, label in enumerate(labels):
        runs, same = [], 0
        for order in orders:
            text = "".join("fr"[int(label[place])] for place in order)
            longest = max(n for n in range(13) if "f" * n in text or "r" * n in text)
            runs.append(longest)
            same += sum(one == other for one, other in itertools.pairwise(text))
        assert measured["longest run of all"][row] == max(runs)
        assert measured["longest runs"][row] == pytest.approx(np.mean(runs))
        assert measured["like neighbors"][row] == pytest.approx(same / 33)

    steps: list[int] = []
    whole = audit_orders._measure

    def noted(labels: Any, *values: Any, **named: Any) -> Any:
        steps.append(len(labels))
        return whole(labels, *values, **named)

    monkeypatch.setattr(audit_orders, "_measure", noted)
    taken = {}
    for count in (20, 320):
        steps.clear()
        fake = {f"t{number:04d}": bool(number % 2) for number in range(count)}
        shown = [Shown(token=token, fake=one, scene=token) for token, one in fake.items()]
        made = make_orders(shown, [], rng, count=4, pairs=False)
        study = Study(
            survey_id="s",
            version="0",
            protocol="single",
            question="real",
            pictures={token: f"images/{token}.png" for token in fake},
            width=8,
            height=8,
            practice=[],
            orders=made,
            real_share=0.5,
        )
        audit_orders.find_habits(study, fake, np.random.default_rng(1), permutations=3000)
        taken[count] = list(steps)
    sys.stdout.write(f"labelings measured at once, by pictures: {taken}\n")
    assert taken[20] == taken[320]


# Duplicates


def test_duplicates_are_all_named_before_a_picture_is_prepared(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 4, 6):
        shutil.copy(root / "real" / f"real{number}.png", root / "gan" / f"copy{number}.png")

    def prepare(path: Path, _: object) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(select, "prepare", prepare)
    with pytest.raises(PictureError) as caught:
        export_study(options(root, per_class=6))
    for number in (1, 4, 6):
        assert str(root / "real" / f"real{number}.png") in str(caught.value)
        assert str(root / "gan" / f"copy{number}.png") in str(caught.value)


def test_pictures_that_are_excluded_are_named_as_no_duplicates(root: Path) -> None:
    for number in (1, 4, 6):
        shutil.copy(root / "real" / f"real{number}.png", root / "gan" / f"copy{number}.png")
    for number in (5, 6, 7):  # so that all others are needed
        (root / "gan" / f"gan{number}.png").unlink()
    listed = root / "exclude.txt"
    listed.write_text("real1.png\ncopy4.png\n", "utf-8")
    with pytest.raises(PictureError) as caught:
        export_study(options(root, per_class=6, exclude=listed))
    assert "copy6.png" in str(caught.value)
    assert "real6.png" in str(caught.value)
    for name in ("real1.png", "copy1.png", "real4.png", "copy4.png"):
        assert name not in str(caught.value)


def test_one_file_twice_in_a_folder_is_passed_over_without_being_prepared_twice(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(8):
        shutil.copy(root / "gan" / f"gan{number}.png", root / "gan" / f"same{number}.png")
    prepared: list[Path] = []
    whole = select.prepare

    def noted(path: Path, preparation: Any) -> Any:
        prepared.append(path)
        return whole(path, preparation)

    monkeypatch.setattr(select, "prepare", noted)
    done = export_study(options(root, per_class=6))
    numbers = [path.stem[-1] for path in prepared if path.parent.name == "gan"]
    assert len(numbers) == len(set(numbers)) == 7
    assert all(reason.startswith("shows the same as") for reason in done.passed_over.values())


def test_excluded_pictures_are_not_shown_and_unknown_ones_are_named(root: Path) -> None:
    listed = root / "exclude.txt"
    excluded = {"real1.png", "gan2.png", "gan3.png"}
    listed.write_text(
        f"# watermarks\nreal1.png\n\n{root / 'gan' / 'gan2.png'}\ngan3.png\n", "utf-8"
    )
    done = export_study(options(root, per_class=5, practice=0, exclude=listed))
    used = {Path(one.source).name for one in read_key(done.key).pictures.values() if one.source}
    assert len(used) == 10
    assert not used & excluded
    assert {path.name for path in done.passed_over} == excluded
    listed.write_text("real1.png\nreal99.png\n", "utf-8")
    with pytest.raises(OptionError, match=r"line 2: real99.png is no picture of --real or --fake"):
        export_study(options(root, output=root / "again", exclude=listed))


@pytest.mark.parametrize("line", ["gan/gan2.png", "./gan/../gan/gan2.png", "~/gan/gan2.png"])
def test_a_path_from_here_or_home_is_excluded(
    root: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", str(root))
    monkeypatch.setenv("USERPROFILE", str(root))
    listed = root / "exclude.txt"
    listed.write_text(f"{line}\n", "utf-8")
    done = export_study(options(root, per_class=5, practice=0, exclude=listed))
    assert set(done.passed_over) == {root / "gan" / "gan2.png"}


# Fonts


@pytest.fixture
def wide_font(tmp_path: Path) -> Path:
    """A font whose letters, three of them Japanese, are all the same square."""
    letters = "さくらRED"
    names = [".notdef", *(f"u{ord(letter):04X}" for letter in letters)]
    empty, pen = TTGlyphPen(None).glyph(), TTGlyphPen(None)
    pen.moveTo((0, 0))
    for place in ((0, 900), (900, 900), (900, 0)):
        pen.lineTo(place)
    pen.closePath()
    square = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): f"u{ord(letter):04X}" for letter in letters})
    builder.setupGlyf({name: empty if name == ".notdef" else square for name in names})
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=1000, sTypoDescender=-200)
    builder.setupPost()
    path = tmp_path / "squares.ttf"
    builder.save(path)
    return path


def test_a_font_of_the_system_is_found_where_ours_lacks_a_letter(
    wide_font: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = wide_font.with_name("a.ttf")
    broken.write_bytes(b"no font")
    monkeypatch.setattr(job, "_system_fonts", lambda: [broken, job._own_font(), wide_font])
    assert find_font(["さくら", "RED"]) == wide_font
    assert find_font(["Bitte", "ECHT"]) == job._own_font()
    with pytest.raises(ImpastoError, match="has '請'; give one that does with --font"):
        find_font(["請"])


def test_a_given_font_is_taken_and_its_lacks_are_said(wide_font: Path, root: Path) -> None:
    rng = np.random.default_rng(0)
    drawn = draw_check("さくら", "RED", width=64, height=64, rng=rng, font=wide_font)
    # Squares of ink, where a font without these letters leaves empty ones.
    assert (drawn == 255).all(2).mean() > 0.05
    texts = root / "texts.yaml"
    texts.write_text("attention_card: さくら\nanswer_real: Red\nanswer_fake: Re\n", "utf-8")
    made = options(root, texts=texts, font=wide_font)
    assert export_study(made).audit.passed
    with pytest.raises(OptionError, match=r"squares\.ttf has no 'A'"):
        find_font(["A"], wide_font)
    with pytest.raises(OptionError, match="cannot be read as a font"):
        find_font(["A"], texts)


def test_a_text_of_several_lines_is_drawn_in_one(root: Path) -> None:
    def card(sentence: str, answer: str) -> Any:
        rng = np.random.default_rng(0)
        return draw_check(sentence, answer, width=96, height=64, rng=rng)

    assert find_font(["Please\nanswer\t", "RE\r\nAL"]) == job._own_font()
    assert np.array_equal(card("Please\n\tanswer\n", "RE\r\nAL"), card("Please answer", "RE AL"))
    texts = root / "texts.yaml"
    texts.write_text('attention_card: |\n  Please\n  answer\nanswer_fake: "FA\\tKE"\n', "utf-8")
    assert export_study(options(root, texts=texts)).audit.passed


def test_letters_from_right_to_left_are_refused_where_pillow_would_turn_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("PIL.features.check", lambda name: name != "raqm")
    assert find_font(["Please answer", "REAL 1"]) == job._own_font()
    for text in ("\u05d0\u05de\u05ea", "\u0635\u0648\u0631\u0629"):
        with pytest.raises(ImpastoError, match="written from right to left"):
            find_font([text])
    monkeypatch.setattr("PIL.features.check", lambda _: True)
    assert find_font(["\u0635"]) == job._own_font()


def test_a_missing_letter_is_said_before_a_picture_is_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "_system_fonts", list)
    monkeypatch.setattr(job, "gather", lambda *_, **__: pytest.fail("pictures were read"))
    texts = root / "texts.yaml"
    texts.write_text("attention_card: 请回答\n", encoding="utf-8")
    with pytest.raises(ImpastoError, match="no font for the cards of attention checks has"):
        export_study(options(root, texts=texts))
