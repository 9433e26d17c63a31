"""Golden results: a refactoring changes no number and no picture.

What is compared exactly does not depend on the processor: the files of a study and the tables of
a report. Weights and pictures do: sums are added up in an order that depends on its instructions.
They are compared bit for bit where this kind of processor was recorded, and within a bound
everywhere. ``python tests/test_golden.py`` records anew, for one who means to
change a result.
"""

import contextlib
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from impasto.scripts.main import main
from impasto.survey.analysis.simulation import Population, simulate
from impasto.survey.answers import write_answers
from impasto.survey.key import read_key

RECORD = Path(__file__).with_name("golden.json")
# A weight: 20 steps of Adam at a rate of 2e-4 move it by at most 4e-3; rounding that turned the
# sign of a small gradient moves few of them, and the mean by far less.
WEIGHT_BOUND = 5e-5
# A picture: one of 255 values, on average.
PIXEL_BOUND = 1.0

TINY = (
    *("--device", "cpu", "--load_size", "36", "--crop_size", "32", "--num_threads", "0"),
    *("--netG", "resnet_6blocks", "--ngf", "4", "--ndf", "4", "--max_images", "20"),
    *("--display", "none", "--seed", "3"),
)
TRAININGS = {
    "training, reference options": (),
    "training, perceptual loss": (
        *("--lambda_perceptual", "1", "--perceptual_backbone", "random"),
        *("--perceptual_targets", "both"),
    ),
    "training, Wasserstein loss, palette, augmentation, average": (
        *("--gan_mode", "wgangp", "--norm", "layer", "--upsample", "resize"),
        *("--color_skip", "true", "--lambda_palette", "2", "--ema_decay", "0.99"),
        *("--diffaugment", "color", "translation", "--lr_policy", "cosine"),
    ),
}


def machine() -> str:
    """Name what decides the last bits of a float32 result."""
    model = platform.machine()
    with contextlib.suppress(OSError, KeyError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        facts = {
            name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        model = " ".join(facts[name] for name in ("model name", "cpu family", "model"))
    capability = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {model}, {capability}, Pillow {PIL.__version__}"


def sha256(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def paint(path: Path, height: int, width: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


def pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def run(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def picture_result(path: Path) -> dict[str, Any]:
    """Give the hash of a picture's pixels, and its means over a grid of 4 x 4 parts."""
    rgb = pixels(path)
    rows, columns = (np.array_split(np.arange(size), 4) for size in rgb.shape[:2])
    means = [float(rgb[np.ix_(row, column)].mean()) for row in rows for column in columns]
    return {"sha256": sha256(rgb.tobytes()), "values": [round(mean, 2) for mean in means]}


def trained(folder: Path, words: tuple[str, ...]) -> dict[str, Any]:
    for domain, count in (("A", 5), ("B", 7)):
        for index in range(count):
            paint(folder / f"data/train{domain}/{index}.png", 40, 44, ord(domain) + index)
    run("train", "--dataroot", "data", "--name", "golden", *TINY, *words)
    parts, values = [], []
    for name in ("G_A", "G_B", "D_A", "D_B"):
        path = folder / f"checkpoints/golden/latest_net_{name}.pth"
        weights = torch.load(path, weights_only=True)
        for key, weight in sorted(weights.items()):
            parts += [f"{name}.{key}".encode(), weight.numpy().tobytes()]
            if weight.dtype.is_floating_point:
                values.append(round(float(weight.double().abs().mean()), 6))
    return {"sha256": sha256(*parts), "values": values}


def translated(folder: Path, words: tuple[str, ...] = ()) -> dict[str, Any]:
    photo = paint(folder / "photo.png", 67, 90, 11)
    run("translate", photo, "--output", "out", "--format", "png", "--device", "cpu", *words)
    (made,) = (folder / "out").glob("*.png")
    return picture_result(made)


def stylized(folder: Path, preset: str, size: int = 48) -> dict[str, Any]:
    content, style = paint(folder / "c.png", 50, 60, 12), paint(folder / "s.png", 48, 48, 13)
    words = ("--preset", preset, "--size", str(size), "--iterations", "6", "4", "--device", "cpu")
    run("stylize", content, style, "--output", "styled.png", *words)
    return picture_result(folder / "styled.png")


def _export(folder: Path) -> Path:
    for label, start in (("real", 100), ("fake", 200)):
        for index in range(12):
            paint(folder / f"{label}/{index}.png", 40, 44, start + index)
    run(
        *("survey", "export", "--real", "real", "--fake", "cyclegan=fake", "--output", "study"),
        *("--per_class", 5, "--practice", 2, "--width", 32, "--height", 32, "--orders", 6),
        *("--survey_id", "golden", "--seed", 5),
    )
    return folder / "study"


def exported(folder: Path) -> dict[str, Any]:
    study = _export(folder)
    files = sorted(path for path in study.rglob("*") if path.is_file())
    assert len(files) > 15
    contents = {}
    for path in [*files, folder / "study.key.json"]:
        # Pillow's compression may change; its pixels may not.
        content = pixels(path).tobytes() if path.suffix == ".png" else path.read_bytes()
        if path.name == "study.key.json":
            key = json.loads(content)
            for picture in key["pictures"].values():
                # A path of this run, and hashes of compressed files.
                for name in ("source", "source_sha256", "picture_sha256"):
                    picture.pop(name, None)
            content = json.dumps(key, sort_keys=True).encode()
        contents[path.relative_to(folder).as_posix()] = sha256(content)
    pictures = [path.read_bytes() for path in files if path.suffix == ".png"]
    return {"sha256": sha256(*pictures), "exact": contents}


def reported(folder: Path) -> dict[str, Any]:
    _export(folder)
    key = read_key(folder / "study.key.json")
    population = Population(called_real={"real": 0.8, "cyclegan": 0.35})
    answers = simulate(key, population, people=14, rng=np.random.default_rng(6))
    write_answers(folder / "answers.csv", answers)
    words = ("--key", "study.key.json", "--output", "report", "--resamples", 1000)
    run("survey", "report", "answers.csv", *words)
    table = (folder / "report/results.csv").read_text(encoding="utf-8")
    assert len(table.splitlines()) > 10
    numbers = [round(float(cell), 6) for cell in _numeric_cells(table)]
    return {"sha256": sha256(table.encode()), "values": numbers}


def _numeric_cells(table: str) -> Iterator[str]:
    for line in table.splitlines():
        for cell in line.split(","):
            with contextlib.suppress(ValueError):
                if np.isfinite(float(cell)):
                    yield cell


Result = Callable[[Path], dict[str, Any]]
RESULTS: dict[str, tuple[Result, float]] = {
    **{name: (partial(trained, words=words), WEIGHT_BOUND) for name, words in TRAININGS.items()},
    "translation by the default": (translated, PIXEL_BOUND),
    "translation by the shipped CycleGAN": (
        partial(translated, words=("--model", "monet_cycle")),
        PIXEL_BOUND,
    ),
    "stylization, builtin": (partial(stylized, preset="builtin"), PIXEL_BOUND),
    "stylization, lite": (partial(stylized, preset="lite", size=192), PIXEL_BOUND),
    "stylization, random VGG": (partial(stylized, preset="random"), PIXEL_BOUND),
    "study": (exported, 0.0),
    "table of a report": (reported, 1e-6),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_as_recorded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    make, bound = RESULTS[name]
    result, recorded = make(tmp_path), json.loads(RECORD.read_text(encoding="utf-8"))[name]
    if expected := recorded["sha256"].get(machine()):
        assert result["sha256"] == expected
    assert result.get("exact") == recorded.get("exact")
    values, wanted = result.get("values", []), recorded.get("values", [])
    assert len(values) == len(wanted)
    assert np.allclose(values, wanted, rtol=0, atol=bound)


def record() -> None:
    """Write what is made now; hashes of other machines are kept where the values agree."""
    torch.set_num_threads(1)
    old = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    new = {}
    for name, (make, _) in RESULTS.items():
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            os.environ["TORCH_HOME"] = folder
            result = make(Path(folder))
        hashes = {machine(): result.pop("sha256")}
        before = old.get(name, {})
        if before and all(before[key] == result[key] for key in result):
            hashes = before["sha256"] | hashes
        new[name] = {"sha256": hashes, **result}
    text = ",\n".join(f"{json.dumps(name)}: {json.dumps(new[name])}" for name in new)
    RECORD.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    record()
