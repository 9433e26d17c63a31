"""Trainings on pairs: data, losses, files, resuming, starting from the reference, translating."""

import re
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from impasto.cyclegan import (
    Translator,
    UnetGenerator,
    build_loader,
    build_networks,
    build_trainer,
    find_generator,
    train,
)
from impasto.cyclegan.models import models_in
from impasto.cyclegan.paired.trainer import PairedTrainer
from impasto.data import to_tensor
from impasto.options import FolderError, OptionError, TrainOptions, make
from impasto.runs import load_state, make_accelerator, read_log
from tests.trainings import assert_resumes, make_batch, number

Options = Callable[..., TrainOptions]
CPU = torch.device("cpu")
BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "paired_shapes.py"

PAIRED: dict[str, Any] = {
    "paired": True,
    "norm": "batch",
    "dropout": True,
    "gan_mode": "vanilla",
    "pool_size": 0,
    "lambda_identity": 0.0,
    "display": "none",
}


@pytest.fixture
def pair_options(tiny_options: Options, tmp_path: Path) -> Options:
    """Return a function that makes options of a training on five made pairs, ``04`` .. ``08``."""
    rng = np.random.default_rng(0)
    for place in range(5):
        small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        for domain, rgb in (("trainA", small), ("trainB", 255 - small)):
            folder = tmp_path / "pairs" / domain
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rgb).resize((36, 30)).save(folder / f"{place:02}.png")

    def changed(**changes: Any) -> TrainOptions:
        return tiny_options(**{"dataroot": tmp_path / "pairs", **PAIRED, **changes})

    return changed


def make_trainer(options: TrainOptions) -> PairedTrainer:
    trainer = build_trainer(options, make_accelerator("cpu", "no"))
    assert isinstance(trainer, PairedTrainer)
    return trainer


def coordinates(path: Path, *, side_by_side: bool, size: tuple[int, int] = (40, 50)) -> None:
    """Write a picture whose red and green say where a pixel is, and whose blue, in which half."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    halves = [
        np.stack([columns * 5, rows * 6, np.full_like(rows, blue)], axis=2).astype(np.uint8)
        for blue in (10, 200)
    ]
    if side_by_side:
        Image.fromarray(np.concatenate(halves, axis=1)).save(path)
        return
    for half, folder in zip(halves, ("trainA", "trainB"), strict=True):
        (path.parent.parent / folder).mkdir(exist_ok=True)
        Image.fromarray(half).save(path.parent.parent / folder / path.name)


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("preprocess", ["crop", "resize_and_crop", "scale_width_and_crop", "none"])
def test_both_halves_of_a_pair_are_cropped_and_flipped_alike(
    tiny_options: Options, tmp_path: Path, side_by_side: bool, direction: str, preprocess: str
) -> None:
    (tmp_path / "set" / ("train" if side_by_side else "other")).mkdir(parents=True)
    for place in range(8):
        folder = tmp_path / "set" / ("train" if side_by_side else "other")
        coordinates(folder / f"{place}.png", side_by_side=side_by_side)
    options = tiny_options(
        **{**PAIRED, "dataroot": tmp_path / "set", "direction": direction},
        load_size=44,
        preprocess=preprocess,
        n_epochs=1,
    )
    corners = set()
    for batch in build_loader(options, make_accelerator("cpu", "no")):
        first, second = batch.A[0].int(), batch.B[0].int()
        assert first.shape == second.shape
        assert torch.equal(first[:2], second[:2])  # the same places
        blue = [int(part[2].float().mean()) for part in (first, second)]
        assert blue == ([10, 200] if direction == "AtoB" else [200, 10])
        corners.add(
            (int(first[0, 0, 0]), int(first[1, 0, 0]), bool(first[0, 0, 0] < first[0, 0, -1]))
        )
    assert len(corners) > 1  # by chance: crops, or at least flips


def test_partners_that_are_missing_are_named_and_passed_over(
    pair_options: Options, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pairs" / "trainB" / "03.png").unlink()
    Image.new("RGB", (36, 30)).save(tmp_path / "pairs" / "trainB" / "lonely.png")
    loader = build_loader(pair_options(), make_accelerator("cpu", "no"))
    assert loader.sizes == (4, 4)
    assert "2 pictures have no partner" in caplog.text
    assert "trainA/03.png" in caplog.text
    assert "trainB/lonely.png" in caplog.text


def test_folders_without_a_pair_are_refused(tiny_options: Options, tmp_path: Path) -> None:
    for folder, name in (("trainA", "a.png"), ("trainB", "b.png")):
        (tmp_path / "odd" / folder).mkdir(parents=True)
        Image.new("RGB", (30, 30)).save(tmp_path / "odd" / folder / name)
    with pytest.raises(
        FolderError, match=r"none of its 1 pictures has a partner .* got a.png here"
    ):
        build_loader(
            tiny_options(**{**PAIRED, "dataroot": tmp_path / "odd"}), make_accelerator("cpu", "no")
        )
    Image.new("RGB", (30, 30)).save(tmp_path / "odd" / "trainA" / "a.jpg")
    with pytest.raises(FolderError, match=r"a.jpg and a.png, so that nobody knows"):
        build_loader(
            tiny_options(**{**PAIRED, "dataroot": tmp_path / "odd"}), make_accelerator("cpu", "no")
        )


def test_a_pair_of_two_sizes_is_passed_over_with_the_reason(
    pair_options: Options, tmp_path: Path
) -> None:
    Image.new("RGB", (50, 50)).save(tmp_path / "pairs" / "trainB" / "02.png")
    loader = build_loader(pair_options(preprocess="crop"), make_accelerator("cpu", "no"))
    batches = list(loader)
    assert len(batches) == 5  # another pair takes its place
    [(path, reason)] = loader.unreadable.items()
    assert path.name == "02.png"
    assert "50 x 50" in reason
    assert "36 x 30" in reason


def test_defaults_are_those_of_pix2pix_unless_they_are_given() -> None:
    options = make(TrainOptions, {"paired": True, "norm": "instance"})
    networks, losses = options.networks, options.losses
    assert (networks.netG, networks.norm, networks.dropout) == ("unet_256", "instance", True)
    assert (losses.gan_mode, losses.pool_size, losses.lambda_L1) == ("vanilla", 0, 100.0)
    unpaired = make(TrainOptions, {})
    assert (unpaired.networks.netG, unpaired.losses.gan_mode) == ("resnet_9blocks", "lsgan")


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"one_sided": True}, "one_sided"),
        ({"lambda_nce": 1.0}, "lambda_nce"),
        ({"lambda_identity": 0.5}, "lambda_identity"),
        ({"netD": "projected", "crop_size": 32, "load_size": 32}, "netD"),
        ({"diffaugment": ["color"]}, "diffaugment"),
        ({"init_from": ["a", "b"]}, "init_from"),
    ],
)
def test_what_has_no_meaning_for_pairs_is_refused(
    pair_options: Options, changes: dict[str, Any], option: str
) -> None:
    with pytest.raises(OptionError) as caught:
        pair_options(**changes)
    assert caught.value.option == option


def test_losses_are_those_of_pix2pix(pair_options: Options) -> None:
    """By formulas of their own: cross-entropy of pairs, and 100 times the mean distance."""
    trainer = make_trainer(pair_options(dropout=False))
    assert list(trainer.networks) == ["G", "D"]
    batch = make_batch(0)
    before = deepcopy(trainer.networks)
    losses = trainer.step([batch]).losses
    assert list(losses) == ["D_real", "D_fake", "G_GAN", "G_L1"]
    G, D = before["G"], before["D"]
    fake = G(batch.A)
    scores = D(torch.cat([batch.A, fake], dim=1))
    assert number(losses["G_GAN"]) == pytest.approx(number(F.softplus(-scores).mean()), rel=1e-5)
    distance = 100 * number((fake - batch.B).abs().mean())
    assert number(losses["G_L1"]) == pytest.approx(distance, rel=1e-5)
    true = D(torch.cat([batch.A, batch.B], dim=1))
    assert number(losses["D_real"]) == pytest.approx(number(F.softplus(-true).mean()), rel=1e-5)
    false = number(F.softplus(scores).mean())
    assert number(losses["D_fake"]) == pytest.approx(false, rel=1e-5)


def test_the_discriminator_learns_from_half_of_both_losses(pair_options: Options) -> None:
    trainer = make_trainer(pair_options(dropout=False))
    before, batch = deepcopy(trainer.networks), make_batch(0)
    with torch.no_grad():
        fake = deepcopy(before)["G"](batch.A)
    D = before["D"]
    true, false = (D(torch.cat([batch.A, other], dim=1)) for other in (batch.B, fake))
    loss = 0.5 * (F.softplus(-true).mean() + F.softplus(false).mean())
    names, weights = zip(*D.named_parameters(), strict=True)
    expected = dict(zip(names, torch.autograd.grad(loss, weights), strict=True))
    trainer.step([batch])
    for name, weight in trainer.networks["D"].named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, expected[name], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("size", [0, 3])
def test_a_pool_keeps_inputs_beside_translations(pair_options: Options, size: int) -> None:
    trainer = make_trainer(pair_options(pool_size=size))
    for seed in range(3):
        trainer.step([make_batch(seed)])
    kept = trainer.process_state()["fake_B_pool"]["images"]
    assert [image.shape[0] for image in kept] == [6] * size
    # Each is a true input with something that was made of it: no stranger's.
    inputs = torch.cat([make_batch(seed).A for seed in range(3)])
    for image in kept:
        assert min(float((image[:3] - one).abs().max()) for one in inputs) == 0


def test_the_perceptual_distance_is_from_the_true_picture(pair_options: Options) -> None:
    seen = []

    class Distance:
        def __call__(self, image: Tensor, target: Tensor, /) -> Tensor:
            seen.append(target)
            return (image - target).abs().mean()

        def fingerprint(self) -> str:
            return "none"

    options = pair_options(lambda_perceptual=1.0)
    trainer = build_trainer(options, make_accelerator("cpu", "no"), perceptual=Distance())
    batch = make_batch(0)
    trainer.step([batch])
    assert torch.equal(seen[0], batch.B)


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9, "pool_size": 3, "netG": "unet_128"}])
def test_a_run_resumes_bit_for_bit(pair_options: Options, changes: dict[str, Any]) -> None:
    if "netG" in changes:
        changes = {**changes, "crop_size": 128, "load_size": 130, "n_epochs": 1}
    assert_resumes(pair_options, stop_at=7, **changes)


def test_files_are_the_references_and_the_model_translates(
    pair_options: Options, tmp_path: Path
) -> None:
    options = pair_options(ema_decay=0.5, save_epoch_freq=1)
    train(options)
    run = options.run.checkpoints_dir / "tiny"
    names = {path.name for path in run.glob("latest_net_*")}
    assert names == {"latest_net_G.pth", "latest_net_D.pth", "latest_net_G_ema.pth"}
    log = read_log(run / "log.jsonl")
    assert set(log[-1]["losses"]) == {"D_real", "D_fake", "G_GAN", "G_L1"}
    assert set(log[-1]["outputs"]) == {"contrast", "correlation"}
    loaded = find_generator(run)
    assert loaded.provenance["direction"] == "AtoB"
    assert find_generator(run, direction="AtoB").architecture == loaded.architecture
    with pytest.raises(OptionError, match=r"BtoA, but .*G.safetensors translates AtoB"):
        find_generator(run, direction="BtoA")
    kept = find_generator(run, epoch="1")
    assert (kept.statistics, kept.provenance["direction"]) == ("picture", "AtoB")
    alone = find_generator(run / "latest_net_G.pth")  # of a ResNet, the weights do not tell it
    assert (alone.statistics, alone.provenance["direction"]) == ("picture", "AtoB")
    assert [model.name for model in models_in(run.parent)] == [str(run)]
    picture = np.asarray(Image.open(tmp_path / "pairs" / "trainA" / "00.png"))
    image = to_tensor(picture)[None]
    made = Translator.of(loaded, device=CPU)(image)
    assert made.shape == image.shape


def test_a_picture_is_translated_by_its_own_statistics_and_without_dropout(
    pair_options: Options,
) -> None:
    """As a step with batches of one sees it, but for the dropout, in strips and as a whole."""
    options = pair_options(n_epochs=1, n_epochs_decay=0)
    train(options)
    loaded = find_generator(options.run.checkpoints_dir / "tiny")
    image = make_batch(3, side=32).A[:1]
    made = Translator.of(loaded, device=CPU)(image)
    assert torch.equal(made, Translator.of(loaded, device=CPU)(image))
    trained = deepcopy(loaded.network).train()
    for module in trained.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        torch.testing.assert_close(made, trained(image), rtol=0, atol=1e-5)
    # Two pictures together are each translated by their own.
    both = Translator.of(loaded, device=CPU)(torch.cat([image, -image]))
    torch.testing.assert_close(both[:1], made, rtol=0, atol=1e-5)


def test_a_reference_pix2pix_file_is_translated_and_started_from(
    pair_options: Options, tmp_path: Path
) -> None:
    """The reference's folder of a published model: latest_net_G.pth, and D beside it."""
    torch.manual_seed(0)
    folder = tmp_path / "facades_pix2pix"
    folder.mkdir()
    G = UnetGenerator(downs=7, channels=2, norm="batch", dropout=True)
    with torch.no_grad():
        G(torch.rand(4, 3, 128, 128))  # so that there are running statistics
    options = pair_options(netG="unet_128", ngf=2, crop_size=128, load_size=130)
    D = build_networks(options.networks, generator=torch.Generator(), paired=True)["D"]
    torch.save(G.state_dict(), folder / "latest_net_G.pth")
    torch.save(D.state_dict(), folder / "latest_net_D.pth")
    loaded = find_generator(folder)
    assert loaded.statistics == "picture"
    image = torch.rand(1, 3, 128, 128) * 2 - 1
    without_dropout = deepcopy(G).train()
    for module in without_dropout.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        expected = without_dropout(image)
    torch.testing.assert_close(
        Translator.of(loaded, device=CPU)(image), expected, rtol=0, atol=1e-5
    )

    lines: list[str] = []
    started = pair_options(
        init_from=[folder], crop_size=128, load_size=130, netG="unet_128", max_images=1, lr=1e-9
    )
    train(started, typed=(), announce=lines.append)
    assert "D starts from the model's weights" in lines
    run = started.run.checkpoints_dir / "tiny"
    after = load_state(run / "state.pt")["learner"]["networks"]
    for name, before in (("G", G), ("D", D)):
        for key, weight in before.named_parameters():
            torch.testing.assert_close(after[name][key], weight.detach(), rtol=0, atol=1e-7)


def test_batch_normalization_of_an_unpaired_run_stays_as_it_was(tiny_options: Options) -> None:
    options = tiny_options(norm="batch", n_epochs=1, n_epochs_decay=0, save_epoch_freq=1)
    train(options)
    run = options.run.checkpoints_dir / "tiny"
    assert find_generator(run).statistics == "running"
    assert find_generator(run, epoch="1").statistics == "running"


@pytest.mark.slow
def test_pairs_are_worth_decibels_at_equal_steps(tmp_path: Path) -> None:
    """Made shapes, 150 pictures: the benchmark's short form; it measured 4.2 dB."""
    words = ("--images=150", "--side=32", "--ngf=6", "--pairs=60", "--margin_db=1.5")
    result = subprocess.run(
        [sys.executable, str(BENCHMARK), f"--work={tmp_path}", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    untouched, unpaired, paired = map(float, re.findall(r"PSNR +([\d.]+) dB", result.stdout))
    assert untouched < unpaired < paired
