"""The losses of a CycleGAN, as functions of tensors (Zhu et al. 2017, section 3)."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.runs.capture import on_device

__all__ = [
    "AdversarialLoss",
    "adversarial_loss",
    "cycle_loss",
    "discriminator_loss",
    "gradient_penalty",
    "hinge_loss",
    "identity_loss",
    "least_squares_loss",
    "vanilla_loss",
    "wasserstein_loss",
]

AdversarialLoss = Callable[[Tensor, bool], Tensor]


def least_squares_loss(scores: Tensor, real: bool) -> Tensor:
    """Return the mean squared distance of scores from 1 (``real``) or 0 (Mao et al. 2017, eq. 2).

    Args:
        scores: a discriminator's output, any shape.
        real: whether the scores should say "real".

    Returns:
        A scalar, at least 0.
    """
    return F.mse_loss(scores, torch.full_like(scores, float(real)))


def vanilla_loss(scores: Tensor, real: bool) -> Tensor:
    """Return the cross-entropy of scores as logits (Goodfellow et al. 2014, non-saturating).

    Args:
        scores: a discriminator's output, any shape.
        real: whether the scores should say "real".

    Returns:
        A scalar, at least 0.
    """
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(real)))


def wasserstein_loss(scores: Tensor, real: bool) -> Tensor:
    """Return minus (``real``) or plus the mean score (Arjovsky et al. 2017, eq. 2).

    Args:
        scores: a critic's output, any shape.
        real: whether the scores should be high.

    Returns:
        A scalar of any sign.
    """
    return -scores.mean() if real else scores.mean()


def hinge_loss(scores: Tensor, real: bool) -> Tensor:
    """Return how far scores are from 1 or more (``real``) or -1 or less (Lim and Ye 2017, eq. 7).

    This is the loss of the discriminator; the generator's is :func:`wasserstein_loss`.

    Args:
        scores: a discriminator's output, any shape.
        real: whether the scores should say "real".

    Returns:
        A scalar, at least 0.
    """
    return F.relu(1 - scores if real else 1 + scores).mean()


def adversarial_loss(gan_mode: str) -> AdversarialLoss:
    """Return a discriminator's loss function: ``lsgan``, ``vanilla``, ``wgangp`` or ``hinge``.

    Raises:
        ValueError: the mode is unknown.
    """
    losses: dict[str, AdversarialLoss] = {
        "lsgan": least_squares_loss,
        "vanilla": vanilla_loss,
        "wgangp": wasserstein_loss,
        "hinge": hinge_loss,
    }
    if gan_mode not in losses:
        raise ValueError(f"gan_mode: expected one of {', '.join(losses)}, got {gan_mode!r}")
    return losses[gan_mode]


def discriminator_loss(loss: AdversarialLoss, real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Return half the sum of the losses on real and fake pictures.

    Zhu et al. 2017, section 4: the objective is halved to slow the discriminator down.
    """
    return 0.5 * (loss(real_scores, True) + loss(fake_scores, False))


def cycle_loss(reconstructed: Tensor, image: Tensor) -> Tensor:
    """Return the mean absolute distance between a picture and its reconstruction (eq. 2).

    Args:
        reconstructed: reconstructed pictures, (N, 3, H, W), in [-1, 1].
        image: original pictures, of the same shape and range.
    """
    return F.l1_loss(reconstructed, image)


def identity_loss(same: Tensor, image: Tensor) -> Tensor:
    """Return how far a generator changes a picture of its own target domain (section 5.2).

    Args:
        same: outputs G(image), (N, 3, H, W), in [-1, 1].
        image: pictures of the domain that G translates into, of the same shape and range.
    """
    return F.l1_loss(same, image)


def gradient_penalty(
    critic: nn.Module, real: Tensor, fake: Tensor, *, generator: torch.Generator
) -> Tensor:
    """Return the mean squared distance of the critic's gradient norm from 1.

    Gulrajani et al. 2017, algorithm 1: one random point on the line between each real and fake
    picture.

    Args:
        critic: critic network, which is the discriminator.
        real: real pictures, (N, 3, H, W).
        fake: as many translations, the same shape, detached.
        generator: random generator, on the CPU.

    Returns:
        A scalar, at least 0; multiply by ``lambda_gp``.
    """
    draw = partial(torch.rand, len(real), 1, 1, 1, generator=generator)
    mix = on_device(draw, real.device).to(real.dtype)
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_(True)
    scores = critic(between)
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    # The square root has no gradient at 0; the reference adds the same small number.
    norm = (gradient.flatten(1) + 1e-16).norm(2, dim=1)
    penalty: Tensor = ((norm - 1) ** 2).mean()
    return penalty
