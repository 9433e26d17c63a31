"""The known failures of a CycleGAN training: how to detect them, and what to try.

Losses alone do not show a generator that paints one plain color, or negatives, so two statistics of
its outputs are looked at, too: contrast, and correlation with the input. The bounds lie between the
means over 1000 steps of healthy runs (4000 steps of the ``tiny`` preset on 54 pictures of
monet2photo, and the controls of ``benchmarks/failures.py``) and of runs that are made to fail
there.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from impasto.runs.doctor import DataWait, Doctor, Level, Measure, Record, Rise, Sign, Window

__all__ = ["CycleganDoctor", "contrast_and_correlation", "read_back"]


# A discriminator's loss relative to its generator's. Where it cannot tell real from fake, it says
# 1/2 everywhere and both lose as much: 1/4 with least squares (Mao et al. 2017), ln 2 with
# cross-entropy (Goodfellow et al. 2014, section 4.1). Where it is right it leaves the generator
# hardly a gradient (Arjovsky and Bottou 2017, section 2): 0.02 is reached when it takes both to be
# what they are with 0.86 (least squares) or 0.95 (cross-entropy). The loss alone would not do: it
# also falls where the fakes of the pool are bad and the new ones are good. Measured: healthy runs
# 0.11 or more, lost ones 0.007.
_LOST, _LOST_ENDS = 0.02, 0.04

# Of the cycle loss without its weight, a mean absolute distance in [-1, 1]. In healthy runs it
# never rose; the least rise that counts is four of the 255 steps of a picture file.
_RISEN, _RISEN_ENDS, _RISEN_LEAST = 1.5, 1.3, 0.03

# Contrast relative to the input's; in healthy runs 0.5 or more.
_PLAIN, _PLAIN_ENDS = 0.05, 0.1
# Correlation with the input; in healthy runs 0.4 or more, -0.16 where hardly anything is learned,
# -0.45 where the pictures have become negatives. Departure: so the bound is not 0.
_NEGATIVE, _NEGATIVE_ENDS = -0.3, -0.1

# Adversarial losses start near 1 (Mao et al. 2017) or ln 2; sound runs stay far below 10.
_DIVERGED = 100.0
_DIVERGED_STEPS, _DIVERGED_REPORTS = 100, 3


class CycleganDoctor(Doctor):
    """Detects lost discriminators, rising cycle losses, uniform or negative outputs, slow loading.

    Args:
        gan_mode: adversarial loss: ``lsgan``, ``vanilla``, ``wgangp`` or ``hinge``.
        num_threads: number of processes that load pictures.
        cache_images: whether pictures are kept in memory.
        patience_steps: number of steps over which means are taken. Nothing is reported before the
            first mean is complete, so the first few hundred steps, which are often unstable, are
            never judged on their own.
    """

    def __init__(
        self,
        *,
        gan_mode: str,
        num_threads: int,
        cache_images: bool,
        patience_steps: int = 1000,
    ) -> None:
        # A loss is already a mean over its report; the translations are those of one batch.
        losses, outputs = (
            partial(Window, steps=patience_steps, reports=reports) for reports in (5, 10)
        )
        super().__init__(
            [
                *_diverged(gan_mode),
                *_lost_generators(gan_mode, losses),
                *_rising_cycles(losses),
                *_plain_outputs(outputs),
                *_negative_outputs(outputs),
            ],
            local_signs=[DataWait(num_threads=num_threads, cache_images=cache_images)],
        )


def _diverged(gan_mode: str) -> Iterator[Sign]:
    if gan_mode in {"wgangp", "hinge"}:
        return
    for name in ("G_A", "G_B", "D_A", "D_B", "G_GAN", "D_real", "D_fake"):
        # All reports in a row: a wild one among sound ones means nothing.
        yield Level(
            f"The loss {name} has been beyond {_DIVERGED:g} since image {{since}}, many times what "
            "it can be in a sound training: the networks have diverged and will not come back. "
            "Start again, or resume from an earlier state, with a lower --lr.",
            _beyond(name, _DIVERGED),
            begins=1.0,
            ends=0.0,
            window=Window(steps=_DIVERGED_STEPS, reports=_DIVERGED_REPORTS),
        )


def _lost_generators(gan_mode: str, window: Callable[[], Window]) -> Iterator[Sign]:
    if gan_mode in {"wgangp", "hinge"}:  # the level of the generators' losses has no meaning
        return
    for D, G, domain in (("D_A", "G_A", "B"), ("D_B", "G_B", "A")):
        yield Level(
            f"{D} tells the translations of {G} from pictures of domain {domain} almost without "
            f"error since image {{since}}: {G} learns little from it. See whether the two domains "
            "differ by something trivial (borders, size, grain, compression); give the generators "
            "more freedom (lower --lambda_A, --lambda_B and --lambda_identity) or weaken the "
            "discriminators (--netD n_layers --n_layers_D 2, a smaller --ndf). With few pictures, "
            "more of them help.",
            _ratio(D, G),
            begins=_LOST,
            ends=_LOST_ENDS,
            window=window(),
        )


def _rising_cycles(window: Callable[[], Window]) -> Iterator[Sign]:
    for name, option, path in (
        ("cycle_A", "--lambda_A", "A -> B -> A"),
        ("cycle_B", "--lambda_B", "B -> A -> B"),
    ):
        yield Rise(
            f"The cycle loss {path} has risen to more than {_RISEN:g} times its lowest mean, that "
            "of image {since}: the translations keep less and less of their pictures. Start "
            f"again, or resume from an earlier state, with a lower --lr or a higher {option}.",
            _unweighted(name),
            begins=_RISEN,
            ends=_RISEN_ENDS,
            least=_RISEN_LEAST,
            window=window(),
        )


def _plain_outputs(window: Callable[[], Window]) -> Iterator[Sign]:
    for G, domain in (("G_A", "B"), ("G_B", "A")):
        yield Level(
            f"{G} has made nearly plain pictures since image {{since}}: they have less than "
            f"{_PLAIN:.0%} of their inputs' contrast. Start again with another --seed and a lower "
            "--lr; if it comes back, with --norm instance, the default --init_gain 0.02, or a "
            "higher --lambda_identity.",
            _output(f"contrast_{domain}"),
            begins=_PLAIN,
            ends=_PLAIN_ENDS,
            window=window(),
        )


def _negative_outputs(window: Callable[[], Window]) -> Iterator[Sign]:
    for G, domain in (("G_A", "B"), ("G_B", "A")):
        yield Level(
            f"{G} has turned light into dark since image {{since}}, like a negative. Unless the "
            "two domains are meant to be each other's negatives, start again with another --seed, "
            "a higher --lambda_identity (1, say) or a lower --init_gain; it rarely turns back by "
            "itself.",
            _output(f"correlation_{domain}"),
            begins=_NEGATIVE,
            ends=_NEGATIVE_ENDS,
            window=window(),
        )


def _unweighted(name: str) -> Measure:
    """Read a loss without its weight, which a resumed run may have changed."""

    def measure(record: Record) -> float | None:
        value, weight = record["losses"].get(name), record.get("weights", {}).get(name)
        return value / weight if value is not None and weight else None

    return measure


def _beyond(name: str, bound: float) -> Measure:
    """Read whether a loss is beyond a bound: 1 or 0."""

    def measure(record: Record) -> float | None:
        value = record["losses"].get(name)
        return None if value is None else float(value > bound)

    return measure


def _ratio(name: str, other: str) -> Measure:
    """Read one loss relative to another."""

    def measure(record: Record) -> float | None:
        value, reference = record["losses"].get(name), record["losses"].get(other)
        return value / reference if value is not None and reference else None

    return measure


def _output(name: str) -> Measure:
    """Read a measure of the translations; logs of earlier versions have none."""

    def measure(record: Record) -> float | None:
        value: float | None = record.get("outputs", {}).get(name)
        return value

    return measure


# Rec. 709 luma (ITU-R BT.709-6, section 3.2), of the encoded values as they are.
_LUMA = (0.2126, 0.7152, 0.0722)

# Standard deviation of luma, on the scale of [-1, 1], below which a picture counts as plain: one
# of the 255 steps of a picture file. What is left then is rounding, which correlates with nothing.
_PLAIN_LUMA = 2 / 255


def contrast_and_correlation(translated: Tensor, picture: Tensor) -> Tensor:
    """Compare the luma of translations with the luma of their input pictures.

    Args:
        translated: translations G(picture), RGB, (N, 3, H, W), in [-1, 1]; or of other channels,
            whose mean then counts as luma.
        picture: input pictures, of the same size and range.

    Returns:
        Two float32 numbers on the device, means over the pictures that are not uniform: the
        standard deviation relative to the input's (1: the same contrast), and Pearson's correlation
        (1: light remains light; -1: a negative). NaN where undefined: both for uniform inputs, the
        correlation also for uniform translations.
    """
    ours, theirs = _centered_luma(translated), _centered_luma(picture)
    spread, original = ours.square().mean(1).sqrt(), theirs.square().mean(1).sqrt()
    none = torch.full_like(spread, math.nan)
    seen = original > _PLAIN_LUMA
    contrast = torch.where(seen, spread / original, none)
    covariance = (ours * theirs).mean(1) / (spread * original)
    correlation = torch.where(seen & (spread > _PLAIN_LUMA), covariance, none)
    return torch.stack([contrast.nanmean(), correlation.nanmean()])


def read_back(values: Tensor) -> list[float | None]:
    """Read numbers back from the device in one transfer; those that are not finite become None."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _centered_luma(pictures: Tensor) -> Tensor:
    """Return luma minus its mean over each picture, (N, H * W), float32."""
    weights = torch.tensor(_LUMA, device=pictures.device)
    if pictures.shape[1] == len(_LUMA):
        luma = torch.einsum("nchw,c->nhw", pictures.float(), weights).flatten(1)
    else:
        luma = pictures.float().mean(1).flatten(1)
    return luma - luma.mean(1, keepdim=True)
