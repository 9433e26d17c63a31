"""The terms of the generators' objective, and the loss of the discriminators.

A :class:`LossTerm` has a name in the log, a weight, and a value for each batch and its
translations. The trainer sums an ordered sequence of terms without knowing their names, so that a
new loss is one class here and one line in `build`. The loss of a discriminator is
:class:`DiscriminatorLoss`. Formulas without state are functions in `losses`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.cyclegan.augment import DifferentiableAugmentation
from impasto.cyclegan.blocks import apply_together
from impasto.cyclegan.losses import (
    adversarial_loss,
    cycle_loss,
    discriminator_loss,
    gradient_penalty,
    identity_loss,
)
from impasto.data.datasets import UnpairedBatch
from impasto.data.tensors import to_color
from impasto.options.errors import CheckpointError
from impasto.options.losses import PerceptualTargets
from impasto.options.networks import Direction
from impasto.runs.capture import on_device

__all__ = [
    "AdversarialTerm",
    "CycleTerm",
    "DirectionImages",
    "DiscriminatorLoss",
    "IdentityTerm",
    "LossTerm",
    "PaletteLoss",
    "PaletteTerm",
    "PerceptualLoss",
    "PerceptualTerm",
    "Translations",
]


@dataclass(frozen=True, kw_only=True)
class DirectionImages:
    """The images of one direction, A to B or B to A; each RGB, (N, 3, H, W), in [-1, 1].

    Attributes:
        real: input images.
        target: real images of the other domain.
        fake: translation of ``real``.
        reconstruction: translation of ``fake`` back into the first domain; None without a cycle.
        identity: translation of ``target`` by the same generator as ``fake``, or None.
    """

    real: Tensor
    target: Tensor
    fake: Tensor
    reconstruction: Tensor | None
    identity: Tensor | None


@dataclass(frozen=True, kw_only=True)
class Translations:
    """The outputs of the generators for one batch; each RGB, (N, 3, H, W), in [-1, 1].

    Attributes:
        fake_B: G_A(real_A).
        fake_A: G_B(real_B), None where one direction alone is trained.
        rec_A: G_B(fake_B), likewise.
        rec_B: G_A(fake_A), likewise.
        idt_A: G_A(real_B), None without identity loss.
        idt_B: G_B(real_A), None without identity loss.
    """

    fake_B: Tensor
    fake_A: Tensor | None
    rec_A: Tensor | None
    rec_B: Tensor | None
    idt_A: Tensor | None
    idt_B: Tensor | None

    def of(self, direction: Direction, batch: UnpairedBatch) -> DirectionImages:
        """Return the images of one direction, with the real ones of their batch.

        Raises:
            ValueError: that direction is not trained.
        """
        if direction == "AtoB":
            return DirectionImages(
                real=batch.A,
                target=batch.B,
                fake=self.fake_B,
                reconstruction=self.rec_A,
                identity=self.idt_A,
            )
        if self.fake_A is None:
            raise ValueError("direction: BtoA is not trained, expected AtoB")
        return DirectionImages(
            real=batch.B,
            target=batch.A,
            fake=self.fake_A,
            reconstruction=self.rec_B,
            identity=self.idt_B,
        )


class LossTerm(ABC):
    """One term of the generators' objective.

    A subclass computes the value. A subclass that keeps state between steps also implements
    ``state_dict`` and ``load_state_dict``; one that must not change when a run is resumed
    implements ``fingerprint``.

    Args:
        name: name of the term in the log; the names of the two directions end with ``_A`` and
            ``_B``.
        weight: factor of the value in the objective.

    Attributes:
        state_key: key of the states of all terms of a kind in a checkpoint; the name, unless a
            subclass sets it.
        capturable: whether a step with the term may be captured as a graph. A subclass says so if
            it computes on the device alone, and changes what it remembers in place there or in a
            function that it gives to :func:`~impasto.runs.capture.on_device`.
    """

    capturable = False

    def __init__(self, name: str, *, weight: float = 1.0) -> None:
        self.name, self.weight = name, weight
        self.state_key = name

    @abstractmethod
    def __call__(self, batch: UnpairedBatch, made: Translations) -> Tensor:
        """Return the unweighted value, a scalar from which the generators get gradients.

        Args:
            batch: real images.
            made: outputs of the generators for them.
        """

    @property
    def settled(self) -> bool:
        """Whether each further call does the same work on the device."""
        return True

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state of this process, on the CPU; empty unless a subclass has state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        """Continue from a saved state; called if ``state_dict`` returned one."""
        raise NotImplementedError(f"{type(self).__name__} has a state and cannot load it")

    def fingerprint(self) -> str:
        """Return a value that identifies the term, such as a hash of its weights; or nothing."""
        return ""

    def check_fingerprint(self, saved: str) -> None:
        """Compare with the fingerprint in the state that a run is resumed from.

        Raises:
            CheckpointError: the fingerprints differ.
        """
        if saved != self.fingerprint():
            raise CheckpointError(f"the loss {self.name} is another than in the run to resume")


class _DirectionTerm(LossTerm):
    """A term of one direction: it looks at the images of that direction alone."""

    def __init__(self, name: str, direction: Direction, *, weight: float = 1.0) -> None:
        super().__init__(name, weight=weight)
        self._direction: Direction = direction

    def __call__(self, batch: UnpairedBatch, made: Translations) -> Tensor:
        return self._value(made.of(self._direction, batch))

    @abstractmethod
    def _value(self, images: DirectionImages) -> Tensor:
        """Return the value before it is weighted."""


class AdversarialTerm(_DirectionTerm):
    """The adversarial loss of a generator (Zhu et al. 2017, eq. 1).

    Args:
        name: name of the term in the log.
        direction: direction whose translations are judged.
        discriminator: discriminator of the domain that the pictures are translated into.
        gan_mode: adversarial loss: ``lsgan``, ``vanilla``, ``wgangp`` or ``hinge``.
        augment: augmentation of the discriminator's input, or None.
        weight: factor of the term in the objective.
    """

    capturable = True

    def __init__(
        self,
        name: str,
        direction: Direction,
        *,
        discriminator: nn.Module,
        gan_mode: str,
        augment: DifferentiableAugmentation | None = None,
        weight: float = 1.0,
    ) -> None:
        super().__init__(name, direction, weight=weight)
        self._discriminator, self._augment = discriminator, augment
        # Of the hinge loss, a generator wants the scores themselves (Lim and Ye 2017, eq. 8).
        self._loss = adversarial_loss("wgangp" if gan_mode == "hinge" else gan_mode)

    def _value(self, images: DirectionImages) -> Tensor:
        return self.judged(images.fake)

    def judged(self, shown: Tensor) -> Tensor:
        """Return the loss of what the discriminator is shown, (N, C, H, W)."""
        seen = shown if self._augment is None else self._augment(shown)
        return self._loss(self._discriminator(seen), True)


class CycleTerm(_DirectionTerm):
    """The cycle-consistency loss of one direction (Zhu et al. 2017, eq. 2).

    Args:
        name: name of the term in the log.
        direction: direction of the first half of the cycle.
        weight: factor of the term in the objective, lambda; Zhu et al. 2017, section 4: 10.
    """

    capturable = True

    def _value(self, images: DirectionImages) -> Tensor:
        return cycle_loss(_reconstruction(images), images.real)


class IdentityTerm(_DirectionTerm):
    """The identity loss of a generator on images of its target domain (section 5.2).

    It is 0 if the trainer makes no such translations.

    Args:
        name: name of the term in the log.
        direction: direction of the generator.
        weight: factor of the term in the objective; Zhu et al. 2017, section 5.2: half the weight
            of the cycle loss.
    """

    capturable = True

    def _value(self, images: DirectionImages) -> Tensor:
        if images.identity is None:
            return images.fake.new_zeros(())
        return identity_loss(images.identity, images.target)


class PerceptualLoss(Protocol):
    """A perceptual distance between two batches of images, for example of network features."""

    def __call__(self, image: Tensor, target: Tensor, /) -> Tensor:
        """Compare, image by image, and return a scalar on the images' device.

        Args:
            image: RGB, (N, 3, H, W), in [-1, 1]; the loss has gradients for it.
            target: the same shape and range.
        """
        ...

    def fingerprint(self) -> str:
        """Return a value that identifies the loss, such as a hash of its weights."""
        ...


class PerceptualTerm(_DirectionTerm):
    """The perceptual distance of translations or reconstructions from the input.

    The network sees gray images as RGB.

    Args:
        name: name of the term in the log.
        direction: direction whose input is compared.
        compare: perceptual distance.
        targets: images compared with the input: ``translation``, ``reconstruction``, or ``both``,
            which takes the mean.
        paired: compare with the true picture of the other domain in place of the input.
        weight: factor of the term in the objective.
    """

    def __init__(
        self,
        name: str,
        direction: Direction,
        *,
        compare: PerceptualLoss,
        targets: PerceptualTargets = "translation",
        paired: bool = False,
        weight: float = 1.0,
    ) -> None:
        super().__init__(name, direction, weight=weight)
        self.state_key = "perceptual"
        self._compare, self._targets, self._paired = compare, targets, paired
        self.capturable = getattr(compare, "capturable", False)

    def fingerprint(self) -> str:
        """Return the fingerprint of the distance."""
        return self._compare.fingerprint()

    def check_fingerprint(self, saved: str) -> None:
        """Compare with the fingerprint of the run to resume.

        Raises:
            CheckpointError: the run used a different distance.
        """
        if saved != self.fingerprint():
            raise CheckpointError(
                "the network of the perceptual loss has other weights than in the run that is "
                "resumed; give the file that the run began with as --perceptual_weights"
            )

    def _value(self, images: DirectionImages) -> Tensor:
        compared = [] if self._targets == "reconstruction" else [images.fake]
        if self._targets != "translation":
            compared.append(_reconstruction(images))
        wanted = to_color(images.target if self._paired else images.real)
        distances = (self._compare(to_color(image), wanted) for image in compared)
        return sum(distances, start=images.real.new_zeros(())) / len(compared)


def _reconstruction(images: DirectionImages) -> Tensor:
    if images.reconstruction is None:
        raise ValueError("reconstruction: there is none, since one direction alone is trained")
    return images.reconstruction


class PaletteTerm(_DirectionTerm):
    """The distance between the colors of the last translations and of the last real images.

    Of gray images, these are their grays.

    Args:
        name: name of the term in the log.
        direction: direction whose translations are compared with their target domain.
        palette: palette distance, which stores the last pictures.
        weight: factor of the term in the objective.
    """

    capturable = True

    def __init__(
        self, name: str, direction: Direction, *, palette: "PaletteLoss", weight: float = 1.0
    ) -> None:
        super().__init__(name, direction, weight=weight)
        self.state_key = "palette"
        self._palette = palette

    @property
    def settled(self) -> bool:
        """Whether the distance stores as many pictures as it ever will."""
        return self._palette.settled

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state of the distance."""
        return self._palette.state_dict()

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        """Continue from a saved state."""
        self._palette.load_state_dict(state, device=device)

    def _value(self, images: DirectionImages) -> Tensor:
        return self._palette(images.fake, images.target)


class DiscriminatorLoss:
    """The loss of one discriminator: half the adversarial losses, and a penalty in ``wgangp``.

    Args:
        gan_mode: adversarial loss: ``lsgan``, ``vanilla``, ``wgangp`` or ``hinge``.
        penalty_weight: weight of the gradient penalty of ``wgangp``; Gulrajani et al. 2017: 10.
        generator: random generator of the penalty, on the CPU.
        augment: augmentation of all inputs of the discriminators, or None.

    Attributes:
        penalized: whether the penalty is part of it, whose gradients are gradients of gradients.
    """

    def __init__(
        self,
        gan_mode: str,
        *,
        penalty_weight: float = 10.0,
        generator: torch.Generator,
        augment: DifferentiableAugmentation | None = None,
    ) -> None:
        self._adversarial, self.penalized = adversarial_loss(gan_mode), gan_mode == "wgangp"
        self._penalty_weight, self._generator = penalty_weight, generator
        self._augment = augment

    def __call__(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            discriminator: discriminator network.
            real: real images of the discriminator's domain, RGB, (N, 3, H, W), in [-1, 1].
            fake: as many translations into that domain, detached, of the same shape and range.
        """
        return self.in_parts(discriminator, real, fake)[0]

    def in_parts(
        self, discriminator: nn.Module, real: Tensor, fake: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss, and those of real images and of translations that it is made of.

        Args:
            discriminator: discriminator network.
            real: what it is to take for real, (N, C, H, W).
            fake: what it is to take for false, detached, of the same shape.
        """
        if self._augment is not None:
            real, fake = self._augment(real), self._augment(fake)
        real_scores, fake_scores = apply_together(discriminator, real, fake)
        loss = discriminator_loss(self._adversarial, real_scores, fake_scores)
        if self.penalized:
            # In 16 bits the gradients of the penalty, which no scaler sees, would vanish.
            with torch.autocast(real.device.type, enabled=False):
                penalty = gradient_penalty(discriminator, real, fake, generator=self._generator)
            loss = loss + self._penalty_weight * penalty
        parts = ((real_scores, True), (fake_scores, False))
        true, false = (self._adversarial(scores.detach(), side) for scores, side in parts)
        return loss, true, false

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the random generators."""
        augment = None if self._augment is None else self._augment.state_dict()["generator"]
        return {"generator": self._generator.get_state(), "augment": augment}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state; the augmentation keeps its own if it has none saved."""
        self._generator.set_state(state["generator"].cpu())
        if self._augment is not None and state.get("augment") is not None:
            self._augment.load_state_dict({"generator": state["augment"]})


_PICTURES = 64
_DIRECTIONS = 4
_SQUARE_PX = 8


class PaletteLoss:
    """Sliced Wasserstein distance of colors (Rabin et al. 2011), over the last pictures seen.

    The colors of a picture depend on its subject, so comparing it with a single real picture is
    meaningless. Here the colors of the newest translations and the 63 before them are compared with
    those of as many real pictures (of this process, where there are several): along random
    directions in RGB, each color of a new translation is pulled towards the real color of the same
    rank. So translations keep the order of their colors, from dark to light and from red to green,
    and together they take on the domain's palette.

    Args:
        generator: random generator of the directions, on the CPU.
    """

    def __init__(self, *, generator: torch.Generator) -> None:
        self._generator = generator
        self._made, self._real = _LastColors(), _LastColors()

    def __call__(self, made: Tensor, real: Tensor) -> Tensor:
        """Return the distance of the colors, and store the pictures.

        Args:
            made: translations, (N, 3, H, W), in [-1, 1], with respect to which the loss has
                gradients.
            real: real pictures of the domain, (M, 3, H, W).

        Returns:
            Mean absolute distance along the directions, a scalar, at least 0.
        """
        new, true = _colors(made), _colors(real.detach())
        directions = on_device(self._draw_directions, made.device)
        all_made, all_real = (
            _project(earlier.after(first.flatten(0, 1)), directions)
            for first, earlier in ((new, self._made), (true, self._real))
        )
        ranks = all_made.detach().argsort(dim=0).argsort(dim=0)
        count = new.shape[0] * new.shape[1]
        # Sets of other sizes: the same share of the way from the smallest to the largest.
        places = ranks[:count] * len(all_real) // len(all_made)
        target = all_real.sort(dim=0).values.gather(0, places)
        self._made.add(new.detach())
        self._real.add(true)
        return (all_made[:count] - target).abs().mean()

    @property
    def settled(self) -> bool:
        """Whether each further call does the same work, since all pictures are replaced by turns.

        That is so for batches of one size.
        """
        return self._made.full and self._real.full

    def state_dict(self) -> dict[str, Any]:
        """Return the stored colors, on the CPU, and the state of the random generator."""
        return {
            "made": self._made.pictures(),
            "real": self._real.pictures(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        """Continue from a saved state."""
        self._made, self._real = _LastColors(), _LastColors()
        for mine, saved in ((self._made, state["made"]), (self._real, state["real"])):
            for colors in saved:
                mine.add(colors.to(device)[None])
        self._generator.set_state(state["generator"].cpu())

    def _draw_directions(self) -> Tensor:
        return F.normalize(torch.randn(_DIRECTIONS, 3, generator=self._generator), dim=1)


class _LastColors:
    """The colors of the last 63 pictures, the oldest first, in one tensor."""

    def __init__(self) -> None:
        self._colors: Tensor | None = None  # (all squares, 3)
        self._counts: list[int] = []  # squares of each picture

    @property
    def full(self) -> bool:
        return len(self._counts) == _PICTURES - 1

    def after(self, first: Tensor) -> Tensor:
        """Return these colors behind others, (squares, 3)."""
        return first if self._colors is None else torch.cat([first, self._colors])

    def add(self, new: Tensor) -> None:
        """Add pictures, (N, squares, 3), and forget the oldest ones."""
        counts = [*self._counts, *[new.shape[1]] * len(new)]
        left = counts[-(_PICTURES - 1) :]
        colors = new.flatten(0, 1)
        colors = colors if self._colors is None else torch.cat([self._colors, colors])
        colors = colors[len(colors) - sum(left) :]
        self._counts = left
        if self._colors is not None and colors.shape == self._colors.shape:
            self._colors.copy_(colors)  # in place, where a captured step looks for them
        else:
            self._colors = colors.clone()

    def pictures(self) -> list[Tensor]:
        """Return copies on the CPU, (squares, 3) of each picture."""
        if self._colors is None:
            return []
        return [colors.clone() for colors in torch.split(self._colors.cpu(), self._counts)]


def _colors(images: Tensor) -> Tensor:
    """Return the mean colors of squares of 8 pixels, (N, squares, 3), float32."""
    side = min(_SQUARE_PX, *images.shape[2:])
    coarse = F.avg_pool2d(to_color(images).float(), side)
    return coarse.flatten(2).transpose(1, 2)


def _project(colors: Tensor, directions: Tensor) -> Tensor:
    # Not a matrix product, which would be computed in 16 bits where the networks are.
    return (colors[:, None] * directions).sum(dim=-1)
