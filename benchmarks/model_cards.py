"""Write the card of each painter that ships: docs/painters/NAME.md, from its file and its numbers.

    python benchmarks/model_cards.py
    python benchmarks/model_cards.py --evaluation vangogh=evaluation/results.json
    python benchmarks/model_cards.py --photographs ../shared/pictures/large/photo

A card says what the file of the model says of itself, and the numbers in docs/painters/NAME.json,
which --evaluation takes from what `impasto evaluate NAME` wrote, with the rows "do nothing" and
"floor". Parts between <!-- by hand --> and <!-- end --> are somebody's own words, and stay. Each
card shows the sample photographs (docs/figures/painters/NAME.jpg). --photographs makes sheets of
thirty pictures, at even distances in the order of their names, so that nobody chose them, in
build/painters: they are not ours, so that they are not committed.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import yaml

from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.convert import paint_fitted
from impasto.cyclegan.models import ShippedModel, painters
from impasto.cyclegan.weights import LoadedGenerator, load_generator
from impasto.data import Picture, read_picture, write_picture
from impasto.data.files import list_pictures
from impasto.data.samples.photographs import sample_photographs
from impasto.data.sheets import Cell, draw_sheet
from impasto.data.transforms import limit_long_side
from impasto.options import TrainOptions
from impasto.options.fields import default_values

__all__ = ["card", "chosen_rows", "main"]

_ROOT = Path(__file__).parents[1]
_CARDS, _FIGURES = _ROOT / "docs" / "painters", _ROOT / "docs" / "figures" / "painters"
_THIRTY = 30
_CELL_PX, _SMALL_PX, _SEEN_PX = 256, 192, 512
_BY_HAND = re.compile(r"<!-- by hand: (\w+) -->\n(.*?)<!-- end -->", re.DOTALL)
_EMPTY = "Nobody has written this yet.\n"

# Measures in the order of the table: key, name, digits. The first that a result has of a kind is
# shown; a network's measures carry its name.
_MEASURES = (
    ("strokes", "strokes, times the floor \u2193", 2),
    ("swd", "SWD \u2193", 1),
    ("swd_256", "SWD, 256 px \u2193", 1),
    ("swd_128", "SWD, 128 px \u2193", 1),
    ("swd_64", "SWD, 64 px \u2193", 1),
    ("swd_32", "SWD, 32 px \u2193", 1),
    ("swd_16", "SWD, 16 px \u2193", 1),
    ("kid", "KID \u2193", 3),
    ("fid", "FID \u2193", 2),
    ("palette", "palette \u2193", 2),
    ("content", "content distance \u2193", 3),
    ("ssim", "SSIM \u2191", 3),
    ("grid_2", "grid, 2 px \u2193", 2),
    ("grid_4", "grid, 4 px \u2193", 2),
)


def chosen_rows(results: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what a card needs of the numbers that `impasto evaluate` wrote.

    Args:
        results: content of results.json.
        name: name of the model.

    Raises:
        SystemExit: there is no row of this model, or several could be it.
    """
    rows = results["rows"]
    own = [row for row in rows if row["kind"] == "result"]
    named = [row for row in own if row["name"] in {name, f"{name} (shipped)"}]
    own = named or own
    if len(own) != 1:
        found = ", ".join(row["name"] for row in rows)
        raise SystemExit(f"results.json: expected one row of {name}, found {found}")
    references = {row["kind"]: row for row in rows if row["kind"] in {"nothing", "floor"}}
    if len(references) != 2:
        raise SystemExit(
            "results.json: expected rows of the inputs and of other real pictures; give "
            "impasto evaluate both --real and --inputs"
        )
    facts = results.get("facts", {})
    kept = ("features", "compared as", "patches", "strokes", "versions")
    return {
        **references,
        "result": own[0],
        "real_pictures": results["real_pictures"],
        "seed": results["seed"],
        "facts": {key: facts[key] for key in kept if key in facts},
    }


def card(
    model: ShippedModel,
    loaded: LoadedGenerator,
    numbers: Mapping[str, Any] | None,
    before: str = "",
) -> str:
    """Return the card of a model, as Markdown.

    Args:
        model: the model.
        loaded: its generator.
        numbers: what :func:`chosen_rows` returned; None if it was not measured.
        before: the card as it is, whose parts by hand stay.
    """
    parts = dict(_BY_HAND.findall(before))

    def by_hand(name: str) -> str:
        return f"<!-- by hand: {name} -->\n{parts.get(name, _EMPTY)}<!-- end -->"

    size = f"{model.path.stat().st_size / 1e6:.1f} MB"
    facts = {"file": f"`cyclegan/pretrained/{model.path.name}`, {size}", **_facts(loaded)}
    return f"""<!-- written by benchmarks/model_cards.py; only what is by hand stays -->
# {model.label}: {model.what}

```
impasto translate PHOTOS --model {model.name} --output DIR
```

![Sample photographs, and what the model makes of them](../figures/painters/{model.name}.jpg)

*Photographs: scikit-image; two of scikit-learn, CC BY 2.0. Each with its translation at its right.*

| | |
|---|---|
{chr(10).join(f"| {name} | {text} |" for name, text in facts.items())}

{by_hand("training")}

{_options(loaded)}## Numbers

{_table(numbers)}

## By eye

{by_hand("eye")}

## Thirty pictures that nobody chose

`python benchmarks/model_cards.py --photographs FOLDER` writes them to
`build/painters/{model.name}.jpg`: thirty pictures at even distances in the order of their names.
Photographs that are not ours are not committed.

## Failures

{by_hand("failures")}

## Licence

The weights are under Impasto's MIT licence. The paintings and photographs of the training are not
in the package.
"""


def _facts(loaded: LoadedGenerator) -> dict[str, str]:
    said = loaded.provenance
    count = sum(weights.numel() for weights in loaded.network.parameters())
    strokes = "a few pixels wide, whatever the size of the picture"
    if loaded.strokes_at_px is not None:
        strokes = (
            f"right for pictures whose shorter side is about {loaded.strokes_at_px:.0f} pixels; "
            "`--stroke_scale auto` makes them larger in larger pictures"
        )
    weights = said.get("weights", "last")
    if "strength" in said:
        share = float(said["strength"])
        weights += f"; {share:.0%} of the translation and {1 - share:.0%} of the picture, folded in"
    images, epoch = said.get("images", "0"), said.get("epoch", "unknown")
    time = timedelta(seconds=int(said["seconds"])) if "seconds" in said else None
    training = (
        f"`{said.get('recipe', 'unknown')}`, to epoch {epoch}: {int(images):,} pictures of each"
    )
    training += "" if time is None else f", {time} (hours, minutes, seconds)"
    training += f", on {said['machine']}" if "machine" in said else ""
    return {
        "network": f"{loaded.architecture}; {count:,} weights, in float16",
        "weights": weights,
        "strokes": strokes,
        "data": said.get("data", "unknown"),
        "training": training,
        "made": f"{said.get('date', 'unknown')}, Impasto {said.get('impasto', '?')}, "
        f"torch {said.get('torch', '?')}",
    }


def _options(loaded: LoadedGenerator) -> str:
    """Return what the training's options were, where they differ from the defaults."""
    options = json.loads(loaded.provenance.get("options", "{}"))
    usual = default_values(TrainOptions)
    other = {key: value for key, value in options.items() if usual.get(key, value) != value}
    if not other:
        return ""
    text = yaml.safe_dump(other, default_flow_style=None, sort_keys=True, width=100).strip()
    return f"Options that differ from the defaults of `impasto train`:\n\n```\n{text}\n```\n\n"


def _table(numbers: Mapping[str, Any] | None) -> str:
    """Return the numbers with the rows that they have to be compared with."""
    if numbers is None:
        return "It was not measured yet."
    kinds = ("nothing", "floor", "result")
    lines = [
        "| | do nothing | floor (other real pictures) | result | way closed |",
        "|---|---|---|---|---|",
    ]
    counts = [str(numbers[kind]["pictures"]) for kind in kinds]
    lines.append(f"| pictures | {' | '.join(counts)} | |")
    for measure, name, digits in _MEASURES:
        key, heading = _key_of(measure, numbers["result"])
        if key is None:
            continue
        shown = [_shown(numbers[kind].get(key), digits) for kind in kinds]
        share = numbers["result"].get("closed", {}).get(key)
        closed = "" if share is None else f"{share:.0%}"
        label = name.replace(measure.upper(), heading, 1) if heading else name
        lines.append(f"| {label} | {' | '.join(shown)} | {closed} |")
    facts = "; ".join(f"{key}: {text}" for key, text in numbers["facts"].items())
    said = [
        f"`impasto evaluate`, {numbers['real_pictures']} real pictures, seed {numbers['seed']}.",
        'What each number means, and what "way closed" is: [evaluating.md](../evaluating.md).',
        f"{facts}." if facts else "",
    ]
    return "\n".join(lines) + "\n\n" + "\n".join(line for line in said if line)


def _key_of(measure: str, row: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the key of a measure, and its heading where that names a network."""
    if row.get(measure) is not None:
        return measure, ""
    found = [key for key in row if key.lower().startswith(f"{measure} (") and key.endswith(")")]
    return (found[0], found[0]) if found and row[found[0]] is not None else (None, "")


def _shown(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Write all cards, and the figures."""
    assert __doc__  # noqa: S101 - for mypy
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--evaluation", nargs="+", default=[], metavar="NAME=FILE", help="numbers to take"
    )
    parser.add_argument("--photographs", nargs="+", type=Path, default=[], help="folders")
    parser.add_argument("--no_figures", action="store_true", help="leave the figures as they are")
    parser.add_argument("--cards", type=Path, default=_CARDS, help="folder of the cards")
    parser.add_argument("--figures", type=Path, default=_FIGURES, help="folder of the figures")
    parser.add_argument("--build", type=Path, default=_ROOT / "build" / "painters")
    given = parser.parse_args(argv)
    given.cards.mkdir(parents=True, exist_ok=True)
    known = {model.name: model for model in painters()}
    for words in given.evaluation:
        name, _, file = words.partition("=")
        if name not in known or not file:
            parser.error(f"--evaluation: expected NAME=FILE with one of {', '.join(known)}")
        if not Path(file).is_file():
            parser.error(f"--evaluation: {file} is no file; impasto evaluate writes results.json")
        rows = chosen_rows(json.loads(Path(file).read_text(encoding="utf-8")), name)
        text = json.dumps(rows, indent=1, sort_keys=True) + "\n"
        (given.cards / f"{name}.json").write_text(text, encoding="utf-8")
    for model in known.values():
        loaded = load_generator(model.path)
        page, numbers = given.cards / f"{model.name}.md", given.cards / f"{model.name}.json"
        before = page.read_text(encoding="utf-8") if page.exists() else ""
        read = json.loads(numbers.read_text(encoding="utf-8")) if numbers.exists() else None
        page.write_text(card(model, loaded, read, before), encoding="utf-8")
        print(f"{page}: the card of {model.name}")
        if not given.no_figures:
            figure = given.figures / f"{model.name}.jpg"
            _draw(figure, model, loaded, list(sample_photographs().items()), _CELL_PX)
        if given.photographs:
            _draw(
                given.build / f"{model.name}.jpg",
                model,
                loaded,
                _thirty(given.photographs),
                _SMALL_PX,
            )
    return 0


def _thirty(folders: Sequence[Path]) -> list[tuple[str, Any]]:
    """Return thirty pictures of folders, at even distances in the order of their names."""
    found = [path for folder in folders for path in list_pictures(folder)]
    count = min(_THIRTY, len(found))
    chosen = [found[number * len(found) // count] for number in range(count)]
    return [(path.stem, read_picture(path).rgb) for path in chosen]


def _draw(
    path: Path,
    model: ShippedModel,
    loaded: LoadedGenerator,
    photographs: Sequence[tuple[str, Any]],
    cell_px: int,
) -> None:
    """Write a sheet of photographs, each with its translation at the right."""
    translator = Translator.of(loaded, device=torch.device("cpu"))
    cells: list[Cell] = []
    for name, rgb in photographs:
        seen = limit_long_side(rgb, _SEEN_PX)
        painted = paint_fitted(seen, translator, strokes_at_px=loaded.strokes_at_px)
        cells += [Cell(label=name, rgb=seen), Cell(label=model.label, rgb=painted)]
    rows = [cells[start : start + 4] for start in range(0, len(cells), 4)]
    write_picture(path, Picture(rgb=draw_sheet(rows, cell_px=cell_px)), quality=85)
    print(f"{path}: {len(photographs)} photographs")


if __name__ == "__main__":
    raise SystemExit(main())
