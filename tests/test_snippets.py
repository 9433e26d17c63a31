"""The Python of README.md and docs/python.md runs as it stands, on tiny pictures."""

import os
import re
import shutil
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

import impasto
from impasto.survey.analysis.simulation import Population, simulate
from impasto.survey.answers import write_answers
from impasto.survey.key import read_key

ROOT = Path(__file__).parents[1]
# What the snippets leave to the defaults is made small here.
SMALL: dict[str, dict[str, Any]] = {
    "translate": {"device": "cpu"},
    "translate_all": {"device": "cpu"},
    "stylize": {"preset": "builtin", "size": 32, "iterations": [2], "device": "cpu"},
    "train": {
        "device": "cpu",
        "display": "none",
        "num_threads": 0,
        "max_images": 2,
        "n_epochs": 1,
        "netG": "resnet_6blocks",
        "ngf": 2,
        "ndf": 2,
        "load_size": 18,
        "crop_size": 16,
        "netD": "pixel",
        "diffaugment": [],
    },
    "evaluate": {"size_px": 32, "patches": 256, "device": "cpu"},
    "sweep": {"set": ["size=32", "iterations=[2]"]},
    "export_study": {
        "width": 48,
        "height": 48,
        "per_class": 2,
        "practice": 2,
        "attention": 0,
        "orders": 4,
        "repeat_sources": True,
    },
    "report_study": {"resamples": 1000},
}


def snippets(page: str) -> str:
    """Join the Python of a page, top to bottom."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def stop_when_it_answers(server: Any) -> None:
    def visit() -> None:
        with urllib.request.urlopen(server.url, timeout=120):  # noqa: S310 - our own server
            os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=visit, daemon=True).start()


@pytest.fixture
def _small_world(
    tmp_path: Path, picture_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that the pages speak of, and functions that take little time."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(["photos", "monet2photo/testA", "monet2photo/trainA"]):
        picture_folder(name, count=6, seed=number)
    picture_folder("monet2photo/trainB", count=6, seed=3)
    picture_folder("more", count=1, seed=4)
    for name in ("photo", "painting", "drawing", "more/photo"):
        shutil.copy("more/00.png", f"{name}.jpg")
    Path("plan.yaml").write_text(
        "options: {preset: builtin, content: photo.jpg, styles: painting.jpg}\n"
        "axes: {seed: [1, 2]}\n",
        encoding="utf-8",
    )
    for name, small in SMALL.items():
        monkeypatch.setattr(impasto, name, made_small(getattr(impasto, name), small), raising=False)

    serve, report = impasto.serve_study, impasto.report_study

    def serve_once(folder: str, **options: Any) -> int:
        return serve(folder, port=0, on_start=stop_when_it_answers, **options)

    def report_of_simulated(answers: str, *, key: str, **options: Any) -> object:
        population = Population(called_real={"real": 0.8, "cyclegan": 0.4})
        rng = np.random.default_rng(0)
        assert Path(answers).is_file()
        simulated = simulate(read_key(Path(key)), population, people=4, rng=rng)
        write_answers(Path("answers.csv"), simulated)
        return report("answers.csv", key=key, **options)

    monkeypatch.setattr(impasto, "serve_study", serve_once, raising=False)
    monkeypatch.setattr(impasto, "report_study", report_of_simulated, raising=False)


def made_small(function: Callable[..., Any], small: dict[str, Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if options.pop("resume", False):
            return function(*arguments, resume=True, **{**options, "max_images": 4})
        # A wrong name stays wrong, and its message is the page's.
        return function(*arguments, **{**options, **small})

    return call


@pytest.mark.slow
@pytest.mark.usefixtures("_small_world")
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_the_python_of_a_page_runs(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = snippets(page)
    assert "import impasto" in code
    exec(compile(code, page, "exec"), {})  # noqa: S102 - our own pages
    if page == "docs/python.md":
        printed = capsys.readouterr().out
        assert "strokescale: unknown option; did you mean stroke_scale?" in printed
        assert "study is public; study.key.json is not" in printed
