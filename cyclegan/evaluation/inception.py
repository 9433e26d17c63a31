"""The Inception v3 of FID and KID (Heusel et al. 2017), from a file of its weights."""

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from impasto.cyclegan.evaluation.sets import fidelity
from impasto.gatys.features.weights import weights_folder
from impasto.options.errors import CheckpointError
from impasto.runs.state import DAMAGED, load_pth

__all__ = ["Inception", "find_inception"]

_FEATURES = 2048  # the last pooling layer
# What the published file's name ends in; pytorch-fid and torch-fidelity offer the same file.
_PUBLISHED = "6726825d"
_NAMES = (
    f"weights-inception-2015-12-05-{_PUBLISHED}.pth",
    f"pt_inception-2015-12-05-{_PUBLISHED}.pth",
)


class Inception:
    """Turns pictures into the 2,048 features that published FIDs and KIDs are computed from.

    Args:
        weights: file of the weights, ``weights-inception-2015-12-05-6726825d.pth`` of
            torch-fidelity, which pytorch-fid calls ``pt_inception-2015-12-05-6726825d.pth``;
            nothing is downloaded.
        device: device that computes.

    Attributes:
        name: name of the network and the weights file, to be written beside every number.
        short: empty for the published file, since numbers go by their usual names with it.

    Raises:
        CheckpointError: the file does not exist, or holds something else.
        ImpastoError: torch-fidelity is not installed.
    """

    def __init__(self, weights: Path, *, device: torch.device) -> None:
        if not weights.is_file():
            raise CheckpointError(f"{weights}: no such file; expected weights of Inception v3")
        extractors = fidelity("feature_extractor_inceptionv3")
        _check_safe(weights)
        try:
            # It sees pictures as TensorFlow scaled them, which is not what others call bilinear.
            network = extractors.FeatureExtractorInceptionV3(
                "inception", [str(_FEATURES)], feature_extractor_weights_path=str(weights)
            )
        except DAMAGED as error:
            raise _unusable(weights, error) from error
        self._network: nn.Module = network.to(device).eval()
        self._device = device
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:8]
        published = digest == _PUBLISHED
        known = "as published" if published else "not the published file"
        self.name = f"inception v3, pool {_FEATURES} ({weights.name}, SHA-256 {digest}, {known})"
        self.short = "" if published else "other inception"

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Return the features, (N, 2048) float32 on the CPU, of RGB pictures, (H, W, 3), uint8.

        The network brings every picture to 299 x 299 pixels itself. Pictures that are of one size
        are computed together.
        """
        found = []
        for _, same in itertools.groupby(pictures, key=lambda picture: picture.shape):
            images = torch.from_numpy(np.stack(list(same))).permute(0, 3, 1, 2)
            (features,) = self._network(images.to(self._device))
            found.append(features.float().cpu())
        return torch.cat(found)


def find_inception() -> Path | None:
    """Return the file of the weights in torchvision's cache, where others put it; None if none."""
    places = (weights_folder() / name for name in _NAMES)
    return next((path for path in places if path.is_file()), None)


def _check_safe(weights: Path) -> None:
    """Refuse a file that could run code: torch-fidelity itself would load that, too."""
    try:
        loaded = load_pth(weights)
    except (CheckpointError, OSError) as error:
        raise _unusable(weights, error) from error
    if not isinstance(loaded, dict):
        raise _unusable(weights, TypeError(f"holds {type(loaded).__name__}, not a state_dict"))


def _unusable(weights: Path, error: Exception) -> CheckpointError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return CheckpointError(
        f"{weights}: cannot be used as the weights of FID's Inception v3 ({reason}); expected "
        f"torch-fidelity's weights-inception-2015-12-05-{_PUBLISHED}.pth"
    )
