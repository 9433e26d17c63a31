"""`giverny stylize`: show one picture in the style of others."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Never

from giverny.options.command_line import CommandParser
from giverny.options.stylize import StylizeOptions

if TYPE_CHECKING:
    from tqdm import tqdm

    from giverny.gatys.animation import Film
    from giverny.gatys.iterates import Iterate
    from giverny.gatys.loss_log import LossLog
    from giverny.gatys.recipe import Facts
    from giverny.gatys.stylizing import Plan, StylizeResult

__all__ = ["main"]

_EPILOG = """examples:
  giverny stylize photo.jpg starry_night.jpg --output night.png
  giverny stylize photo.jpg a.jpg b.jpg --style_weights 2 1 --size 512 --output mixed.png
  giverny stylize photo.jpg starry.jpg scream.jpg --masks sky.png=starry.jpg --output sky.png
  giverny stylize photo.jpg monets/ --keep_colours luminance --video making.gif --output out.png
  giverny stylize --config night.png.yaml --output again.png

Beside OUTPUT lie its recipe, OUTPUT.yaml, which makes it again, and its losses.
"""
# Evaluations between rows of the losses, and frames of the video.
_EVERY = 10


def main(argv: Sequence[str]) -> int:
    """Parse, stylize, write; return the exit status."""
    options, config = _parse(argv)

    from tqdm import tqdm  # noqa: PLC0415 - torch and the rest come after parsing

    from giverny.gatys.animation import Film  # noqa: PLC0415
    from giverny.gatys.loss_log import LossLog  # noqa: PLC0415
    from giverny.gatys.stylizing import stylize  # noqa: PLC0415
    from giverny.runs.interrupts import Interrupts  # noqa: PLC0415

    with ExitStack() as stack:
        film = stack.enter_context(Film(options.video)) if options.video else None
        log = LossLog(options.output.with_name(f"{options.output.stem}.losses.csv"))
        bar = stack.enter_context(
            tqdm(unit="it", disable=not sys.stderr.isatty(), dynamic_ncols=True)
        )
        interrupts = stack.enter_context(Interrupts())

        def begin(plan: "Plan") -> None:
            bar.write(str(plan))
            for change in _changes(config, plan):
                bar.write(f"not as in the recipe: {change}")
            bar.reset(plan.evaluations)

        result = stylize(
            options,
            begin=begin,
            watcher=_watcher(options, log, film, bar),
            every=options.save_every or _EVERY,
            stop=lambda: interrupts.received is not None,
        )
        _write(result, options)
        if film is not None:
            film.write()
        if options.plot_losses is not None:
            _plot(log, options.plot_losses)
    return 0 if interrupts.received is None else 128 + interrupts.received


def _parse(argv: Sequence[str]) -> tuple[StylizeOptions, list[Path]]:
    """Return the options, and the files they were read from."""
    parser = CommandParser(
        "giverny stylize",
        StylizeOptions,
        description="Show one picture in the style of others, by optimisation.",
        epilog=_EPILOG,
        positionals=" [CONTENT STYLE [STYLE ...]]",
        lists={
            "style_weights": float,
            "iterations": int,
            "content_layers": str,
            "style_layers": str,
            "masks": str,
        },
    )
    parser.add_argument(
        "pictures",
        nargs="*",
        metavar="PICTURE",
        help="what to show, then how: one or more style pictures, or folders of them",
    )
    parsed = parser.parse(argv)
    given = [Path(picture) for picture in parsed.pictures]
    if given:
        if len(given) < 2 and not parsed.styles:
            parser.error(f"{given[0]} is what to show; give at least one style picture after it")
        parsed.content = given[0]
        parsed.styles = given[1:] or parsed.styles
    options = parser.make(StylizeOptions, parsed, drop=["pictures"])
    if options.content is None or not options.styles:
        parser.error("expected a content picture and at least one style picture")
    return options, [Path(str(path)) for path in parsed.config or ()]


def _changes(config: Sequence[Path], plan: "Plan") -> list[str]:
    """Say what will not be as in a recipe that the options are from."""
    import torch  # noqa: PLC0415

    from giverny.gatys.recipe import changes_since, read_recipe  # noqa: PLC0415

    recipes = [read_recipe(path) for path in config]
    return [
        change
        for recipe in recipes
        if recipe.facts is not None
        for change in changes_since(
            recipe.facts, device=str(plan.device), threads=torch.get_num_threads()
        )
    ]


def _watcher(
    options: StylizeOptions, log: "LossLog", film: "Film | None", bar: "tqdm[Never]"
) -> "Callable[[Iterate], None]":
    """Return what is told of iterates: losses, the bar, frames, and pictures that are kept."""
    from giverny.data import Picture, write_picture  # noqa: PLC0415
    from giverny.data.tensors import to_pictures  # noqa: PLC0415

    def watch(iterate: "Iterate") -> None:
        log(iterate)
        bar.update(iterate.evaluations - bar.n)
        bar.set_postfix_str(f"{iterate.width} x {iterate.height}")
        keep = options.save_every and not iterate.last
        if film is None and not keep:
            return
        rgb = to_pictures(iterate.image * 2 - 1)[0]
        if film is not None:
            film.add(rgb)
        if keep:
            name = f"{options.output.stem}_{iterate.evaluations:04d}.png"
            write_picture(options.output.with_name(name), Picture(rgb=rgb))

    return watch


def _write(result: "StylizeResult", options: StylizeOptions) -> None:
    """Write the picture, what else was asked for, and the recipe; say what was done."""
    import numpy as np  # noqa: PLC0415

    from giverny.data import Picture, write_picture  # noqa: PLC0415
    from giverny.data.encode import write_float_picture  # noqa: PLC0415
    from giverny.gatys.recipe import recipe_path, write_recipe  # noqa: PLC0415
    from giverny.gatys.triptych import draw_triptych  # noqa: PLC0415

    write_float_picture(options.output, result.image)
    if options.triptych is not None:
        shown = np.rint(result.image * 255).astype(np.uint8)
        styles = [group[0] for group in result.pictures.styles]
        sheet = draw_triptych(result.pictures.content, styles, shown)
        write_picture(options.triptych, Picture(rgb=sheet))
    write_recipe(recipe_path(options.output), _flat(options), _facts(result, options))
    height, width = result.image.shape[:2]
    how = "stopped; wrote" if result.stopped else "wrote"
    for statement in result.statements:
        if "diverged" in statement:
            print(statement)
    print(
        f"{how} {options.output} ({width} x {height}) "
        f"after {result.evaluations} evaluations in {result.seconds:.0f} s"
    )


def _flat(options: StylizeOptions) -> dict[str, object]:
    """Return the options with absolute paths, those of masks included."""
    from giverny.gatys.masks import parse_mask_pair  # noqa: PLC0415

    flat: dict[str, object] = {
        field.name: getattr(options, field.name) for field in fields(options)
    }
    masks = []
    for text in options.masks:
        pair = parse_mask_pair(text, options.styles)
        style = "untouched" if pair.style is None else options.styles[pair.style].absolute()
        masks.append(f"{pair.path.absolute()}={style}")
    return {**flat, "masks": masks}


def _facts(result: "StylizeResult", options: StylizeOptions) -> "Facts":
    import torch  # noqa: PLC0415

    from giverny.gatys.recipe import Facts, describe_file, installed_versions  # noqa: PLC0415

    weights = result.backbone.weights
    files = [*result.pictures.files, *([weights.path] if weights else [])]
    return Facts(
        inputs=[describe_file(path) for path in files],
        backbone=result.backbone.name,
        backbone_sha256=weights.sha256 if weights else "",
        versions=installed_versions(),
        device=str(result.device),
        threads=torch.get_num_threads(),
        seed=options.seed,
        evaluations=result.evaluations,
        seconds=round(result.seconds, 3),
        losses=result.losses,
        picture=describe_file(options.output),
    )


def _plot(log: "LossLog", path: Path) -> None:
    from giverny.data.atomic import atomic_path, write_error  # noqa: PLC0415
    from giverny.gatys.loss_log import draw_losses  # noqa: PLC0415
    from giverny.runs.curve_figure import figure_bytes  # noqa: PLC0415

    figure = draw_losses({"": log.rows})
    try:
        with atomic_path(path) as other:
            other.write_bytes(figure_bytes(figure, path.suffix))
    except OSError as error:
        raise write_error(path, error) from error
