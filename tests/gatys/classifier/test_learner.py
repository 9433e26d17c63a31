"""Steps, scores, plateaus, the end of training, and the state of a classifier that learns."""

import copy
import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau

from impasto.gatys.classifier.learner import ClassifierLearner
from impasto.gatys.classifier.loading import ClassBatch
from impasto.gatys.classifier.model import VggClassifier, init_weights
from impasto.options.errors import CheckpointError, ImpastoError, TrainingError

CLASSES = 7


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 4, seed: int = 0) -> ClassBatch:
    generator = seeded(seed)
    return ClassBatch(
        images=torch.rand(count, 3, 32, 32, generator=generator),
        labels=torch.randint(CLASSES, (count,), generator=generator),
    )


def learner(
    held_out: Sequence[ClassBatch] = (),
    *,
    classes: int = CLASSES,
    dropout: float = 0.0,
    lr: float = 0.001,
    plateau_patience: int = 1,
    **changes: Any,
) -> ClassifierLearner:
    network = VggClassifier(
        classes, depth=16, width=1 / 16, batch_norm=True, pooled=1, dropout=dropout
    )
    init_weights(network, generator=seeded())
    optimizer = AdamW(network.parameters(), lr=lr, weight_decay=0.01)
    return ClassifierLearner(
        network,
        optimizer=optimizer,
        plateau=ReduceLROnPlateau(optimizer, factor=0.5, patience=plateau_patience),
        held_out=held_out,
        accelerator=Accelerator(cpu=True),
        **changes,
    )


class Told:
    """Stands for a network whose logits are given: one row for each picture, by its red level."""

    def __init__(self, logits: Sequence[Sequence[float]]) -> None:
        self.logits = torch.tensor(logits)
        self.classes = len(logits[0])

    def __call__(self, images: Tensor) -> Tensor:
        return self.logits[(images[:, 0, 0, 0] * 255).round().long()]

    def eval(self) -> None: ...

    def train(self) -> None: ...

    def plain_features(self) -> dict[str, Tensor]:
        return {}


def told(labels: Sequence[int], *, first: int = 0) -> ClassBatch:
    levels = torch.arange(first, first + len(labels)) / 255
    images = levels.view(-1, 1, 1, 1).expand(-1, 3, 32, 32).contiguous()
    return ClassBatch(images=images, labels=torch.tensor(labels))


# Steps.


def test_one_step_is_adamw_on_the_smoothed_cross_entropy() -> None:
    ours, theirs = learner(label_smoothing=0.2), learner()
    one = batch()
    losses = ours.step([one]).losses
    optimizer = AdamW(theirs.network.parameters(), lr=0.001, weight_decay=0.01)
    logits = theirs.network(one.images)
    log_p = logits.log_softmax(1)
    # Szegedy et al. 2016, section 7: 0.8 of the target for the class, 0.2 spread over all.
    right = log_p.gather(1, one.labels[:, None]).squeeze(1)
    loss = -(0.8 * right + 0.2 * log_p.mean(dim=1)).mean()
    loss.backward()
    optimizer.step()
    assert losses["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    assert losses["top1"].item() == (logits.argmax(1) == one.labels).float().mean().item()
    for found, expected in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_batches_of_one_step_are_averaged() -> None:
    one, other = batch(seed=1), batch(seed=2)
    apart = learner()
    apart.network.eval()  # so that both ways see the same statistics
    together = learner()
    together.network.eval()
    losses = apart.step([one, other]).losses
    joined = ClassBatch(
        images=torch.cat([one.images, other.images]), labels=torch.cat([one.labels, other.labels])
    )
    expected = together.step([joined]).losses
    assert losses["loss"].item() == pytest.approx(expected["loss"].item(), rel=1e-5)
    assert losses["top1"].item() == pytest.approx(expected["top1"].item())
    for found, wanted in zip(
        apart.network.parameters(), together.network.parameters(), strict=True
    ):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-3, atol=1e-6)


def test_it_learns_what_it_sees() -> None:
    some = batch(8)
    one = learner([some], lr=0.003)
    before = one.end_epoch().scores["loss_val"]
    for _ in range(30):
        one.step([some])
    scores = one.end_epoch().scores
    assert scores["loss_val"] < before / 3
    assert scores["top1_val"] == 1


# Scores.


def test_scores_are_shares_of_all_held_out_pictures_whatever_the_batches() -> None:
    logits = [
        [9.0, 5, 4, 3, 2, 1, 0],  # 0: right at once
        [9.0, 5, 4, 3, 2, 1, 0],  # 4: among five
        [9.0, 5, 4, 3, 2, 1, 0],  # 5: not among five
        [0.0, 1, 2, 3, 4, 5, 9],  # 6: right at once
        [0.0, 1, 2, 3, 4, 5, 9],  # 2: among five
    ]
    labels = [0, 4, 5, 6, 2]
    one = learner([told(labels[:4]), told(labels[4:], first=4)], label_smoothing=0.3)
    one.network = Told(logits)  # type: ignore[assignment]
    scores = one.end_epoch().scores
    assert scores["top1_val"] == pytest.approx(2 / 5)
    assert scores["top5_val"] == pytest.approx(4 / 5)
    # Without label smoothing, and each picture as much as any other.
    expected = F.cross_entropy(torch.tensor(logits), torch.tensor(labels)).item()
    assert scores["loss_val"] == pytest.approx(expected, rel=1e-6)


def test_the_hardest_pictures_are_shown_worst_first() -> None:
    # The loss grows with the logit of the wrong class; the label is always 0.
    wrong = [3.0, 0, 7, 1, 6, 2, 5, 4]
    one = learner([told([0] * 5), told([0] * 3, first=5)])
    one.network = Told([[0.0, value] for value in wrong])  # type: ignore[assignment]
    samples = one.end_epoch().samples
    assert list(samples) == [f"hardest_{place}" for place in range(1, 7)]
    levels = [round((image[0, 0, 0, 0].item() + 1) / 2 * 255) for image in samples.values()]
    assert levels == [2, 4, 6, 7, 0, 5]
    assert all(image.shape == (1, 3, 32, 32) for image in samples.values())
    later = one.samples(told([0] * 9))
    assert list(later) == [*samples, *(f"training_{place}" for place in range(1, 7))]


@pytest.mark.parametrize(("classes", "has"), [(2, False), (5, False), (6, True)])
def test_top_5_is_told_where_it_means_something(classes: int, has: bool) -> None:
    one = learner([told([0, 1])], classes=classes)
    assert ("top5_val" in one.end_epoch().scores) == has


def test_the_network_is_judged_without_dropout_and_goes_on_with_it() -> None:
    one = learner([batch()], dropout=0.5)
    before = torch.get_rng_state()
    statistics = one.network.get_buffer("features.1.running_mean").clone()
    first, second = (one.end_epoch().scores for _ in range(2))
    assert first == second
    assert one.network.training
    assert torch.equal(one.network.get_buffer("features.1.running_mean"), statistics)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_readable_held_out_picture_it_says_so() -> None:
    with pytest.raises(ImpastoError, match="no held-out picture can be read"):
        learner([]).end_epoch()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    one = learner([batch()])
    one.check_finite()
    with torch.no_grad():
        next(one.network.parameters()).fill_(value)
    with pytest.raises(TrainingError, match="no longer finite"):
        one.check_finite()
    with pytest.raises(TrainingError, match="held-out loss is not a finite number"):
        one.end_epoch()


# Plateaus and the end.


def follow(one: ClassifierLearner, losses: Sequence[float]) -> tuple[list[float], list[bool]]:
    """Give one held-out loss per epoch; return learning rates and whether training is over."""
    rates, over = [], []
    for epoch, loss in enumerate(losses, start=1):
        one._held_out = [told([0])]
        one.network = Told([[0.0, math.log(math.exp(loss) - 1)]])  # type: ignore[assignment]
        one.start_epoch(epoch)
        assert one.end_epoch().scores["loss_val"] == pytest.approx(loss)
        rates.append(one.present_learning_rate)
        over.append(one.converged())
    return rates, over


def test_the_learning_rate_falls_on_a_plateau() -> None:
    rates, _ = follow(learner(plateau_patience=1, patience=99), [3, 2, 2.5, 2.5, 1, 2, 2, 2, 2])
    assert rates == pytest.approx([1e-3] * 3 + [5e-4] * 3 + [2.5e-4] * 2 + [1.25e-4])


def test_training_is_over_when_the_loss_no_longer_falls() -> None:
    one = learner(patience=3)
    assert not one.converged()
    _, over = follow(one, [3, 2, 2.1, 1.9, 2, 2, 1.95])
    assert over == [False] * 6 + [True]
    assert one.best.epoch == 4
    assert one.best.scores["loss_val"] == pytest.approx(1.9)


def test_the_best_epoch_s_convolutions_are_kept() -> None:
    one = learner([batch(8, seed=3)], lr=0.01)
    one.start_epoch(1)
    one.end_epoch()
    kept = one.best.features
    assert kept is not None
    before = {name: value.clone() for name, value in kept.items()}
    for seed in range(4):  # what it sees has nothing to do with what it is judged by
        one.step([batch(8, seed=seed + 10)])
    one._held_out = [ClassBatch(images=batch(8).images, labels=batch(8, seed=5).labels)]
    one.best = type(one.best)(epoch=1, scores={"loss_val": 0.0}, features=kept)
    one.start_epoch(2)
    one.end_epoch()
    assert one.best.epoch == 1
    assert one.best.features is not None
    assert all(torch.equal(one.best.features[name], before[name]) for name in before)


# States.


def test_a_loaded_state_goes_on_as_the_saved_one_would() -> None:
    held_out = [batch(6, seed=8)]
    one, other = learner(held_out), learner(held_out)
    for epoch in (1, 2, 3):
        one.start_epoch(epoch)
        one.step([batch(seed=epoch)])
        one.end_epoch()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for both in (one, other):
        both.start_epoch(4)
        both.step([batch(seed=9)])
    assert one.end_epoch().scores == other.end_epoch().scores
    assert one.best.epoch == other.best.epoch
    assert one.present_learning_rate == other.present_learning_rate
    for found, expected in zip(
        other.network.state_dict().values(), one.network.state_dict().values(), strict=True
    ):
        assert torch.equal(found, expected)


def test_each_process_keeps_its_own_statistics_of_batch_normalization() -> None:
    one, other = learner(), learner()
    assert one.process_state() == {}  # a single one has them in its network
    for each in (one, other):
        each._accelerator = SimpleNamespace(num_processes=2)
    with torch.no_grad():
        one.network(batch(8).images)
    other.load_process_state(copy.deepcopy(one.process_state()))
    for kind in ("running_mean", "running_var"):
        found, expected, fresh = (
            each.network.get_buffer(f"features.1.{kind}") for each in (other, one, learner())
        )
        assert torch.equal(found, expected)
        assert not torch.equal(found, fresh)


def test_another_learning_rate_of_the_options_counts_relative_to_the_plateaus() -> None:
    one = learner(plateau_patience=0, patience=99)
    network = one.network
    follow(one, [2, 3])
    assert one.present_learning_rate == pytest.approx(5e-4)
    one.network = network
    state = one.state_dict()
    other = learner(lr=0.1)
    other.load_state_dict(state)
    assert other.present_learning_rate == pytest.approx(0.05)
    again = learner(lr=0.1)
    again.load_state_dict(other.state_dict())
    assert again.present_learning_rate == pytest.approx(0.05)


def test_a_state_of_another_network_is_refused() -> None:
    state = learner(classes=3).state_dict()
    with pytest.raises(CheckpointError, match="does not fit the network: size mismatch"):
        learner().load_state_dict(state)
