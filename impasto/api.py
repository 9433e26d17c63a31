"""The main interface: every job of the command as a function, for programs and notebooks.

The keyword arguments of these functions are the options of their command, with the same names,
defaults and checks; ``impasto translate --help`` documents ``impasto.translate``. They return what
their jobs return. Nothing here imports torch before it is called for.
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike, devnull
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from impasto.options.errors import OptionError
from impasto.options.fields import default_values, flatten, make, nearest, types_of

if TYPE_CHECKING:
    from impasto.cyclegan.jobs.evaluate import EvaluateResult
    from impasto.cyclegan.jobs.export import ExportedModel
    from impasto.cyclegan.jobs.fetch import FetchResult
    from impasto.cyclegan.jobs.painters import PaintersResult
    from impasto.cyclegan.jobs.translate import TranslateResult
    from impasto.cyclegan.weights import LoadedGenerator
    from impasto.gatys.jobs.stylize import StylizeResult
    from impasto.gatys.sweep.run import SweepResult
    from impasto.options.evaluate import EvaluateOptions
    from impasto.options.fetch import FetchOptions
    from impasto.options.stylize import StylizeOptions, SweepOptions
    from impasto.options.survey import (
        SurveyExportOptions,
        SurveyReportOptions,
        SurveyServeOptions,
    )
    from impasto.options.train import TrainOptions
    from impasto.options.translate import ExportOptions, TranslateOptions
    from impasto.runs.job import TrainResult
    from impasto.survey.analysis.findings import Findings
    from impasto.survey.export.job import Exported
    from impasto.survey.serve.job import Serving

__all__ = [
    "evaluate",
    "export",
    "export_study",
    "fetch",
    "load_generator",
    "report_study",
    "serve_study",
    "stylize",
    "sweep",
    "train",
    "translate",
    "translate_all",
]

T = TypeVar("T")
AnyPath = str | PathLike[str]
# An output that is not written: a place that no picture or folder can be read from.
_NOWHERE = Path(devnull) / "stylized.png"


def train(
    dataroot: AnyPath | None = None,
    *,
    resume: bool = False,
    allow_changes: bool = False,
    options: "TrainOptions | None" = None,
    config: AnyPath | None = None,
    **changes: Any,
) -> "TrainResult":
    """Train a CycleGAN on two folders of unpaired pictures, like ``impasto train``.

    The run directory ``checkpoints_dir/name`` gets weights, log and a page to watch. Ctrl-C and
    SIGTERM save the run and return.

    Args:
        dataroot: folder with ``trainA`` and ``trainB``; or give ``folder_A`` and ``folder_B``.
        resume: continue the run ``name`` exactly where it was saved, with the options it had; only
            those that change need be given.
        allow_changes: resume even where options differ that alter the training.
        options: all options at once; options given by name replace those in it.
        config: YAML file with options, or a preset such as ``"monet_small"``.
        **changes: options of ``impasto train``, such as ``name="mine"`` or ``max_images=1000``.

    Returns:
        How the training ended, and the directory of the run: ``directory``, ``progress``,
        ``signal``.

    Raises:
        OptionError: an option is unknown, bad, or differs from the run that is resumed.
        FolderError: a folder of pictures is missing or empty, or the run exists already.
        CheckpointError: the state to resume is missing or damaged.
        TrainingError: a loss is not finite.

    Example:
        >>> run = impasto.train(  # doctest: +SKIP
        ...     "monet2photo", name="mine", config="monet_small", max_images=5000
        ... )
        >>> impasto.translate("photos", model=run.directory, direction="BtoA", output="out")
        ... # doctest: +SKIP
    """
    from impasto.cyclegan.jobs.train import train as run  # noqa: PLC0415 - torch
    from impasto.options.train import TrainOptions  # noqa: PLC0415
    from impasto.runs.directory import RunDirectory  # noqa: PLC0415

    known = default_values(TrainOptions)
    given = _flat(TrainOptions, _given(changes, dataroot=dataroot), options, config, presets=".")
    places: dict[str, str] = {}
    if resume:
        where = {**known, **given}
        directory = RunDirectory(Path(where["checkpoints_dir"]) / where["name"])
        read = directory.seen_from_here(directory.read_options())
        stored = {name: read[name] for name in read if name in known and name not in given}
        places = dict.fromkeys(stored, str(directory.options_file))
        given = {**stored, **given}
    made = make(TrainOptions, given, places=places)
    made.data.require_one_place(() if dataroot is None else ("dataroot",))
    in_options = {} if options is None else flatten(options)
    typed = {*changes, *(name for name, value in in_options.items() if value != known[name])}
    return run(made, resume=resume, allow_changes=allow_changes, typed=typed)


def fetch(
    names: str | Sequence[str],
    *,
    options: "FetchOptions | None" = None,
    config: AnyPath | None = None,
    **changes: Any,
) -> "FetchResult":
    """Fetch data sets, published models and weights of networks, like ``impasto fetch``.

    Args:
        names: one name or several, such as ``"monet2photo"``.
        options: all options at once; options given by name replace those in it.
        config: YAML file with options.
        **changes: options of ``impasto fetch``, such as ``source="https://..."``; ``file`` is what
            the command calls ``--from``.

    Returns:
        What is there now, and what could not be fetched, with the reasons.

    Raises:
        OptionError: a name or another option is unknown or invalid.
        OSError: a disk is full, or cannot be written.

    Example:
        >>> impasto.fetch("monet2photo", file="monet2photo.zip")  # doctest: +SKIP
    """
    from impasto.cyclegan.jobs.fetch import run_fetch  # noqa: PLC0415 - torch
    from impasto.options.fetch import FetchOptions  # noqa: PLC0415

    several = [names] if isinstance(names, str) else list(names)
    flat = _flat(FetchOptions, {**changes, "names": several}, options, config)
    return run_fetch(make(FetchOptions, flat))


def translate(
    photos: AnyPath | Sequence[AnyPath],
    *,
    options: "TranslateOptions | None" = None,
    config: AnyPath | None = None,
    **changes: Any,
) -> "TranslateResult":
    """Translate pictures of any size with a trained model, like ``impasto translate``.

    Every result has its picture's size. Results that are there already, of the same pictures,
    weights and settings, remain unchanged, and a page ``index.html`` shows all results beside their
    pictures.

    Args:
        photos: a picture, a folder, or several of both.
        options: all options at once; options given by name replace those in it.
        config: YAML file with options.
        **changes: options of ``impasto translate``: ``output`` at least; ``model`` is the
            ``"monet"`` that ships with Impasto unless given.

    Returns:
        The finished pictures, the failures, and the page.

    Raises:
        OptionError: an option is missing, unknown or invalid.
        FolderError: an input is missing or empty, or the output cannot be written.
        CheckpointError: the model cannot be loaded.

    Example:
        >>> result = impasto.translate("photo.jpg", output="out")  # doctest: +SKIP
        >>> result.converted.failures, result.page  # doctest: +SKIP
        ({}, PosixPath('out/index.html'))
    """
    from impasto.cyclegan.jobs.translate import translate as run  # noqa: PLC0415 - torch
    from impasto.options.translate import ALL_PAINTERS, TranslateOptions  # noqa: PLC0415

    made = make(TranslateOptions, _flat(TranslateOptions, changes, options, config))
    if made.model == ALL_PAINTERS or made.sheet is not None:
        option = "model" if made.model == ALL_PAINTERS else "sheet"
        raise OptionError(option, "is for impasto.translate_all, which returns several results")
    return run(_paths(photos), made)


def translate_all(
    photos: AnyPath | Sequence[AnyPath],
    *,
    options: "TranslateOptions | None" = None,
    config: AnyPath | None = None,
    **changes: Any,
) -> "PaintersResult":
    """Translate with all painters that ship, like ``impasto translate --model all``.

    Each painter's results are in a folder of its own in ``output``.

    Args:
        photos: a picture, a folder, or several of both.
        options: all options at once; options given by name replace those in it.
        config: YAML file with options.
        **changes: options of ``impasto translate``: ``output`` or ``sheet``, a contact sheet, at
            least; ``model`` is ``"all"`` unless given.

    Returns:
        The outcome of each model by its name, and the contact sheet.

    Raises:
        OptionError: an option is missing, unknown or invalid.
        FolderError: an input is missing or empty, or the output cannot be written.
        CheckpointError: a model cannot be loaded.
        PictureError: the sheet cannot be written.

    Example:
        >>> made = impasto.translate_all("photo.jpg", sheet="sheet.jpg")  # doctest: +SKIP
        >>> made.results["monet"].page, made.sheet  # doctest: +SKIP
        (PosixPath('sheet/monet/index.html'), PosixPath('sheet.jpg'))
    """
    from impasto.cyclegan.jobs.painters import translate_all as run  # noqa: PLC0415 - torch
    from impasto.options.translate import ALL_PAINTERS, TranslateOptions  # noqa: PLC0415

    flat = _flat(TranslateOptions, changes, options, config)
    if options is None:
        flat = {"model": ALL_PAINTERS, **flat}
    return run(_paths(photos), make(TranslateOptions, flat))


def export(
    model: AnyPath,
    *,
    options: "ExportOptions | None" = None,
    config: AnyPath | None = None,
    **changes: Any,
) -> "ExportedModel":
    """Write a trained model as ONNX, TorchScript or torch.export, like ``impasto export``.

    Before the file is written, it is compared with what ``impasto.translate`` makes.

    Args:
        model: a model that ships with Impasto, a run, or a file of weights.
        options: all options at once; options given by name replace those in it.
        config: YAML file with options.
        **changes: options of ``impasto export``, such as ``output="monet.onnx"``.

    Returns:
        The file, and by how much its pictures differ from those of torch.

    Raises:
        OptionError: an option is unknown or invalid, or the file exists.
        CheckpointError: the model cannot be loaded.
        ImpastoError: a package is missing, or the model cannot be exported; nothing is written.

    Example:
        >>> impasto.export("monet", output="monet.onnx").levels  # doctest: +SKIP
        1
    """
    from impasto.cyclegan.jobs.export import export as run  # noqa: PLC0415 - torch
    from impasto.options.translate import ExportOptions  # noqa: PLC0415

    flat = _flat(ExportOptions, changes, options, config)
    return run(Path(model), make(ExportOptions, flat))


def evaluate(
    results: AnyPath | Sequence[AnyPath],
    *,
    options: "EvaluateOptions | None" = None,
    config: AnyPath | None = None,
    **changes: Any,
) -> "EvaluateResult":
    """Measure how close translations are to real pictures, like ``impasto evaluate``.

    Args:
        results: folders of translations or stylized pictures, run folders, files of generators,
            names of models, or, with ``styles``, pictures; one or several.
        options: all options at once; options given by name replace those in it.
        config: YAML file with options.
        **changes: options of ``impasto evaluate``: ``real`` or ``styles`` at least, and ``inputs``
            for models.

    Returns:
        All rows, sentences that say what they mean, the page, the JSON and the CSV file.

    Raises:
        OptionError: an option is missing, unknown or invalid.
        FolderError: a folder is missing, holds too few pictures, or cannot be written.
        CheckpointError: a model cannot be loaded.
        PictureError: a picture cannot be read; leaving it out would change the numbers.

    Example:
        >>> result = impasto.evaluate(  # doctest: +SKIP
        ...     ["monet", "checkpoints/mine"], real="testA", inputs="testB", output="evaluation"
        ... )
        >>> for row in result.evaluation.rows:  # doctest: +SKIP
        ...     print(row.name, row.values["swd"])
    """
    from impasto.cyclegan.jobs.evaluate import run_evaluation  # noqa: PLC0415 - torch
    from impasto.options.evaluate import EvaluateOptions  # noqa: PLC0415

    made = make(EvaluateOptions, _flat(EvaluateOptions, changes, options, config))
    return run_evaluation(_paths(results), made)


def stylize(
    content: AnyPath | None = None,
    styles: AnyPath | Sequence[AnyPath] | None = None,
    *,
    output: AnyPath | None = None,
    options: "StylizeOptions | None" = None,
    config: AnyPath | None = None,
    **changes: Any,
) -> "StylizeResult":
    """Render a picture in the style of one or more others, like ``impasto stylize``.

    Args:
        content: content picture.
        styles: style picture, or several, or folders of them.
        output: file for the result; its recipe and losses are written beside it, as by the command.
            Nothing is written unless it is given.
        options: all options at once; options given by name replace those in it. An ``output`` in
            it, or in ``config``, does not count.
        config: YAML file with options, such as the recipe of an earlier result.
        **changes: options of ``impasto stylize``, such as ``size=512``.

    Returns:
        The result; its ``image`` is RGB, (H, W, 3), float32, sRGB in [0, 1].

    Raises:
        OptionError: an option is missing, unknown or invalid.
        PictureError: a picture cannot be read, or the result not be written.
        CheckpointError: a file of weights cannot be used.
        ImpastoError: there is not enough memory, or no finite picture was found.

    Example:
        >>> image = impasto.stylize("photo.jpg", "painting.jpg", size=512).image  # doctest: +SKIP
        >>> image.shape, image.dtype  # doctest: +SKIP
        ((384, 512, 3), dtype('float32'))
    """
    from impasto.gatys.jobs.stylize import stylize as run  # noqa: PLC0415 - torch
    from impasto.gatys.jobs.stylize_files import stylize_to_files  # noqa: PLC0415
    from impasto.options.stylize import StylizeOptions  # noqa: PLC0415

    named = None if styles is None else _paths(styles)
    given = _given(changes, content=content, styles=named)
    flat = _flat(StylizeOptions, given, options, config)
    if output is not None:
        recipes = [] if config is None else [Path(config)]
        return stylize_to_files(make(StylizeOptions, {**flat, "output": output}), recipes=recipes)
    for name in ("video", "triptych", "plot_losses", "save_every"):
        if flat.get(name) is not None:
            raise OptionError(name, "is written beside the result; give output=, too")
    return run(make(StylizeOptions, {**flat, "output": _NOWHERE}))


def sweep(
    plan: AnyPath,
    *,
    options: "SweepOptions | None" = None,
    config: AnyPath | None = None,
    **changes: Any,
) -> "SweepResult":
    """Stylize with every combination of some settings, like ``impasto sweep``.

    Cells that are done already are not computed again. One that fails does not stop the others.

    Args:
        plan: YAML file with the sweep, or the name of a shipped one such as ``"style_weight"``.
        options: all options at once; options given by name replace those in it.
        config: YAML file with options.
        **changes: options of ``impasto sweep``: ``output`` at least. ``set`` takes texts such as
            ``["size=128"]``.

    Returns:
        The cells and their results; the page is ``index.html`` in its ``folder``.

    Raises:
        OptionError: an option, also one of the plan, is missing, unknown or bad.
        ImpastoError: the plan cannot be read.

    Example:
        >>> result = impasto.sweep("plan.yaml", output="sweep", jobs=2)  # doctest: +SKIP
        >>> [cell.losses["total"] for cell in result.results.values()]  # doctest: +SKIP
    """
    from impasto.gatys.jobs.sweep import sweep as run  # noqa: PLC0415 - torch
    from impasto.options.stylize import SweepOptions  # noqa: PLC0415

    return run(str(plan), make(SweepOptions, _flat(SweepOptions, changes, options, config)))


def export_study(
    real: AnyPath | None = None,
    fake: Mapping[str, AnyPath] | Sequence[str] | str | None = None,
    *,
    options: "SurveyExportOptions | None" = None,
    config: AnyPath | None = None,
    **changes: Any,
) -> "Exported":
    """Make a real-or-fake study from folders of pictures, like ``impasto survey export``.

    Either all files are written or none; existing files are never replaced.

    Args:
        real: folder with real pictures.
        fake: folders of fake ones, by the names of their generators; or in the words of the
            command, ``"cyclegan=translated"``.
        options: all options at once; options given by name replace those in it.
        config: YAML file with options.
        **changes: options of ``impasto survey export``: ``output`` at least.

    Returns:
        The paths of the public folder, its archive and the private key, and the findings of the
        audit.

    Raises:
        OptionError: an option is missing, unknown or invalid.
        SurveyError: the output exists, or the audit found a leak.
        ImpastoError: there are too few pictures, or they cannot be ordered.

    Example:
        >>> study = impasto.export_study(  # doctest: +SKIP
        ...     real="photos", fake={"cyclegan": "translated"}, output="study"
        ... )
        >>> study.key  # doctest: +SKIP
        PosixPath('study.key.json')
    """
    from impasto.options.survey import SurveyExportOptions  # noqa: PLC0415
    from impasto.survey.export.job import export_study as run  # noqa: PLC0415 - NumPy

    if isinstance(fake, Mapping):
        fake = [f"{generator}={Path(folder)}" for generator, folder in fake.items()]
    given = _given(changes, real=real, fake=fake)
    return run(make(SurveyExportOptions, _flat(SurveyExportOptions, given, options, config)))


def serve_study(
    folder: AnyPath,
    *,
    on_start: "Callable[[Serving], object]" = print,
    options: "SurveyServeOptions | None" = None,
    config: AnyPath | None = None,
    **changes: Any,
) -> int:
    """Run a study in browsers until Ctrl-C or SIGTERM, like ``impasto survey serve``.

    Args:
        folder: public folder that :func:`export_study` wrote.
        on_start: called once the server listens; its argument has ``url``, for participants, and
            ``results_url``, for its owner. Prints both unless given.
        options: all options at once; options given by name replace those in it.
        config: YAML file with options.
        **changes: options of ``impasto survey serve``: ``key`` and ``database`` at least.

    Returns:
        The number of answers in the database.

    Raises:
        OptionError: an option is missing, unknown, bad, or does not fit the study.
        SurveyError: the folder, the key or the database is damaged or of another study.
        ImpastoError: the port is taken, or the extra ``survey`` is not installed.

    Example:
        >>> impasto.serve_study(  # doctest: +SKIP
        ...     "study", key="study.key.json", database="answers.sqlite", port=8000
        ... )
    """
    from impasto.options.survey import SurveyServeOptions  # noqa: PLC0415
    from impasto.survey.serve.job import serve_study as run  # noqa: PLC0415 - Flask

    return run(
        Path(folder),
        make(SurveyServeOptions, _flat(SurveyServeOptions, changes, options, config)),
        on_start=on_start,
    )


def report_study(
    answers: AnyPath | Sequence[AnyPath],
    *,
    options: "SurveyReportOptions | None" = None,
    config: AnyPath | None = None,
    **changes: Any,
) -> "Findings":
    """Analyze the answers of a study and write a report, like ``impasto survey report``.

    Args:
        answers: answers as tables (.csv, .json), databases of the server, or folders of them; one
            or several.
        options: all options at once; options given by name replace those in it.
        config: YAML file with options.
        **changes: options of ``impasto survey report``: ``key`` at least.

    Returns:
        All numbers of the report; the page is ``index.html`` in ``output``.

    Raises:
        OptionError: an option is missing, unknown or invalid.
        SurveyError: answers or key are missing, damaged, or of another study.
        ImpastoError: the report cannot be written.

    Example:
        >>> findings = impasto.report_study(  # doctest: +SKIP
        ...     "answers.sqlite", key="study.key.json", output="report"
        ... )
        >>> findings.generators[0].error.value  # doctest: +SKIP
    """
    from impasto.options.survey import SurveyReportOptions  # noqa: PLC0415
    from impasto.survey.report.job import write_report  # noqa: PLC0415 - SciPy

    return write_report(
        _paths(answers),
        make(SurveyReportOptions, _flat(SurveyReportOptions, changes, options, config)),
    )


def load_generator(
    model: AnyPath = "monet",
    *,
    direction: str | None = None,
    epoch: str = "latest",
    style: str | None = None,
) -> "LoadedGenerator":
    """Load a trained generator, ready for :meth:`impasto.Translator.of`.

    Args:
        model: name of a shipped model (``"monet"``, ``"vangogh"``), a run folder, the name of a run
            in ``checkpoints``, or one generator's ``.safetensors`` or ``.pth``.
        direction: ``"AtoB"`` or ``"BtoA"``; AtoB of a run unless given, and what a file says.
        epoch: ``"latest"``, ``"best"``, or the number of a kept epoch of a run.
        style: one of the styles that the model knows, or a mixture such as
            ``"great_wave:0.7,the_scream:0.3"``; the first one unless given.

    Returns:
        The ``network``, a :class:`torch.nn.Module` in evaluation mode, with its ``architecture``,
        ``provenance``, and notes on what its file needed.

    Raises:
        CheckpointError: there is no such generator, or it cannot be loaded.
        OptionError: the file says that it translates the other way, or has no such style.

    Example:
        >>> translate = impasto.Translator.of(  # doctest: +SKIP
        ...     impasto.load_generator("monet"), device=torch.device("cpu")
        ... )
        >>> painted = translate(torch.rand(1, 3, 75, 101) * 2 - 1)  # doctest: +SKIP
    """
    from impasto.cyclegan.models import find_generator  # noqa: PLC0415 - torch

    return find_generator(Path(model), direction=direction, epoch=epoch, style=style)


def _paths(given: AnyPath | Sequence[AnyPath]) -> list[Path]:
    return [Path(given)] if isinstance(given, str | PathLike) else [Path(path) for path in given]


def _given(changes: Mapping[str, Any], **named: Any) -> dict[str, Any]:
    """Add what has an argument of its own to the options given by name, unless it was left out."""
    return {**changes, **{name: value for name, value in named.items() if value is not None}}


def _flat(
    kind: type,
    changes: Mapping[str, Any],
    options: object | None,
    config: AnyPath | None,
    *,
    presets: str | None = None,
) -> dict[str, Any]:
    """Return all given options by name: an object's, over them a file's, over them single ones."""
    known = types_of(kind)
    for name in changes:
        if name not in known:
            error = OptionError(name, f"unknown option{nearest(name, known)}")
            error.args = (f"{name}: {error.reason}",)  # as keyword arguments are written
            raise error
    flat: dict[str, Any] = {}
    if options is not None:
        if not isinstance(options, kind):
            raise OptionError("options", f"expected {kind.__name__}, got {options!r}")
        flat |= flatten(options)
    if config is not None:
        from impasto.options.config import read_config  # noqa: PLC0415 - YAML

        flat |= read_config(config, presets)
    return {**flat, **changes}
