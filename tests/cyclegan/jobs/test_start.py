"""Trainings that start from a model: what is taken, what begins anew, what is said and refused."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from impasto.cyclegan import build_trainer, load_generator, train
from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.jobs.start import read_start
from impasto.cyclegan.models import SHIPPED, find_generator
from impasto.cyclegan.trainer import Trainer
from impasto.cyclegan.weights import save_generator
from impasto.gatys.features.lite import find_lite_weights
from impasto.options import CheckpointError, OptionError, TrainOptions, flatten, make
from impasto.runs import RunDirectory, load_state, make_accelerator, read_log

Options = Callable[..., TrainOptions]
needs_lite = pytest.mark.skipif(find_lite_weights() is None, reason="no EfficientNet-Lite0")

CONTRASTIVE: dict[str, Any] = {"one_sided": True, "lambda_nce": 1.0, "num_patches": 16}


def same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return list(found) == list(expected) and all(
        torch.equal(found[key].cpu(), expected[key]) for key in expected
    )


def weights(trainer: Trainer, name: str) -> dict[str, Tensor]:
    return dict(trainer.networks[name].state_dict())


def pth(path: Path) -> dict[str, Tensor]:
    return dict(torch.load(path, weights_only=True))


def begin(
    options: TrainOptions, typed: tuple[str, ...] = ()
) -> tuple[Trainer, TrainOptions, list[str]]:
    start, said = read_start(options, typed=typed), list[str]()
    trainer = build_trainer(
        start.options,
        make_accelerator("cpu", "no"),
        start=start.weights,
        announce=said.append,
    )
    return trainer, start.options, [*start.lines, *said]


def save_reference(
    path: Path, *, blocks: int = 6, channels: int = 2, norm: str = "instance"
) -> Any:
    """Write a generator as the reference does: a state_dict without a word about it."""
    torch.manual_seed(len(str(path)))
    path.parent.mkdir(exist_ok=True)
    network = GeneratorArchitecture(depth=blocks, channels=channels, norm=norm).build()
    torch.save(network.state_dict(), path)
    return network.state_dict()


@pytest.fixture
def run(tiny_options: Options) -> Path:
    """A run with both directions, whose generators are averaged."""
    return train(
        tiny_options(name="before", ndf=3, ema_decay=0.5, max_images=3, grid_bend_px=1.5)
    ).directory


def test_one_direction_from_a_shipped_painter(tiny_options: Options) -> None:
    """Networks and running average are the file's; the discriminator is that of its seed."""
    options = tiny_options(init_from=["monet_cycle"], ema_decay=0.9, **CONTRASTIVE)
    trainer, fitted, said = begin(options)
    monet = load_file(SHIPPED["monet_cycle"].path)
    assert set(monet) == set(weights(trainer, "G_A"))
    assert all(torch.equal(weights(trainer, "G_A")[key], monet[key]) for key in monet)
    averages = trainer.averages["G_A"].weights(trainer.networks["G_A"])
    assert all(torch.equal(averages[key], monet[key]) for key in monet)
    assert (fitted.networks.ngf, fitted.networks.norm, fitted.run.grid_bend_px) == (32, "layer", 3)
    scratch = make(TrainOptions, {**flatten(fitted), "init_from": []})
    anew = build_trainer(scratch, make_accelerator("cpu", "no"))
    for name in ("D_A", "F_A"):
        assert same(weights(trainer, name), weights(anew, name))
    assert not same(weights(trainer, "G_A"), weights(anew, "G_A"))
    assert said == [
        "G_A: monet_cycle (photographs into Monets (CycleGAN)), resnet, 6 blocks, 32 filters, norm "
        "layer, upsample bilinear, color skip",
        "options as in the model: ngf: 2 -> 32, norm: instance -> layer, upsample: deconv -> "
        "bilinear, color_skip: false -> true, grid_bend_px: 0.0 -> 3.0",
        "G_A starts from the model's weights",
        "D_A starts from random weights: the model has none for it",
        "F_A starts from random weights: the model has none for it",
    ]


def test_a_run_gives_its_discriminators_and_averaged_generators(
    tiny_options: Options, run: Path
) -> None:
    trainer = begin(tiny_options(init_from=[str(run)], ndf=3))[0]
    for name in ("G_A", "G_B"):
        assert same(weights(trainer, name), pth(run / f"latest_net_{name}_ema.pth"))
    for name in ("D_A", "D_B"):
        assert same(weights(trainer, name), pth(run / f"latest_net_{name}.pth"))


def test_a_training_starts_from_a_mixture_of_styles(tiny_options: Options, tmp_path: Path) -> None:
    """Of two styles, whose scales are 1 and 2 and whose shifts are 0 and 10."""
    architecture = GeneratorArchitecture(depth=4, channels=2, norm="affine", upsample="bilinear")
    network = architecture.build()
    held = network.state_dict()
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.InstanceNorm2d):
            ones = torch.ones(2, module.num_features)
            held[f"{name}.weight"] = ones * torch.tensor([[1.0], [2.0]])
            held[f"{name}.bias"] = ones * torch.tensor([[0.0], [10.0]])
    file = tmp_path / "styles.safetensors"
    save_generator(file, held, architecture, {"styles": json.dumps(["wave", "fuji"])})
    start = {"init_from": [str(file)], **CONTRASTIVE}
    trainer, fitted, _ = begin(tiny_options(**start, init_style="wave:3,fuji:1"))
    made = weights(trainer, "G_A")
    assert (fitted.networks.netG, fitted.networks.norm) == ("resnet_4blocks", "affine")
    assert torch.equal(made["model.1.weight"], held["model.1.weight"])
    assert torch.equal(made["model.2.weight"], torch.full((2,), 1.25))
    assert torch.equal(made["model.2.bias"], torch.full((2,), 2.5))
    with pytest.raises(OptionError, match="'waves' is none of wave, fuji") as caught:
        begin(tiny_options(**start, init_style="waves"))
    assert caught.value.option == "init_style"
    with pytest.raises(OptionError, match="holds no styles") as caught:
        begin(tiny_options(init_from=["monet"], init_style="wave", **CONTRASTIVE))
    assert caught.value.option == "init_style"


def test_the_size_that_strokes_are_right_for_is_the_model_s(
    tiny_options: Options, tmp_path: Path
) -> None:
    architecture = GeneratorArchitecture(depth=6, channels=2, upsample="bilinear")
    weights = architecture.build().state_dict()
    files = {}
    for name, said in {
        "a": {"direction": "AtoB", "strokes_at_px": "384"},
        "b": {"direction": "BtoA", "strokes_at_px": "384"},
        "other": {"direction": "BtoA", "strokes_at_px": "500"},
    }.items():
        files[name] = str(tmp_path / f"{name}.safetensors")
        save_generator(tmp_path / f"{name}.safetensors", weights, architecture, said)

    def fitted(*names: str, **changes: Any) -> float | None:
        asked = tiny_options(init_from=[files[name] for name in names], **changes)
        return read_start(asked, typed=list(changes)).options.run.strokes_at_px

    assert fitted("a", **CONTRASTIVE) == 384
    assert fitted("a", "b") == 384
    assert fitted("a", **CONTRASTIVE, strokes_at_px=200.0) == 200  # typed
    # Where a generator begins at random, or they disagree, there is no size for all of them.
    assert fitted("a") is None
    assert fitted("a", "other") is None
    # Into the options and the file of the run, and from there into the next one.
    changes = {**CONTRASTIVE, "max_images": 2, "display": "none"}
    asked = read_start(tiny_options(init_from=[files["a"]], **changes), typed=[]).options
    run = train(asked).directory
    assert RunDirectory(run).read_options()["strokes_at_px"] == 384
    assert find_generator(run).strokes_at_px == 384
    again = read_start(tiny_options(name="again", init_from=[str(run)], **changes), typed=[])
    assert again.options.run.strokes_at_px == 384


def test_directions_can_be_swapped(tiny_options: Options, run: Path) -> None:
    options = tiny_options(init_from=[str(run)], init_direction="BtoA", ndf=3)
    trainer = begin(options)[0]
    for ours, theirs in (("A", "B"), ("B", "A")):
        assert same(weights(trainer, f"G_{ours}"), pth(run / f"latest_net_G_{theirs}_ema.pth"))
        assert same(weights(trainer, f"D_{ours}"), pth(run / f"latest_net_D_{theirs}.pth"))


def test_one_direction_of_a_run(tiny_options: Options, run: Path) -> None:
    for direction, theirs in ((None, "A"), ("AtoB", "A"), ("BtoA", "B")):
        options = tiny_options(init_from=[str(run)], init_direction=direction, ndf=3, **CONTRASTIVE)
        trainer = begin(options)[0]
        assert list(trainer.networks) == ["G_A", "D_A", "F_A"]
        assert same(weights(trainer, "G_A"), pth(run / f"latest_net_G_{theirs}_ema.pth"))
        assert same(weights(trainer, "D_A"), pth(run / f"latest_net_D_{theirs}.pth"))


def test_the_network_of_the_contrastive_loss_is_taken_with_its_generator(
    tiny_options: Options,
) -> None:
    before = train(tiny_options(name="before", max_images=2, **CONTRASTIVE)).directory
    trainer = begin(tiny_options(init_from=[str(before)], **CONTRASTIVE))[0]
    assert same(weights(trainer, "F_A"), pth(before / "latest_net_F_A.pth"))
    both = begin(tiny_options(init_from=[str(before)]))
    assert same(weights(both[0], "G_A"), pth(before / "latest_net_G_A.pth"))
    assert "G_B starts from random weights: the model has none for it" in both[2]


@needs_lite
def test_projected_discriminators_are_standardized_on_the_new_pictures(
    tiny_options: Options, picture_folder: Callable[..., Path]
) -> None:
    projected = {"netD": "projected", "crop_size": 32, "load_size": 36, **CONTRASTIVE}
    before = train(tiny_options(name="before", max_images=2, ndf=5, **projected)).directory
    picture_folder("new/trainA", count=3, seed=5)
    folder = picture_folder("new/trainB", count=3, seed=6).parent
    options = tiny_options(init_from=[str(before)], dataroot=str(folder), ndf=5, **projected)
    trainer = begin(options)[0]
    saved, found = pth(before / "latest_net_D_A.pth"), weights(trainer, "D_A")
    assert all(torch.equal(found[key], saved[key]) for key in saved if "heads" in key)
    assert not torch.equal(found["mean_0"], saved["mean_0"])


def test_untyped_options_of_discriminators_are_the_runs(tiny_options: Options) -> None:
    before = train(tiny_options(name="before", ndf=3, netD="n_layers", n_layers_D=2, max_images=2))
    plain = {"ndf": 64, "netD": "basic", "n_layers_D": 3}  # the defaults
    trainer, fitted, said = begin(tiny_options(init_from=[str(before.directory)], **plain))
    assert (fitted.networks.netD, fitted.networks.ndf, fitted.networks.n_layers_D) == (
        *("n_layers", 3, 2),
    )
    assert same(weights(trainer, "D_B"), pth(before.directory / "latest_net_D_B.pth"))
    assert any("netD: basic -> n_layers" in line for line in said)
    kept = begin(tiny_options(init_from=[str(before.directory)], **plain), ("netD",))
    assert kept[1].networks.netD == "basic"


def test_shapes_that_do_not_fit_are_named(tiny_options: Options, run: Path) -> None:
    said = begin(tiny_options(init_from=[str(run)], ndf=2), ("ndf",))[2]
    (line,) = [line for line in said if line.startswith("D_A starts")]
    assert line.startswith(
        "D_A starts from random weights: the model's does not fit the network D_A: model.0.weight "
        "has shape (3, 3, 4, 4), expected (2, 3, 4, 4); "
    )


def test_noise_may_be_added_to_a_model_and_not_taken_from_it(
    tiny_options: Options, tmp_path: Path
) -> None:
    plain = save_reference(tmp_path / "plain" / "latest_net_G.pth")
    added = tiny_options(init_from=[str(tmp_path / "plain")], stroke_noise=True)
    trainer, fitted, said = begin(added, ("stroke_noise",))
    assert fitted.networks.stroke_noise
    found = weights(trainer, "G_A")
    assert set(found) - set(plain) == {"noise.mix.weight"}
    assert all(torch.equal(found[key], plain[key]) for key in plain)
    assert "G_A: noise.mix.weight starts from random weights, the model has none for it" in said
    noisy = train(tiny_options(name="noisy", stroke_noise=True, max_images=1)).directory
    without = tiny_options(init_from=[str(noisy)])
    assert begin(without)[1].networks.stroke_noise
    with pytest.raises(OptionError, match="stroke_noise: false, but "):
        read_start(without, typed=("stroke_noise",))


def test_a_published_model_of_the_reference(tiny_options: Options, tmp_path: Path) -> None:
    """One generator without a letter or a word; of the direction AtoB, unless told otherwise."""
    saved = save_reference(tmp_path / "style_monet" / "latest_net_G.pth", channels=3)
    for model in (tmp_path / "style_monet", tmp_path / "style_monet" / "latest_net_G.pth"):
        trainer, fitted, said = begin(tiny_options(init_from=[str(model)]))
        assert same(weights(trainer, "G_A"), saved)
        assert fitted.networks.ngf == 3
        assert "G_B starts from random weights: the model has none for it" in said
        swapped = begin(tiny_options(init_from=[str(model)], init_direction="BtoA"))[0]
        assert same(weights(swapped, "G_B"), saved)
        assert not same(weights(swapped, "G_A"), saved)


def test_files_of_the_reference_tell_their_direction_by_their_name(
    tiny_options: Options, tmp_path: Path
) -> None:
    first = save_reference(tmp_path / "theirs" / "latest_net_G_A.pth")
    second = save_reference(tmp_path / "theirs" / "latest_net_G_B_.pth")
    (tmp_path / "theirs" / "latest_net_G_B_.pth").rename(tmp_path / "theirs" / "5_net_G_B.pth")
    alone = begin(tiny_options(init_from=[str(tmp_path / "theirs" / "5_net_G_B.pth")]))[0]
    assert same(weights(alone, "G_B"), second)
    files = ["5_net_G_B.pth", "latest_net_G_A.pth"]
    both = begin(tiny_options(init_from=[str(tmp_path / "theirs" / file) for file in files]))[0]
    assert same(weights(both, "G_A"), first)
    assert same(weights(both, "G_B"), second)


def test_old_files_of_the_reference_are_cleaned_and_it_is_said(
    tiny_options: Options, tmp_path: Path
) -> None:
    saved = save_reference(tmp_path / "old" / "latest_net_G.pth")
    stale = {"model.2.running_mean": torch.zeros(2), "model.2.running_var": torch.ones(2)}
    aged = {f"module.{key}": value for key, value in {**saved, **stale}.items()}
    torch.save(aged, tmp_path / "old" / "latest_net_G.pth")
    trainer, _, said = begin(tiny_options(init_from=[str(tmp_path / "old")]))
    assert same(weights(trainer, "G_A"), saved)
    assert any("removed the prefix 'module.'" in line for line in said)


def test_two_painters_for_two_directions(tiny_options: Options) -> None:
    """The shipped ones say their directions, in whatever order they are given."""
    for models in (["monet_cycle", "photo"], ["photo", "monet_cycle"]):
        trainer = begin(tiny_options(init_from=models))[0]
        for name, model in (("G_A", "photo"), ("G_B", "monet_cycle")):
            saved, found = load_file(SHIPPED[model].path), weights(trainer, name)
            assert all(torch.equal(found[key], saved[key]) for key in saved)


@pytest.mark.parametrize(
    ("changes", "typed", "option", "says"),
    [
        ({"init_from": ["monet"], "ngf": 48}, ("ngf",), "ngf", "48, but monet, which the training"),
        ({"init_from": ["monet"], "ngf": 48}, ("ngf",), "ngf", "has 16; leave it out"),
        (
            {"init_from": ["monet_cycle"], "norm": "batch"},
            ("netG", "ngf", "norm"),
            "ngf",
            "2, but monet_cycle, which the training starts from, has 32; --norm layer; leave them "
            "out",
        ),
        ({"init_from": ["monet_cycle", "monet_cycle"]}, (), "init_from", "both translate BtoA"),
        (
            {"init_from": ["monet_cycle"], "init_direction": "AtoB", **CONTRASTIVE},
            (),
            "init_direction",
            "AtoB, but monet_cycle translates BtoA",
        ),
        (
            {"init_from": ["monet_cycle"], "freeze": "encoder"},
            (),
            "freeze",
            "G_A starts from random",
        ),
    ],
)
def test_contradictions_are_refused_by_name(
    tiny_options: Options,
    changes: dict[str, Any],
    typed: tuple[str, ...],
    option: str,
    says: str,
) -> None:
    with pytest.raises(OptionError) as caught:
        read_start(tiny_options(**changes), typed=typed)
    assert caught.value.option == option
    assert says in caught.value.reason


def test_values_that_are_not_defaults_count_as_typed_in_python(tiny_options: Options) -> None:
    with pytest.raises(OptionError, match="ngf: 2, but monet_cycle"):
        train(tiny_options(init_from=["monet_cycle"]))


def test_models_that_cannot_be_started_from(tiny_options: Options, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"monett: no such .* did you mean monet"):
        read_start(tiny_options(init_from=["monett"]))
    save_reference(tmp_path / "odd" / "latest_net_G.pth", blocks=3)
    with pytest.raises(
        CheckpointError, match=r"3 blocks.*expected one of resnet_9blocks, resnet_6"
    ):
        read_start(tiny_options(init_from=[str(tmp_path / "odd")]))
    save_reference(tmp_path / "wide" / "latest_net_G_A.pth", channels=3)
    save_reference(tmp_path / "wide" / "latest_net_G_B.pth", channels=4)
    with pytest.raises(CheckpointError, match=r"G_A.* is resnet, 6 blocks, 3 filters.*, and .*G_B"):
        read_start(tiny_options(init_from=[str(tmp_path / "wide")]), typed=())
    (tmp_path / "wide" / "latest_net_D_A.pth").write_bytes(b"PK\x03\x04")
    save_reference(tmp_path / "wide" / "latest_net_G_B.pth", channels=3)
    with pytest.raises(CheckpointError, match=r"latest_net_D_A\.pth: damaged"):
        read_start(tiny_options(init_from=[str(tmp_path / "wide")]), typed=())


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"init_from": ["a", "b", "c"]}, "init_from"),
        ({"init_from": ["a", "b"], **CONTRASTIVE}, "init_from"),
        ({"init_direction": "BtoA"}, "init_direction"),
        ({"freeze": "encoder"}, "freeze"),
        ({"warmup_images": -1}, "warmup_images"),
    ],
)
def test_options_that_make_no_sense(
    tiny_options: Options, changes: dict[str, Any], option: str
) -> None:
    with pytest.raises(OptionError) as caught:
        tiny_options(**changes)
    assert caught.value.option == option


# The layers before the first residual block, and the strided convolutions of a U-Net.
RESNET = [f"model.{place}." for place in range(10)]


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_frozen_encoder_stays_as_it_was(tiny_options: Options, tmp_path: Path, norm: str) -> None:
    saved = save_reference(tmp_path / "base" / "latest_net_G.pth", norm=norm)
    changes = {"init_from": [str(tmp_path / "base")], "freeze": "encoder", "norm": norm}
    options = tiny_options(max_images=4, **changes, **CONTRASTIVE)
    found = pth(train(options).directory / "latest_net_G_A.pth")
    kept = {key for key in saved if any(key.startswith(layer) for layer in RESNET)}
    assert len(kept) == (6 if norm == "instance" else 3 + 12 + 3)  # weights, statistics, counts
    still = {key for key in saved if torch.equal(found[key], saved[key])}
    counts = {key for key in kept if key.endswith("num_batches_tracked")}
    assert kept - counts <= still
    # A convolution before a normalization learns no bias.
    assert not {key for key in still - kept if key.endswith("weight")}


def test_the_encoder_of_a_unet() -> None:
    network = GeneratorArchitecture(kind="unet", depth=5, channels=2, norm="batch").build()
    layers = network.encoder()
    convolutions = [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.in_channels for layer in convolutions] == [3, 2, 4, 8, 16]
    assert all(layer.stride == (2, 2) for layer in convolutions)
    # The outermost and the innermost level have no normalization on the way down.
    assert sum(isinstance(layer, torch.nn.BatchNorm2d) for layer in layers) == 3
    assert not any(isinstance(layer, torch.nn.ConvTranspose2d) for layer in layers)


@pytest.mark.parametrize("stop_at", [2, 5])
def test_resumed_without_the_model_equals_uninterrupted(
    tiny_options: Options, run: Path, stop_at: int
) -> None:
    """Also in the middle of the warm-up, and with a frozen encoder."""
    changes: dict[str, Any] = {
        "init_from": [str(run)],
        "warmup_images": 4,
        "freeze": "encoder",
        "ndf": 3,
        "ema_decay": 0.9,
        "print_freq": 1,
    }
    whole = train(tiny_options(name="whole", max_images=8, **changes)).directory
    parts = tiny_options(name="parts", max_images=stop_at, **changes)
    stopped = train(parts).directory
    assert [record["learning_rate"] for record in read_log(whole / "log.jsonl")][:5] == (
        pytest.approx([1e-4, 1.5e-4, 2e-4, 2e-4, 2e-4])  # of the next step, after each
    )
    shutil.rmtree(run)
    train(tiny_options(name="parts", max_images=8, grid_bend_px=1.5, **changes), resume=True)
    states = [load_state(path / "state.pt")["learner"] for path in (whole, stopped)]
    for name, network in states[0]["networks"].items():
        assert same(network, states[1]["networks"][name]), name
    assert states[0]["learning_rate"] == states[1]["learning_rate"]
    said = load_generator(stopped / "G_A.safetensors").provenance
    assert said["init_from"] == str(run)
    with pytest.raises(OptionError, match="a run that is resumed keeps its networks"):
        train(
            tiny_options(name="parts", **{**changes, "init_from": ["monet"]}),
            resume=True,
            allow_changes=True,
        )
