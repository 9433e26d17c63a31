"""A loss, a generator and a method from outside the package, with nothing but its public names."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from impasto.cyclegan import (
    Generator,
    GeneratorArchitecture,
    GeneratorEntry,
    LossTerm,
    Networks,
    Translations,
    Translator,
    WeightAverage,
    build_loader,
    build_trainer,
    find_generator,
    load_generator,
    register_generator,
    save_generator,
    save_networks,
    train,
)
from impasto.data import UnpairedBatch
from impasto.options import CheckpointError, OptionError, TrainOptions, make
from impasto.runs import (
    Doctor,
    Progress,
    RunDirectory,
    StepResult,
    TrainingParts,
    load_state,
    make_accelerator,
    read_log,
    run_training_job,
)
from impasto.runs.state import METADATA_KEY

Options = Callable[..., TrainOptions]


class Smoothness(LossTerm):
    """Total variation of the translations of A, on a slowly rising scale that it remembers."""

    def __init__(self, name: str, *, weight: float, version: str = "1") -> None:
        super().__init__(name, weight=weight)
        self.steps, self.version = 0, version

    def __call__(self, batch: UnpairedBatch, made: Translations) -> Tensor:
        self.steps += 1
        fake = made.of("AtoB", batch).fake
        return self.steps * (fake[..., 1:] - fake[..., :-1]).abs().mean()

    def state_dict(self) -> Mapping[str, Any]:
        return {"steps": self.steps} if self.steps else {}  # a fresh one has nothing to remember

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        self.steps = state["steps"]

    def fingerprint(self) -> str:
        return self.version


class Tint(Generator):
    """Mixes the colors of each pixel, twice."""

    stride, smallest = 2, 4

    def __init__(self, *, depth: int, channels: int) -> None:
        super().__init__()
        hidden = [nn.Sequential(nn.Conv2d(channels, channels, 1), nn.ReLU()) for _ in range(depth)]
        self.layers = nn.Sequential(
            nn.Conv2d(3, channels, 1), *hidden, nn.Conv2d(channels, 3, 1), nn.Tanh()
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)  # type: ignore[no-any-return]


def build_tint(architecture: GeneratorArchitecture) -> Tint:
    return Tint(depth=architecture.depth, channels=architecture.channels)


TINT = GeneratorEntry(
    name="tint_of_a_test", kind="tint", depth=2, build=build_tint, stride=2, smallest=4
)
register_generator(TINT)


def make_batch(size: int = 24) -> UnpairedBatch:
    generator = torch.Generator().manual_seed(0)
    A, B = (torch.rand(1, 3, size, size, generator=generator) * 2 - 1 for _ in "AB")
    return UnpairedBatch(A=A, B=B)


def test_a_term_from_outside_is_in_the_objective_and_in_the_log(tiny_options: Options) -> None:
    def step(**more: Any) -> tuple[dict[str, float], Tensor]:
        trainer = build_trainer(tiny_options(), make_accelerator("cpu", "no"), **more)
        losses = {name: float(loss) for name, loss in trainer.step([make_batch()]).losses.items()}
        gradients = [weight.grad for weight in trainer.networks["G_A"].parameters()]
        assert isinstance(gradients[0], Tensor)
        return losses, gradients[0]

    without, plain = step()
    losses, pulled = step(extra_terms=[Smoothness("smooth_A", weight=5.0)])
    assert losses.keys() - without.keys() == {"smooth_A"}
    assert losses["smooth_A"] > 0
    assert not torch.equal(plain, pulled)
    options = tiny_options()
    train(options, extra_terms=[Smoothness("smooth_A", weight=5.0)])
    record = read_log(options.run.checkpoints_dir / "tiny" / "log.jsonl")[0]
    assert record["losses"]["smooth_A"] > 0
    assert record["weights"]["smooth_A"] == 5


@pytest.mark.slow
def test_what_a_term_remembers_is_resumed_and_what_may_not_change_is_checked(
    tiny_options: Options,
) -> None:
    def run(name: str, *, resume: bool = False, version: str = "1", **changes: Any) -> Path:
        options = tiny_options(name=name, **changes)
        term = Smoothness("smooth_A", weight=1.0, version=version)
        train(options, resume=resume, extra_terms=[term])
        return options.run.checkpoints_dir / name

    whole, parts = run("whole"), run("parts", max_images=5)
    with pytest.raises(CheckpointError, match="the loss smooth_A is another"):
        run("parts", resume=True, version="2")
    run("parts", resume=True)
    one, other = load_state(whole / "state.pt"), load_state(parts / "state.pt")
    weights = one["learner"]["networks"]["G_A"]
    assert all(
        torch.equal(other["learner"]["networks"]["G_A"][key], weights[key]) for key in weights
    )
    states = [state["processes"][0]["learner"]["smooth_A"] for state in (one, other)]
    assert states[0] == states[1]


def test_two_terms_of_one_name_are_refused(tiny_options: Options) -> None:
    with pytest.raises(
        ValueError, match=r"expected names that differ, got D_A, D_B, .*cycle_A.*cycle_A"
    ):
        build_trainer(
            tiny_options(),
            make_accelerator("cpu", "no"),
            extra_terms=[Smoothness("cycle_A", weight=1.0)],
        )


def test_a_term_cannot_take_the_place_of_another_part_of_the_state(tiny_options: Options) -> None:
    for name in ("networks", "generator"):
        with pytest.raises(ValueError, match=f"{name} is the name of another part of a state"):
            build_trainer(
                tiny_options(),
                make_accelerator("cpu", "no"),
                extra_terms=[Smoothness(name, weight=1.0)],
            )


def test_a_generator_of_a_known_kind_that_is_built_otherwise_is_refused() -> None:
    def build(architecture: GeneratorArchitecture) -> Generator:
        return Tint(depth=architecture.depth, channels=architecture.channels)

    with pytest.raises(ValueError, match="resnet is that of resnet_9blocks"):
        register_generator(
            GeneratorEntry(name="mine", kind="resnet", depth=2, build=build, stride=2, smallest=4)
        )
    with pytest.raises(OptionError, match="netG"):
        make(TrainOptions, {"netG": "mine"})


def test_networks_without_weights_are_finite() -> None:
    Networks({"G": nn.Identity()}).check_finite()


def test_a_generator_from_outside_is_trained_saved_loaded_and_translates(
    tiny_options: Options, tmp_path: Path
) -> None:
    options = tiny_options(netG=TINT.name, ngf=3, netD="pixel", max_images=3)
    train(options)
    run = options.run.checkpoints_dir / "tiny"
    loaded = find_generator(run, direction="BtoA")
    assert isinstance(loaded.network, Tint)
    assert str(loaded.architecture).startswith("tint, 2 layers, 3 filters")
    trained = load_state(run / "state.pt")["learner"]["networks"]["G_B"]
    weights = loaded.network.state_dict()
    assert all(torch.equal(trained[key], weights[key]) for key in weights)

    save_generator(tmp_path / "copy.safetensors", weights, loaded.architecture, {"of": "a test"})
    again = load_generator(tmp_path / "copy.safetensors")
    image = torch.rand(1, 3, 7, 9) * 2 - 1  # not a multiple of the stride
    translate = Translator(again.network, device=torch.device("cpu"))
    # Each pixel goes its own way, so that padding changes nothing.
    assert torch.allclose(translate(image), loaded.network(image), atol=1e-6)


def test_its_sizes_are_checked_like_those_of_the_package(tiny_options: Options) -> None:
    with pytest.raises(OptionError, match=r"crop_size: 25 is not a multiple of 2"):
        tiny_options(netG=TINT.name, crop_size=25)
    with pytest.raises(OptionError, match=r"netG: expected one of .*did you mean.*resnet_6blocks"):
        tiny_options(netG="resnet_6block")


def test_a_file_of_a_generator_that_is_not_registered_says_so(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    network = build_tint(GeneratorArchitecture(kind="tint", depth=1, channels=2))
    architecture = GeneratorArchitecture(kind="tint", depth=1, channels=2)
    save_generator(path, network.state_dict(), architecture, {})
    with safe_open(path, framework="pt") as file:
        said = file.metadata()[METADATA_KEY]
    assert "tint" in said
    save_file(load_file(path), path, metadata={METADATA_KEY: said.replace("tint", "tine")})
    with pytest.raises(CheckpointError, match=r"kind: expected resnet or unet.*, got 'tine'"):
        load_generator(path)


CPU = torch.device("cpu")


class OneSided:
    """A method of one direction: a generator, a critic, and a network of another kind."""

    directions: Mapping[str, str] = {"AtoB": "G_A"}
    loss_weights: Mapping[str, float] = {}
    present_learning_rate = 0.01

    def __init__(self) -> None:
        generator = build_tint(GeneratorArchitecture(kind="tint", depth=1, channels=2))
        critic, mlp = nn.Conv2d(3, 1, 3), nn.Linear(3, 4)
        self.networks = Networks({"G_A": generator, "D_A": critic, "F": mlp})
        self.averages = {"G_A": WeightAverage(generator, decay=0.5)}
        self._optimizer = torch.optim.SGD(self.networks.parameters(), lr=0.01)

    def step(self, batches: Sequence[UnpairedBatch]) -> StepResult:
        self._optimizer.zero_grad()
        fake = self.networks["G_A"](batches[0].to(CPU).A)
        colors = self.networks["F"](fake.mean(dim=(2, 3)))
        loss = self.networks["D_A"](fake).square().mean() + colors.square().mean()
        loss.backward()
        self._optimizer.step()
        self.averages["G_A"].update(self.networks["G_A"])
        return StepResult(losses={"G_A": loss.detach()})

    def start_epoch(self, epoch: int) -> None:
        pass

    def end_epoch(self) -> None:
        pass

    def samples(self, batch: UnpairedBatch) -> dict[str, Tensor]:
        images = batch.to(CPU).A
        with torch.no_grad():
            return {"real_A": images, "fake_B": self.networks["G_A"](images)}

    def output_statistics(self, batch: UnpairedBatch) -> dict[str, float | None]:
        return {}

    def check_finite(self) -> None:
        self.networks.check_finite()

    def state_dict(self) -> dict[str, Any]:
        return {"networks": self.networks.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.networks.load_state_dict(state["networks"])

    def process_state(self) -> dict[str, Any]:
        return {}

    def load_process_state(self, state: Mapping[str, Any]) -> None:
        pass


def test_a_method_with_other_networks_is_a_learner_and_no_fork(tiny_options: Options) -> None:
    options, learner = tiny_options(max_images=3), OneSided()
    architecture = GeneratorArchitecture(kind="tint", depth=1, channels=2)

    def export(directory: RunDirectory, label: str, progress: Progress) -> None:
        save_networks(directory, label, learner, architecture, progress)

    def build(accelerator: Accelerator) -> TrainingParts[UnpairedBatch]:
        return TrainingParts(
            learner=learner,
            loader=build_loader(options, accelerator),
            export=export,
            doctor=Doctor(),
            epochs=1,
            max_images=options.schedule.max_images,
        )

    run_training_job(options, build, command="one_sided", may_change=())
    run = options.run.checkpoints_dir / "tiny"
    files = {path.name for path in run.iterdir() if path.suffix in {".pth", ".safetensors"}}
    assert files == {
        *("latest_net_G_A.pth", "latest_net_G_A_ema.pth", "latest_net_D_A.pth"),
        *("latest_net_F.pth", "G_A.safetensors"),
    }
    loaded = find_generator(run, direction="AtoB").network.state_dict()
    averaged = learner.averages["G_A"].weights(learner.networks["G_A"])
    assert all(torch.equal(loaded[key], averaged[key]) for key in averaged)
    with pytest.raises(CheckpointError, match="holds no generator G_B"):
        find_generator(run, direction="BtoA")
