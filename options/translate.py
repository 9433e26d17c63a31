"""All options of the commands that use models as they are: translate, models, export, demo, app.

`impasto translate` applies a generator to pictures, `impasto models` lists the generators there
are, `impasto export` writes one for other programs, `impasto demo` shows what ships with Impasto
and trains a small model besides, and `impasto app` does it all on a page.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from impasto.options.fields import (
    nearest_suffix,
    option_class,
    parse_bytes,
    require,
    require_at_least,
    require_grid_bend,
    require_positive,
    require_range,
    require_seed,
)
from impasto.options.networks import Direction
from impasto.options.train import Device, MixedPrecision

__all__ = [
    "ALL_PAINTERS",
    "EXPORT_SUFFIXES",
    "SHEET_SUFFIXES",
    "AppOptions",
    "DemoOptions",
    "ExportFormat",
    "ExportOptions",
    "ModelsOptions",
    "PictureFormat",
    "TranslateOptions",
]

ALL_PAINTERS = Path("all")
"""The ``model`` that stands for all painters that ship with Impasto."""

SHEET_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""Endings of the files that a contact sheet can be written to."""

PictureFormat = Literal["png", "jpg", "webp", "tif", "npy"]
ExportFormat = Literal["onnx", "torchscript", "pt2"]

EXPORT_SUFFIXES: Mapping[str, str] = {"onnx": ".onnx", "torchscript": ".pt", "pt2": ".pt2"}
"""Endings of the files, by format."""


def _require_sheet(option: str, path: Path) -> None:
    """Refuse a contact sheet of another format."""
    suffix = path.suffix.lower()
    require(
        suffix in SHEET_SUFFIXES,
        option,
        f"{path} ends in none of {', '.join(SHEET_SUFFIXES)}"
        f"{nearest_suffix(suffix, SHEET_SUFFIXES)}",
    )


def _require_epoch(epoch: str) -> None:
    require(
        epoch in {"latest", "best"} or epoch.isdecimal(),
        "epoch",
        f"expected latest, best or the number of an epoch, got {epoch!r}",
    )


@option_class
class TranslateOptions:
    """Translate pictures with a trained generator; size out = size in."""

    headings: ClassVar[Mapping[str, str]] = {
        "model": "model and results",
        "format": "files and sizes",
        "strength": "strokes",
        "steady": "films",
        "overwrite": "running",
        "engine": "several machines",
    }

    model: Path = Path("monet")
    """model to translate with: a painter that ships with Impasto, such as monet (impasto models
    lists them), or all, which is each of them in turn; photo (Monets into photographs), which ships
    with it, too; a run of impasto train, by its folder or its name; or the file of one generator,
    .safetensors, .pth, or .onnx of impasto export"""
    output: Path | None = None
    """folder for the translated pictures and a page that shows them, index.html; with --model all,
    each painter has a folder of its own in it. For a single film it may be a file, such as
    out.mp4. It is needed unless there is a SHEET, whose name
    without its ending is then the name of the folder"""
    sheet: Path | None = None
    """contact sheet to write, .jpg, .png or .webp: a row for each photograph, which shows it and
    then what each model makes of it, with their names below"""
    sheet_cell_px: int = 512
    """longer side of each picture on the sheet, in pixels"""
    direction: Direction | None = None
    """direction of translation, if MODEL is a run: AtoB uses its generator G_A, BtoA its generator
    G_B (default: AtoB)"""
    epoch: str = "latest"
    """epoch whose weights are used, if MODEL is a run: latest, best (what impasto train
    --evaluate_every_epochs kept), or the number of an epoch whose weights were kept"""
    style: str | None = None
    """style, if MODEL knows several (impasto style train; impasto models lists them): a name such
    as great_wave, or a mixture such as great_wave:0.7,the_scream:0.3, in which weights stand for
    shares (default: the first style)"""
    format: PictureFormat = "png"
    """file format of the translated pictures; jpg cannot store transparency; tif, without
    compression, can be written in rows, so that pictures of TIFF files may be of any size. tif and
    npy (an array of NumPy) hold floating-point numbers, too, and any number of channels"""
    bits: int | Literal["auto"] = "auto"
    """bits per sample of RGB results, 8 or 16; auto is 16 for pictures of more than 8 bits, if
    FORMAT can hold them, and 8 for all others. Results of models of other pictures have the depth
    and the range of the pictures that they were trained on"""
    quality: int = 95
    """quality of jpg and webp files, from 1 to 100; the other formats, which lose nothing, have
    none"""
    long_side: int | None = None
    """longer side that larger pictures are reduced to before they are translated, in pixels
    (default: no limit)"""
    strength: float = 1.0
    """how much of the translation the results take on, from 0 (the photograph as it is) to 1 (the
    translation); between them, the two are mixed pixel by pixel"""
    stroke_scale: float | Literal["auto"] = "auto"
    """factor by which brush strokes become larger: the generator sees the picture reduced by this
    factor, and its result is enlarged again, which is faster and loses fine detail. auto follows
    the size of each picture, where a model says which size its strokes are right for, and is 1
    for other models, such as monet_cycle and most runs of impasto train; for those, 2 suits
    pictures with sides of about 1,000 pixels"""
    grid_bend_px: float | None = None
    """bend (warp) pictures by about this many pixels before the generator, and back after it, so
    that its strokes do not line up in a regular grid; 3 is enough, 0 does not bend them (default:
    the value that is stored with the model, which is 3 for the shipped models; 0 for models of
    other programs)"""
    steady: bool = False
    """films: let strokes stay with the scene as it moves, and mix in the result before where it
    fits, so that films flicker less; it takes a little longer. Films are video files and animated
    GIF, PNG and WebP"""
    steady_strokes: Literal["scene", "screen"] = "scene"
    """films, with --steady: scene lets strokes move with what they paint, which flickers least;
    screen leaves them where they are when each frame is translated by itself, and mixes in less of
    the result before, which stays near to that film and flickers about half as much"""
    codec: Literal["auto", "h264", "hevc", "vp9"] = "auto"
    """films: how the pictures of video files are coded; auto is vp9 for .webm and h264 otherwise,
    or MPEG-4 Part 2 where there is no encoder for h264. Sound is copied unchanged"""
    crf: int | None = None
    """films: constant quality of the pictures of video files, from 0 up; smaller values make
    better pictures and larger files (default: 18 for h264, 20 for hevc, 24 for vp9)"""
    shard: str | None = None
    """translate one of several parts of the pictures, such as 3/16 for the third of 16; commands
    for all parts may run at the same time, on several machines, into the same OUTPUT, and each
    writes a page of its own. The same command without it then makes one page of all"""
    overwrite: bool = False
    """translate all pictures, also those whose translation with the same model and settings is
    already in OUTPUT, and replace files there that impasto translate did not make"""
    batch_size: int | None = None
    """number of pictures of the same size that are translated together (default: 4 on a GPU, and 1
    on a processor, where more take more time and memory)"""
    num_threads: int = 4
    """number of threads that read and write pictures"""
    memory: str | None = None
    """most memory that the whole command may take, such as 2GB (default: what is free, of a
    container's limit, too). A picture for which that is too little is translated in rows, which
    takes longer: what is not kept is computed again, and what does not fit lies in a temporary file
    in OUTPUT. On a processor only, and not with a U-Net"""
    tile: Literal["exact", "fast"] = "exact"
    """how a picture is translated that does not fit into MEMORY at once: exact gives the same
    result; fast passes it once, with statistics of a copy that is reduced to 1,024 pixels, and
    needs no file, but colors and strokes differ (docs/large_pictures.md has by how much)"""
    device: Device = "auto"
    """where to compute; auto uses a GPU if there is one"""
    runtime: Literal["torch", "onnx"] | None = None
    """library that computes: torch, or onnx (onnxruntime, on the processor; the model is exported
    first; pip install onnx onnxruntime). On processors, torch takes less time here (default: torch,
    and onnx for a MODEL that ends in .onnx)"""
    threads: int | None = None
    """number of threads that compute on the processor (default: one for each core that the process
    may use, or the environment variable OMP_NUM_THREADS); 1 suits a machine that is busy
    otherwise. The last digits of the result depend on it"""
    mixed_precision: MixedPrecision = "no"
    """numeric precision: no computes in 32 bits; fp16 and bf16 compute in 16 bits where that is
    safe; auto is bf16 where a quick measurement finds it faster, and no elsewhere"""
    engine: Literal["local", "ray"] = "local"
    """what translates: local is this process; ray is the workers of a Ray cluster, or several
    processes of this machine (pip install ray), which share the pictures among them, so that
    PHOTOS, OUTPUT and MODEL have to be in folders that all machines see under the same path. The
    options for running are then those of each worker (docs/cluster.md)"""
    ray_address: str | None = None
    """address of the Ray cluster, HOST:PORT, or auto for the one that runs on this machine; local
    starts one for this command (default: the environment variable RAY_ADDRESS, or local)"""
    ray_workers: int | None = None
    """number of workers (default: as many as the cluster has room for)"""
    ray_gpus_per_worker: float | None = None
    """number of GPUs of each worker, such as 1, or 0.5 for two workers on each GPU (default: 1 if
    the cluster has GPUs, unless DEVICE is cpu)"""

    @property
    def folder(self) -> Path:
        """Folder of the results: ``output``, or the name of the sheet without its ending."""
        if self.output is not None:
            return self.output
        assert self.sheet is not None  # noqa: S101 - for mypy; one of them there is
        return self.sheet.with_suffix("")

    @property
    def memory_bytes(self) -> int | None:
        """Most memory that the whole command may take, in bytes, or None."""
        return None if self.memory is None else parse_bytes("memory", self.memory)

    @property
    def part(self) -> tuple[int, int] | None:
        """Number of the part of the pictures, from 1, and of all parts; None for all pictures."""
        if self.shard is None:
            return None
        number, _, count = self.shard.partition("/")
        return int(number), int(count)

    def _require_shard(self) -> None:
        if self.shard is None:
            return
        match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", self.shard)
        require(
            match is not None and int(match[1]) <= int(match[2]),
            "shard",
            f"expected a part and how many there are, such as 3/16, got {self.shard!r}",
        )
        require(self.sheet is None, "sheet", "shows all pictures, and --shard takes a part of them")

    def _require_engine(self) -> None:
        for name in ("ray_address", "ray_workers", "ray_gpus_per_worker"):
            value = getattr(self, name)
            require(value is None or self.engine == "ray", name, f"{value} is for --engine ray")
        if self.ray_address is not None:
            require(
                re.fullmatch(r"auto|local|[^\s/]+:\d{1,5}", self.ray_address) is not None,
                "ray_address",
                f"expected HOST:PORT, auto or local, got {self.ray_address!r}",
            )
        if self.ray_workers is not None:
            require_positive("ray_workers", self.ray_workers)
        gpus = self.ray_gpus_per_worker
        require(
            gpus is None or 0 <= gpus <= 1 or (gpus > 1 and gpus.is_integer()),
            "ray_gpus_per_worker",
            f"expected a number from 0 to 1, or a larger whole number, got {gpus}",
        )

    def __post_init__(self) -> None:
        self._require_shard()
        self._require_engine()
        require(
            self.output is not None or self.sheet is not None,
            "output",
            "is missing; this option must be given, or --sheet",
        )
        if self.sheet is not None:
            _require_sheet("sheet", self.sheet)
        require_positive("sheet_cell_px", self.sheet_cell_px)
        require(
            self.style is None or self.model != ALL_PAINTERS,
            "style",
            f"{self.style} is for one model, and --model {ALL_PAINTERS} stands for several",
        )
        require_range("strength", self.strength, 0, 1)
        require_range("quality", self.quality, 1, 100)
        require_positive("num_threads", self.num_threads)
        for name in ("batch_size", "threads", "long_side"):
            if (value := getattr(self, name)) is not None:
                require_positive(name, value)
        require(
            self.steady or self.steady_strokes == "scene",
            "steady_strokes",
            "is for films with --steady; give that, too, or leave it out",
        )
        if self.memory is not None:
            parse_bytes("memory", self.memory)
        require(
            self.format in {"jpg", "webp"} or self.quality == 95,
            "quality",
            f"{self.quality} is for --format jpg or webp; {self.format} loses nothing",
        )
        require(self.bits in {"auto", 8, 16}, "bits", f"expected 8, 16 or auto, got {self.bits}")
        require(
            self.bits != 16 or self.format not in {"jpg", "webp"},
            "bits",
            f"16 is for --format png, tif or npy; {self.format} holds 8",
        )
        if self.stroke_scale != "auto":
            require_at_least("stroke_scale", self.stroke_scale, 1)
        if self.grid_bend_px is not None:
            require_grid_bend(self.grid_bend_px)
        if self.crf is not None:
            require_range("crf", self.crf, 0, 63)
        _require_epoch(self.epoch)


@option_class
class ModelsOptions:
    """List the generators that ship with Impasto, and those in folders of runs."""

    checkpoints_dir: Path = Path("checkpoints")
    """folder with runs, which is listed if no FOLDER is given"""
    sheet: Path | None = None
    """contact sheet to write, .jpg, .png or .webp, which shows a photograph and what each painter
    that ships with Impasto makes of it"""
    photo: Path | None = None
    """photograph of the sheet (default: one that scikit-image ships)"""

    def __post_init__(self) -> None:
        if self.sheet is not None:
            _require_sheet("sheet", self.sheet)
        require(
            self.photo is None or self.sheet is not None,
            "photo",
            "is for the contact sheet; name its file, such as --sheet painters.jpg",
        )


@option_class
class ExportOptions:
    """Write a trained generator as one graph that other programs can run."""

    headings: ClassVar[Mapping[str, str]] = {"format": "file", "direction": "model"}

    format: ExportFormat = "onnx"
    """file format: onnx (ONNX, for onnxruntime and many other programs), torchscript (for torch
    in C++ or Python), or pt2 (a program of torch.export). Each takes and returns pictures as
    bytes: RGB, (N, H, W, 3), of any size"""
    output: Path | None = None
    """file to write, which ends in .onnx, .pt (torchscript) or .pt2 (default: the name of the
    model with that ending, in the current folder)"""
    overwrite: bool = False
    """replace OUTPUT if it exists"""
    direction: Direction | None = None
    """direction of translation, if MODEL is a run: AtoB exports its generator G_A, BtoA its
    generator G_B (default: AtoB)"""
    epoch: str = "latest"
    """epoch whose weights are exported, if MODEL is a run: latest, best (what impasto train
    --evaluate_every_epochs kept), or the number of an epoch whose weights were kept"""
    style: str | None = None
    """style, if MODEL knows several: a name, or a mixture such as great_wave:0.7,the_scream:0.3; a
    file holds one style (default: the first style)"""
    grid_bend_px: float | None = None
    """bend (warp) pictures by about this many pixels before the generator, and back after it,
    inside the graph; 0 does not bend them, which is faster (default: the value that is stored with
    the model)"""

    def __post_init__(self) -> None:
        if self.output is not None:
            expected = EXPORT_SUFFIXES[self.format]
            suffix = self.output.suffix.lower()
            require(
                suffix == expected,
                "output",
                f"{self.output} does not end in {expected}, as --format {self.format} does"
                f"{nearest_suffix(suffix, [expected])}",
            )
        if self.grid_bend_px is not None:
            require_grid_bend(self.grid_bend_px)
        _require_epoch(self.epoch)


@option_class
class DemoOptions:
    """The tour: painters, Monets, domains, training, translations, a stylized picture, a survey."""

    output: Path = Path("demo")
    """folder for everything that the demo makes; it replaces the results of an earlier demo,
    but no other files"""
    max_images: int | None = None
    """stop the training after MAX_IMAGES pictures of each domain (default: train for all epochs
    of the preset demo)"""
    train_pictures: int = 96
    """number of pictures in each of the two training folders"""
    test_pictures: int = 24
    """number of pictures in the held-out set, at least 2"""
    seed: int = 0
    """seed of the pictures and of the training"""

    def __post_init__(self) -> None:
        if self.max_images is not None:
            require_positive("max_images", self.max_images)
        require_at_least("train_pictures", self.train_pictures, 1)
        require(
            self.test_pictures >= 2,
            "test_pictures",
            f"expected at least 2, got {self.test_pictures}: the survey takes one picture for "
            "practice and one to judge",
        )
        require_seed(self.seed)


@option_class
class AppOptions:
    """A page on this machine that paints the pictures that are dropped on it."""

    host: str = "127.0.0.1"
    """address to listen on: 127.0.0.1 is reachable from this machine only, 0.0.0.0 from every
    machine in the network, of which each could then use this one to paint"""
    port: int = 7860
    """port to listen on; 0 chooses a free one"""
    open_browser: bool = True
    """open the page in the browser of this machine"""
    checkpoints_dir: Path = Path("checkpoints")
    """folder with runs of impasto train and impasto style train, which are offered beside the
    models that ship with Impasto"""
    long_side: int = 2048
    """longer side that larger pictures are reduced to, in pixels"""
    max_upload_mb: int = 50
    """largest file that the page takes, in megabytes"""
    device: Device = "auto"
    """where to compute; auto uses a GPU if there is one"""
    threads: int | None = None
    """number of threads that compute on the processor (default: one for each core that the process
    may use, or the environment variable OMP_NUM_THREADS)"""

    def __post_init__(self) -> None:
        require_range("port", self.port, 0, 65535)
        require_positive("long_side", self.long_side)
        require_positive("max_upload_mb", self.max_upload_mb)
        if self.threads is not None:
            require_positive("threads", self.threads)
