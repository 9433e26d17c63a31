"""One training step of a CycleGAN (Zhu et al. 2017, section 3 and figure 3).

What goes into a training step and what comes out: weights, translations, losses.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from impasto.cyclegan.architecture import Generator
from impasto.cyclegan.augment import DifferentiableAugmentation
from impasto.cyclegan.blocks import apply_together
from impasto.cyclegan.doctor import contrast_and_correlation, read_back
from impasto.cyclegan.losses import (
    adversarial_loss,
    cycle_loss,
    discriminator_loss,
    gradient_penalty,
    identity_loss,
)
from impasto.cyclegan.optim import LearningRate, WeightAverage
from impasto.cyclegan.pools import JudgedPictures
from impasto.cyclegan.terms import PaletteLoss
from impasto.cyclegan.weights import load_weights
from impasto.data.datasets import UnpairedBatch
from impasto.options.errors import CheckpointError, TrainingError
from impasto.options.train import PerceptualTargets
from impasto.runs.meter import AFTER_NOT_FINITE
from impasto.runs.processes import average_gradients

__all__ = ["LossWeights", "Networks", "PerceptualLoss", "StepLosses", "Trainer", "Translations"]


class PerceptualLoss(Protocol):
    """How different two batches of pictures look, for example to a network that knows pictures."""

    def __call__(self, image: Tensor, target: Tensor, /) -> Tensor:
        """Compare, picture by picture, and return a scalar on the pictures' device.

        Args:
            image: RGB, (N, 3, H, W), in [-1, 1]; the loss has gradients for it.
            target: of the same shape and range, or of another size of the same picture.
        """
        ...

    def fingerprint(self) -> str:
        """Return what is the same for equal losses alone, such as a hash of the weights."""
        ...


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the losses (Zhu et al. 2017, section 4: lambda = 10; section 5.2: 0.5 lambda).

    Attributes:
        cycle_A: of the cycle A -> B -> A.
        cycle_B: of the cycle B -> A -> B.
        identity: of the identity losses, relative to ``cycle_A`` and ``cycle_B``.
        gradient_penalty: of the penalty of ``wgangp``.
        perceptual: of the perceptual loss.
        palette: of the palette loss.
    """

    cycle_A: float = 10.0
    cycle_B: float = 10.0
    identity: float = 0.5
    gradient_penalty: float = 10.0
    perceptual: float = 0.0
    palette: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StepLosses:
    """The weighted losses of one step, as scalars on the device, detached.

    Those of a training without perceptual or palette loss have none.
    """

    D_A: Tensor
    G_A: Tensor
    cycle_A: Tensor
    idt_A: Tensor
    D_B: Tensor
    G_B: Tensor
    cycle_B: Tensor
    idt_B: Tensor
    perceptual_A: Tensor | None = None
    perceptual_B: Tensor | None = None
    palette_A: Tensor | None = None
    palette_B: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Translations:
    """What the generators make of one batch; each (N, 3, H, W) in [-1, 1].

    Attributes:
        fake_B: G_A(real_A).
        fake_A: G_B(real_B).
        rec_A: G_B(fake_B).
        rec_B: G_A(fake_A).
        idt_A: G_A(real_B), None without identity loss.
        idt_B: G_B(real_A), None without identity loss.
    """

    fake_B: Tensor
    fake_A: Tensor
    rec_A: Tensor
    rec_B: Tensor
    idt_A: Tensor | None
    idt_B: Tensor | None


_PERCEPTUAL = ("perceptual_A", "perceptual_B")
_PALETTE = ("palette_A", "palette_B")


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Two generators and two discriminators, named as in the reference implementation.

    Attributes:
        G_A: translates A to B (G of the paper).
        G_B: translates B to A (F of the paper).
        D_A: judges domain **B**: real B against G_A(A) (D_Y of the paper).
        D_B: judges domain **A**: real A against G_B(B) (D_X of the paper).
    """

    G_A: Generator
    G_B: Generator
    D_A: nn.Module
    D_B: nn.Module

    def named(self) -> dict[str, nn.Module]:
        """Return the networks by the names that their files have."""
        return {"G_A": self.G_A, "G_B": self.G_B, "D_A": self.D_A, "D_B": self.D_B}

    @property
    def generators(self) -> nn.ModuleList:
        """Both generators."""
        return nn.ModuleList([self.G_A, self.G_B])

    @property
    def discriminators(self) -> nn.ModuleList:
        """Both discriminators."""
        return nn.ModuleList([self.D_A, self.D_B])

    def to(self, device: torch.device) -> "Networks":
        """Move all four to a device."""
        for network in self.named().values():
            network.to(device)
        return self

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return the weights of each network, by name."""
        return {name: network.state_dict() for name, network in self.named().items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the weights of each network.

        Raises:
            CheckpointError: weights do not fit; names them.
        """
        for name, network in self.named().items():
            load_weights(network, state[name], what=f"the network {name}")


class Trainer:
    """Updates the networks: generators first, then discriminators, then the averages.

    Nothing here reads a number back from the device (except that fp16 checks its gradients).

    Args:
        networks: the four networks, on the accelerator's device.
        optimizer_G: of both generators.
        optimizer_D: of both discriminators.
        learning_rate: steers both.
        judged: chooses what the discriminators judge.
        weights: of the losses.
        gan_mode: ``lsgan``, ``vanilla`` or ``wgangp``.
        accelerator: device, precision and processes.
        generator: randomness of the gradient penalty, on the CPU.
        averages: running averages of G_A and G_B, or None.
        perceptual: compares what the generators make with what they make it of, or None.
        perceptual_targets: what of a batch is compared with its input: ``translation``,
            ``reconstruction``, or ``both``, whose mean it then is.
        augment: changes all that the discriminators see, or None.
        palette: compare the colours of what G_A and G_B make with their domains', or None.
    """

    def __init__(  # noqa: PLR0913
        self,
        networks: Networks,
        *,
        optimizer_G: Optimizer,
        optimizer_D: Optimizer,
        learning_rate: LearningRate,
        judged: JudgedPictures,
        weights: LossWeights,
        gan_mode: str,
        accelerator: Accelerator,
        generator: torch.Generator,
        averages: tuple[WeightAverage, WeightAverage] | None = None,
        perceptual: PerceptualLoss | None = None,
        perceptual_targets: PerceptualTargets = "translation",
        augment: DifferentiableAugmentation | None = None,
        palette: tuple[PaletteLoss, PaletteLoss] | None = None,
    ) -> None:
        self.networks = networks
        self.learning_rate = learning_rate
        self.averages = averages
        self._optimizer_G = accelerator.prepare_optimizer(optimizer_G)
        self._optimizer_D = accelerator.prepare_optimizer(optimizer_D)
        self._judged = judged
        self._weights, self._gan_mode = weights, gan_mode
        self._adversarial = adversarial_loss(gan_mode)
        self._perceptual, self._perceptual_targets = perceptual, perceptual_targets
        self._augment, self._palette = augment, palette
        self._accelerator, self._generator = accelerator, generator
        self._epoch_loss: Tensor | None = None
        self._epoch_steps = 0

    def step(self, batches: Sequence[UnpairedBatch]) -> StepLosses:
        """Make one update of all networks from one or more batches, whose gradients are added up.

        Args:
            batches: at least one; each RGB, (N, 3, H, W), float32 in [-1, 1].

        Returns:
            The losses, averaged over the batches.
        """
        batches = [batch.to(self._accelerator.device) for batch in batches]
        fakes, generator_losses = self._update_generators(batches)
        discriminator_losses = self._update_discriminators(batches, fakes)
        self._average_weights()
        return StepLosses(**generator_losses, **discriminator_losses)

    def translate(self, batch: UnpairedBatch) -> Translations:
        """Translate a batch both ways, and back; and each domain into itself."""
        G_A, G_B = self.networks.G_A, self.networks.G_B
        idt_A = idt_B = None
        if self._weights.identity > 0:
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
        """Return the weighted losses of both generators; their sum is the objective."""
        weights, zero = self._weights, made.fake_B.new_zeros(())
        idt_A = idt_B = zero
        if made.idt_A is not None and made.idt_B is not None:
            # The reference weighs idt_A = G_A(B), a reconstruction of B, with lambda_B.
            idt_A = weights.identity * weights.cycle_B * identity_loss(made.idt_A, batch.B)
            idt_B = weights.identity * weights.cycle_A * identity_loss(made.idt_B, batch.A)
        losses = {
            "G_A": self._adversarial(self.networks.D_A(self._seen(made.fake_B)), True),
            "G_B": self._adversarial(self.networks.D_B(self._seen(made.fake_A)), True),
            "cycle_A": weights.cycle_A * cycle_loss(made.rec_A, batch.A),
            "cycle_B": weights.cycle_B * cycle_loss(made.rec_B, batch.B),
            "idt_A": idt_A,
            "idt_B": idt_B,
        }
        if self._palette is not None:
            of_B, of_A = self._palette
            losses["palette_A"] = weights.palette * of_B(made.fake_B, batch.B)
            losses["palette_B"] = weights.palette * of_A(made.fake_A, batch.A)
        return losses | self._perceptual_losses(batch, made)

    def _perceptual_losses(self, batch: UnpairedBatch, made: Translations) -> dict[str, Tensor]:
        compare, weight = self._perceptual, self._weights.perceptual
        if compare is None:
            return {}
        pairs_A = {"translation": made.fake_B, "reconstruction": made.rec_A}
        pairs_B = {"translation": made.fake_A, "reconstruction": made.rec_B}
        chosen = self._perceptual_targets
        names = list(pairs_A) if chosen == "both" else [chosen]
        return {
            name: weight / len(names) * sum((compare(pairs[n], real) for n in names), start=zero)
            for name, pairs, real, zero in (
                ("perceptual_A", pairs_A, batch.A, batch.A.new_zeros(())),
                ("perceptual_B", pairs_B, batch.B, batch.B.new_zeros(())),
            )
        }

    def discriminator_loss(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Return the objective of one discriminator for real and (detached) fake pictures."""
        real, fake = self._seen(real), self._seen(fake)
        real_scores, fake_scores = apply_together(discriminator, real, fake)
        loss = discriminator_loss(self._adversarial, real_scores, fake_scores)
        if self._gan_mode == "wgangp":
            # In 16 bits the gradients of the penalty, which no scaler sees, would vanish.
            with torch.autocast(real.device.type, enabled=False):
                penalty = gradient_penalty(discriminator, real, fake, generator=self._generator)
            loss = loss + self._weights.gradient_penalty * penalty
        return loss

    def _seen(self, images: Tensor) -> Tensor:
        """Return pictures as the discriminators see them."""
        return images if self._augment is None else self._augment(images)

    def _update_generators(
        self, batches: Sequence[UnpairedBatch]
    ) -> tuple[list[tuple[Tensor, Tensor]], dict[str, Tensor]]:
        # The discriminators only judge here: their own gradients would be thrown away.
        self.networks.discriminators.requires_grad_(False)
        self._optimizer_G.zero_grad()
        fakes, losses = [], []
        for batch in batches:
            with self._accelerator.autocast():
                translations = self.translate(batch)
                parts = self.generator_losses(batch, translations)
            self._accelerator.backward(sum(parts.values()) / len(batches))
            # The pool keeps the pictures' own type, also where the networks compute in 16 bits.
            fake_A, fake_B = translations.fake_A.detach(), translations.fake_B.detach()
            fakes.append((fake_A.to(batch.A.dtype), fake_B.to(batch.B.dtype)))
            losses.append({name: part.detach() for name, part in parts.items()})
        average_gradients(self.networks.generators.parameters(), self._accelerator)
        self._optimizer_G.step()
        self.networks.discriminators.requires_grad_(True)
        mean = _mean(losses)
        self._remember_epoch_loss(mean)
        return fakes, mean

    def _update_discriminators(
        self, batches: Sequence[UnpairedBatch], fakes: Sequence[tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        self._optimizer_D.zero_grad()
        losses = []
        for batch, (new_A, new_B) in zip(batches, fakes, strict=True):
            judged = self._judged.choose(batch, new_A, new_B)
            with self._accelerator.autocast():
                D_A = self.discriminator_loss(self.networks.D_A, judged.real_B, judged.fake_B)
                D_B = self.discriminator_loss(self.networks.D_B, judged.real_A, judged.fake_A)
            self._accelerator.backward((D_A + D_B) / len(batches))
            losses.append({"D_A": D_A.detach(), "D_B": D_B.detach()})
        average_gradients(self.networks.discriminators.parameters(), self._accelerator)
        self._optimizer_D.step()
        return _mean(losses)

    def _average_weights(self) -> None:
        if self.averages is not None:
            self.averages[0].update(self.networks.G_A)
            self.averages[1].update(self.networks.G_B)

    def _remember_epoch_loss(self, losses: Mapping[str, Tensor]) -> None:
        if not self.learning_rate.needs_loss:
            return
        total = torch.stack(list(losses.values())).sum()
        self._epoch_loss = total if self._epoch_loss is None else self._epoch_loss + total
        self._epoch_steps += 1

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rate of ``epoch``, counted from 1."""
        self.learning_rate.start_epoch(epoch)

    def end_epoch(self) -> None:
        """Tell the schedule how the epoch went, where it asks."""
        if self._epoch_loss is not None:
            mean = self._accelerator.reduce(self._epoch_loss / self._epoch_steps, "mean")
            self.learning_rate.end_epoch(float(mean))
        self._epoch_loss, self._epoch_steps = None, 0

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weights that the losses of a step carry."""
        weights = self._weights
        return {
            "cycle_A": weights.cycle_A,
            "cycle_B": weights.cycle_B,
            "idt_A": weights.identity * weights.cycle_B,
            "idt_B": weights.identity * weights.cycle_A,
            **({} if self._perceptual is None else dict.fromkeys(_PERCEPTUAL, weights.perceptual)),
            **({} if self._palette is None else dict.fromkeys(_PALETTE, weights.palette)),
        }

    @property
    def present_learning_rate(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizer_G.param_groups[0]["lr"])

    @torch.no_grad()
    def samples(self, batch: UnpairedBatch) -> dict[str, Tensor]:
        """Return sample pictures under the reference's names, each (N, 3, H, W) in [-1, 1]."""
        batch = batch.to(self._accelerator.device)
        self._set_training(False)
        with self._accelerator.autocast():
            made = self.translate(batch)
        self._set_training(True)
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
    def vitals(self, batch: UnpairedBatch) -> dict[str, float | None]:
        """Return measures of the translations of a batch that tell whether they are sound.

        Returns:
            ``contrast_B`` and ``correlation_B`` of fake_B with real_A, and ``contrast_A`` and
            ``correlation_A`` of fake_A with real_B; None where there is none, see
            :func:`~impasto.cyclegan.doctor.contrast_and_correlation`.
        """
        batch = batch.to(self._accelerator.device)
        self._set_training(False)
        with self._accelerator.autocast():
            fake_B, fake_A = self.networks.G_A(batch.A), self.networks.G_B(batch.B)
        self._set_training(True)
        pairs = ((fake_B, batch.A), (fake_A, batch.B))
        values = torch.cat([contrast_and_correlation(*pair) for pair in pairs])
        names = ("contrast_B", "correlation_B", "contrast_A", "correlation_A")
        return dict(zip(names, read_back(values), strict=True))

    def check_finite(self) -> None:
        """Refuse weights that are not numbers, so that a good state is never overwritten.

        Raises:
            TrainingError: names the first network that has such a weight.
        """
        for name, network in self.networks.named().items():
            finite = [torch.isfinite(weight).all() for weight in network.parameters()]
            if not torch.stack(finite).all():
                raise TrainingError(
                    f"the weights of {name} are no longer finite numbers. {AFTER_NOT_FINITE}"
                )

    def state_dict(self) -> dict[str, Any]:
        """Return all that the processes share, to continue from."""
        averages = [average.state_dict() for average in self.averages or ()]
        scaler = self._accelerator.scaler
        return {
            "networks": self.networks.state_dict(),
            "optimizer_G": self._optimizer_G.state_dict(),
            "optimizer_D": self._optimizer_D.state_dict(),
            "learning_rate": self.learning_rate.state_dict(),
            "averages": averages,
            "scaler": scaler.state_dict() if scaler is not None else {},
            "perceptual": self._fingerprint(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            CheckpointError: the networks are others, or the perceptual loss is.
        """
        if self._fingerprint() and state.get("perceptual") not in {"", None, self._fingerprint()}:
            raise CheckpointError(
                "the network of the perceptual loss has other weights than in the run that is "
                "resumed; give the file that the run began with as --perceptual_weights"
            )
        self.networks.load_state_dict(state["networks"])
        for optimizer, saved in (
            (self._optimizer_G, state["optimizer_G"]),
            (self._optimizer_D, state["optimizer_D"]),
        ):
            betas = optimizer.param_groups[0]["betas"]
            optimizer.load_state_dict(saved)
            for group in optimizer.param_groups:
                group["betas"] = betas  # those of the options, which a resumed run may change
        self.learning_rate.load_state_dict(state["learning_rate"])
        self._load_averages(state["averages"])
        if self._accelerator.scaler is not None and state["scaler"]:
            self._accelerator.scaler.load_state_dict(state["scaler"])

    def process_state(self) -> dict[str, Any]:
        """Return what differs between processes: pools and generator states."""
        return {
            **self._judged.state_dict(),
            "generator": self._generator.get_state(),
            "augment": None if self._augment is None else self._augment.state(),
            "palette": [palette.state_dict() for palette in self._palette or ()],
            "epoch_loss": None if self._epoch_loss is None else self._epoch_loss.cpu(),
            "epoch_steps": self._epoch_steps,
        }

    def load_process_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved process state."""
        device = self._accelerator.device
        self._judged.load_state_dict(state, device=device)
        self._generator.set_state(state["generator"].cpu())
        if self._augment is not None and state.get("augment") is not None:
            self._augment.set_state(state["augment"])
        for palette, saved in zip(self._palette or (), state.get("palette", ()), strict=False):
            palette.load_state_dict(saved, device=device)
        loss = state["epoch_loss"]
        self._epoch_loss = None if loss is None else loss.to(device)
        self._epoch_steps = state["epoch_steps"]

    def _load_averages(self, saved: Sequence[dict[str, Any]]) -> None:
        """Continue the averages; where the run had none, they start from its weights."""
        generators = (self.networks.G_A, self.networks.G_B)
        for place, (average, network) in enumerate(
            zip(self.averages or (), generators, strict=False)
        ):
            if saved:
                average.load_state_dict(saved[place])
            else:
                average.restart(network)

    def _fingerprint(self) -> str:
        return "" if self._perceptual is None else self._perceptual.fingerprint()

    def _set_training(self, training: bool) -> None:
        for network in self.networks.named().values():
            network.train(training)


def _mean(losses: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([part[name].float() for part in losses]).mean() for name in losses[0]}
