"""What the training of a classifier leaves: its weights, and a feature network for stylize."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import save_file

from impasto.data.atomic import atomic_path, write_error
from impasto.gatys.weight_files import METADATA_KEY, TRAINED_HERE, tensors_sha256
from impasto.runs.directory import RunDirectory
from impasto.runs.state import save_pth

if TYPE_CHECKING:  # stylize asks here for a backbone, and needs nothing that trains one
    from impasto.gatys.classifier import VggClassifier
    from impasto.gatys.classifying import ClassifierLearner

__all__ = ["backbone_file", "save_classifier"]


def backbone_file(run: Path) -> Path:
    """Return the feature network of a run, for ``impasto stylize --weights``."""
    return run / "backbone.safetensors"


def save_classifier(
    directory: RunDirectory, label: str, learner: "ClassifierLearner", classes: Sequence[str]
) -> None:
    """Write the classifier, and the convolutions of its best epoch.

    ``<label>_net_classifier.pth`` is the whole network with torchvision's names.
    ``backbone.safetensors`` holds the convolutions of the epoch with the lowest held-out loss (the
    present ones before the first), batch normalisation folded in; its metadata name the
    architecture, the classes and the scores.

    Args:
        directory: the run.
        label: ``latest`` or an epoch.
        learner: holds the network.
        classes: their names.

    Raises:
        OSError: a file cannot be written.
    """
    network, best = learner.network, learner.best
    save_pth(directory.network_file(label, "classifier"), network.state_dict())
    if label != "latest":
        return
    features = dict(best.features or network.plain_features())
    provenance = {
        "kind": f"convolutions of VGG{network.depth}, {TRAINED_HERE}",
        "architecture": _describe(network),
        "classes": json.dumps(list(classes)),
        "epoch": str(best.epoch),
        **{name: f"{score:.6g}" for name, score in best.scores.items() if best.epoch},
        "tensors_sha256": tensors_sha256(features),
        "packed_by": f"Impasto {version('impasto')}",
    }
    metadata = {"format": "pt", METADATA_KEY: json.dumps(provenance, sort_keys=True)}
    path = backbone_file(directory.path)
    with atomic_path(path) as temporary:
        try:
            save_file(features, temporary, metadata=metadata)
        except SafetensorError as error:
            raise write_error(path, error) from error


def _describe(network: "VggClassifier") -> str:
    """Return what it takes to build the network again, as JSON."""
    size = network.avgpool.output_size
    return json.dumps(
        {
            "depth": network.depth,
            "width": network.width,
            "batch_norm": network.batch_norm,
            "pooled": size,
            "classes": network.classes,
        }
    )
