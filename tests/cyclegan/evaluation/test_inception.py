"""Inception v3 of FID, from a file."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from impasto.cyclegan.evaluation.inception import Inception, find_inception
from impasto.options.errors import CheckpointError

extractors = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
CPU = torch.device("cpu")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no\.pth: no such file"):
        Inception(tmp_path / "no.pth", device=CPU)


def test_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    damaged, other, list_ = tmp_path / "a.pth", tmp_path / "b.pth", tmp_path / "c.pth"
    damaged.write_bytes(b"not a file of weights")
    torch.save({"fc.weight": torch.zeros(2, 2)}, other)
    torch.save([torch.zeros(2)], list_)
    for path in (damaged, other, list_):
        with pytest.raises(CheckpointError, match="cannot be used as the weights") as raised:
            Inception(path, device=CPU)
        assert str(path) in str(raised.value)
        assert "6726825d" in str(raised.value)


class _Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_file_that_runs_code_is_not_loaded(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(_Evil(mark), protocol=2))
    with pytest.raises(CheckpointError):
        Inception(path, device=CPU)
    assert not mark.exists()


def test_features_are_those_of_the_network_and_the_name_says_which_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = extractors.FeatureExtractorInceptionV3
    path = tmp_path / "random.pth"
    # Its constructor wants a file: the first time, let it keep the random values of its layers.
    with monkeypatch.context() as patched:
        patched.setattr(extractors.torch, "load", lambda *_a, **_k: {})
        patched.setattr(network, "load_state_dict", lambda *_a: None)
        torch.manual_seed(0)
        made = network("random", ["2048"], str(path))
    torch.save(made.state_dict(), path)
    extractor = Inception(path, device=CPU)
    drawn = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    pictures = list(drawn)
    features = extractor(pictures)
    assert (features.shape, features.dtype) == ((2, 2048), torch.float32)
    assert not torch.allclose(features[0], features[1], atol=0)
    torch.testing.assert_close(extractor(pictures[:1]), features[:1])
    # torch-fidelity itself, which scales pictures as TensorFlow does, as published figures have it.
    (expected,) = made(torch.from_numpy(drawn).permute(0, 3, 1, 2))
    torch.testing.assert_close(features, expected)
    assert "random.pth, SHA-256 " in extractor.name
    assert "not the published file" in extractor.name
    assert extractor.short == "other inception"


def test_its_file_is_found_where_others_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert find_inception() is None
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("pt_inception", "weights-inception"):
        path = folder / f"{name}-2015-12-05-6726825d.pth"
        path.touch()
        assert find_inception() == path
