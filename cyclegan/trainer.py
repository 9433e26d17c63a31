"""One training step of a CycleGAN (Zhu et al. 2017, section 3 and figure 3), and its state."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from impasto.cyclegan.blocks import apply_together
from impasto.cyclegan.doctor import contrast_and_correlation, read_back
from impasto.cyclegan.models import GENERATOR_OF
from impasto.cyclegan.networks import Networks
from impasto.cyclegan.optim import (
    LearningRate,
    WeightAverage,
    load_optimizer,
    optimizer_state,
)
from impasto.cyclegan.pools import ReplayPools
from impasto.cyclegan.terms import DiscriminatorLoss, LossTerm, Translations
from impasto.data.datasets import UnpairedBatch
from impasto.data.tensors import normalize
from impasto.runs.capture import CompiledStep, Compiling, uncompiled
from impasto.runs.learner import StepResult
from impasto.runs.processes import (
    average_gradients,
    average_statistics,
    normalization_statistics,
)

__all__ = ["OneSidedTrainer", "Trainer"]

_DISCRIMINATORS = ("D_A", "D_B", "D")
# Of the state and the process states: a term that called its own state so would replace them.
_STATE_KEYS = frozenset(
    {
        *("networks", "optimizer_G", "optimizer_D", "learning_rate", "averages", "scaler"),
        *("fake_A_pool", "fake_B_pool", "real_pools", "generator", "augment"),
        *("epoch_loss", "epoch_steps", "statistics"),
    }
)


class Trainer:
    """Updates the networks: generators first, then discriminators, then the averages.

    Nothing in a step reads a number back from the device (except that fp16 checks its gradients),
    and nothing that it changes on the device is replaced by another tensor once pools are full, so
    that it can be captured as a graph.

    Args:
        networks: all networks, on the accelerator's device, named as in the reference
            implementation: ``G_A`` translates A to B (G of the paper), ``G_B`` translates B to A
            (F); ``D_A`` judges domain **B**, real B against G_A(A) (D_Y), and ``D_B`` judges domain
            **A** (D_X). Further ones, which terms use, are updated with the generators.
        terms: terms of the generators' objective, in the order in which they are summed.
        discriminator_loss: loss of each discriminator.
        replay: pools that make the batches of the discriminators.
        optimizer_G: optimizer of the weights of both generators.
        optimizer_D: optimizer of the weights of both discriminators.
        learning_rate: schedule of both optimizers.
        accelerator: device, precision and processes.
        averages: running averages of generators, by name.
        identity: whether to also translate each domain into itself, for the terms that need it.
        compiling: what is compiled; nothing unless given.

    Raises:
        ValueError: two terms have the same name, or a term has the name of a discriminator or of
            another part of the state.
    """

    def __init__(  # noqa: PLR0913
        self,
        networks: Networks,
        *,
        terms: Sequence[LossTerm],
        discriminator_loss: DiscriminatorLoss,
        replay: ReplayPools,
        optimizer_G: Optimizer,
        optimizer_D: Optimizer,
        learning_rate: LearningRate,
        accelerator: Accelerator,
        averages: Mapping[str, WeightAverage] | None = None,
        identity: bool = True,
        compiling: Compiling | None = None,
    ) -> None:
        names = [*_DISCRIMINATORS, *(term.name for term in terms)]
        if len(set(names)) < len(names):
            raise ValueError(f"terms: expected names that differ, got {', '.join(names)}")
        if reserved := _STATE_KEYS & {term.state_key for term in terms}:
            raise ValueError(f"terms: {', '.join(reserved)} is the name of another part of a state")
        self.networks = networks
        self._discriminators = [name for name in networks if name in _DISCRIMINATORS]
        # A term's own network learns with the generators.
        self._generators = [name for name in networks if name not in _DISCRIMINATORS]
        self.terms = tuple(terms)
        self.learning_rate = learning_rate
        self.averages: Mapping[str, WeightAverage] = dict(averages or {})
        self._discriminator_loss, self._replay = discriminator_loss, replay
        self._optimizer_G = accelerator.prepare_optimizer(optimizer_G)
        self._optimizer_D = accelerator.prepare_optimizer(optimizer_D)
        self._accelerator, self._identity = accelerator, identity
        self._epoch_loss = torch.zeros((), device=accelerator.device)
        self._epoch_steps = 0
        self._fast_step = CompiledStep(
            self._make_step,
            learner=self,
            compiling=compiling,
            networks=self._compilable(),
            settled=self._settled,
        )

    def step(self, batches: Sequence[UnpairedBatch]) -> StepResult:
        """Make one update of all networks from one or more batches, whose gradients are added up.

        Args:
            batches: at least one batch; each RGB, (N, 3, H, W), uint8, or float32 in [-1, 1].

        Returns:
            The weighted losses, averaged over the batches: those of domain A before those of B, as
            the reference prints them.
        """
        if self.learning_rate.needs_loss:
            self._epoch_steps += 1
        on_device = (batch.sent(self._accelerator.device) for batch in batches)
        losses = self._fast_step([images for batch in on_device for images in (batch.A, batch.B)])
        images = sum(len(batch.A) for batch in batches)
        self.learning_rate.end_step(images * self._accelerator.num_processes)
        return StepResult(losses={name: losses[name] for name in sorted(losses, key=_ends_with_b)})

    def _make_step(self, images: Sequence[Tensor]) -> dict[str, Tensor]:
        """Make a step from the pictures of A and B of each batch by turns."""
        numbers = [normalize(each) for each in images]
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        batches = [UnpairedBatch(A=A, B=B) for A, B in pairs]
        fakes, generator_losses = self._update_generators(batches)
        discriminator_losses = self._update_discriminators(batches, fakes)
        self._average_weights()
        return discriminator_losses | generator_losses

    def _settled(self) -> bool:
        """Whether the next steps do all the same work on the device."""
        return self._replay.settled and all(term.settled for term in self.terms)

    def _compilable(self) -> list[nn.Module]:
        """Return the networks that torch.compile takes: it has no derivatives of derivatives."""
        names = [name for name in self._generators if name in self.directions.values()]
        if not self._discriminator_loss.penalized:
            names += self._discriminators
        networks = (self.networks[name] for name in names)
        return [network for network in networks if getattr(network, "compilable", True)]

    def translate(self, batch: UnpairedBatch) -> Translations:
        """Translate a batch both ways, and back; and each domain into itself."""
        G_A, G_B = self.networks["G_A"], self.networks["G_B"]
        idt_A = idt_B = None
        if self._identity:
            fake_B, idt_A = apply_together(G_A, batch.A, batch.B)
            fake_A, idt_B = apply_together(G_B, batch.B, batch.A)
        else:
            fake_B, fake_A = G_A(batch.A), G_B(batch.B)
        return Translations(
            fake_B=fake_B,
            fake_A=fake_A,
            rec_A=G_B(fake_B),
            rec_B=G_A(fake_A),
            idt_A=idt_A,
            idt_B=idt_B,
        )

    def generator_losses(self, batch: UnpairedBatch, made: Translations) -> dict[str, Tensor]:
        """Return the weighted terms by name; their sum is the objective of both generators."""
        return {term.name: term.weight * term(batch, made) for term in self.terms}

    def _update_generators(
        self, batches: Sequence[UnpairedBatch]
    ) -> tuple[list[tuple[Tensor, Tensor]], dict[str, Tensor]]:
        generators = self.networks.only(*self._generators)
        discriminators = self.networks.only(*self._discriminators)
        # The discriminators only judge here: their own gradients would be thrown away.
        discriminators.requires_grad_(False)
        self._optimizer_G.zero_grad()
        fakes, losses = [], []
        for batch in batches:
            with self._accelerator.autocast():
                translations = self.translate(batch)
                parts = self.generator_losses(batch, translations)
            self._accelerator.backward(sum(parts.values()) / len(batches))
            # The pool keeps the pictures' own type, also where the networks compute in 16 bits.
            fake_B = translations.fake_B.detach()
            # Where nothing is translated into A, no discriminator sees what stands for it.
            fake_A = batch.A if translations.fake_A is None else translations.fake_A.detach()
            fakes.append((fake_A.to(batch.A.dtype), fake_B.to(batch.B.dtype)))
            losses.append({name: part.detach() for name, part in parts.items()})
        average_gradients(generators.parameters(), self._accelerator)
        self._optimizer_G.step()
        discriminators.requires_grad_(True)
        mean = _mean(losses)
        self._remember_epoch_loss(mean)
        return fakes, mean

    def _update_discriminators(
        self, batches: Sequence[UnpairedBatch], fakes: Sequence[tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        self._optimizer_D.zero_grad()
        losses = []
        for batch, (new_A, new_B) in zip(batches, fakes, strict=True):
            objective, parts = self._judge(batch, new_A, new_B)
            self._accelerator.backward(objective / len(batches))
            losses.append({name: part.detach() for name, part in parts.items()})
        discriminators = self.networks.only(*self._discriminators)
        average_gradients(discriminators.parameters(), self._accelerator)
        self._optimizer_D.step()
        return _mean(losses)

    def _judge(
        self, batch: UnpairedBatch, fake_A: Tensor, fake_B: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the objective of the discriminators, and the losses to report."""
        shown = self._replay.choose(batch, fake_A, fake_B)
        with self._accelerator.autocast():
            parts = {
                name: self._discriminator_loss(self.networks[name], real, fake)
                for name, real, fake in (
                    ("D_A", shown.real_B, shown.fake_B),
                    ("D_B", shown.real_A, shown.fake_A),
                )
                if name in self.networks
            }
        return torch.stack(list(parts.values())).sum(), parts

    def _average_weights(self) -> None:
        for name, average in self.averages.items():
            average.update(self.networks[name])

    def _remember_epoch_loss(self, losses: Mapping[str, Tensor]) -> None:
        if not self.learning_rate.needs_loss:
            return
        self._epoch_loss += torch.stack(list(losses.values())).sum()

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rate of ``epoch``, counted from 1."""
        self.learning_rate.start_epoch(epoch)

    def end_epoch(self) -> None:
        """Pass the mean loss of the epoch to the schedule, if it uses the loss.

        All processes get the mean of their statistics of batch normalization.
        """
        average_statistics(self.networks.values(), self._accelerator)
        if self._epoch_steps:
            mean = self._accelerator.reduce(self._epoch_loss / self._epoch_steps, "mean")
            self.learning_rate.end_epoch(float(mean))
        self._epoch_loss.zero_()
        self._epoch_steps = 0

    @property
    def compiles(self) -> bool:
        """Whether the next step waits for networks to be compiled."""
        return self._fast_step.compiles

    @property
    def compiled(self) -> bool:
        """Whether steps are made with compiled networks by now."""
        return self._fast_step.compiled

    @property
    def captured(self) -> bool:
        """Whether steps are replayed from a graph by now."""
        return self._fast_step.captured

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weights by which the losses of a step are multiplied."""
        return {term.name: term.weight for term in self.terms}

    @property
    def directions(self) -> Mapping[str, str]:
        """The name of the generator of each translation direction."""
        return GENERATOR_OF

    @property
    def present_learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.learning_rate.present

    @contextmanager
    def _as_exported(self) -> Iterator[None]:
        """Evaluate the generators as they are exported: averaged, if there are averages."""
        self.networks.train(False)
        try:
            with ExitStack() as stack:
                for name, average in self.averages.items():
                    stack.enter_context(average.applied_to(self.networks[name]))
                stack.enter_context(uncompiled(list(self.networks.values())))
                # After the weights were exchanged, as autocast keeps casts of them.
                stack.enter_context(self._accelerator.autocast())
                yield
        finally:
            self.networks.train(True)

    @torch.no_grad()
    def samples(self, batch: UnpairedBatch) -> dict[str, Tensor]:
        """Return sample pictures under the reference's names, each (N, 3, H, W) in [-1, 1].

        With running averages, they are those of the averaged generators, which are exported.
        """
        batch = batch.to(self._accelerator.device)
        with self._as_exported():
            made = self.translate(batch)
        rows = {
            "real_A": batch.A,
            "fake_B": made.fake_B,
            "rec_A": made.rec_A,
            "idt_B": made.idt_B,
            "real_B": batch.B,
            "fake_A": made.fake_A,
            "rec_B": made.rec_B,
            "idt_A": made.idt_A,
        }
        return {name: image.float() for name, image in rows.items() if image is not None}

    @torch.no_grad()
    def output_statistics(self, batch: UnpairedBatch) -> dict[str, float | None]:
        """Return statistics of a batch's translations that reveal failures.

        Returns:
            ``contrast_B`` and ``correlation_B`` of fake_B with real_A, and ``contrast_A`` and
            ``correlation_A`` of fake_A with real_B; None where undefined, see
            :func:`~impasto.cyclegan.doctor.contrast_and_correlation`. With running averages, they
            are those of the averaged generators, which are exported.
        """
        batch = batch.to(self._accelerator.device)
        with self._as_exported():
            fake_B = self.networks["G_A"](batch.A)
            fake_A = self.networks["G_B"](batch.B)
        pairs = ((fake_B, batch.A), (fake_A, batch.B))
        values = torch.cat([contrast_and_correlation(*pair) for pair in pairs])
        names = ("contrast_B", "correlation_B", "contrast_A", "correlation_A")
        return dict(zip(names, read_back(values), strict=True))

    def check_finite(self) -> None:
        """Refuse weights that are not finite, so that a good state is never overwritten.

        Raises:
            TrainingError: a weight is not finite; the message names the first such network.
        """
        self.networks.check_finite()

    def state_dict(self) -> dict[str, Any]:
        """Return the state that all processes share."""
        averages = [average.state_dict() for average in self.averages.values()]
        scaler = self._accelerator.scaler
        return {
            "networks": self.networks.state_dict(),
            "optimizer_G": optimizer_state(self._optimizer_G),
            "optimizer_D": optimizer_state(self._optimizer_D),
            "learning_rate": self.learning_rate.state_dict(),
            "averages": averages,
            "scaler": scaler.state_dict() if scaler is not None else {},
            **{term.state_key: term.fingerprint() for term in self._fixed_terms()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            CheckpointError: the networks, or a term that must not change, differ from those of the
                state.
        """
        for term in self._fixed_terms():
            if saved := state.get(term.state_key):  # else the term is new to the run
                term.check_fingerprint(saved)
        self.networks.load_state_dict(state["networks"])
        load_optimizer(self._optimizer_G, state["optimizer_G"])
        load_optimizer(self._optimizer_D, state["optimizer_D"])
        self._fast_step.reset()
        self.learning_rate.load_state_dict(state["learning_rate"])
        self._load_averages(state["averages"])
        if self._accelerator.scaler is not None and state["scaler"]:
            self._accelerator.scaler.load_state_dict(state["scaler"])

    def process_state(self) -> dict[str, Any]:
        """Return what differs between processes: pools, generator states, and statistics.

        The latter, of batch normalization, are those of the process's own pictures.
        """
        several = self._accelerator.num_processes > 1
        return {
            "statistics": {
                name: {key: value.cpu() for key, value in normalization_statistics(network).items()}
                for name, network in self.networks.items()
                if several
            },
            **self._replay.state_dict(),
            **self._discriminator_loss.state_dict(),
            **self._term_states(),
            "epoch_loss": self._epoch_loss.to("cpu", copy=True) if self._epoch_steps else None,
            "epoch_steps": self._epoch_steps,
        }

    def load_process_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved process state."""
        device = self._accelerator.device
        for name, statistics in state.get("statistics", {}).items():
            known = normalization_statistics(self.networks[name])
            for key, value in statistics.items():
                known[key].copy_(value)
        self._replay.load_state_dict(state, device=device)
        self._discriminator_loss.load_state_dict(state)
        saved = {term.state_key: iter(state.get(term.state_key, ())) for term in self.terms}
        for term in self.terms:
            if (own := next(saved[term.state_key], None)) is not None:
                term.load_state_dict(own, device=device)
        loss = state["epoch_loss"]
        self._epoch_loss.copy_(torch.zeros(()) if loss is None else loss)
        self._epoch_steps = state["epoch_steps"]
        self._fast_step.reset()

    def _load_averages(self, saved: Sequence[dict[str, Any]]) -> None:
        """Continue the averages; where the run had none, they start from its weights."""
        for place, (name, average) in enumerate(self.averages.items()):
            if saved:
                average.load_state_dict(saved[place])
            else:
                average.restart(self.networks[name])

    def _fixed_terms(self) -> list[LossTerm]:
        """Return the terms that a resumed run must have unchanged."""
        return [term for term in self.terms if term.fingerprint()]

    def _term_states(self) -> dict[str, list[Mapping[str, Any]]]:
        """Return what terms remember, by kind, in their order."""
        states: dict[str, list[Mapping[str, Any]]] = {}
        for term in self.terms:
            if state := term.state_dict():
                states.setdefault(term.state_key, []).append(state)
        return states


class OneSidedTrainer(Trainer):
    """Updates ``G_A``, which translates A to B, and ``D_A``, which judges domain B; no cycle.

    What a cycle keeps of a picture, a comparison of features or a contrastive loss keeps here (Park
    et al. 2020), for half of the work.

    Arguments are those of :class:`Trainer`; terms may look at the
    direction ``AtoB`` only, and at no reconstruction. Further networks, such as the projector of
    the contrastive loss, are updated with the generator.
    """

    def translate(self, batch: UnpairedBatch) -> Translations:
        """Translate A to B; and B into itself, for the terms that need it."""
        G_A = self.networks["G_A"]
        idt_A = None
        if self._identity:
            fake_B, idt_A = apply_together(G_A, batch.A, batch.B)
        else:
            fake_B = G_A(batch.A)
        return Translations(
            fake_B=fake_B, fake_A=None, rec_A=None, rec_B=None, idt_A=idt_A, idt_B=None
        )

    @property
    def directions(self) -> Mapping[str, str]:
        """The name of the one generator."""
        return {"AtoB": "G_A"}

    @torch.no_grad()
    def samples(self, batch: UnpairedBatch) -> dict[str, Tensor]:
        """Return sample pictures under the reference's names, each (N, 3, H, W) in [-1, 1].

        With a running average, they are those of the averaged generator, which is exported.
        """
        batch = batch.to(self._accelerator.device)
        with self._as_exported():
            made = self.translate(batch)
        rows = {"real_A": batch.A, "fake_B": made.fake_B, "real_B": batch.B, "idt_A": made.idt_A}
        return {name: image.float() for name, image in rows.items() if image is not None}

    @torch.no_grad()
    def output_statistics(self, batch: UnpairedBatch) -> dict[str, float | None]:
        """Return ``contrast_B`` and ``correlation_B`` of fake_B with real_A, None where undefined.

        With a running average, they are those of the averaged generator, which is exported.
        """
        batch = batch.to(self._accelerator.device)
        with self._as_exported():
            fake_B = self.networks["G_A"](batch.A)
        values = read_back(contrast_and_correlation(fake_B, batch.A))
        return dict(zip(("contrast_B", "correlation_B"), values, strict=True))


def _ends_with_b(name: str) -> bool:
    return name.endswith("_B")


def _mean(losses: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([part[name].float() for part in losses]).mean() for name in losses[0]}
