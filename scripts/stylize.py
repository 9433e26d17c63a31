"""`impasto stylize`: show one picture in the style of others."""

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Never

from impasto.options.command_line import CommandParser
from impasto.options.stylize import StylizeOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tqdm import tqdm

    from impasto.gatys.jobs.stylize import Plan, StylizeResult
    from impasto.gatys.optim.iterates import Iterate
    from impasto.gatys.outputs.film import Film
    from impasto.gatys.outputs.loss_log import LossLog
    from impasto.gatys.outputs.recipe import Facts

__all__ = ["main"]

_EPILOG = """examples:
  impasto stylize photo.jpg starry_night.jpg --output night.png
  impasto stylize photo.jpg a.jpg b.jpg --style_weights 2 1 --size 512 --output mixed.png
  impasto stylize photo.jpg starry.jpg scream.jpg --masks sky.png=starry.jpg --output sky.png
  impasto stylize photo.jpg monets/ --keep_colors luminance --video making.gif --output out.png
  impasto stylize photo.jpg starry.jpg --backbone resnet50 --style_layers layer1 layer2
  impasto stylize --config night.png.yaml --output again.png

Beside OUTPUT lie its recipe, OUTPUT.yaml, which makes it again, and its losses.
"""
# Evaluations between rows of the losses, and frames of the video.
_EVERY = 10


def main(argv: Sequence[str]) -> int:
    """Parse, stylize, write; return the exit status."""
    options, config = _parse(argv)

    from tqdm import tqdm  # noqa: PLC0415 - torch and the rest come after parsing

    from impasto.gatys.jobs.stylize import stylize  # noqa: PLC0415
    from impasto.gatys.outputs.film import Film  # noqa: PLC0415
    from impasto.runs.processes import (  # noqa: PLC0415
        Interrupts,
        keep_freed_memory,
    )

    keep_freed_memory()  # a tenth of the time at 512 pixels on the CPU
    with ExitStack() as stack:
        film = stack.enter_context(Film(options.video)) if options.video else None
        bar = stack.enter_context(
            tqdm(unit="it", disable=not sys.stderr.isatty(), dynamic_ncols=True)
        )
        interrupts = stack.enter_context(Interrupts())
        notes = _Notes(options, config, film, bar)
        result = stylize(
            options,
            begin=notes.begin,
            watcher=notes.watch,
            every=options.save_every or _EVERY,
            stop=lambda: interrupts.received is not None,
        )
        _write(result, options)
        if film is not None:
            if result.stopped:
                film.add(_eight_bits(result.image))  # as large as it would have become
            film.write()
        if options.plot_losses is not None:
            _plot(notes.log, options.plot_losses)
    return 0 if interrupts.received is None else 128 + interrupts.received


def _parse(argv: Sequence[str]) -> tuple[StylizeOptions, list[Path]]:
    """Return the options, and the files they were read from."""
    parser = CommandParser(
        "impasto stylize",
        StylizeOptions,
        description="Show the content of one picture in the style of others, by optimizing the "
        "pixels (Gatys et al. 2016).",
        epilog=_EPILOG,
        positionals="[CONTENT STYLE [STYLE ...]]",
    )
    parser.add_argument(
        "pictures",
        nargs="*",
        metavar="CONTENT STYLE",
        help="content picture, followed by one or more style pictures or folders of them",
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

    from impasto.gatys.outputs.recipe import changes_since, read_recipe  # noqa: PLC0415

    changes: list[str] = []
    for facts in (read_recipe(path).facts for path in config):
        if facts is None:
            continue
        changes += changes_since(facts, device=str(plan.device), threads=torch.get_num_threads())
        known = {file.path for file in facts.inputs}
        read = dict.fromkeys(str(path.absolute()) for path in plan.files)
        changes += [f"{path} is read now, too" for path in read if path not in known]
    return changes


class _Notes:
    """What is told as it goes: losses, the bar, frames of the video, pictures that are kept."""

    def __init__(
        self,
        options: StylizeOptions,
        config: Sequence[Path],
        film: "Film | None",
        bar: "tqdm[Never]",
    ) -> None:
        self._options, self._config, self._film, self._bar = options, config, film, bar
        self._log: LossLog | None = None

    def begin(self, plan: "Plan") -> None:
        """Say what will be done; refuse it where the results could not be written."""
        options = self._options
        changes = _changes(self._config, plan)
        for path in (options.output, options.triptych, options.video, options.plot_losses):
            if path is not None:
                _check_place(path)
        self._finish = plan.finish
        self._bar.write(str(plan))
        for change in changes:
            self._bar.write(f"not as in the recipe: {change}")
        self._bar.reset(plan.evaluations)

    @property
    def log(self) -> "LossLog":
        """The losses; begun with the first, so that a mistake leaves those of an earlier run."""
        from impasto.gatys.outputs.loss_log import LossLog  # noqa: PLC0415

        if self._log is None:
            output = self._options.output
            self._log = LossLog(output.with_name(f"{output.stem}.losses.csv"))
        return self._log

    def watch(self, iterate: "Iterate") -> None:
        """Note an iterate."""
        from impasto.data import Picture, write_picture  # noqa: PLC0415

        options = self._options
        self.log(iterate)
        self._bar.update(iterate.evaluations - self._bar.n)
        self._bar.set_postfix_str(f"{iterate.width} x {iterate.height}")
        keep = options.save_every and not iterate.last
        if self._film is None and not keep:
            return
        rgb = _eight_bits(self._finish(iterate.image))
        if self._film is not None:
            self._film.add(rgb)
        if keep:
            name = f"{options.output.stem}_{iterate.evaluations:04d}.png"
            write_picture(options.output.with_name(name), Picture(rgb=rgb))


def _check_place(path: Path) -> None:
    """Refuse a file that could not be written; make its folder.

    Raises:
        PictureError: it is a folder, or its folder cannot be made or written.
    """
    from impasto.options.errors import PictureError  # noqa: PLC0415

    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir():
        raise PictureError(path, f"cannot be written: {there} is a file, not a folder")
    if path.is_dir():
        raise PictureError(path, "cannot be written: it is a folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(b"0")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PictureError(path, f"cannot be written: {reason}") from error


def _eight_bits(image: "NDArray[np.float32]") -> "NDArray[np.uint8]":
    import numpy as np  # noqa: PLC0415

    return np.rint(image * 255).astype(np.uint8)


def _write(result: "StylizeResult", options: StylizeOptions) -> None:
    """Write the picture, what else was asked for, and the recipe; say what was done."""
    from impasto.data import Picture, write_picture  # noqa: PLC0415
    from impasto.data.encode import write_float_picture  # noqa: PLC0415
    from impasto.gatys.outputs.recipe import recipe_path, write_recipe  # noqa: PLC0415
    from impasto.gatys.outputs.sheets import draw_triptych  # noqa: PLC0415

    write_float_picture(options.output, result.image)
    write_recipe(recipe_path(options.output), _flat(result, options), _facts(result, options))
    if options.triptych is not None:
        styles = [group[0] for group in result.pictures.styles]
        sheet = draw_triptych(result.pictures.content, styles, _eight_bits(result.image))
        write_picture(options.triptych, Picture(rgb=sheet))
    height, width = result.image.shape[:2]
    how = "stopped; wrote" if result.stopped else "wrote"
    for statement in result.statements:
        if "diverged" in statement:
            print(statement)
    print(
        f"{how} {options.output} ({width} x {height}) "
        f"after {result.evaluations} evaluations in {result.seconds:.0f} s"
    )


def _flat(result: "StylizeResult", options: StylizeOptions) -> dict[str, object]:
    """Return the options with absolute paths, those of masks included, and nothing left open.

    Weights that are found later would otherwise make another picture of the same recipe.
    """
    from impasto.gatys.outputs.recipe import absolute_masks  # noqa: PLC0415

    flat: dict[str, object] = {
        field.name: getattr(options, field.name) for field in fields(options)
    }
    weights = result.backbone.weights
    return {
        **flat,
        "masks": absolute_masks(options.masks, options.styles),
        "preset": result.settings.name,
        "backbone": result.backbone.name,
        "weights": None if weights is None else weights.path,
    }


def _facts(result: "StylizeResult", options: StylizeOptions) -> "Facts":
    import torch  # noqa: PLC0415

    from impasto.gatys.memory import peak_memory_mib  # noqa: PLC0415
    from impasto.gatys.outputs.recipe import Facts, describe_file, installed_versions  # noqa: PLC0415

    weights = result.backbone.weights
    return Facts(
        inputs=[describe_file(path) for path in result.files],
        backbone=result.backbone.name,
        backbone_sha256=weights.sha256 if weights else "",
        versions=installed_versions(),
        device=str(result.device),
        threads=torch.get_num_threads(),
        seed=options.seed,
        evaluations=result.evaluations,
        seconds=round(result.seconds, 3),
        losses=result.losses,
        peak_memory_mib=round(peak_memory_mib(result.device), 1),
        picture=describe_file(options.output),
        stopped=result.stopped,
    )


def _plot(log: "LossLog", path: Path) -> None:
    from impasto.data.atomic import atomic_path, write_error  # noqa: PLC0415
    from impasto.gatys.outputs.loss_log import draw_losses  # noqa: PLC0415
    from impasto.runs.pages.figures import figure_bytes  # noqa: PLC0415

    figure = draw_losses({"": log.rows})
    try:
        with atomic_path(path) as other:
            other.write_bytes(figure_bytes(figure, path.suffix))
    except OSError as error:
        raise write_error(path, error) from error
