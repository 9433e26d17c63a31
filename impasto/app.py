"""The page of `impasto app`: drop a picture, choose a painter, move the strength, compare, save.

It is served to this machine and asks no other for anything. Pictures are read and written by the
jobs of the command line, with their limits and their messages; the library Gradio is the page.
"""

import os
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from impasto.cyclegan.jobs.pictures import limit_picture
from impasto.cyclegan.jobs.translate import translate
from impasto.cyclegan.models import SHIPPED, find_generator
from impasto.data import Picture, read_picture, write_picture
from impasto.data.encode import write_float_picture
from impasto.data.files import fit_name
from impasto.data.samples.photographs import sample_photographs
from impasto.gatys.features.lite import find_lite_weights
from impasto.gatys.jobs.stylize import stylize
from impasto.gatys.optim.iterates import Iterate
from impasto.options.errors import ImpastoError, PictureError
from impasto.options.networks import Direction
from impasto.options.stylize import StylizeOptions
from impasto.options.translate import AppOptions, PictureFormat, TranslateOptions

if TYPE_CHECKING:
    import gradio

__all__ = ["Choice", "Painted", "Studio", "build_page", "run_app"]

# Seconds after which files of a request may go, and between looks for such files.
_KEPT_SECONDS, _LOOK_SECONDS = 6 * 3600, 900
_EXAMPLES = ("china", "flower", "coffee", "chelsea", "astronaut")
# Evaluations of the losses between two pictures that are shown.
_SHOWN_EVERY = 15
StrokeScale = Literal["auto", "1", "1.5", "2", "3", "4"]
STROKE_SCALES: tuple[StrokeScale, ...] = ("auto", "1", "1.5", "2", "3", "4")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What a picture can be painted with.

    Attributes:
        label: name on the page.
        model: the model, as after ``--model``.
        style: style of a model that knows several, or None.
        direction: direction of translation, where the model is a run.
        name: what the names of its results end in.
    """

    label: str
    model: Path
    name: str
    style: str | None = None
    direction: Direction | None = None


@dataclass(frozen=True, kw_only=True)
class Painted:
    """A picture, and what was made of it.

    Attributes:
        before: PNG of the photograph, upright, at the size of the result.
        after: file of the result.
        words: what was done, in one line.
    """

    before: Path
    after: Path
    words: str


def _shipped() -> list[Choice]:
    """Return what ships: models of one manner, then each painting of the others."""
    styles = {name: find_generator(Path(name)).styles for name in SHIPPED}
    whole = [
        Choice(label=SHIPPED[name].label, model=Path(name), name=name)
        for name in SHIPPED
        if not styles[name]
    ]
    return whole + [
        Choice(
            label=f"\u201c{style.replace('_', ' ').capitalize()}\u201d",
            model=Path(name),
            style=style,
            name=style,
        )
        for name in SHIPPED
        for style in styles[name]
    ]


def _trained(checkpoints_dir: Path) -> list[Choice]:
    """Return what the runs of a folder can paint with; damaged ones, and others, with nothing."""
    runs = checkpoints_dir.iterdir() if checkpoints_dir.is_dir() else ()
    return [choice for run in sorted(runs) if run.is_dir() for choice in _of_run(run)]


def _of_run(run: Path) -> list[Choice]:
    found, model = list[Choice](), run.absolute()
    ways: tuple[Direction, ...] = ("AtoB", "BtoA")
    for direction in ways:
        with suppress(ImpastoError):
            loaded = find_generator(model, direction=direction)
            for style in loaded.styles or [None] if loaded.are_colors else ():
                found.append(
                    Choice(
                        label=f"{run.name} {style or direction}",
                        model=model,
                        style=style,
                        direction=direction,
                        name=style or run.name,
                    )
                )
    return found


class Studio:
    """Everything the page does, without the page.

    Requests are worked off one after another, since each uses all processors.

    Args:
        folder: folder for the files of all requests.
        options: options of the app.

    Attributes:
        choices: what can be painted with, by its label: the painters that ship, then each painting
            of the shipped styles, then the trained runs.
    """

    def __init__(self, folder: Path, options: AppOptions) -> None:
        self._folder, self._options = folder, options
        self._lock = threading.Lock()
        found = [*_shipped(), *_trained(options.checkpoints_dir)]
        self.choices = {choice.label: choice for choice in found}

    def examples(self) -> list[Path]:
        """Write some photographs that other packages ship, and return their files."""
        photographs = sample_photographs()
        files = [self._folder / "examples" / f"{name}.png" for name in _EXAMPLES]
        for file in files:
            write_picture(file, Picture(rgb=photographs[file.stem]))
        return files

    def paint(
        self,
        photo: Path,
        label: str,
        *,
        strength: float = 1.0,
        stroke_scale: StrokeScale = "auto",
        file_format: PictureFormat = "png",
    ) -> Painted:
        """Translate one picture.

        Args:
            photo: picture file of any supported format.
            label: one of ``choices``.
            strength: share of the translation in the result, 0 to 1.
            stroke_scale: factor by which strokes become larger.
            file_format: format of the result.

        Raises:
            PictureError: the picture cannot be read.
            ImpastoError: it could not be translated, or the disk is full.
        """
        choice, started = self.choices[label], time.perf_counter()
        limit = self._options.long_side
        with self._lock, self._request() as folder:
            picture = limit_picture(read_picture(photo), limit)
            before = folder / "photograph.png"
            write_picture(before, picture)
            made = translate(
                [before],
                TranslateOptions(
                    model=choice.model,
                    style=choice.style,
                    direction=choice.direction,
                    output=folder / "out",
                    strength=strength,
                    stroke_scale="auto" if stroke_scale == "auto" else float(stroke_scale),
                    format=file_format,
                    device=self._options.device,
                    threads=self._options.threads,
                ),
            )
            for reason in made.converted.failures.values():
                raise PictureError(Path(photo.name), reason)
            after = folder / fit_name(f"{_stem(photo)}_{choice.name}.{file_format}")
            next(iter(made.targets.values())).replace(after)
            shutil.rmtree(folder / "out")
        seconds = time.perf_counter() - started
        words = f"{choice.label}, {picture.width} x {picture.height} pixels, {seconds:.1f} seconds"
        return Painted(before=before, after=after, words=words)

    def stylize(
        self,
        photo: Path,
        painting: Path,
        *,
        strength: float = 1.0,
        size: int = 384,
        stopped: threading.Event | None = None,
    ) -> Iterator[tuple[np.ndarray | Path, str]]:
        """Optimize a picture in the style of another, and show how it comes about.

        Args:
            photo: content picture.
            painting: style picture.
            strength: 0 to 1; 1 is the whole effect.
            size: longer side of the result, in pixels.
            stopped: set to end early, with the best picture so far.

        Yields:
            Unfinished pictures, RGB, (H, W, 3), uint8, each with a line about it; at last the file
            of the result, PNG.

        Raises:
            ImpastoError: a picture cannot be read, or there is not enough memory.
        """
        ended = threading.Event() if stopped is None else stopped
        news = SimpleQueue[Iterate | Exception | Path]()
        preset = "lite" if find_lite_weights() is not None else "builtin"
        started = time.perf_counter()

        def work() -> None:
            try:
                with self._lock, self._request() as folder:
                    made = stylize(
                        StylizeOptions(
                            content=photo,
                            styles=(painting,),
                            output=folder / "stylized.png",
                            size=size,
                            strength=strength,
                            preset=preset,
                            device=self._options.device,
                            threads=self._options.threads,
                        ),
                        watcher=news.put,
                        every=_SHOWN_EVERY,
                        stop=ended.is_set,
                    )
                    name = fit_name(f"{_stem(photo)}_in_the_style_of_{_stem(painting)}.png")
                    file = folder / name
                    write_float_picture(file, made.image, alpha=made.alpha)
                news.put(file)
            except Exception as error:  # noqa: BLE001 - raised again below, where somebody waits
                news.put(error)

        worker = threading.Thread(target=work, name="stylize", daemon=True)
        worker.start()
        try:
            while not isinstance(one := news.get(), Path):
                if isinstance(one, Exception):
                    raise one
                where = f"size {one.scale} of {one.scales}, {one.step} of {one.steps}"
                yield _bytes(one.image), f"{where}, {time.perf_counter() - started:.0f} seconds"
            yield one, f"done in {time.perf_counter() - started:.0f} seconds"
        finally:
            ended.set()  # also where nobody asks for the rest
            worker.join()

    def _request(self) -> "_Request":
        return _Request(self._folder)


class _Request:
    """A folder for the files of one request, gone again if the request fails."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        for earlier in self._folder.glob("request_*"):
            if time.time() - earlier.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(earlier, ignore_errors=True)
        self._path = Path(tempfile.mkdtemp(prefix="request_", dir=self._folder))
        return self._path

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self._path, ignore_errors=True)


def _stem(path: Path) -> str:
    """Return the beginning of the name of an upload, without its ending and odd characters."""
    kept = "".join(letter for letter in path.stem if letter.isalnum() or letter in "-_ .")
    return kept.strip(" .")[:60] or "picture"


def _bytes(image: torch.Tensor) -> np.ndarray:
    picture: np.ndarray = (image[0].permute(1, 2, 0).cpu() * 255).round().byte().numpy()
    return picture


_HEAD = "<meta name='referrer' content='no-referrer'>"
_INTRODUCTION = """# Impasto
Drop a photograph, or take one of those below, and choose a painter. Everything is computed on the
machine that runs `impasto app`; no picture leaves it."""
_OWN = """Any painting as the style: the pixels are optimized, which takes from some seconds to
minutes and shows how the picture comes about."""


def build_page(studio: Studio, *, max_upload_mb: int = 50) -> "gradio.Blocks":
    """Lay out the page.

    Args:
        studio: what paints.
        max_upload_mb: largest upload, in megabytes, as the page says it.

    Raises:
        ImpastoError: Gradio is not installed.
    """
    gr = _import_gradio()
    page = gr.Blocks(
        title="Impasto", analytics_enabled=False, delete_cache=(_LOOK_SECONDS, _KEPT_SECONDS)
    )
    with page:
        gr.Markdown(_INTRODUCTION)
        with gr.Tab("By a painter"), gr.Row():
            _lay_out_painters(gr, studio, f"Photograph, at most {max_upload_mb} MB")
        with gr.Tab("By a painting of yours"):
            gr.Markdown(_OWN)
            with gr.Row():
                _lay_out_own(gr, studio)
    return page


# No part of a public interface, and one at a time on the processors.
_EVENT = {"api_visibility": "private", "concurrency_limit": 1, "concurrency_id": "processors"}


def _upload(gr: Any, label: str, name: str, height: int) -> Any:
    """Make a place to drop a picture on, which is kept as the file it is."""
    sources = ["upload", "clipboard"]
    kept = {"type": "filepath", "image_mode": None}
    return gr.Image(label=label, elem_id=name, height=height, sources=sources, **kept)


def _lay_out_painters(gr: Any, studio: Studio, label: str) -> None:
    names = list(studio.choices)

    def paint(photo: str | None, name: str, strength: float, strokes: Any, form: Any) -> Any:
        if photo is None:
            return None, "No photograph yet.", gr.DownloadButton(interactive=False)
        with _as_messages(gr):
            made = studio.paint(
                Path(photo), name, strength=strength, stroke_scale=strokes, file_format=form
            )
        button = gr.DownloadButton(value=str(made.after), interactive=True)
        return (str(made.before), str(made.after)), made.words, button

    with gr.Column(scale=2):
        photo = _upload(gr, label, "photo", 320)
        gr.Examples(
            [[str(file)] for file in studio.examples()],
            [photo],
            label="Photographs of scikit-image, the first two of scikit-learn (CC BY 2.0)",
        )
        painter = gr.Radio(
            names,
            value=names[0],
            label="Painter, or \u201cone painting\u201d",
            elem_id="painter",
        )
        strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength", info="0 is the photograph")
        with gr.Row():
            strokes = gr.Dropdown(
                list(STROKE_SCALES),
                value="auto",
                label="Size of strokes",
                info="auto follows the size of the photograph",
            )
            form = gr.Dropdown(["png", "jpg", "webp"], value="png", label="File")
        button = gr.Button("Paint", variant="primary", elem_id="paint")
    with gr.Column(scale=3):
        compared = gr.ImageSlider(
            label="Photograph and painting",
            type="filepath",
            interactive=False,
            elem_id="compared",
            format="png",
            max_height=760,
            buttons=["fullscreen"],
        )
        words = gr.Markdown(elem_id="words")
        save = gr.DownloadButton("Save the painting", interactive=False, elem_id="save")
    gr.on(
        [button.click, painter.input, strength.release, strokes.input, form.input],
        paint,
        [photo, painter, strength, strokes, form],
        [compared, words, save],
        trigger_mode="always_last",
        **_EVENT,
    )


def _lay_out_own(gr: Any, studio: Studio) -> None:
    stopped = defaultdict[str, threading.Event](threading.Event)  # one for each open page

    def paint(
        photo: str | None, painting: str | None, strength: float, size: float, page: str
    ) -> Any:
        waiting = gr.DownloadButton(interactive=False)
        if photo is None or painting is None:
            yield None, f"No {'photograph' if photo is None else 'painting'} yet.", waiting
            return
        ended = stopped[page] = threading.Event()
        pictures = Path(photo), Path(painting)
        with _as_messages(gr):
            for shown, words in studio.stylize(
                *pictures, strength=strength, size=int(size), stopped=ended
            ):
                if isinstance(shown, Path):
                    yield str(shown), words, gr.DownloadButton(value=str(shown), interactive=True)
                else:
                    yield shown, words, waiting

    page = gr.State(partial(secrets.token_hex, 8))
    with gr.Column(scale=2):
        photo = _upload(gr, "Photograph", "content", 240)
        painting = _upload(gr, "Painting", "style", 240)
        strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength")
        size = gr.Slider(
            128, 1024, value=384, step=32, label="Longer side of the result, in pixels"
        )
        with gr.Row():
            begin = gr.Button("Paint", variant="primary", elem_id="begin")
            stop = gr.Button("Stop", elem_id="stop")
    with gr.Column(scale=3):
        # Without the button that shares pictures elsewhere.
        buttons = ["download", "fullscreen"]
        result = gr.Image(
            label="Painting", interactive=False, format="png", elem_id="stylized", buttons=buttons
        )
        told = gr.Markdown(elem_id="told")
        keep = gr.DownloadButton("Save the painting", interactive=False, elem_id="keep")
    begin.click(
        paint,
        [photo, painting, strength, size, page],
        [result, told, keep],
        trigger_mode="once",
        **_EVENT,
    )
    stop.click(lambda page: stopped[page].set(), [page], api_visibility="private", queue=False)


class _as_messages:  # noqa: N801 - reads as the statement that it is
    """Show errors of ours as messages on the page; all others are Gradio's to show."""

    def __init__(self, gr: Any) -> None:
        self._error = gr.Error

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ImpastoError):
            raise self._error(str(error), duration=None, print_exception=False) from error


def _import_gradio() -> Any:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # it is read at the import
    try:
        import gradio  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImpastoError(
            "impasto app needs the package gradio; install it with: pip install 'impasto[app]'"
        ) from error
    return gradio


def run_app(
    options: AppOptions,
    *,
    on_start: Callable[[str], None] = print,
    until: Callable[[], bool] = lambda: False,
) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        options: all options of the app.
        on_start: called with the address once the page can be opened.
        until: asked every quarter of a second whether to end.

    Raises:
        ImpastoError: Gradio is not installed, the port is taken, or the address is not of this
            machine.
    """
    gr = _import_gradio()
    port = _free_port(options.host, options.port)
    with tempfile.TemporaryDirectory(prefix="impasto_app_", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "uploads").mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "uploads")
        studio = Studio(folder, replace(options, port=port))
        page = build_page(studio, max_upload_mb=options.max_upload_mb)
        plain = gr.themes.Default(
            primary_hue="amber", font=["system-ui", "sans-serif"], font_mono=["monospace"]
        )
        try:
            page.launch(
                server_name=options.host,
                server_port=port,
                share=False,
                inbrowser=options.open_browser,
                prevent_thread_lock=True,
                quiet=True,
                show_error=True,
                max_file_size=f"{options.max_upload_mb}mb",
                footer_links=[],
                ssr_mode=False,
                enable_monitoring=False,
                theme=plain,
                head=_HEAD,
            )
            on_start(f"http://{_shown(options.host)}:{port}")
            while not until():
                time.sleep(0.25)
        finally:
            page.close(verbose=False)


def _shown(host: str) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - a comparison
        host = socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _free_port(host: str, port: int) -> int:
    """Return the port, or a free one for 0; say plainly where it cannot be listened on."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0], found[1]) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(found[4])
            return int(one.getsockname()[1])
    except OSError as error:
        raise ImpastoError(
            f"cannot listen on {host}, port {port} ({error.strerror}); choose another --port, "
            "or 0 for a free one"
        ) from error
