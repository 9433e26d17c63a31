"""Writing a trained generator as ONNX, TorchScript or a program of torch.export; verified first."""

import copy
import hashlib
import inspect
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from impasto.cyclegan.export.graph import TranslationGraph
from impasto.cyclegan.export.loading import OnnxGenerator, with_onnx
from impasto.cyclegan.export.session import METADATA_KEY, OnnxSession
from impasto.cyclegan.inference.memory import activation_bytes
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.models import find_generator
from impasto.cyclegan.networks import Generator
from impasto.cyclegan.weights import LoadedGenerator
from impasto.data.atomic import atomic_path, check_writable, make_folder, write_error
from impasto.options.errors import ImpastoError, OptionError
from impasto.options.translate import EXPORT_SUFFIXES, ExportOptions, TranslateOptions

__all__ = ["ExportedModel", "choose_runtime", "export", "export_bytes", "weights_sha256"]

Pictures = NDArray[np.uint8]
Run = Callable[[Pictures], Pictures]

# Height and width of the pictures that an export is compared with torch on: with less than a
# stride, on both sides of the smallest picture that is bent, odd, even, and two at once.
_SIZES = ((1, 1), (1, 7), (5, 3), (8, 64), (63, 65), (64, 64), (97, 130), (333, 517))
_MOST_LEVELS = 1
_EXAMPLE = (2, 90, 130, 3)
# Version 20 of ONNX's operators is the first with bicubic sampling for all of them.
_OPSET = 20
_EXTRA_FILE = f"{METADATA_KEY}.json"


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """The outcome of an export.

    Attributes:
        path: file that was written.
        generator: generator, with notes on how its file was read.
        levels: largest difference from torch, of 255 levels, on the pictures that were compared.
        sizes: height and width of those pictures.
        undetermined: sizes of one color, of which torch itself makes something else with each way
            of rounding; they count nothing.
    """

    path: Path
    generator: LoadedGenerator
    levels: int
    sizes: Sequence[tuple[int, int]]
    undetermined: Sequence[tuple[int, int]]


def export(
    model: Path,
    options: ExportOptions,
    *,
    on_note: Callable[[str], None] = lambda _words: None,
) -> ExportedModel:
    """Export a generator, compare it with `impasto translate`, and write the file.

    Args:
        model: run directory, generator file, or name; see
            :func:`~impasto.cyclegan.models.resolve_model`.
        options: all options of the export.
        on_note: called with what is being done, in words.

    Raises:
        CheckpointError: the model cannot be loaded.
        OptionError: an option cannot be used here, the model is not for RGB pictures of 8 bits, or
            the file is there already.
        ImpastoError: a package is missing, the network cannot be exported, or what was exported
            makes other pictures than torch; nothing is written then.
        OSError: the file cannot be written.
    """
    loaded = find_generator(
        model, direction=options.direction, epoch=options.epoch, style=options.style
    )
    _refuse_numbers(loaded, "model", str(model))
    if "format" in loaded.provenance:
        raise OptionError("model", f"{model} is exported already; give the file it was made of")
    # The name of a run may have dots, as v1.2.
    name = model.stem if model.is_file() else model.absolute().name
    path = options.output or Path(name + EXPORT_SUFFIXES[options.format])
    if path.exists() and not options.overwrite:
        raise OptionError("output", f"{path} exists; choose another name, or --overwrite")
    make_folder(path.parent)
    check_writable(path.parent)
    bend_px = loaded.grid_bend_px if options.grid_bend_px is None else options.grid_bend_px
    on_note(f"exporting {loaded.architecture}, with a bend of {bend_px:g} px")
    content = export_bytes(loaded, grid_bend_px=bend_px, style=options.style, to=options.format)
    on_note("comparing it with torch")
    levels, undetermined = _verify(_READERS[options.format](content), loaded, bend_px)
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise write_error(path, error) from error
    sizes = [size for size in _SIZES if size not in undetermined]
    return ExportedModel(
        path=path, generator=loaded, levels=levels, sizes=sizes, undetermined=undetermined
    )


def choose_runtime(
    generator: LoadedGenerator, options: TranslateOptions, device: torch.device
) -> tuple[LoadedGenerator, TranslateOptions, torch.device]:
    """Return what computes a translation: the generator as it is, or exported for onnxruntime.

    Args:
        generator: generator, of torch or of an ``.onnx`` file.
        options: all options of the translation.
        device: device that would compute by torch.

    Returns:
        The generator, the options without what is in its graph, and the device.

    Raises:
        OptionError: an option is for torch only, or the model is not for RGB pictures of 8 bits.
    """
    network = generator.network
    exported = network.metadata if isinstance(network, OnnxGenerator) else None
    if exported is None and options.runtime != "onnx":
        return generator, options, device
    _refuse_numbers(generator, "runtime", "onnx")
    if exported is not None and options.runtime == "torch":
        raise OptionError(
            "runtime",
            f"torch, but {options.model} is exported to ONNX; give the file that it was made of",
        )
    _refuse_what_torch_has(options, device)
    cpu = torch.device("cpu")
    if exported is not None:
        inside = exported.get("grid_bend_px", "0")
        if options.grid_bend_px not in {None, float(inside)}:
            raise OptionError(
                "grid_bend_px",
                f"{options.grid_bend_px:g}, but {options.model} bends by {inside} inside of its "
                "graph; impasto export has this option, too",
            )
        return generator, replace(options, bits=8, grid_bend_px=None), cpu
    bend_px = generator.grid_bend_px if options.grid_bend_px is None else options.grid_bend_px
    content = export_bytes(generator, grid_bend_px=bend_px, style=options.style)
    known = f"onnx {bend_px} {weights_sha256(generator)}"
    made = with_onnx(generator, content, identity=known, name=str(options.model))
    return made, replace(options, bits=8, grid_bend_px=None), cpu


def _refuse_what_torch_has(options: TranslateOptions, device: torch.device) -> None:
    if options.device != "auto" and device.type != "cpu":
        raise OptionError("device", f"{options.device}, but onnxruntime computes on the processor")
    if options.mixed_precision != "no":
        raise OptionError("mixed_precision", "is for --runtime torch; leave it out")
    if options.bits == 16:
        raise OptionError(
            "bits", "16 is for --runtime torch: an exported model is from bytes to bytes"
        )
    if options.steady:
        raise OptionError(
            "steady",
            "is for --runtime torch: bend and noise are inside of the graph, which knows no scene",
        )


def _refuse_numbers(generator: LoadedGenerator, option: str, value: str) -> None:
    """Refuse a generator of other pictures than RGB of 8 bits, which a graph of bytes is not."""
    if not generator.are_colors:
        taken, made = (each or "RGB of 8 bits" for each in generator.formats)
        raise OptionError(
            option,
            f"{value}, but the model takes {taken}, and makes {made}; exported models take and "
            "make RGB of 8 bits, others are translated by torch alone",
        )


def weights_sha256(generator: LoadedGenerator) -> str:
    """Return the SHA-256 of a generator, its architecture and all of its weights."""
    weights = hashlib.sha256(str(generator.architecture).encode())
    for name, tensor in generator.network.state_dict().items():
        weights.update(name.encode())
        weights.update(tensor.cpu().contiguous().numpy().tobytes())
    return weights.hexdigest()


def export_bytes(
    loaded: LoadedGenerator, *, grid_bend_px: float, style: str | None = None, to: str = "onnx"
) -> bytes:
    """Return what a file of an exported generator holds, which is not verified here.

    Args:
        loaded: generator.
        grid_bend_px: strength of the warp, in pixels.
        style: style that the generator was loaded with, for the metadata; None: the first one.
        to: format: ``onnx``, ``torchscript`` or ``pt2``.

    Raises:
        ImpastoError: a package is missing, or the network cannot be exported.
    """
    graph = TranslationGraph(loaded.network, grid_bend_px=grid_bend_px)
    metadata = json.dumps(_metadata(loaded, grid_bend_px, style, to), sort_keys=True)
    example = torch.from_numpy(_picture(*_EXAMPLE[1:3], count=_EXAMPLE[0]))
    try:
        # Both tracers warn of each number that they take for a constant, which the comparison
        # would show, and that newer ones exist, which are slower or leave out some sizes.
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return _WRITERS[to](graph, example, metadata)
    except ImpastoError:
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ImpastoError(
            f"the network ({loaded.architecture}) cannot be exported as {to}: {reason}"
        ) from error


def _metadata(
    loaded: LoadedGenerator, bend_px: float, style: str | None, to: str
) -> dict[str, str]:
    """Return what the file says of itself: what the weights said, and what became of them."""
    said = {key: value for key, value in loaded.provenance.items() if key != "styles"}
    count = sum(weights.numel() for weights in loaded.network.parameters())
    if loaded.styles:
        said["style"] = loaded.styles[0] if style is None else style
    return {
        **said,
        "architecture": loaded.architecture.to_json(),
        "exported_by": f"impasto {version('impasto')}",
        "format": to,
        "grid_bend_px": f"{bend_px:g}",
        "pictures": "input and output: RGB, (N, H, W, 3), uint8",
        "pixel_bytes": f"{activation_bytes(loaded.network, torch.device('cpu')):.0f}",
        "weights": str(count),
    }


def _write_onnx(graph: nn.Module, example: Tensor, metadata: str) -> bytes:
    try:
        import onnx  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImpastoError(
            "exporting to ONNX needs the packages onnx and onnxruntime: "
            "pip install onnx onnxruntime"
        ) from error
    names, file = ("pictures", "translated"), BytesIO()
    dynamic = {name: {0: "count", 1: "height", 2: "width"} for name in names}
    # The exporter by tracing: the other one took ten times as long, for programs that were bound to
    # some sizes. Before torch 2.5 it is the only one.
    old = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    settings: dict[str, Any] = {"f": file, "dynamic_axes": dynamic, "opset_version": _OPSET, **old}
    torch.onnx.export(graph, (example,), input_names=names[:1], output_names=names[1:], **settings)
    model = onnx.load_model_from_string(file.getvalue())
    model.producer_name, model.producer_version = "impasto", version("impasto")
    model.doc_string = "translates pictures: RGB, (N, H, W, 3), uint8, to the same"
    onnx.helper.set_model_props(model, {METADATA_KEY: metadata})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _read_onnx(content: bytes) -> Run:
    session = OnnxSession(content, threads=torch.get_num_threads())
    return lambda pictures: session(list(pictures))


def _write_torchscript(graph: nn.Module, example: Tensor, metadata: str) -> bytes:
    traced: Any = torch.jit.trace(graph, example, check_trace=False)  # type: ignore[no-untyped-call]
    file = BytesIO()
    torch.jit.save(traced, file, _extra_files={_EXTRA_FILE: metadata})
    return file.getvalue()


def _read_torchscript(content: bytes) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.export is newer
        return _by_torch(torch.jit.load(BytesIO(content)))  # type: ignore[no-untyped-call]


def _write_pt2(graph: nn.Module, example: Tensor, metadata: str) -> bytes:
    any_size = torch.export.Dim.DYNAMIC
    program = torch.export.export(
        graph, (example,), dynamic_shapes=({0: any_size, 1: any_size, 2: any_size},)
    )
    file = BytesIO()
    torch.export.save(program, file, extra_files={_EXTRA_FILE: metadata})
    return file.getvalue()


def _read_pt2(content: bytes) -> Run:
    return _by_torch(torch.export.load(BytesIO(content)).module())


def _by_torch(module: Callable[[Tensor], Tensor]) -> Run:
    @torch.no_grad()
    def run(pictures: Pictures) -> Pictures:
        made: Pictures = module(torch.from_numpy(pictures)).numpy()
        return made

    return run


_WRITERS = {"onnx": _write_onnx, "torchscript": _write_torchscript, "pt2": _write_pt2}
_READERS: dict[str, Callable[[bytes], Run]] = {
    "onnx": _read_onnx,
    "torchscript": _read_torchscript,
    "pt2": _read_pt2,
}


def _verify(run: Run, loaded: LoadedGenerator, bend_px: float) -> tuple[int, list[tuple[int, int]]]:
    """Compare what was exported with what `impasto translate` makes.

    Returns:
        The largest difference, of 255 levels, and the sizes that say nothing.

    Raises:
        ImpastoError: the difference is larger than one level.
    """
    translator = Translator(loaded.network, device=torch.device("cpu"), grid_bend_px=bend_px)
    most, undetermined = 0, []
    for height, width in _SIZES:
        pictures = _picture(height, width, count=2 if height == 97 else 1)
        expected = np.stack(translator.begin(list(pictures))())
        try:
            made = run(pictures)
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "")
            raise ImpastoError(
                f"what was exported fails on a picture of {width} x {height} pixels ({reason}); "
                "nothing was written"
            ) from error
        levels = _difference(made, expected)
        if levels > _MOST_LEVELS and _depends_on_rounding(loaded, bend_px, pictures, expected):
            undetermined.append((height, width))
        elif levels > _MOST_LEVELS:
            raise ImpastoError(
                f"what was exported makes other pictures than torch: of {width} x {height} pixels, "
                f"one differs by {levels} of 255 levels, and {_MOST_LEVELS} is allowed; nothing "
                "was written"
            )
        else:
            most = max(most, levels)
    return most, undetermined


def _difference(made: Pictures, expected: Pictures) -> int:
    if made.shape != expected.shape or made.dtype != np.uint8:
        raise ImpastoError(
            f"what was exported returns {made.shape} {made.dtype}, expected {expected.shape} "
            "uint8; nothing was written"
        )
    return int(np.abs(made.astype(int) - expected).max())


def _depends_on_rounding(
    loaded: LoadedGenerator, bend_px: float, pictures: Pictures, expected: Pictures
) -> bool:
    """Whether a picture has one color, and 64 bits give it another translation than 32.

    A normalization divides by the spread of values, which is then that of their rounding.
    """
    if (pictures != pictures[:, :1, :1]).any():
        return False
    exact = TranslationGraph(_InDouble(loaded.network), grid_bend_px=bend_px)
    with torch.no_grad():
        made = exact(torch.from_numpy(pictures)).numpy()
    return _difference(made, expected) > _MOST_LEVELS


class _InDouble(Generator):
    """A generator that computes with 64 bits."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.stride, self.smallest = generator.stride, generator.smallest
        self.network = copy.deepcopy(generator).double()

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.network(images.double())
        return made.float()


def _picture(height: int, width: int, *, count: int) -> Pictures:
    """Return different pictures with areas and grain, (N, H, W, 3), the same each time."""
    random = np.random.default_rng(height * width)
    made = []
    for _ in range(count):
        rough = random.integers(0, 256, (height // 9 + 1, width // 9 + 1, 3), dtype=np.uint8)
        areas = Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)
        grain = random.integers(-20, 21, (height, width, 3))
        made.append(np.clip(np.asarray(areas).astype(int) + grain, 0, 255).astype(np.uint8))
    return np.stack(made)
