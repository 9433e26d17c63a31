"""From a run to a painter that ships, and its card: pack_shipped.py and model_cards.py."""

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from impasto.cyclegan import train
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.convert import paint
from impasto.cyclegan.models import SHIPPED, find_generator, painters, read_shipped
from impasto.data import read_picture
from impasto.options import TrainOptions
from impasto.runs import read_log

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DOCS = Path(__file__).parents[2] / "docs"
ONE_SIDED: dict[str, Any] = {
    "one_sided": True,
    "lambda_nce": 1.0,
    "num_patches": 16,
    "ema_decay": 0.9,
    "display": "none",
}
PACK = runpy.run_path(str(BENCHMARKS / "pack_shipped.py"))
CARDS = runpy.run_path(str(BENCHMARKS / "model_cards.py"))


def pack(run: Path, folder: Path, *words: str) -> None:
    folder.mkdir(exist_ok=True)
    usual = {
        "--name": "vangogh",
        "--label": "Van Gogh",
        "--what": "photographs into Van Goghs",
        "--data": "7 squares (public domain)",
        "--recipe": "test.yaml",
        "--folder": str(folder),
        "--log": str(folder / "log.jsonl"),
    }
    given = {**usual, **dict(zip(words[::2], words[1::2], strict=True))}
    assert PACK["main"]([str(run), *(word for pair in given.items() for word in pair)]) == 0


@pytest.fixture
def run(tiny_options: Callable[..., TrainOptions]) -> Path:
    """A finished run of one direction, with running averages."""
    return train(tiny_options(**ONE_SIDED)).directory


def test_a_run_of_one_direction_becomes_a_model(
    run: Path,
    tiny_options: Callable[..., TrainOptions],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "shipped"
    pack(run, folder, "--strokes_at_px", "384", "--machine", "two cores")
    shipped = read_shipped(folder)["vangogh"]
    assert (shipped.what, shipped.label) == ("photographs into Van Goghs", "Van Gogh")
    assert (shipped.strokes_at_px, shipped.is_painter, shipped.opposite) == (384, True, None)
    weights = load_file(shipped.path)
    assert {value.dtype for value in weights.values()} == {torch.float16}
    pack(train(tiny_options(**ONE_SIDED, name="sized", strokes_at_px=300)).directory, folder)
    assert read_shipped(folder)["vangogh"].strokes_at_px == 300  # as the run says
    pack(run, folder, "--strokes_at_px", "384", "--machine", "two cores")
    averaged = find_generator(run).network.state_dict()  # what the run itself translates with
    assert all(torch.equal(weights[name], averaged[name].half()) for name in averaged)
    monkeypatch.setitem(SHIPPED, "vangogh", shipped)
    loaded = find_generator(Path("vangogh"))
    said = loaded.provenance
    records = read_log(run / "log.jsonl")
    assert said["seconds"] == str(round(sum(record["seconds"] for record in records)))
    assert said["images"] == str(max(record["images"] for record in records))
    assert (said["weights"], said["direction"]) == ("averaged", "AtoB")
    assert (said["data"], said["machine"]) == ("7 squares (public domain)", "two cores")
    options = json.loads(said["options"])
    assert (options["one_sided"], options["ngf"]) == (True, 2)
    assert str(tmp_path) not in "".join(said.values())  # where things were is nobody's business
    assert (folder / "log.jsonl").read_bytes() == (run / "log.jsonl").read_bytes()
    # Half precision changes pictures by little.
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    before, after = (
        paint([rgb], Translator.of(each, device=torch.device("cpu")))[0].astype(int)
        for each in (find_generator(run), loaded)
    )
    assert np.abs(before - after).max() <= 4


def test_an_epoch_and_a_direction_are_chosen(
    tiny_options: Callable[..., TrainOptions], tmp_path: Path
) -> None:
    run = train(tiny_options(display="none")).directory
    folder = tmp_path / "shipped"
    both = {"AtoB": ("photo", "Monets into photographs"), "BtoA": ("monet", "photographs into")}
    for direction, (name, what) in both.items():
        chosen = ("--direction", direction, "--epoch", "2", "--name", name, "--what", what)
        pack(run, folder, *chosen)
    shipped = read_shipped(folder)
    assert {name: model.opposite for name, model in shipped.items()} == {
        "monet": "photo",
        "photo": "monet",
    }
    kept = find_generator(run, direction="BtoA", epoch="2").network.state_dict()
    weights = load_file(shipped["monet"].path)
    assert all(torch.equal(weights[name], kept[name].half()) for name in kept)


def test_what_cannot_ship_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shipped"
    for name in ("all", "Van Gogh", "../x"):
        with pytest.raises(SystemExit, match="--name: expected small letters"):
            pack(run, folder, "--name", name)
    with pytest.raises(SystemExit):
        pack(run, folder, "--strokes_at_px", "0")
    (folder / "other.safetensors").write_bytes(bytes(19_999_000))
    with pytest.raises(SystemExit, match=r"all models together 20,\d+,\d+, at most 20,000,000"):
        pack(run, folder)
    (folder / "other.safetensors").unlink()
    monkeypatch.setitem(PACK["pack"].__globals__, "LIMIT_BYTES", 1000)
    with pytest.raises(SystemExit, match="at most 1,000 are allowed"):
        pack(run, folder)
    assert list(folder.iterdir()) == []


def results(**changes: Any) -> dict[str, Any]:
    """Return what `impasto evaluate` writes of a model, in short."""
    rows = [
        {"name": "do nothing", "kind": "nothing", "pictures": 30, "swd": 100.25, "strokes": 17.5},
        {"name": "floor", "kind": "floor", "pictures": 29, "swd": 46.0, "strokes": 1.0},
        {
            "name": "vangogh (shipped)",
            "kind": "result",
            "pictures": 28,
            "swd": 57.04,
            "strokes": 3.456,
            "KID (lite)": 0.1234,
            "fid": None,
            "closed": {"swd": 0.797, "strokes": None, "KID (lite)": 0.5},
        },
    ]
    for row in rows[:2]:
        row["KID (lite)"] = 0.25
    facts = {"features": "lite", "inputs": "30, /home/me/photos"}
    return {"rows": rows, "real_pictures": 24, "seed": 0, "facts": facts, **changes}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_card_has_the_numbers_beside_what_they_are_compared_with(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cards = tmp_path / "shipped", tmp_path / "cards"
    pack(run, folder, "--strokes_at_px", "384")
    alone = [read_shipped(folder)["vangogh"]]
    monkeypatch.setitem(CARDS["main"].__globals__, "painters", lambda: alone)
    measured = tmp_path / "results.json"
    measured.write_text(json.dumps(results()), encoding="utf-8")
    words = ["--cards", str(cards), "--no_figures"]
    assert CARDS["main"](words) == 0
    page = (cards / "vangogh.md").read_text(encoding="utf-8")
    assert "It was not measured yet." in page
    assert CARDS["main"]([*words, "--evaluation", f"vangogh={measured}"]) == 0
    page = (cards / "vangogh.md").read_text(encoding="utf-8")
    table = {cells(line)[0]: cells(line)[1:] for line in page.splitlines() if line[:1] == "|"}
    assert table["SWD \u2193"] == ["100.2", "46.0", "57.0", "80%"]
    assert table["strokes, times the floor \u2193"] == ["17.50", "1.00", "3.46", ""]
    assert table["KID (lite) \u2193"] == ["0.250", "0.250", "0.123", "50%"]
    assert table["pictures"] == ["30", "29", "28", ""]
    assert not [name for name in table if "FID" in name]  # which was not computed
    assert "/home/me" not in page
    assert table["data"] == ["7 squares (public domain)"]
    assert "384 pixels" in table["strokes"][0]
    assert "one_sided: true" in page
    assert str(tmp_path) not in page
    # What somebody wrote by hand stays when the card is written again.
    own = "- Small faces are lost.\n"
    failures = re.compile(r"(<!-- by hand: failures -->\n).*?(<!-- end -->)", re.DOTALL)
    mine = failures.sub(lambda found: f"{found[1]}{own}{found[2]}", page)
    (cards / "vangogh.md").write_text(mine, encoding="utf-8")
    assert CARDS["main"](words) == 0
    again = (cards / "vangogh.md").read_text(encoding="utf-8")
    assert again == mine != page


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([0, 1], "expected one row of vangogh, found do nothing, floor"),
        ([1, 2], "give impasto evaluate both --real and --inputs"),
    ],
)
def test_numbers_without_their_references_are_refused(rows: list[int], says: str) -> None:
    whole = results()
    part = {**whole, "rows": [whole["rows"][place] for place in rows]}
    with pytest.raises(SystemExit, match=says):
        CARDS["chosen_rows"](part, "vangogh")


def test_sheets_show_thirty_pictures_that_nobody_chose(picture_folder: Callable[..., Path]) -> None:
    folders = [picture_folder("first", count=50, size=(8, 8)), picture_folder("second", count=10)]
    chosen = CARDS["_thirty"](folders)
    assert [name for name, _ in chosen] == [f"{2 * n:02}" for n in range(25)] + [
        f"{2 * n:02}" for n in range(5)
    ]
    assert np.array_equal(chosen[1][1], read_picture(folders[0] / "02.png").rgb)


@pytest.mark.parametrize("model", painters(), ids=lambda model: str(model.name))
def test_each_painter_has_a_card_that_is_up_to_date(model: Any) -> None:
    page = DOCS / "painters" / f"{model.name}.md"
    assert page.is_file(), "write it: python benchmarks/model_cards.py"
    before = page.read_text(encoding="utf-8")
    numbers = page.with_suffix(".json")
    read = json.loads(numbers.read_text(encoding="utf-8")) if numbers.is_file() else None
    loaded = find_generator(model.path)
    assert CARDS["card"](model, loaded, read, before) == before, "python benchmarks/model_cards.py"
    assert (DOCS / "figures" / "painters" / f"{model.name}.jpg").is_file()
