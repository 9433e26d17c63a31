"""Running an exported translation with onnxruntime, from pictures to pictures, without torch."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from impasto.options.errors import CheckpointError, ImpastoError

__all__ = ["METADATA_KEY", "OnnxSession"]

_NUMBERS = ("grid_bend_px", "pixel_bytes", "strokes_at_px")
METADATA_KEY = "impasto"
"""Key of the metadata that `impasto export` writes: JSON, as in the safetensors."""


class OnnxSession:
    """A model that `impasto export` wrote; several threads may use it at the same time.

    Args:
        model: the file, or its content.
        threads: number of threads that compute.
        name: name of the model, for messages (default: the file).

    Attributes:
        metadata: what the file says of itself, as texts.

    Raises:
        CheckpointError: it is no such model.
        ImpastoError: onnxruntime is not installed.
    """

    def __init__(self, model: Path | bytes, *, threads: int, name: str = "") -> None:
        try:
            import onnxruntime  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ImpastoError(
                "ONNX models need the package onnxruntime: pip install onnxruntime"
            ) from error

        name = name or ("the model" if isinstance(model, bytes) else str(model))
        self.version, self._name = onnxruntime.__version__, name
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        settings.log_severity_level = 3  # errors, which are raised, too
        try:
            content = model if isinstance(model, bytes) else model.read_bytes()
            self._session = onnxruntime.InferenceSession(
                content, settings, providers=["CPUExecutionProvider"]
            )
        except OSError as error:
            raise CheckpointError(f"{name}: cannot be read ({error.strerror})") from error
        except Exception as error:  # onnxruntime has classes of its own for each reason
            raise CheckpointError(f"{name}: no ONNX model, or damaged") from error
        self._check(name)
        self.metadata = self._read_metadata(name)

    def _check(self, name: str) -> None:
        given = [(one.type, len(one.shape)) for one in self._session.get_inputs()]
        if given != [("tensor(uint8)", 4)]:
            raise CheckpointError(
                f"{name}: an ONNX model of another program: expected one input of bytes, "
                "(N, H, W, 3), as impasto export writes it"
            )

    def _read_metadata(self, name: str) -> Mapping[str, str]:
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY, "")
        try:
            facts = json.loads(text)
        except ValueError:
            facts = None
        if not isinstance(facts, dict):
            raise CheckpointError(
                f"{name}: an ONNX model of another program: it has no metadata {METADATA_KEY}, "
                "which impasto export writes"
            )
        said = {str(key): str(value) for key, value in facts.items()}
        for key in said.keys() & set(_NUMBERS):
            try:
                is_number = 0 <= float(said[key]) < float("inf")
            except ValueError:
                is_number = False
            if not is_number:
                raise CheckpointError(
                    f"{name}: its metadata are damaged: expected a number as {key}, "
                    f"got {said[key]!r}; export it again"
                )
        return said

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Translate pictures of one size.

        Args:
            pictures: RGB, (H, W, 3), uint8, any H and W.

        Returns:
            RGB, (N, H, W, 3), uint8.

        Raises:
            MemoryError: there is not enough memory.
            CheckpointError: the model cannot translate them, as one that another program has bound
                to a size.
        """
        taken = self._session.get_inputs()[0].name
        try:
            made: NDArray[np.uint8] = self._session.run(None, {taken: np.stack(pictures)})[0]
        except Exception as error:
            # onnxruntime says it by errors of its own.
            if "alloc" in str(error).lower():
                raise MemoryError("not enough memory") from error
            height, width = pictures[0].shape[:2]
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise CheckpointError(
                f"{self._name}: cannot translate a picture of {width} x {height} pixels ({reason}"
                "); models as impasto export writes them take any size"
            ) from error
        return made
