"""The whole training of fast styles: it learns, resumes exactly, and its file is a model."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from impasto.cyclegan.models import find_generator, models_in, refuse_choices, resolve_model
from impasto.gatys.features.lite import find_lite_weights
from impasto.options.errors import OptionError, PictureError
from impasto.options.styles import (
    StyleDataOptions,
    StyleNetworkOptions,
    StyleRunOptions,
    StyleScheduleOptions,
    StyleTrainOptions,
)
from impasto.options.train import BasicDisplayOptions
from impasto.runs.log import read_log
from impasto.runs.observers import Observer, Progress
from impasto.runs.state import load_state
from impasto.styles import learner
from impasto.styles.job import name_styles, read_paintings, styles_file, train_styles

needs_lite = pytest.mark.skipif(
    find_lite_weights() is None, reason="the weights of EfficientNet-Lite0 are not installed"
)
MakeOptions = Callable[..., StyleTrainOptions]


@pytest.fixture
def make_options(tmp_path: Path) -> MakeOptions:
    draws = np.random.default_rng(0)
    for folder in ("photos", "paintings"):
        (tmp_path / folder).mkdir()
    for place in range(5):
        coarse = draws.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((96, 72), Image.Resampling.BICUBIC)
        picture.save(tmp_path / "photos" / f"{place}.png")
    for name, color in (("wave", (40, 120, 250)), ("fuji", (250, 60, 20))):
        coarse = draws.uniform(0, 1, (14, 18, 1)) * np.array(color)
        painting = Image.fromarray(coarse.astype(np.uint8)).resize((90, 70))
        painting.save(tmp_path / "paintings" / f"{name}.png")

    def make(**changes: Any) -> StyleTrainOptions:
        data: dict[str, Any] = {
            "styles": tuple(tmp_path / "paintings" / f"{name}.png" for name in ("wave", "fuji")),
            "photos": (tmp_path / "photos",),
            "crop_size": 64,
            "load_size": 72,
            "batch_size": 2,
        }
        schedule = {"max_images": 12, **changes}
        return StyleTrainOptions(
            run=StyleRunOptions(
                checkpoints_dir=tmp_path / "runs",
                device="cpu",
                threads=1,
                print_freq=2,
                save_latest_freq=4,
            ),
            data=StyleDataOptions(**data),
            network=StyleNetworkOptions(ngf=4, n_blocks=1),
            schedule=StyleScheduleOptions(**schedule),
            displays=BasicDisplayOptions(display="page"),
        )

    return make


class Stop(Observer):
    """Asks a training to stop, as Ctrl-C does, after some images."""

    def __init__(self, images: int) -> None:
        self._images = images

    def on_step(self, progress: Progress) -> None:
        if progress.images == self._images:
            import os  # noqa: PLC0415
            import signal  # noqa: PLC0415

            os.kill(os.getpid(), signal.SIGINT)


@needs_lite
def test_a_stopped_and_resumed_training_equals_a_whole_one(make_options: MakeOptions) -> None:
    options = make_options()
    whole = train_styles(options)
    assert whole.signal is None
    assert whole.progress.images == 12

    again = replace(options, run=replace(options.run, name="again"))
    stopped = train_styles(again, observers=[Stop(6)])
    assert stopped.signal is not None
    assert stopped.progress.images == 6
    train_styles(again, resume=True)

    states = [load_state(each / "state.pt") for each in (whole.directory, stopped.directory)]
    for part in ("network", "average"):
        ours, theirs = (_flat(state["learner"][part]) for state in states)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    logs = [read_log(each / "log.jsonl") for each in (whole.directory, stopped.directory)]
    assert [line["losses"] for line in logs[0]] == [line["losses"] for line in logs[1]]
    assert logs[0][-1]["learning_rate"] < 1e-12 < logs[0][0]["learning_rate"]
    files = [styles_file(each).read_bytes() for each in (whole.directory, stopped.directory)]
    assert files[0] == files[1]


def _flat(values: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {name: torch.as_tensor(values)}
    return {key: v for k, one in values.items() for key, v in _flat(one, f"{name}/{k}").items()}


@needs_lite
def test_the_losses_fall_and_the_file_is_a_model_of_all_its_styles(
    make_options: MakeOptions, tmp_path: Path
) -> None:
    result = train_styles(make_options(max_images=60, lr=0.04))
    losses = [line["losses"]["total"] for line in read_log(result.directory / "log.jsonl")]
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])
    samples = {path.stem.partition("_")[2] for path in result.directory.glob("web/images/*.png")}
    assert samples == {"photograph", "wave", "fuji"}

    run = find_generator(result.directory, style="fuji")
    file = impasto.load_generator(styles_file(result.directory), style="fuji")
    assert run.styles == ("wave", "fuji")
    assert json.loads(run.provenance["styles"]) == ["wave", "fuji"]
    ours, theirs = run.network.state_dict(), file.network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    first = find_generator(result.directory)
    assert any("the first one is taken" in note for note in first.notes)
    mixed = find_generator(result.directory, style="wave:3,fuji:1").network.state_dict()
    wave, name = first.network.state_dict(), "model.2.weight"
    assert torch.allclose(mixed[name], 0.75 * wave[name] + 0.25 * ours[name])

    assert resolve_model(result.directory) == styles_file(result.directory)
    with pytest.raises(OptionError, match="has no epochs"):
        refuse_choices(result.directory, epoch="3")
    (known,) = models_in(result.directory)
    assert known.usable
    assert "--style wave, fuji" in known.what
    made = [
        impasto.translate(
            tmp_path / "photos" / "0.png",
            model=result.directory,
            style=style,
            output=tmp_path / out,
        )
        for style, out in (("wave", "w"), ("fuji", "f"), ("wave:0.5,fuji:0.5", "m"))
    ]
    pictures = [np.asarray(Image.open(each.page.parent / "0.png")).astype(float) for each in made]
    assert pictures[0].shape == (72, 96, 3)
    assert np.abs(pictures[0] - pictures[1]).mean() > 1
    assert np.abs(pictures[0] - pictures[2]).mean() > 0.5


@needs_lite
def test_minutes_end_a_training_and_are_counted_when_it_is_resumed(
    make_options: MakeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "_clock", partial(next, count()))  # a second for each look at it
    options = make_options(max_images=100_000, max_minutes=1)
    result = train_styles(options)
    assert result.signal is None
    assert 10 <= result.progress.images <= 60
    assert styles_file(result.directory).is_file()
    rates = [line["learning_rate"] for line in read_log(result.directory / "log.jsonl")]
    assert rates[-1] < max(rates)
    resumed = train_styles(options, resume=True)
    assert resumed.progress.images == result.progress.images


@needs_lite
def test_a_run_is_not_continued_with_other_styles(make_options: MakeOptions) -> None:
    options = make_options()
    train_styles(options)
    turned = replace(options.data, styles=options.data.styles[::-1])
    with pytest.raises(OptionError, match="styles"):
        train_styles(replace(options, data=turned), resume=True, allow_changes=True)


def test_names_are_those_of_files() -> None:
    assert name_styles([Path("a/The Great: Wave,1.jpg"), Path("é.png")]) == [
        "The_Great_Wave_1",
        "é",
    ]
    with pytest.raises(OptionError, match="would both be called fuji"):
        name_styles([Path("a/fuji.jpg"), Path("b/fuji.png")])


def test_missing_pictures_are_named(make_options: MakeOptions, tmp_path: Path) -> None:
    options = make_options()
    for name in ("styles", "photos"):
        missing: dict[str, Any] = {name: ()}
        with pytest.raises(OptionError, match=f"{name}: is missing"):
            train_styles(replace(options, data=replace(options.data, **missing)))
    data = replace(options.data, styles=(tmp_path / "no.png",))
    with pytest.raises(PictureError, match=r"no\.png"):
        read_paintings(data)


def test_paintings_are_reduced_to_their_size_and_lose_their_frames(
    make_options: MakeOptions, tmp_path: Path
) -> None:
    draws = np.random.default_rng(1)
    framed = np.full((200, 300, 3), 240, np.uint8)
    framed[15:-15, 15:-15] = draws.integers(0, 120, (170, 270, 3))
    Image.fromarray(framed).save(tmp_path / "framed.png")
    data = replace(make_options().data, styles=(tmp_path / "framed.png",), style_size=100)
    (cut,) = read_paintings(data)
    (kept,) = read_paintings(replace(data, style_frames=True))
    assert max(cut.shape[2:]) == max(kept.shape[2:]) == 100
    assert kept.max() > 0.9
    assert cut[..., 2:-2, 2:-2].max() < 0.6
