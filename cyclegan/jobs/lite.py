"""`impasto-lite`: translate pictures with exported models, NumPy, Pillow and onnxruntime.

This is `impasto translate` for machines that shall not have torch, with the same names of options
for what there is of them. ``benchmarks/build_lite.py`` makes a distribution of it.
"""

import os
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from impasto.cyclegan.export.session import OnnxSession
from impasto.cyclegan.inference.fitting import blend, fit_strokes, scale_samples
from impasto.data.atomic import make_folder
from impasto.data.decode import Picture, read_picture
from impasto.data.encode import write_picture
from impasto.data.files import gather_pictures, output_names
from impasto.options.errors import CheckpointError, ImpastoError, OptionError, PictureError
from impasto.options.fields import make, nearest
from impasto.options.translate import TranslateOptions

__all__ = ["LITE_MODELS", "main", "translate_lite"]

LITE_MODELS = Path(__file__).parent / "models"
"""Folder of the models that come along, `.onnx`; the full Impasto has none there."""

_NAME = "impasto-lite"
_FORMATS = ("png", "jpg", "webp")
_EPILOG = """examples:
  impasto-lite photos --output monets
  impasto-lite a.jpg b.png --model vangogh --output out --format jpg
  impasto-lite photos --model mine.onnx --output out --long_side 1024

impasto export writes models for it; the full impasto trains them, shows results on a page, and
knows what they were made with.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, translate, report; return the exit status: 1 where a picture failed."""
    parser = _parser()
    words = parser.parse_args(argv)
    try:
        if words.models:
            return _list_models()
        if not words.photos:
            parser.error("missing: PHOTOS")
        if words.output is None:
            parser.error("missing: --output, a folder for the translated pictures")
        given = {name: value for name, value in vars(words).items() if value is not None}
        photos = [Path(photo) for photo in given.pop("photos")]
        given.pop("models")
        options = make(TranslateOptions, given)
        return _report(photos, options)
    except ImpastoError as error:
        sys.stderr.write(f"{_NAME}: error: {error}\n")
        return error.exit_status
    except OSError as error:  # a full or failing disk
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"{_NAME}: error: {where}{error.strerror or error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{_NAME}: stopped; the same command continues\n")
        return 130


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        _NAME,
        description="Translate pictures with models that impasto export wrote; size out = size in.",
        epilog=_EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "photos", nargs="*", metavar="PHOTOS", help="picture files, and folders of pictures"
    )
    parser.add_argument("--models", action="store_true", help="list the models that come along")
    parser.add_argument(
        "--model", default="monet", help="one of these models, or an .onnx file (default: monet)"
    )
    parser.add_argument("--output", help="folder for the translated pictures")
    parser.add_argument(
        "--format", metavar=f"{{{','.join(_FORMATS)}}}", help="file format (default: png)"
    )
    parser.add_argument("--quality", type=int, help="quality of jpg and webp (default: 95)")
    parser.add_argument(
        "--long_side", type=int, help="longer side that larger pictures are reduced to, in pixels"
    )
    parser.add_argument(
        "--strength",
        type=float,
        help="share of the translation in the results, 0 to 1 (default: 1)",
    )
    parser.add_argument(
        "--stroke_scale",
        type=_factor,
        help="factor by which strokes become larger, at least 1; auto follows the size of each "
        "picture where the model knows what its strokes are right for (default: auto)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", default=None, help="replace results that are there"
    )
    parser.add_argument(
        "--threads", type=int, help="number of threads that compute (default: one for each core)"
    )
    return parser


def _factor(text: str) -> float | str:
    try:
        return text if text == "auto" else float(text)
    except ValueError:
        raise ArgumentTypeError(f"expected a number or auto, got {text}") from None


def _list_models() -> int:
    for path in sorted(LITE_MODELS.glob("*.onnx")):
        what = OnnxSession(path, threads=1).metadata.get("what", "")
        sys.stdout.write(f"--model {path.stem}\n    {what}\n")
    return 0


def _report(photos: Sequence[Path], options: TranslateOptions) -> int:
    started = time.perf_counter()
    done, skipped, failures = translate_lite(photos, options)
    for source, reason in failures.items():
        sys.stderr.write(f"failed: {source}: {reason}\n")
    seconds = time.perf_counter() - started
    speed = f" in {seconds:.1f} s ({done / seconds:.2f} images/s)" if done else ""
    sys.stdout.write(f"{done} translated{speed}, {skipped} already there, {len(failures)} failed\n")
    return 1 if failures else 0


def translate_lite(
    photos: Sequence[Path], options: TranslateOptions
) -> tuple[int, int, dict[Path, str]]:
    """Translate folders and files with an exported model.

    A result that is there already stays as it is, unless ``options.overwrite``; what it was made
    of is not known here.

    Args:
        photos: folders and files of pictures; results of a folder keep their paths relative to it.
        options: options of the translation; those of torch, of runs and of pages count nothing.

    Returns:
        The numbers of results that were made and that were there, and the failures, by source.

    Raises:
        FolderError: an input is missing or empty.
        CheckpointError: the model is missing, damaged, or of another program.
        OptionError: a result would replace a picture, or the format is none of these here.
        OSError: a folder cannot be made.
    """
    if options.format not in _FORMATS:
        raise OptionError(
            "format", f"{options.format} is for the full impasto; expected {' or '.join(_FORMATS)}"
        )
    session = OnnxSession(_resolve(options.model), threads=options.threads or _cores())
    sources, root = gather_pictures(photos, exclude=options.folder)
    names = output_names(sources, root=root, suffix=f".{options.format}")
    targets = [options.folder / name for name in names]
    _refuse_own(sources, targets)
    done, skipped = 0, 0
    failures: dict[Path, str] = {}
    for source, target in zip(sources, targets, strict=True):
        if target.exists() and not options.overwrite:
            skipped += 1
            continue
        make_folder(target.parent)
        try:
            write_picture(target, _painted(source, session, options), quality=options.quality)
        except PictureError as error:
            failures[source] = error.reason
        except MemoryError:
            failures[source] = "not enough memory; try --long_side"
        else:
            done += 1
    return done, skipped, failures


def _refuse_own(sources: Sequence[Path], targets: Sequence[Path]) -> None:
    for source, target in zip(sources, targets, strict=True):
        if target.resolve() == source.resolve():
            raise OptionError("output", f"{target} would overwrite the picture itself")


def _painted(source: Path, session: OnnxSession, options: TranslateOptions) -> Picture:
    """Do what `impasto translate` does with one picture."""
    picture = read_picture(source)
    height, width = picture.rgb.shape[:2]
    shrunk = 1.0 if options.long_side is None else options.long_side / max(height, width)
    if shrunk < 1:
        height, width = max(1, round(height * shrunk)), max(1, round(width * shrunk))
        alpha = picture.alpha
        picture = Picture(
            rgb=scale_samples(picture.rgb, height, width),
            alpha=None if alpha is None else scale_samples(alpha, height, width),
        )
    scale = 1.0 if options.stroke_scale == "auto" else options.stroke_scale
    if options.stroke_scale == "auto" and "strokes_at_px" in session.metadata:
        strokes_at_px = float(session.metadata["strokes_at_px"])
        scale = fit_strokes(height, width, strokes_at_px=strokes_at_px)
    small = max(1, round(height / scale)), max(1, round(width / scale))
    if small == (height, width):
        made = session([picture.rgb])[0]
    else:
        made = scale_samples(session([scale_samples(picture.rgb, *small)])[0], height, width)
    return Picture(rgb=blend(picture.rgb, made, options.strength), alpha=picture.alpha)


def _resolve(model: Path) -> Path:
    """Return the file of a model that comes along, or that the user has.

    Raises:
        CheckpointError: there is none.
    """
    own = LITE_MODELS / f"{model}.onnx"
    if own.is_file() and len(model.parts) == 1:
        return own
    if model.is_file():
        return model
    known = [path.stem for path in sorted(LITE_MODELS.glob("*.onnx"))]
    raise CheckpointError(
        f"{model}: no such model{nearest(str(model), known)}; expected an .onnx file of impasto "
        f"export{', or one of ' * bool(known)}{', '.join(known)}"
    )


def _cores() -> int:
    """Return how many threads shall compute: OMP_NUM_THREADS, or the cores of the process."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdecimal() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    raise SystemExit(main())
