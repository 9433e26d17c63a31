"""What `impasto export` writes, compared with torch by itself, without its own comparison."""

import json
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import get_args

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto.cyclegan.architecture import GeneratorArchitecture, registered_generators
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.export import export, export_bytes
from impasto.cyclegan.models import find_generator
from impasto.cyclegan.networks import Generator, ResnetGenerator
from impasto.cyclegan.weights import LoadedGenerator, save_generator
from impasto.data.channels.ranges import SampleFormat
from impasto.options.errors import CheckpointError, ImpastoError, OptionError
from impasto.options.networks import NetG
from impasto.options.translate import ExportOptions
from tests.translating import translate

RESNET = GeneratorArchitecture(kind="resnet", depth=2, channels=4)
UNET = GeneratorArchitecture(kind="unet", depth=7, channels=2)
LAYERS = [
    *(replace(kind, norm=norm) for kind in (RESNET, UNET) for norm in ("affine", "layer", "none")),
    *(replace(kind, norm="batch", dropout=True, upsample="resize") for kind in (RESNET, UNET)),
    *(replace(kind, upsample="bilinear") for kind in (RESNET, UNET)),
    replace(RESNET, color_skip=True),
    replace(RESNET, norm="affine", base="kuwahara", noise=True),
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made_of(architecture: GeneratorArchitecture) -> LoadedGenerator:
    """Give a generator whose results are neither gray nor black and white."""
    torch.manual_seed(0)
    network = architecture.build()
    for name, weights in network.named_parameters():
        if name.endswith("weight") and weights.ndim == 1:
            torch.nn.init.normal_(weights, 1, 0.3)
        elif architecture.norm == "none":
            weights.data.mul_(1.7)
    for name, values in network.named_buffers():
        if name.endswith("running_var"):
            torch.nn.init.uniform_(values, 0.05, 0.4)
    return LoadedGenerator(network=network.eval(), architecture=architecture)


def saved(architecture: GeneratorArchitecture, **said: str) -> Path:
    path = Path("model.safetensors")
    save_generator(path, made_of(architecture).network.state_dict(), architecture, said)
    return path


def picture(height: int, width: int, *, count: int = 1) -> NDArray[np.uint8]:
    """Give waves of all frequencies, different in each picture and color."""
    y, x, color, number = np.ogrid[:height, :width, :3, :count]
    waves = np.sin(0.002 * (x + 3) ** 2 + 0.17 * y + color + 2 * number)
    return np.moveaxis((127.5 + 120 * waves).astype(np.uint8), 3, 0)


def run(content: bytes, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    made: NDArray[np.uint8] = session.run(None, {"pictures": pictures})[0]
    assert made.dtype == np.uint8
    return made


def by_torch(
    loaded: LoadedGenerator, pictures: NDArray[np.uint8], bend_px: float = 0.0
) -> NDArray[np.uint8]:
    cpu = torch.device("cpu")
    translator = Translator(loaded.network, device=cpu, grid_bend_px=bend_px)
    return np.stack(translator.begin(list(pictures))())


def levels(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("name", get_args(NetG))
def test_every_generator_is_exported(name: str) -> None:
    entry = registered_generators()[name]
    architecture = GeneratorArchitecture(kind=entry.kind, depth=entry.depth, channels=2)
    loaded = made_of(architecture)
    content = export_bytes(loaded, grid_bend_px=0)
    for pictures in (picture(37, 50, count=2), picture(131, 9)):
        expected = by_torch(loaded, pictures)
        assert expected.std() > 10
        assert levels(run(content, pictures), expected) <= 1


@pytest.mark.parametrize("architecture", LAYERS, ids=str)
def test_every_layer_is_exported(architecture: GeneratorArchitecture) -> None:
    loaded = made_of(architecture)
    content = export_bytes(loaded, grid_bend_px=0)
    for pictures in (picture(37, 50, count=2), picture(90, 131)):
        expected = by_torch(loaded, pictures)
        assert expected.std() > 5
        assert levels(run(content, pictures), expected) <= 1


# Below, at and above the smallest picture that is bent, and beyond 256 positions of the noise.
@pytest.mark.parametrize(
    "size",
    [
        (1, 1),
        (1, 2),
        (2, 1),
        (3, 200),
        (63, 64),
        (64, 63),
        (64, 64),
        (65, 99),
        (17, 1100),
        (333, 517),
    ],
)
def test_any_size_is_translated_as_by_torch(size: tuple[int, int], bent: bytes) -> None:
    pictures = picture(*size)
    expected = by_torch(find_generator(Path("vangogh")), pictures, 3)
    assert levels(run(bent, pictures), expected) <= 1


@pytest.fixture(scope="module")
def bent() -> bytes:
    return export_bytes(find_generator(Path("vangogh")), grid_bend_px=3)


def test_the_bend_is_in_the_graph(bent: bytes) -> None:
    pictures = picture(80, 101)
    straight = by_torch(find_generator(Path("vangogh")), pictures)
    assert levels(run(bent, pictures), straight) > 20
    small = picture(63, 101)
    assert levels(run(bent, small), by_torch(find_generator(Path("vangogh")), small)) <= 1


def test_torchscript_is_the_same() -> None:
    loaded = find_generator(Path("vangogh"))
    content = export_bytes(loaded, grid_bend_px=3, to="torchscript")
    extra = {"impasto.json": ""}
    with pytest.warns(FutureWarning):
        module = torch.jit.load(BytesIO(content), _extra_files=extra)  # type: ignore[no-untyped-call]
    assert json.loads(extra["impasto.json"])["grid_bend_px"] == "3"
    for pictures in (picture(5, 70), picture(70, 101, count=3)):
        made = module(torch.from_numpy(pictures)).numpy()
        assert levels(made, by_torch(loaded, pictures, 3)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("bend_px", [0, 2.5])
def test_a_program_of_torch_export_is_the_same(bend_px: float) -> None:
    loaded = made_of(replace(RESNET, norm="affine", base="kuwahara", noise=True))
    content = export_bytes(loaded, grid_bend_px=bend_px, to="pt2")
    extra = {"impasto.json": ""}
    module = torch.export.load(BytesIO(content), extra_files=extra).module()
    assert json.loads(extra["impasto.json"])["format"] == "pt2"
    for pictures in (picture(1, 3), picture(70, 101, count=3), picture(64, 64)):
        made = module(torch.from_numpy(pictures)).numpy()
        assert levels(made, by_torch(loaded, pictures, bend_px)) <= 1


def test_a_file_of_the_reference_is_exported_and_says_what_it_is() -> None:
    network = made_of(replace(RESNET, norm="batch", dropout=True)).network
    torch.save(network.state_dict(), "latest_net_G.pth")
    made = export(Path("latest_net_G.pth"), ExportOptions(output=Path("out.onnx")))
    assert (made.path, made.levels <= 1) == (Path("out.onnx"), True)
    assert (333, 517) in made.sizes
    read = find_generator(Path("out.onnx"))
    assert read.architecture == made.generator.architecture
    assert "ONNX" in read.notes[0]


def test_metadata_are_those_of_the_weights() -> None:
    path = saved(
        replace(RESNET, norm="affine"), direction="BtoA", images="1200", grid_bend_px="1.5"
    )
    export(path, ExportOptions())
    read = find_generator(Path("model.onnx")).provenance
    assert (read["direction"], read["images"], read["format"]) == ("BtoA", "1200", "onnx")
    assert read["grid_bend_px"] == "0"  # for it is in the graph
    with pytest.raises(OptionError, match="translates BtoA"):
        find_generator(Path("model.onnx"), direction="AtoB")
    with pytest.raises(OptionError, match="is exported already"):
        export(Path("model.onnx"), ExportOptions(output=Path("again.onnx")))


@pytest.mark.parametrize(
    ("channels", "takes"), [(3, "3 channels of 16 bits, 0 to 4095"), (1, "1 channel")]
)
def test_models_of_other_pictures_are_refused(channels: int, takes: str) -> None:
    twelve = SampleFormat(channels=3, dtype="uint16", low=0, high=4095, source="given").to_text()
    said = {"input_samples": twelve} if channels == 3 else {}
    path = saved(replace(RESNET, in_channels=channels), **said)
    with pytest.raises(OptionError, match=f"model.safetensors, but the model takes {takes}"):
        export(path, ExportOptions(output=Path("out/model.onnx")))
    assert not Path("out").exists()


def test_a_style_of_several_is_exported() -> None:
    style = find_generator(Path("paintings")).styles[1]
    options = ExportOptions(style=style, output=Path("one.onnx"), grid_bend_px=0)
    export(Path("paintings"), options)
    pictures = picture(70, 90)
    expected = by_torch(find_generator(Path("paintings"), style=style), pictures)
    assert levels(run(Path("one.onnx").read_bytes(), pictures), expected) <= 1
    read = find_generator(Path("one.onnx"))
    assert (read.styles, read.provenance["style"]) == ((), style)
    with pytest.raises(OptionError, match="holds one style"):
        find_generator(Path("one.onnx"), style=style)


class TracedWrong(ResnetGenerator):
    """A generator that does otherwise with large pictures, which tracing does not see."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) if int(images.shape[2]) < 200 else -images


class Impossible(ResnetGenerator):
    """A generator that no graph can hold."""

    def forward(self, images: Tensor) -> Tensor:
        shape: Sequence[object] = images.shape  # of tensors, while it is traced
        if isinstance(shape[0], Tensor):
            raise TypeError("I am no graph")
        return super().forward(images)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(TracedWrong, "517 x 333 pixels, one differs by"), (Impossible, "exported as onnx: I am no")],
)
def test_what_is_wrong_is_not_written(
    kind: type[Generator], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(RESNET)
    Path("model.onnx").write_text("earlier")
    monkeypatch.setattr(GeneratorArchitecture, "build", lambda _: kind(channels=4, blocks=2))
    with pytest.raises(ImpastoError, match=reason):
        export(path, ExportOptions(overwrite=True))
    assert Path("model.onnx").read_text() == "earlier"
    assert {file.name for file in Path().iterdir()} == {"model.onnx", "model.safetensors"}


def test_the_name_of_a_run_may_have_dots() -> None:
    run = Path("runs/v1.2")
    run.mkdir(parents=True)
    saved(RESNET).rename(run / "G_A.safetensors")
    made = export(run, ExportOptions(format="torchscript"))
    assert made.path == Path("v1.2.pt")


def test_a_file_is_not_replaced_unasked() -> None:
    path = saved(RESNET)
    Path("model.onnx").write_text("mine")
    with pytest.raises(
        OptionError, match=r"model.onnx exists; choose another name, or --overwrite"
    ):
        export(path, ExportOptions())
    assert Path("model.onnx").read_text() == "mine"


def test_one_color_is_left_out_where_torch_depends_on_rounding() -> None:
    # Instance normalization of one color divides rounding errors by their own size.
    made = export(saved(RESNET), ExportOptions())
    assert set(made.undetermined) <= {(1, 1)}
    assert len(made.sizes) + len(made.undetermined) == 8


def test_onnx_of_others_and_damage_are_named(bent: bytes) -> None:
    import onnx  # noqa: PLC0415

    Path("half.onnx").write_bytes(bent[:1000])
    with pytest.raises(CheckpointError, match=r"half.onnx: no ONNX model, or damaged"):
        find_generator(Path("half.onnx"))
    model = onnx.load_model_from_string(bent)
    del model.metadata_props[:]
    onnx.save(model, "foreign.onnx")
    with pytest.raises(CheckpointError, match="another program: it has no metadata impasto"):
        find_generator(Path("foreign.onnx"))


def test_onnx_that_was_edited_is_named(bent: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx  # noqa: PLC0415

    def edited(name: str, facts: dict[str, str], *, side: int | None = None) -> str:
        model = onnx.load_model_from_string(bent)
        said = json.loads({each.key: each.value for each in model.metadata_props}["impasto"])
        onnx.helper.set_model_props(model, {"impasto": json.dumps({**said, **facts})})
        if side is not None:
            for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
                dimension.dim_value = side
        onnx.save(model, name)
        return name

    Image.new("RGB", (9, 7), "red").save("red.png")
    for number, (facts, side, reason) in enumerate(
        (
            ({"pixel_bytes": "many"}, None, "expected a number as pixel_bytes, got 'many'"),
            ({"strokes_at_px": "nan"}, None, "expected a number as strokes_at_px, got 'nan'"),
            ({}, 64, "cannot translate a picture of 9 x 7 pixels"),
        )
    ):
        name = edited(f"{number}.onnx", facts, side=side)
        assert translate("red.png", "--model", name, "--output", "out") == 1
        assert f"error: {name}: " in (said := capsys.readouterr().err)
        assert reason in said
        assert "Traceback" not in said
