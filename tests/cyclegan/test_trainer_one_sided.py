"""Trainings of one direction: what is trained, shown, saved, resumed and translated."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.cyclegan import Translator, build_trainer, find_generator, train
from impasto.cyclegan.trainer import OneSidedTrainer
from impasto.gatys.features.lite import find_lite_weights
from impasto.options import OptionError, TrainOptions
from impasto.runs import load_state, make_accelerator
from tests.trainings import assert_resumes, folder_of, make_batch, number

Options = Callable[..., TrainOptions]
needs_lite = pytest.mark.skipif(find_lite_weights() is None, reason="no EfficientNet-Lite0")

CONTRASTIVE: dict[str, Any] = {"one_sided": True, "lambda_nce": 1.0, "num_patches": 16}
PAINTER: dict[str, Any] = {
    "one_sided": True,
    "crop_size": 32,
    "load_size": 36,
    "lambda_perceptual": 0.1,
    "perceptual_backbone": "lite",
    "lambda_style": 1.0,
    "style_targets": "both",
    "lambda_strokes": 0.02,
    "lambda_palette": 0.5,
    "lambda_gan": 0.1,
    "lambda_identity": 0.0,
    "netD": "projected",
    "gan_mode": "hinge",
    "netG": "resnet_4blocks",
    "output_base": "kuwahara",
    "stroke_noise": True,
    "diffaugment": ["translation"],
    "ema_decay": 0.9,
    "display": "none",
}


def make_trainer(options: TrainOptions) -> OneSidedTrainer:
    trainer = build_trainer(options, make_accelerator("cpu", "no"))
    assert isinstance(trainer, OneSidedTrainer)
    return trainer


def test_losses_are_those_of_one_direction(tiny_options: Options) -> None:
    """Adversarial, weighted, and L1 identity; the contrastive ones have tests of their own."""
    trainer = make_trainer(tiny_options(pool_size=0, nce_idt=False, lambda_gan=0.3, **CONTRASTIVE))
    assert list(trainer.networks) == ["G_A", "D_A", "F_A"]
    batch = make_batch(0)
    before = deepcopy(trainer.networks)
    losses = trainer.step([batch]).losses
    # No identity loss is asked for but the contrastive one.
    assert set(losses) == {"D_A", "G_A", "idt_A", "nce_A"}
    G_A, D_A = before["G_A"], before["D_A"]
    fake = G_A(batch.A)
    judged = number(0.3 * ((D_A(fake) - 1) ** 2).mean())
    assert number(losses["G_A"]) == pytest.approx(judged, rel=1e-5)
    halves = ((D_A(batch.B) - 1) ** 2).mean() + (D_A(fake.detach()) ** 2).mean()
    assert number(losses["D_A"]) == pytest.approx(number(halves) / 2, rel=1e-5)
    for name in before:
        moved = [
            not torch.equal(old, new)
            for old, new in zip(
                before[name].parameters(), trainer.networks[name].parameters(), strict=True
            )
        ]
        assert any(moved), name


def test_contrastive_terms_share_the_weight_and_replace_the_identity_loss(
    tiny_options: Options,
) -> None:
    trainer = make_trainer(tiny_options(**{**CONTRASTIVE, "lambda_nce": 3.0}))
    losses = trainer.step([make_batch(0)]).losses
    assert set(losses) == {"D_A", "G_A", "nce_A", "nce_idt_A"}
    assert trainer.loss_weights == {"G_A": 1.0, "nce_A": 1.5, "nce_idt_A": 1.5}


def test_samples_and_statistics_are_of_the_one_generator(tiny_options: Options) -> None:
    trainer, batch = make_trainer(tiny_options(**CONTRASTIVE)), make_batch(0)
    assert list(trainer.samples(batch)) == ["real_A", "fake_B", "real_B", "idt_A"]
    assert set(trainer.output_statistics(batch)) == {"contrast_B", "correlation_B"}
    assert trainer.directions == {"AtoB": "G_A"}


@needs_lite
def test_discriminators_are_standardized_by_pictures_of_the_domain_that_they_judge(
    tiny_options: Options, picture_folder: Callable[..., Path]
) -> None:
    dark = picture_folder("dark", count=3, size=(40, 40))
    for file in dark.iterdir():
        Image.new("RGB", (40, 40)).save(file)
    both = {key: value for key, value in PAINTER.items() if key != "one_sided"}
    light = tiny_options().data.folders[1]
    options = tiny_options(**both, folder_A=light, folder_B=dark)
    trainer = build_trainer(options, make_accelerator("cpu", "no"))
    spread_dark, spread_light = (
        number(trainer.networks[name].get_buffer("deviation_0").mean()) for name in ("D_A", "D_B")
    )
    assert spread_dark == pytest.approx(0, abs=1e-3)  # D_A judges B, which is black
    assert spread_light > 0.1


@pytest.mark.parametrize(
    "changes", [CONTRASTIVE, pytest.param(PAINTER, marks=needs_lite)], ids=["nce", "painter"]
)
def test_a_run_resumes_bit_for_bit(tiny_options: Options, changes: dict[str, Any]) -> None:
    assert_resumes(tiny_options, stop_at=11, **changes)


@needs_lite
def test_it_is_exported_and_translates_as_it_was_trained(tiny_options: Options) -> None:
    options = tiny_options(**PAINTER)
    train(options)
    files = {path.name for path in folder_of(options).glob("*net*.pth")}
    assert files >= {"latest_net_G_A.pth", "latest_net_G_A_ema.pth", "latest_net_D_A.pth"}
    assert not (folder_of(options) / "G_B.safetensors").exists()
    trainer = make_trainer(options)
    trainer.load_state_dict(load_state(folder_of(options) / "state.pt")["learner"])
    batch = make_batch(3, side=32)
    expected = trainer.samples(batch)["fake_B"]
    run = find_generator(folder_of(options))
    alone = find_generator(folder_of(options) / "latest_net_G_A_ema.pth")  # no metadata
    for loaded in (run, alone):
        assert loaded.architecture.base == "kuwahara"
        assert "base kuwahara" in str(loaded.architecture)
        assert loaded.architecture.noise
        found = Translator.of(loaded, device=torch.device("cpu"), grid_bend_px=0)(batch.A)
        # Strips of a picture are computed in another order than whole ones.
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"one_sided": True}, "one_sided"),
        ({"lambda_nce": 1.0}, "lambda_nce"),
        ({**CONTRASTIVE, "netG": "unet_128", "crop_size": 128, "load_size": 128}, "lambda_nce"),
        ({**CONTRASTIVE, "nce_layers": [-1]}, "nce_layers"),
        ({"nce_layers": [0]}, "nce_layers"),
        ({"style_targets": "both"}, "style_targets"),
        ({"lambda_style": 1.0, "preprocess": "none"}, "lambda_style"),
        ({"lambda_strokes": 1.0, "preprocess": "none"}, "lambda_strokes"),
        ({"lambda_strokes": -1.0}, "lambda_strokes"),
        (
            {"one_sided": True, "lambda_perceptual": 1.0, "perceptual_targets": "both"},
            "perceptual_targets",
        ),
        ({"netD": "projected", "crop_size": 24}, "crop_size"),
        ({"lambda_style": 1, "style_scales": 2, "crop_size": 60, "load_size": 60}, "style_scales"),
        ({"style_scales": 2}, "style_scales"),
        (
            {"stroke_noise": True, "netG": "unet_128", "crop_size": 128, "load_size": 128},
            "stroke_noise",
        ),
        (
            {"output_base": "kuwahara", "netG": "unet_128", "crop_size": 128, "load_size": 128},
            "output_base",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_its_option(
    tiny_options: Options, changes: dict[str, Any], option: str
) -> None:
    with pytest.raises(OptionError) as caught:
        tiny_options(**changes)
    assert caught.value.option == option


def test_a_layer_that_the_generator_does_not_have_is_refused(tiny_options: Options) -> None:
    with pytest.raises(OptionError, match="nce_layers: expected numbers from 0 to 15"):
        build_trainer(
            tiny_options(**CONTRASTIVE, nce_layers=[4, 16]), make_accelerator("cpu", "no")
        )


def test_numbers_are_finite_without_an_adversary(tiny_options: Options) -> None:
    trainer = make_trainer(tiny_options(**CONTRASTIVE, lambda_gan=0.0))
    losses = trainer.step([make_batch(0)]).losses
    assert number(losses["G_A"]) == 0
    assert np.isfinite([number(value) for value in losses.values()]).all()
