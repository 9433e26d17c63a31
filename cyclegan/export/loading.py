"""Generators that onnxruntime computes, in the place of those of torch."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.export.session import OnnxSession
from impasto.cyclegan.networks import Generator
from impasto.cyclegan.weights import LoadedGenerator
from impasto.data.tensors import to_bytes
from impasto.options.errors import CheckpointError

__all__ = ["OnnxGenerator", "load_onnx", "with_onnx"]


class OnnxGenerator(Generator):
    """A whole translation that `impasto export` wrote, as a generator.

    It pads and bends pictures by itself, so that it takes any size. Input and output: RGB,
    (N, 3, H, W), float in [-1, 1], of which it sees the nearest of 256 values.

    Args:
        model: content of the file.
        name: name of the file, for messages.
        identity: text by which results of the same model are known; None: the content.

    Attributes:
        pixel_bytes: memory that it takes for each pixel, in bytes.
        weight_bytes: memory of its weights, in bytes.

    Raises:
        CheckpointError: it is no such model.
        ImpastoError: onnxruntime is not installed.
    """

    stride = smallest = 1
    identity: Tensor

    def __init__(self, model: bytes, *, name: str, identity: str | None = None) -> None:
        super().__init__()
        self._model, self._name = model, name
        session = self._open()
        self._session = torch.get_num_threads(), session
        self.metadata, self.version = session.metadata, session.version
        self.pixel_bytes = float(self.metadata.get("pixel_bytes", "0"))
        self.weight_bytes = 2 * len(model)  # in the file, and as the kernels like them
        known = hashlib.sha256(model if identity is None else identity.encode()).digest()
        self.register_buffer("identity", torch.from_numpy(np.frombuffer(known, np.uint8).copy()))

    def _open(self) -> OnnxSession:
        return OnnxSession(self._model, threads=torch.get_num_threads(), name=self._name)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """Translate images (N, 3, H, W) in [-1, 1] to the other domain, same shape and range."""
        threads, session = self._session
        if threads != torch.get_num_threads():
            session = self._open()
            self._session = torch.get_num_threads(), session
        made = session(list(to_bytes(images).cpu().numpy()))
        numbers = torch.from_numpy(made).to(images.device).permute(0, 3, 1, 2).to(torch.float32)
        return numbers.contiguous().div_(127.5).sub_(1.0)


def load_onnx(path: Path) -> LoadedGenerator:
    """Read a model that `impasto export` wrote.

    Args:
        path: ``.onnx`` file.

    Raises:
        CheckpointError: the file is missing, damaged, or of another program.
        ImpastoError: onnxruntime is not installed.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    network = OnnxGenerator(content, name=str(path))
    try:
        architecture = GeneratorArchitecture.from_json(network.metadata.get("architecture", ""))
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    provenance = {key: value for key, value in network.metadata.items() if key != "architecture"}
    loaded = LoadedGenerator(network=network, architecture=architecture, provenance=provenance)
    if not loaded.are_colors:
        raise CheckpointError(f"{path}: says that it translates {architecture}; expected RGB")
    return _told(loaded, network)


def with_onnx(
    loaded: LoadedGenerator, model: bytes, *, identity: str, name: str
) -> LoadedGenerator:
    """Return a generator that was exported, computed by onnxruntime.

    Args:
        loaded: the generator.
        model: what it was exported to.
        identity: text by which results of the same model are known.
        name: name of the model, for messages.
    """
    network = OnnxGenerator(model, name=name, identity=identity)
    return _told(replace(loaded, network=network), network)


def _told(loaded: LoadedGenerator, network: OnnxGenerator) -> LoadedGenerator:
    """Say who computes, and that pictures must not be bent once more."""
    bend_px = network.metadata.get("grid_bend_px", "0")
    told = f"ONNX, computed by onnxruntime {network.version} on the processor"
    told += f", with a bend of {bend_px} px in its graph" if float(bend_px) else ""
    return replace(
        loaded,
        network=network.eval(),
        notes=(*loaded.notes, told),
        provenance={**loaded.provenance, "grid_bend_px": "0"},
    )
