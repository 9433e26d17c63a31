"""One training step on pairs of pictures (Isola et al. 2017, section 3)."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.cyclegan.doctor import contrast_and_correlation, read_back
from impasto.cyclegan.terms import AdversarialTerm, LossTerm, Translations
from impasto.cyclegan.trainer import Trainer
from impasto.data.datasets import UnpairedBatch

__all__ = ["ConditionalTerm", "PairedTrainer", "TruePictureTerm", "beside_input"]


def beside_input(inputs: Tensor, outputs: Tensor) -> Tensor:
    """Return what a discriminator of pairs sees: input and output, one behind the other.

    Args:
        inputs: pictures of A, (N, C, H, W), in [-1, 1].
        outputs: true or translated pictures of B, (N, D, H, W), in the same range.

    Returns:
        (N, C + D, H, W).
    """
    return torch.cat([inputs, outputs.to(inputs.dtype)], dim=1)


class ConditionalTerm(AdversarialTerm):
    """The adversarial loss of a generator whose discriminator also sees the input (eq. 1).

    Arguments are those of :class:`~impasto.cyclegan.terms.AdversarialTerm`, without a direction.
    """

    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__(name, "AtoB", **settings)

    def __call__(self, batch: UnpairedBatch, made: Translations) -> Tensor:
        """Return the loss, a scalar."""
        return self.judged(beside_input(batch.A, made.fake_B))


class TruePictureTerm(LossTerm):
    """The mean absolute distance between translations and the true pictures (eq. 3).

    Args:
        name: name of the term in the log.
        weight: factor of the term in the objective; Isola et al. 2017, section 3.3 and their code:
            100.
    """

    capturable = True

    def __call__(self, batch: UnpairedBatch, made: Translations) -> Tensor:
        """Return the distance, a scalar."""
        return F.l1_loss(made.fake_B, batch.B)


class PairedTrainer(Trainer):
    """Updates ``G``, which translates A to B, and ``D``, which judges pairs of A and B.

    Names of networks, losses and samples are the reference's for pix2pix. Departure: the generator
    is updated before the discriminator, as in all trainings here, and not after it.

    Arguments are those of :class:`~impasto.cyclegan.trainer.Trainer`; batches hold pairs, and terms
    may look at the direction ``AtoB`` only, at no reconstruction and at no identity.
    """

    def translate(self, batch: UnpairedBatch) -> Translations:
        """Translate A to B."""
        return Translations(
            fake_B=self.networks["G"](batch.A),
            fake_A=None,
            rec_A=None,
            rec_B=None,
            idt_A=None,
            idt_B=None,
        )

    def _judge(
        self, batch: UnpairedBatch, fake_A: Tensor, fake_B: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the objective of the discriminator, and both losses as the reference has them."""
        pairs = UnpairedBatch(A=batch.A, B=beside_input(batch.A, batch.B))
        shown = self._replay.choose(pairs, fake_A, beside_input(batch.A, fake_B))
        with self._accelerator.autocast():
            objective, real, fake = self._discriminator_loss.in_parts(
                self.networks["D"], shown.real_B, shown.fake_B
            )
        return objective, {"D_real": real, "D_fake": fake}

    @property
    def directions(self) -> Mapping[str, str]:
        """The name of the one generator."""
        return {"AtoB": "G"}

    @torch.no_grad()
    def samples(self, batch: UnpairedBatch) -> dict[str, Tensor]:
        """Return sample pictures under the reference's names, each (N, 3, H, W) in [-1, 1].

        They are made as `impasto translate` makes them; with a running average, by the averaged
        generator, which is exported.
        """
        batch = batch.to(self._accelerator.device)
        with self._as_exported():
            fake_B = self.networks["G"](batch.A)
        rows = {"real_A": batch.A, "fake_B": fake_B, "real_B": batch.B}
        return {name: image.float() for name, image in rows.items()}

    @torch.no_grad()
    def output_statistics(self, batch: UnpairedBatch) -> dict[str, float | None]:
        """Return ``contrast`` and ``correlation`` of fake_B with the true picture, real_B.

        None where undefined. They are of the generator that is exported.
        """
        batch = batch.to(self._accelerator.device)
        with self._as_exported():
            fake_B = self.networks["G"](batch.A)
        values = read_back(contrast_and_correlation(fake_B, batch.B))
        return dict(zip(("contrast", "correlation"), values, strict=True))
