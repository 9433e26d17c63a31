"""What goes into a training step and what comes out: weights, translations, losses."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["LossWeights", "PerceptualLoss", "StepLosses", "Translations"]


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
