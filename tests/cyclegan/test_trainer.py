"""One step, against an independent spelling of Zhu et al. 2017 with one pass for each term."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.cyclegan import Trainer, build_trainer
from impasto.cyclegan.networks import Networks
from impasto.cyclegan.terms import DiscriminatorLoss, PaletteLoss
from impasto.data import UnpairedBatch
from impasto.options import TrainingError, TrainOptions
from impasto.runs import StepResult, make_accelerator, make_generator

Options = Callable[..., TrainOptions]


def make_trainer(options: TrainOptions) -> Trainer:
    return build_trainer(options, make_accelerator("cpu", options.run.mixed_precision))


def make_batch(seed: int = 0, *, count: int = 1, size: int = 24, size_B: int = 24) -> UnpairedBatch:
    generator = torch.Generator().manual_seed(seed)
    A = torch.rand(count, 3, size, size, generator=generator) * 2 - 1
    B = torch.rand(count, 3, size_B, size_B, generator=generator) * 2 - 1
    return UnpairedBatch(A=A, B=B)


def expected_losses(networks: Networks, batch: UnpairedBatch) -> dict[str, Tensor]:
    """Spell the least-squares objective out, with lambda 10 and identity 0.5."""
    G_A, G_B, D_A, D_B = (networks[name] for name in ("G_A", "G_B", "D_A", "D_B"))
    A, B = batch.A, batch.B
    fake_B, fake_A = G_A(A), G_B(B)
    return {
        "G_A": ((D_A(fake_B) - 1) ** 2).mean(),
        "G_B": ((D_B(fake_A) - 1) ** 2).mean(),
        "cycle_A": 10 * (G_B(fake_B) - A).abs().mean(),
        "cycle_B": 10 * (G_A(fake_A) - B).abs().mean(),
        "idt_A": 5 * (G_A(B) - B).abs().mean(),
        "idt_B": 5 * (G_B(A) - A).abs().mean(),
        "D_A": (((D_A(B) - 1) ** 2).mean() + (D_A(fake_B.detach()) ** 2).mean()) / 2,
        "D_B": (((D_B(A) - 1) ** 2).mean() + (D_B(fake_A.detach()) ** 2).mean()) / 2,
    }


def as_dict(result: StepResult) -> dict[str, float]:
    return {name: float(value) for name, value in result.losses.items()}


@pytest.mark.parametrize("size_B", [24, 32])
def test_losses_are_those_of_the_paper(tiny_options: Options, size_B: int) -> None:
    trainer, batch = make_trainer(tiny_options(pool_size=0)), make_batch(size_B=size_B)
    expected = {
        name: loss.item() for name, loss in expected_losses(trainer.networks, batch).items()
    }
    assert as_dict(trainer.step([batch])) == pytest.approx(expected, rel=1e-5)


def test_step_is_one_adam_update_of_each_side(tiny_options: Options) -> None:
    trainer, batch = make_trainer(tiny_options(pool_size=0)), make_batch()
    before = deepcopy(trainer.networks)
    trainer.step([batch])
    for sides, terms in (
        (("G_A", "G_B"), ("G_A", "G_B", "cycle_A", "cycle_B", "idt_A", "idt_B")),
        (("D_A", "D_B"), ("D_A", "D_B")),
    ):
        losses = expected_losses(before, batch)
        weights = [w for side in sides for w in before[side].parameters()]
        after = [w for side in sides for w in trainer.networks[side].parameters()]
        total = torch.stack([losses[term] for term in terms]).sum()
        gradients = torch.autograd.grad(total, weights)
        for old, new, gradient in zip(weights, after, gradients, strict=True):
            # The first step of Adam: both moments are corrected to the gradient itself.
            moved = 0.0002 * gradient / (gradient.abs() + 1e-8)
            big = gradient.abs() > 1e-4  # elsewhere rounding decides the sign
            assert torch.allclose((old - new)[big], moved[big], rtol=1e-2, atol=1e-8)


def test_accumulated_batches_equal_one_large_batch(tiny_options: Options) -> None:
    one, two = make_trainer(tiny_options(pool_size=0)), make_trainer(tiny_options(pool_size=0))
    first, second = make_batch(1), make_batch(2)
    union = UnpairedBatch(A=torch.cat([first.A, second.A]), B=torch.cat([first.B, second.B]))
    joined, added = one.step([union]), two.step([first, second])
    assert as_dict(joined) == pytest.approx(as_dict(added), rel=1e-4)
    for name in ("G_A", "G_B", "D_A", "D_B"):
        for ours, theirs in zip(
            one.networks[name].parameters(),
            two.networks[name].parameters(),
            strict=True,
        ):
            assert ours.grad is not None
            assert theirs.grad is not None
            assert torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"gan_mode": "vanilla"},
        {"gan_mode": "wgangp"},
        {"norm": "batch", "batch_size": 2},
        {"norm": "none"},
        {"netD": "pixel"},
        {"netD": "n_layers", "n_layers_D": 1},
        {"upsample": "resize"},
        {"upsample": "bilinear", "norm": "layer", "color_skip": True},
        {"lambda_palette": 2.0},
        {"diffaugment": ["color", "translation", "cutout"]},
        {"diffaugment": ["translation"], "gan_mode": "wgangp"},
        {"batch_size_D": 5, "gan_mode": "wgangp"},
        {"dropout": True},
        {"mixed_precision": "bf16"},
        {"netG": "unet_128", "load_size": 128, "crop_size": 128},
    ],
)
def test_every_variant_moves_all_weights(tiny_options: Options, changes: dict[str, Any]) -> None:
    options = tiny_options(**changes)
    trainer = make_trainer(options)
    before = deepcopy(trainer.networks.state_dict())
    size, count = options.data.crop_size, max(2, options.data.batch_size)
    losses = trainer.step([make_batch(count=count, size=size, size_B=size)])
    assert all(torch.isfinite(torch.tensor(list(as_dict(losses).values()))))
    trainer.check_finite()
    for name, network in trainer.networks.items():
        moved = [not torch.equal(before[name][key], w) for key, w in network.named_parameters()]
        # The biases before instance normalization are idle, in the reference too.
        assert sum(moved) >= len(moved) // 2, name


def test_palettes_are_those_of_the_domains_made_and_are_kept(tiny_options: Options) -> None:
    trainer = make_trainer(tiny_options(lambda_palette=2.0))
    batch, networks = make_batch(), deepcopy(trainer.networks)
    of_B, of_A = (PaletteLoss(generator=make_generator(0, f"palette of {x}")) for x in "BA")
    losses = as_dict(trainer.step([batch]))
    with torch.no_grad():
        expected_A = 2 * of_B(networks["G_A"](batch.A), batch.B)
        expected_B = 2 * of_A(networks["G_B"](batch.B), batch.A)
    assert losses["palette_A"] == pytest.approx(float(expected_A), rel=1e-4)
    assert losses["palette_B"] == pytest.approx(float(expected_B), rel=1e-4)
    assert losses["palette_A"] != pytest.approx(losses["palette_B"], rel=1e-2)
    kept = trainer.process_state()["palette"]
    assert [len(palette["made"]) for palette in kept] == [1, 1]
    assert torch.equal(kept[0]["real"][0], of_B.state_dict()["real"][0])


def test_both_sides_judge_augmented_pictures_and_cycles_compare_the_real_ones(
    tiny_options: Options,
) -> None:
    plain = make_trainer(tiny_options(pool_size=0))
    augmented = make_trainer(tiny_options(pool_size=0, diffaugment=["color"]))
    ours, theirs = as_dict(plain.step([make_batch()])), as_dict(augmented.step([make_batch()]))
    changed = {name for name in ours if ours[name] != pytest.approx(theirs[name], rel=1e-4)}
    assert changed == {"G_A", "G_B", "D_A", "D_B"}


def test_discriminators_judge_earlier_pictures_beside_the_new_ones(
    tiny_options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(tiny_options(batch_size_D=4))
    seen: list[tuple[Tensor, Tensor]] = []
    judge = DiscriminatorLoss.__call__

    def spy(loss: Any, discriminator: Any, real: Tensor, fake: Tensor) -> Tensor:
        if discriminator is trainer.networks["D_A"]:  # judges B
            seen.append((real.clone(), fake.clone()))
        return judge(loss, discriminator, real, fake)

    monkeypatch.setattr(DiscriminatorLoss, "__call__", spy)
    batches = [make_batch(seed) for seed in range(3)]
    for batch in batches:
        trainer.step([batch])
    for step, (real, fake) in enumerate(seen):
        assert len(real) == len(fake) == 4
        assert torch.equal(real[:1], batches[step].B)
        known = torch.cat([batch.B for batch in batches[: step + 1]])
        assert all(any(torch.equal(image, old) for old in known) for image in real)
    # The new pictures come first, and of three steps not all others are new.
    later = seen[2][0][1:]
    assert any(not torch.equal(image, batches[2].B[0]) for image in later)


def test_without_identity_loss_its_terms_are_zero(tiny_options: Options) -> None:
    trainer = make_trainer(tiny_options(lambda_identity=0.0))
    losses = as_dict(trainer.step([make_batch()]))
    assert losses["idt_A"] == losses["idt_B"] == 0
    assert "idt_A" not in trainer.samples(make_batch())


def test_identity_weights_follow_the_domain_they_rebuild(tiny_options: Options) -> None:
    trainer = make_trainer(tiny_options(lambda_A=1.0, lambda_B=3.0, lambda_identity=2.0))
    batch, networks = make_batch(), trainer.networks
    idt_A = 6 * (networks["G_A"](batch.B) - batch.B).abs().mean()
    idt_B = 2 * (networks["G_B"](batch.A) - batch.A).abs().mean()
    losses = as_dict(trainer.step([batch]))
    assert (losses["idt_A"], losses["idt_B"]) == pytest.approx((idt_A.item(), idt_B.item()))


def test_samples_have_the_reference_s_names_and_change_nothing(tiny_options: Options) -> None:
    trainer = make_trainer(tiny_options(norm="batch", dropout=True))
    before, random = deepcopy(trainer.networks.state_dict()), torch.get_rng_state()
    batch = make_batch(count=2)
    samples = trainer.samples(batch)
    assert list(samples) == [
        *("real_A", "fake_B", "rec_A", "idt_B"),
        *("real_B", "fake_A", "rec_B", "idt_A"),
    ]
    assert all(image.shape == (2, 3, 24, 24) for image in samples.values())
    assert torch.equal(random, torch.get_rng_state())
    for name, weights in trainer.networks.state_dict().items():
        assert all(torch.equal(weights[key], before[name][key]) for key in weights)
    assert trainer.networks["G_A"].training


def test_averages_follow_the_generators(tiny_options: Options) -> None:
    trainer = make_trainer(tiny_options(ema_decay=0.9))
    key = "model.1.weight"
    start = trainer.networks["G_A"].state_dict()[key].clone()
    trainer.step([make_batch()])
    latest = trainer.networks["G_A"].state_dict()[key]
    average = trainer.averages["G_A"].weights(trainer.networks["G_A"])[key]
    # After the first of its steps the average keeps 2/11 of the start.
    assert torch.allclose(average, start * 2 / 11 + latest * 9 / 11, atol=1e-7)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_samples_and_the_doctor_s_numbers_are_those_of_what_is_exported(
    tiny_options: Options, norm: str
) -> None:
    trainer = make_trainer(tiny_options(ema_decay=0.9, norm=norm))
    for seed in range(6):
        trainer.step([make_batch(seed, count=2)])
    batch = make_batch(9, count=2)
    before = deepcopy(trainer.networks.state_dict())
    averages = deepcopy([average.state_dict() for average in trainer.averages.values()])
    samples, statistics = trainer.samples(batch), trainer.output_statistics(batch)
    # Afterwards the weights are the very same again, and the averages, too.
    for name, weights in trainer.networks.state_dict().items():
        assert all(torch.equal(weights[key], before[name][key]) for key in weights)
    for average, kept in zip(trainer.averages.values(), averages, strict=True):
        now = average.state_dict()["average"]
        assert all(torch.equal(now[key], kept["average"][key]) for key in now)
    assert trainer.networks["G_A"].training
    # Networks that hold the averages, as a file of weights does.
    exported = deepcopy(trainer.networks)
    for name, average in trainer.averages.items():
        exported[name].load_state_dict(average.weights(trainer.networks[name]))
    exported.train(False)
    with torch.no_grad():
        fake_B, fake_A = exported["G_A"](batch.A), exported["G_B"](batch.B)
        rec_A, idt_A = exported["G_B"](fake_B), exported["G_A"](batch.B)
        latest = deepcopy(trainer.networks["G_A"]).train(False)(batch.A)
    for name, wanted in {
        "fake_B": fake_B,
        "fake_A": fake_A,
        "rec_A": rec_A,
        "idt_A": idt_A,
    }.items():
        torch.testing.assert_close(samples[name], wanted, atol=1e-5, rtol=1e-5)
    assert (samples["fake_B"] - latest).abs().max() > 1e-3
    # The numbers of a trainer whose own weights are the averages.
    trainer.networks.load_state_dict(exported.state_dict())
    trainer.averages = {}
    assert trainer.output_statistics(batch) == pytest.approx(statistics, rel=1e-4)


def test_weights_that_are_not_numbers_are_refused(tiny_options: Options) -> None:
    trainer = make_trainer(tiny_options())
    with torch.no_grad():
        next(trainer.networks["D_B"].parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="the weights of D_B"):
        trainer.check_finite()
