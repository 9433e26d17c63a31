"""A stylization with all its files: the picture, its recipe, losses, sheet, film and curves."""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.data import Picture, write_picture
from impasto.data.animations import Film
from impasto.data.atomic import check_writable, write_error
from impasto.data.encode import to_uint8, write_float_picture
from impasto.data.files import fit_name
from impasto.data.standardize import flatten_alpha
from impasto.gatys.jobs.stylize import Plan, StylizeResult, stylize
from impasto.gatys.optim.iterates import Iterate, Watcher
from impasto.gatys.outputs.loss_log import LossLog, draw_losses
from impasto.gatys.outputs.recipe import (
    Facts,
    absolute_masks,
    changes_since,
    describe_file,
    difference_from,
    installed_versions,
    read_recipe,
    recipe_path,
    write_recipe,
)
from impasto.gatys.outputs.sheets import draw_triptych
from impasto.options.errors import OptionError, PictureError
from impasto.options.stylize import StylizeOptions
from impasto.runs.devices import computing
from impasto.runs.memory import peak_memory_mib
from impasto.runs.pages.figures import write_figure
from impasto.runs.processes import keep_freed_memory

__all__ = ["stylize_to_files"]

_log = logging.getLogger(__name__)

# Evaluations between rows of the losses, and frames of the film.
_EVERY = 10


# Options that name further results of a run.
_FURTHER = ("triptych", "video", "plot_losses")


def _ignore(*_: object) -> None:
    pass


def _never() -> bool:
    return False


def stylize_to_files(
    options: StylizeOptions,
    *,
    recipes: Sequence[Path] = (),
    begin: Callable[[Plan, Sequence[str]], None] = _ignore,
    watcher: Watcher = _ignore,
    stop: Callable[[], bool] = _never,
    on_written: Callable[[StylizeResult], None] = _ignore,
) -> StylizeResult:
    """Render a picture in the style of others, and write all files that the options ask for.

    Beside ``options.output``, the recipe ``OUTPUT.yaml`` and ``NAME.losses.csv`` are written; the
    latter grows during the run.

    Args:
        options: all options of the stylization.
        recipes: files that the options were read from.
        begin: called once with the plan, and with sentences about the differences from the recipes.
        watcher: called with an iterate every ten evaluations, or as often as pictures are saved,
            and at the end of each scale.
        stop: called after each evaluation; if it returns True, the run ends with the best picture
            so far.
        on_written: called once the picture and its recipe are there; the other files may yet fail.

    Raises:
        ImpastoError: see :func:`~impasto.gatys.jobs.stylize.stylize`; or a file cannot be written,
            which is checked, as far as possible, before anything is computed.
    """
    keep_freed_memory()  # a tenth of the time at 512 pixels on the CPU
    with ExitStack() as stack:
        stack.enter_context(computing(threads=options.threads))
        film = stack.enter_context(Film(options.video)) if options.video else None
        files = _GrowingFiles(options, film)

        def prepare(plan: Plan) -> None:
            changes = _changes(recipes, plan)
            for path in (options.output, options.triptych, options.video, options.plot_losses):
                if path is not None:
                    _check_place(path)
            if not options.overwrite:
                _refuse_other_results(options, plan)
            files.plan = plan
            if (
                options.output.suffix.lower() in {".jpg", ".jpeg"}
                and plan.alpha_at(1, 1) is not None
            ):
                _log.warning(
                    "%s is transparent in places, which a JPEG cannot be: they become white; for "
                    "transparency, let --output end in .png, .webp or .tif",
                    options.content,
                )
            begin(plan, changes)

        def watch(iterate: Iterate) -> None:
            files.add(iterate)
            watcher(iterate)

        every = options.save_every or _EVERY
        result = stylize(options, begin=prepare, watcher=watch, every=every, stop=stop)
        _write_picture(result, options)
        on_written(result)
        _write_others(result, options, film, files.log)
    return result


class _GrowingFiles:
    """The files that are written during the run: losses, frames of the film, intermediate pictures.

    Attributes:
        log: log of the losses.
        plan: plan of the run, which tells how an iterate's image becomes a finished picture.
    """

    plan: Plan

    def __init__(self, options: StylizeOptions, film: Film | None) -> None:
        self._output, self._save = options.output, bool(options.save_every)
        self._film = film
        self.log = LossLog(self._output.with_name(fit_name(f"{self._output.stem}.losses.csv")))

    def add(self, iterate: Iterate) -> None:
        """Add an iterate to the files."""
        self.log(iterate)
        save = self._save and not iterate.last
        if self._film is None and not save:
            return
        picture = _as_picture(self.plan.finish(iterate.image), self.plan)
        if self._film is not None:
            self._film.add(flatten_alpha(picture))
        if save:
            name = fit_name(f"{self._output.stem}_{iterate.evaluations:04d}.png")
            write_picture(self._output.with_name(name), picture)


def _as_picture(image: NDArray[np.float32], plan: Plan) -> Picture:
    return Picture(rgb=to_uint8(image), alpha=plan.alpha_at(*image.shape[:2]))


def _changes(recipes: Sequence[Path], plan: Plan) -> list[str]:
    """Say what will not be as in the recipes that the options are from."""
    changes: list[str] = []
    for facts in (read_recipe(path).facts for path in recipes):
        if facts is None:
            continue
        changes += changes_since(facts, device=str(plan.device), threads=plan.threads)
        known = {file.path for file in facts.inputs}
        read = dict.fromkeys(str(path.absolute()) for path in plan.files)
        changes += [f"{path} is read now, too" for path in read if path not in known]
    return changes


def _check_place(path: Path) -> None:
    """Refuse a file that could not be written; make its folder.

    Raises:
        PictureError: it is a folder, or its folder cannot be made or written.
    """
    there = next(parent for parent in path.absolute().parents if parent.exists())
    if not there.is_dir():
        raise PictureError(path, f"cannot be written: {there} is a file, not a folder")
    if path.is_dir():
        raise PictureError(path, "cannot be written: it is a folder")
    try:
        check_writable(path.parent)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PictureError(path, f"cannot be written: {reason}") from error


def _whole(result: StylizeResult) -> Picture:
    return Picture(rgb=to_uint8(result.image), alpha=result.alpha)


def _refuse_other_results(options: StylizeOptions, plan: Plan) -> None:
    """Refuse to replace anything but what the same options made of the same files.

    Raises:
        PictureError: a result of this name is there, and is another one.
    """
    further = {name: getattr(options, name) for name in _FURTHER}
    written = {"output": options.output, **further}
    there = {name: path for name, path in written.items() if path is not None and path.exists()}
    if not there:
        return
    recipe, difference = None, ""
    if "output" in there:
        with suppress(OptionError):
            recipe = read_recipe(recipe_path(options.output))
    if recipe is not None:
        known = _plain_options(options) | {"preset": plan.preset, "backbone": plan.backbone}
        # The picture does not depend on these.
        for name in (*_FURTHER, "save_every", "device", "memory"):
            del known[name]
        if options.weights is None:
            del known["weights"]  # what was found, then and now, is among the files
        difference = difference_from(recipe, known)
        there = {
            name: path
            for name, path in there.items()
            if difference or recipe.options.get(name) != str(path.absolute())
        }
    for path in there.values():
        how = f"made with {difference}" if difference else "and not known to be of the same run"
        raise PictureError(
            path,
            f"is there already, {how}; choose another name, or replace it with --overwrite true",
        )


def _write_picture(result: StylizeResult, options: StylizeOptions) -> None:
    """Write the picture and its recipe."""
    write_float_picture(options.output, result.image, alpha=result.alpha)
    write_recipe(
        recipe_path(options.output), _recipe_options(result, options), _facts(result, options)
    )


def _write_others(
    result: StylizeResult, options: StylizeOptions, film: Film | None, log: LossLog
) -> None:
    """Write what is asked for beside the picture: sheet with content and styles, film, curves."""
    if options.triptych is not None:
        styles = [group[0] for group in result.pictures.styles]
        content = Picture(rgb=result.pictures.content, alpha=result.pictures.alpha)
        sheet = draw_triptych(flatten_alpha(content), styles, flatten_alpha(_whole(result)))
        write_picture(options.triptych, Picture(rgb=sheet))
    if film is not None:
        if result.stopped:
            film.add(flatten_alpha(_whole(result)))  # as large as it would have become
        film.write()
    if options.plot_losses is not None:
        _plot(log, options.plot_losses)


def _recipe_options(result: StylizeResult, options: StylizeOptions) -> dict[str, object]:
    """Return the options with absolute paths, those of masks included, and nothing left open.

    Weights that are found later would otherwise make another picture of the same recipe.
    """
    weights = result.backbone.weights
    return {
        **_plain_options(options),
        "preset": result.settings.name,
        "mixed_precision": result.mixed_precision,
        "backbone": result.backbone.name,
        "weights": None if weights is None else weights.path,
    }


def _plain_options(options: StylizeOptions) -> dict[str, object]:
    """Return the options by their names, but for whether to replace what is there."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    del values["overwrite"]
    return {**values, "masks": absolute_masks(options.masks, options.styles)}


def _facts(result: StylizeResult, options: StylizeOptions) -> Facts:
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


def _plot(log: LossLog, path: Path) -> None:
    figure = draw_losses({"": log.rows})
    try:
        write_figure(path, figure)
    except OSError as error:
        raise write_error(path, error) from error
