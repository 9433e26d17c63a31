"""The CycleGAN part of `impasto demo`: two shipped domains, a training, and its true distance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.cyclegan.architecture import Generator
from impasto.cyclegan.build import build_networks
from impasto.cyclegan.checkpoint import find_generator
from impasto.cyclegan.training import TrainResult, train
from impasto.cyclegan.translator import Translator
from impasto.data.decode import read_picture
from impasto.data.files import list_pictures
from impasto.data.metrics.paired import Comparison, compare
from impasto.data.samples.domains import SampleDomains
from impasto.data.tensors import to_pictures, to_tensor
from impasto.options.train import TrainOptions
from impasto.runs.observers import Observer
from impasto.runs.seeds import make_generator

__all__ = ["TourResult", "run_tour"]

Pictures = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class TourResult:
    """What the demo's training has learned.

    Attributes:
        training: how the training ended.
        comparisons: how far from the true paintings of the held-out photographs are: the
            ``photographs`` themselves, the translations ``before training`` and ``after training``.
        photographs: the held-out photographs.
        translations: what the trained generator makes of them.
        truth: their true paintings.
    """

    training: TrainResult
    comparisons: dict[str, Comparison]
    photographs: Pictures
    translations: Pictures
    truth: Pictures


def run_tour(
    domains: SampleDomains, options: TrainOptions, *, observers: Sequence[Observer] = ()
) -> TourResult:
    """Train on the sample domains and compare the translations of held-out photographs.

    Nothing of the training sees the held-out pictures, and nothing was chosen by them: the
    recipe of the demo was found on the validation set.

    Args:
        domains: the folders; A are paintings, B photographs.
        options: of the training.
        observers: who is told about the training.

    Raises:
        ImpastoError: see :func:`impasto.cyclegan.train`.
    """
    photographs, truth = _read(domains.testB), _read(domains.testB_painted)
    generator = make_generator(options.run.seed, "weights")
    untrained = build_networks(options.networks, generator=generator).G_B
    before = _translate(photographs, untrained)
    training = train(options, observers=observers)
    trained = find_generator(training.directory, direction="BtoA").network
    after = _translate(photographs, trained)
    return TourResult(
        training=training,
        comparisons={
            "photographs": compare(photographs, truth),
            "before training": compare(before, truth),
            "after training": compare(after, truth),
        },
        photographs=photographs,
        translations=after,
        truth=truth,
    )


def _read(folder: Path) -> Pictures:
    return {path.name: read_picture(path).rgb for path in list_pictures(folder)}


def _translate(pictures: Pictures, network: Generator) -> Pictures:
    translate: Callable[[torch.Tensor], torch.Tensor] = Translator(
        network, device=torch.device("cpu")
    )
    return {
        name: to_pictures(translate(to_tensor(rgb).unsqueeze(0)))[0]
        for name, rgb in pictures.items()
    }
