"""From options to networks, optimizers and the trainer: the only place that sees options."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Adam

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.augment import DifferentiableAugmentation
from impasto.cyclegan.doctor import CycleganDoctor
from impasto.cyclegan.networks import PatchDiscriminator, PixelDiscriminator, init_weights
from impasto.cyclegan.optim import LearningRate, WeightAverage
from impasto.cyclegan.pools import ImagePool, JudgedPictures
from impasto.cyclegan.terms import PaletteLoss
from impasto.cyclegan.trainer import LossWeights, Networks, PerceptualLoss, Trainer
from impasto.data.datasets import Domain, UnpairedBatch, UnpairedSampler
from impasto.data.files import list_pictures
from impasto.data.loaders import UnpairedLoader
from impasto.data.transforms import Preprocessing
from impasto.options.errors import OptionError
from impasto.options.train import NetG, NetworkOptions, TrainOptions
from impasto.runs.processes import share_weights
from impasto.runs.seeds import make_generator

__all__ = [
    "build_doctor",
    "build_loader",
    "build_networks",
    "build_sample_batch",
    "build_trainer",
    "generator_architecture",
]

_GENERATORS: dict[NetG, GeneratorArchitecture] = {
    "resnet_9blocks": GeneratorArchitecture(kind="resnet", depth=9),
    "resnet_6blocks": GeneratorArchitecture(kind="resnet", depth=6),
    "unet_256": GeneratorArchitecture(kind="unet", depth=8),
    "unet_128": GeneratorArchitecture(kind="unet", depth=7),
}


def generator_architecture(options: NetworkOptions) -> GeneratorArchitecture:
    """Return the architecture that the options describe."""
    return replace(
        _GENERATORS[options.netG],
        channels=options.ngf,
        norm=options.norm,
        dropout=options.dropout,
        upsample=options.upsample,
        color_skip=options.color_skip,
    )


def build_networks(options: NetworkOptions, *, generator: torch.Generator) -> Networks:
    """Make the four networks with fresh weights, on the CPU."""
    architecture = generator_architecture(options)
    networks = Networks(
        G_A=architecture.build(),
        G_B=architecture.build(),
        D_A=_discriminator(options),
        D_B=_discriminator(options),
    )
    for network in networks.named().values():
        init_weights(
            network, init_type=options.init_type, gain=options.init_gain, generator=generator
        )
    return networks


def build_trainer(
    options: TrainOptions, accelerator: Accelerator, *, perceptual: PerceptualLoss | None = None
) -> Trainer:
    """Make the networks, their optimizers and schedule, and what trains them.

    Raises:
        OptionError: the options have a perceptual loss, and none is given.
    """
    if options.losses.lambda_perceptual > 0 and perceptual is None:
        raise OptionError(
            "lambda_perceptual",
            "a perceptual loss is asked for and none was passed; from Python, give "
            "train(..., make_perceptual=...), for example of impasto.gatys.PerceptualDistance",
        )
    seed, process = options.run.seed, accelerator.process_index
    networks = build_networks(options.networks, generator=make_generator(seed, "weights"))
    networks.to(accelerator.device)
    share_weights(networks.named().values(), accelerator)
    schedule, losses = options.schedule, options.losses
    optimizer_G, optimizer_D = (
        Adam(part.parameters(), lr=schedule.lr, betas=(schedule.beta1, schedule.beta2))
        for part in (networks.generators, networks.discriminators)
    )
    learning_rate = LearningRate(
        [optimizer_G, optimizer_D],
        lr=schedule.lr,
        policy=schedule.lr_policy,
        n_epochs=schedule.n_epochs,
        n_epochs_decay=schedule.n_epochs_decay,
        lr_decay_iters=schedule.lr_decay_iters,
    )
    return Trainer(
        networks,
        optimizer_G=optimizer_G,
        optimizer_D=optimizer_D,
        learning_rate=learning_rate,
        judged=_judged_pictures(options, process),
        weights=LossWeights(
            cycle_A=losses.lambda_A,
            cycle_B=losses.lambda_B,
            identity=losses.lambda_identity,
            gradient_penalty=losses.lambda_gp,
            perceptual=losses.lambda_perceptual,
            palette=losses.lambda_palette,
        ),
        gan_mode=losses.gan_mode,
        accelerator=accelerator,
        generator=make_generator(seed, "gradient penalty", process=process),
        averages=_averages(networks, options.run.ema_decay),
        perceptual=perceptual,
        perceptual_targets=losses.perceptual_targets,
        augment=_augment(losses.diffaugment, make_generator(seed, "augmentation", process=process)),
        palette=_palette(losses.lambda_palette, seed, process),
    )


def build_loader(options: TrainOptions, accelerator: Accelerator) -> UnpairedLoader:
    """List both folders and make what loads from them.

    Raises:
        FolderError: a folder is missing or holds no pictures.
    """
    data = options.data
    domain_A, domain_B = _build_domains(options)
    sampler = UnpairedSampler(
        len(domain_A),
        len(domain_B),
        batch_size=data.batch_size,
        generator=make_generator(options.run.seed, "pairs"),
        serial=data.serial_batches,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    return UnpairedLoader(
        (domain_A, domain_B),
        data.folders,
        sampler=sampler,
        workers=data.num_threads,
        pin_memory=accelerator.device.type == "cuda",
    )


def build_sample_batch(options: TrainOptions) -> UnpairedBatch | None:
    """Return the pictures that samples are made of: the first of each domain, or None.

    Raises:
        FolderError: a folder is missing or holds no pictures.
    """
    if options.displays.display_samples == "batch":
        return None
    A, B = (domain.first() for domain in _build_domains(options))
    return None if A is None or B is None else UnpairedBatch(A=A, B=B)


def _build_domains(options: TrainOptions) -> tuple[Domain, Domain]:
    data = options.data
    preprocessing = Preprocessing(
        mode=data.preprocess,
        load_size=data.load_size,
        crop_size=data.crop_size,
        flip=data.flip,
        stride=options.networks.stride,
        smallest=options.networks.smallest,
    )
    domain_A, domain_B = (
        Domain(
            list_pictures(folder)[: data.max_dataset_size],
            preprocessing=preprocessing,
            cache=data.cache_images,
        )
        for folder in data.folders
    )
    return domain_A, domain_B


def build_doctor(options: TrainOptions) -> CycleganDoctor:
    """Make what looks for known failures."""
    return CycleganDoctor(
        gan_mode=options.losses.gan_mode,
        num_threads=options.data.num_threads,
        cache_images=options.data.cache_images,
    )


def _judged_pictures(options: TrainOptions, process: int) -> JudgedPictures:
    size, count = options.losses.pool_size, options.data.batch_size_D

    def pool(purpose: str) -> ImagePool:
        generator = make_generator(options.run.seed, f"pool of {purpose}", process=process)
        return ImagePool(size, generator=generator)

    return JudgedPictures(
        (pool("fake_A"), pool("fake_B")),
        reals=(pool("real_A"), pool("real_B")) if count > 0 else None,
        count=count,
    )


def _augment(
    policy: Sequence[str], generator: torch.Generator
) -> DifferentiableAugmentation | None:
    return DifferentiableAugmentation(policy, generator=generator) if policy else None


def _palette(weight: float, seed: int, process: int) -> tuple[PaletteLoss, PaletteLoss] | None:
    if weight == 0:
        return None
    of_B, of_A = (
        PaletteLoss(generator=make_generator(seed, f"palette of {domain}", process=process))
        for domain in "BA"
    )
    return of_B, of_A


def _discriminator(options: NetworkOptions) -> nn.Module:
    if options.netD == "pixel":
        return PixelDiscriminator(channels=options.ndf, norm=options.norm)
    layers = 3 if options.netD == "basic" else options.n_layers_D
    return PatchDiscriminator(channels=options.ndf, layers=layers, norm=options.norm)


def _averages(networks: Networks, decay: float) -> tuple[WeightAverage, WeightAverage] | None:
    if decay == 0:
        return None
    return WeightAverage(networks.G_A, decay=decay), WeightAverage(networks.G_B, decay=decay)
