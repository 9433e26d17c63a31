"""Build networks, losses, optimizers and the trainer from the options."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from impasto.cyclegan.architecture import GeneratorArchitecture, generator_entry
from impasto.cyclegan.augment import DifferentiableAugmentation
from impasto.cyclegan.blocks import take_statistics
from impasto.cyclegan.convolutions import economize
from impasto.cyclegan.doctor import CycleganDoctor
from impasto.cyclegan.networks import (
    Networks,
    PatchDiscriminator,
    PixelDiscriminator,
    ResnetGenerator,
    freeze_encoders,
    init_weights,
    load_weights,
)
from impasto.cyclegan.optim import LearningRate, WeightAverage, make_adam
from impasto.cyclegan.painting import (
    ContrastiveTerm,
    FrozenFeatures,
    PatchProjector,
    ProjectedDiscriminator,
    StyleLoss,
    StyleTerm,
    default_nce_layers,
)
from impasto.cyclegan.paired.trainer import ConditionalTerm, PairedTrainer, TruePictureTerm
from impasto.cyclegan.pools import ImagePool, ReplayPools
from impasto.cyclegan.strokes.loss import StrokeLoss, StrokeTerm, count_pictures
from impasto.cyclegan.terms import (
    AdversarialTerm,
    CycleTerm,
    DiscriminatorLoss,
    IdentityTerm,
    LossTerm,
    PaletteLoss,
    PaletteTerm,
    PerceptualLoss,
    PerceptualTerm,
)
from impasto.cyclegan.trainer import OneSidedTrainer, Trainer
from impasto.data.channels.ranges import Formats
from impasto.data.datasets import (
    Domain,
    Half,
    PairedPictures,
    UnpairedBatch,
    UnpairedSampler,
    hold_back,
)
from impasto.data.files import list_pairs, list_pictures
from impasto.data.fingerprints import fingerprint
from impasto.data.loaders import UnpairedLoader, useful_processes
from impasto.data.tensors import normalize
from impasto.data.transforms import Preprocessing
from impasto.gatys.features.lite import default_lite_layers
from impasto.options.errors import CheckpointError
from impasto.options.losses import LossOptions
from impasto.options.networks import Direction, NetworkOptions
from impasto.options.train import TrainOptions
from impasto.runs.capture import Compiling, choose_compiling
from impasto.runs.processes import share_weights
from impasto.runs.state import make_generator

# What a generator may have beside the layers of a model that it starts from.
_ADDED = "noise."
# Of the domain that a discriminator on frozen features judges.
_STANDARD_PICTURES = 32
# Pictures without a partner that a message names.
_MOST_NAMED = 5

_log = logging.getLogger(__name__)

__all__ = [
    "build_doctor",
    "build_loader",
    "build_networks",
    "build_perceptual",
    "build_sample_batch",
    "build_terms",
    "build_trainer",
    "generator_architecture",
    "split_domains",
]


def generator_architecture(options: NetworkOptions) -> GeneratorArchitecture:
    """Return the architecture of ``G_A`` that the options describe; ``G_B`` is its reverse."""
    entry = generator_entry(options.netG)
    return GeneratorArchitecture(
        kind=entry.kind,
        depth=entry.depth,
        channels=options.ngf,
        norm=options.norm,
        dropout=options.dropout,
        upsample=options.upsample,
        color_skip=options.color_skip,
        base=options.output_base,
        noise=options.stroke_noise,
        in_channels=options.input_nc,
        out_channels=options.output_nc,
    )


def build_networks(
    options: NetworkOptions, *, generator: torch.Generator, paired: bool = False
) -> Networks:
    """Make ``G_A``, ``G_B``, ``D_A`` and ``D_B`` with fresh weights, on the CPU.

    With ``one_sided``, there are ``G_A`` and ``D_A`` only; with ``paired``, ``G`` and ``D``, which
    sees input and output together.

    Raises:
        CheckpointError: the network that projected discriminators look through is not installed.
    """
    architecture = generator_architecture(options)
    if paired:
        channels = architecture.in_channels + architecture.out_channels
        G, D = architecture.build(), _discriminator(options, generator, channels)
        take_statistics(G, of_picture=True)
        networks = Networks({"G": G, "D": D})
    else:
        generators = {"G_A": architecture, "G_B": architecture.reversed()}
        sides = "A" if options.one_sided else "AB"
        # D_A judges what G_A makes.
        networks = Networks(
            {f"G_{side}": generators[f"G_{side}"].build() for side in sides}
            | {
                f"D_{side}": _discriminator(
                    options, generator, generators[f"G_{side}"].out_channels
                )
                for side in sides
            }
        )
    for network in networks.values():
        if isinstance(network, ProjectedDiscriminator):
            continue  # spectral normalization divides by what the weights were drawn with
        init_weights(
            network, init_type=options.init_type, gain=options.init_gain, generator=generator
        )
    return networks


def build_trainer(  # noqa: PLR0913 - all that a training is made of
    options: TrainOptions,
    accelerator: Accelerator,
    *,
    perceptual: PerceptualLoss | None = None,
    extra_terms: Sequence[LossTerm] = (),
    compiling: Compiling | None = None,
    start: Mapping[str, Mapping[str, Tensor]] | None = None,
    formats: Formats = (None, None),
    announce: Callable[[str], None] = lambda _line: None,
) -> Trainer:
    """Make the networks, their optimizers and schedule, and the trainer.

    Args:
        options: all options of the training.
        accelerator: device, precision and processes.
        perceptual: distance for the perceptual loss, instead of the one with the network that the
            options name.
        extra_terms: further terms of the generators' objective, after those of the options.
        compiling: what is compiled, instead of what the options ask for.
        start: weights that networks start from, by the networks' names; the others, and those but
            for generators that do not fit, start from random weights.
        formats: what the numbers of A and of B mean, None for RGB of 8 bits.
        announce: called with one line for each network, if there is a ``start``, which says whether
            it starts from these weights.

    Raises:
        CheckpointError: weights of the perceptual loss's network are damaged, or of another
            network; or the weights that a generator is to start from do not fit.
        OptionError: the network of the perceptual loss, or one of its layers, is unknown.
    """
    if perceptual is None:
        perceptual = build_perceptual(options.losses, accelerator.device)
    seed, process = options.run.seed, accelerator.process_index
    networks = _networks_at_start(options, start or {}, announce)
    networks.to(accelerator.device)
    if options.run.convolution == "auto":
        for network in networks.values():
            economize(network)
    schedule, losses = options.schedule, options.losses
    augment = _augment(losses.diffaugment, make_generator(seed, "augmentation", process=process))
    terms = [
        *build_terms(
            losses, networks, augment=augment, perceptual=perceptual, seed=seed, process=process
        ),
        *extra_terms,
    ]
    _show_pictures(networks, terms, options, formats)
    share_weights(networks.values(), accelerator)
    if compiling is None:
        compiling = choose_compiling(
            options.run.compile,
            accelerator,
            sizes_differ=not options.data.crops,
            hindrances=[
                f"the loss {term.name} does not say that it can be (LossTerm.capturable)"
                for term in terms
                if not term.capturable
            ],
        )
    optimizer_G, optimizer_D = (
        make_adam(
            networks.only(*names).parameters(),
            lr=schedule.lr,
            betas=(schedule.beta1, schedule.beta2),
            in_graph=compiling.make_graph is not None,
        )
        for names in (
            [name for name in networks if not _is(name, "D")],
            [name for name in networks if _is(name, "D")],
        )
    )
    learning_rate = LearningRate(
        [optimizer_G, optimizer_D],
        lr=schedule.lr,
        policy=schedule.lr_policy,
        n_epochs=schedule.n_epochs,
        n_epochs_decay=schedule.n_epochs_decay,
        lr_decay_iters=schedule.lr_decay_iters,
        warmup_images=schedule.warmup_images,
    )
    trainer = OneSidedTrainer if options.networks.one_sided else Trainer
    if options.data.paired:
        trainer = PairedTrainer
    return trainer(
        networks,
        terms=terms,
        discriminator_loss=DiscriminatorLoss(
            losses.gan_mode,
            penalty_weight=losses.lambda_gp,
            generator=make_generator(seed, "gradient penalty", process=process),
            augment=augment,
        ),
        replay=_replay_pools(options, process),
        optimizer_G=optimizer_G,
        optimizer_D=optimizer_D,
        learning_rate=learning_rate,
        accelerator=accelerator,
        averages=_averages(networks, options.run.ema_decay),
        identity=losses.nce_idt if losses.lambda_nce > 0 else losses.lambda_identity > 0,
        compiling=compiling,
    )


def build_perceptual(
    losses: LossOptions, device: torch.device, *, fingerprint: str = ""
) -> PerceptualLoss | None:
    """Make the perceptual distance that the options describe, or None without a perceptual loss.

    Args:
        losses: options with its weight and its network.
        device: device of the training.
        fingerprint: fingerprint of the distance that a resumed run had, which ``auto`` then means.

    Raises:
        CheckpointError: weights of the network are damaged, or of another network.
        OptionError: the network or a layer is unknown.
    """
    if losses.lambda_perceptual == 0:
        return None
    from impasto.gatys.features.distances import (  # noqa: PLC0415 - only where it is asked for
        make_perceptual_distance,
    )

    return make_perceptual_distance(
        losses.perceptual_backbone,
        losses.perceptual_weights,
        layers=losses.perceptual_layers,
        device=device,
        fingerprint=fingerprint,
    )


def build_terms(
    losses: LossOptions,
    networks: Networks,
    *,
    augment: DifferentiableAugmentation | None = None,
    perceptual: PerceptualLoss | None = None,
    seed: int,
    process: int = 0,
) -> list[LossTerm]:
    """Make the terms of the generators' objective, in the order in which they are added up.

    Args:
        losses: options with the weights and kinds of the losses.
        networks: all networks; the adversarial terms use the discriminators.
        augment: augmentation of the discriminators' input, or None.
        perceptual: distance for the perceptual terms; None: no perceptual terms.
        seed: random seed of the run.
        process: index of this process, which has its own random numbers.
    """
    paired, one_sided = "G" in networks, "G_B" not in networks
    terms = _first_terms(losses, networks, augment)
    directions: list[tuple[Direction, str]] = [("AtoB", "A"), ("BtoA", "B")]
    if one_sided:
        directions = directions[:1]
    random = partial(_random_of, seed=seed, process=process)
    if losses.lambda_palette > 0:
        terms += [
            PaletteTerm(
                f"palette_{side}",
                direction,
                palette=PaletteLoss(generator=random("palette", direction)),
                weight=losses.lambda_palette,
            )
            for direction, side in directions
        ]
    if losses.lambda_perceptual > 0 and perceptual is not None:
        look = partial(
            PerceptualTerm,
            compare=perceptual,
            targets=losses.perceptual_targets,
            paired=paired,
            weight=losses.lambda_perceptual,
        )
        terms += [look(f"perceptual_{side}", direction) for direction, side in directions]
    if losses.lambda_style > 0:
        features = FrozenFeatures(default_lite_layers()[1])
        terms += [
            StyleTerm(
                f"style_{side}",
                direction,
                style=StyleLoss(
                    features,
                    targets=losses.style_targets,
                    candidates=losses.style_candidates,
                    scales=losses.style_scales,
                    generator=random("style", direction),
                ),
                weight=losses.lambda_style,
            )
            for direction, side in directions
        ]
    if losses.lambda_strokes > 0:
        terms += [
            StrokeTerm(
                f"strokes_{side}",
                direction,
                strokes=StrokeLoss(generator=random("crops", direction)),
                weight=losses.lambda_strokes,
            )
            for direction, side in directions
        ]
    return terms + _contrastive_terms(losses, networks, seed=seed, process=process)


def _random_of(purpose: str, direction: str, *, seed: int, process: int) -> torch.Generator:
    return make_generator(seed, f"{purpose} of {direction[-1]}", process=process)


def _first_terms(
    losses: LossOptions, networks: Networks, augment: DifferentiableAugmentation | None
) -> list[LossTerm]:
    """Make the terms of the method itself: of a CycleGAN, or of pairs."""
    settings: dict[str, Any] = {
        "gan_mode": losses.gan_mode,
        "augment": augment,
        "weight": losses.lambda_gan,
    }
    if "G" in networks:
        return [
            ConditionalTerm("G_GAN", discriminator=networks["D"], **settings),
            TruePictureTerm("G_L1", weight=losses.lambda_L1),
        ]
    identity, one_sided = losses.lambda_identity, "G_B" not in networks
    terms: list[LossTerm] = [
        AdversarialTerm("G_A", "AtoB", discriminator=networks["D_A"], **settings)
    ]
    if not one_sided:
        terms += [
            AdversarialTerm("G_B", "BtoA", discriminator=networks["D_B"], **settings),
            CycleTerm("cycle_A", "AtoB", weight=losses.lambda_A),
            CycleTerm("cycle_B", "BtoA", weight=losses.lambda_B),
        ]
    if not (losses.lambda_nce > 0 and losses.nce_idt):
        # The reference weighs idt_A = G_A(B), a reconstruction of B, with lambda_B.
        terms.append(IdentityTerm("idt_A", "AtoB", weight=identity * losses.lambda_B))
    if not one_sided:
        terms.append(IdentityTerm("idt_B", "BtoA", weight=identity * losses.lambda_A))
    return terms


def _contrastive_terms(
    losses: LossOptions, networks: Networks, *, seed: int, process: int
) -> list[LossTerm]:
    """Make the contrastive terms: of inputs, and of pictures of the target domain."""
    if losses.lambda_nce == 0:
        return []
    # Park et al. 2020, section 3.3, and their code: both together weigh as much as one.
    kinds = [("nce_A", False), ("nce_idt_A", True)] if losses.nce_idt else [("nce_A", False)]
    generator = networks["G_A"]
    assert isinstance(generator, ResnetGenerator)  # noqa: S101 - checked by the options
    return [
        ContrastiveTerm(
            name,
            generator=generator,
            projector=networks["F_A"],
            layers=losses.nce_layers or default_nce_layers(generator.blocks),
            num_patches=losses.num_patches,
            temperature=losses.nce_T,
            random=make_generator(seed, f"patches of {name}", process=process),
            identity=identity,
            weight=losses.lambda_nce / len(kinds),
        )
        for name, identity in kinds
    ]


def build_loader(
    options: TrainOptions, accelerator: Accelerator, *, formats: Formats = (None, None)
) -> UnpairedLoader:
    """List both folders and make the loader of their pictures.

    Args:
        options: all options of the training.
        accelerator: device and processes.
        formats: what the numbers of A and of B mean, None for RGB of 8 bits.

    Raises:
        FolderError: a folder is missing or holds no pictures, or no pairs.
    """
    data = options.data
    domain_A, domain_B = _build_domains(
        options,
        formats,
        workers=useful_processes(data.num_threads),
        says=accelerator.is_main_process,
    )
    sampler = UnpairedSampler(
        len(domain_A),
        len(domain_B),
        batch_size=data.batch_size,
        generator=make_generator(options.run.seed, "pairs"),
        serial=data.serial_batches,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    fingerprints = {
        name: fingerprint(domain.paths, folder)
        for name, domain, folder in zip("AB", (domain_A, domain_B), data.folders, strict=True)
        if accelerator.is_main_process
    }
    return UnpairedLoader(
        (domain_A, domain_B),
        data.folders,
        sampler=sampler,
        workers=data.num_threads,
        pin_memory=accelerator.device.type == "cuda",
        fingerprints=fingerprints,
        paired=data.paired,
    )


def split_domains(options: TrainOptions) -> list[tuple[list[Path], list[Path]]]:
    """List the pictures of A and B: of each those that are trained on, and those held back.

    Raises:
        FolderError: a folder is missing, holds no pictures, or too few to hold some back.
    """
    count, seed = options.evaluation.held_back, options.run.seed
    return [
        hold_back(list_pictures(folder, arrays=not colors), count, root=folder, seed=seed)
        for folder, colors in zip(options.data.folders, options.are_colors, strict=True)
    ]


def build_sample_batch(
    options: TrainOptions, *, formats: Formats = (None, None)
) -> UnpairedBatch | None:
    """Return the pictures that samples are made from: the first of each domain, or None.

    Args:
        options: all options of the training.
        formats: what the numbers of A and of B mean, None for RGB of 8 bits.

    Raises:
        FolderError: a folder is missing or holds no pictures.
    """
    if options.displays.display_samples == "batch":
        return None
    domains = _build_domains(options, formats)
    if options.data.paired:
        return PairedPictures(*domains).first()
    A, B = (domain.first() for domain in domains)
    return None if A is None or B is None else UnpairedBatch(A=A, B=B)


def _with_projector(
    networks: Networks, options: TrainOptions, generator: torch.Generator
) -> Networks:
    """Add the network of the contrastive loss."""
    G_A = networks["G_A"]
    assert isinstance(G_A, ResnetGenerator)  # noqa: S101 - checked by the options
    layers = options.losses.nce_layers or default_nce_layers(G_A.blocks)
    projector = PatchProjector(G_A, layers, width=options.losses.netF_nc)
    # Park et al. 2020, their code: as the other networks are drawn.
    init_weights(
        projector,
        init_type=options.networks.init_type,
        gain=options.networks.init_gain,
        generator=generator,
    )
    return Networks({**networks, "F_A": projector})


def _networks_at_start(
    options: TrainOptions,
    start: Mapping[str, Mapping[str, Tensor]],
    announce: Callable[[str], None],
) -> Networks:
    """Make all networks, on the CPU, and load the weights that they start from."""
    seed = options.run.seed
    networks = build_networks(
        options.networks, generator=make_generator(seed, "weights"), paired=options.data.paired
    )
    if options.losses.lambda_nce > 0:
        networks = _with_projector(networks, options, make_generator(seed, "contrastive"))
    if start:
        for line in _load_start(networks, start):
            announce(line)
    if options.networks.freeze == "encoder":
        freeze_encoders(networks)
    return networks


def _load_start(networks: Networks, start: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    """Load the weights that networks start from; say of each network what it starts from.

    Raises:
        CheckpointError: those of a generator do not fit; the message names them.
    """
    lines = []
    for name, network in networks.items():
        if name not in start:
            lines.append(f"{name} starts from random weights: the model has none for it")
            continue
        weights = dict(start[name])
        for key, value in network.state_dict().items():
            if key.startswith(_ADDED) and key not in weights:
                weights[key] = value
                lines.append(f"{name}: {key} starts from random weights, the model has none for it")
        try:
            load_weights(network, weights, what=f"the network {name}")
        except CheckpointError as error:
            if _is(name, "G"):
                raise
            lines.append(f"{name} starts from random weights: the model's {error}")
        else:
            lines.append(f"{name} starts from the model's weights")
    return lines


def _show_pictures(
    networks: Networks, terms: Sequence[LossTerm], options: TrainOptions, formats: Formats
) -> None:
    """Show pictures of their domain to discriminators on frozen features and to stroke losses.

    Raises:
        FolderError: a folder is missing, or holds no pictures that can be read.
    """
    judges = {name: D for name, D in networks.items() if isinstance(D, ProjectedDiscriminator)}
    strokes = {term.direction: term.strokes for term in terms if isinstance(term, StrokeTerm)}
    if not judges and not strokes:
        return
    domains = _build_domains(options, formats)
    for domain, name, direction in zip(domains, ("D_B", "D_A"), ("BtoA", "AtoB"), strict=True):
        random = partial(make_generator, options.run.seed)
        if name in judges:
            step = max(1, len(domain) // _STANDARD_PICTURES)
            some = range(0, len(domain), step)[:_STANDARD_PICTURES]
            pictures = domain.drawn(some, random(f"pictures that {name} is standardized by"))
            judges[name].standardize([normalize(each) for each in pictures])
        if direction in strokes:
            count = count_pictures(options.data.crop_size)
            # Of fewer, each several times, cut elsewhere; of more, some at even distances.
            places = [place * max(len(domain), count) // count for place in range(count)]
            pictures = domain.drawn(places, random(f"crops that {direction} is compared with"))
            device = next(networks.parameters()).device
            strokes[direction].show(map(normalize, pictures), device=device)


def _build_domains(
    options: TrainOptions, formats: Formats, *, workers: int = 0, says: bool = False
) -> tuple[Domain, Domain]:
    data = options.data
    prepare = partial(
        Preprocessing,
        mode=data.preprocess,
        load_size=data.load_size,
        crop_size=data.crop_size,
        flip=data.flip,
        stride=options.networks.stride,
        smallest=options.networks.smallest,
    )
    halves: tuple[Half | None, Half | None] = (None, None)
    if data.paired:
        listed, lonely = list_pairs(*data.folders, arrays=formats != (None, None))
        if lonely and says:
            _log.warning(
                "%d pictures have no partner of their name in the other folder, and are passed "
                "over: %s%s",
                len(lonely),
                ", ".join(map(str, lonely[:_MOST_NAMED])),
                ", ..." if len(lonely) > _MOST_NAMED else "",
            )
        paths = [[pair[side] for pair in listed] for side in (0, 1)]
        if data.folders[0].resolve() == data.folders[1].resolve():
            halves = ("left", "right") if data.direction == "AtoB" else ("right", "left")
    else:
        paths = [files for files, _ in split_domains(options)]
    domain_A, domain_B = (
        Domain(
            some[: data.max_dataset_size],
            preprocessing=prepare(samples=samples),
            cache=data.cache_images,
            workers=workers,
            reduced_decoding=data.reduced_decoding,
            half=half,
        )
        for some, samples, half in zip(paths, formats, halves, strict=True)
    )
    return domain_A, domain_B


def _is(network: str, kind: str) -> bool:
    """Whether a network is a generator, ``G``, or a discriminator, ``D``."""
    return network.partition("_")[0] == kind


def build_doctor(options: TrainOptions) -> CycleganDoctor:
    """Make the doctor, which looks for known failures."""
    return CycleganDoctor(
        gan_mode=options.losses.gan_mode,
        num_threads=options.data.num_threads,
        cache_images=options.data.cache_images,
    )


def _replay_pools(options: TrainOptions, process: int) -> ReplayPools:
    size, count = options.losses.pool_size, options.data.batch_size_D

    def pool(purpose: str) -> ImagePool:
        generator = make_generator(options.run.seed, f"pool of {purpose}", process=process)
        return ImagePool(size, generator=generator)

    return ReplayPools(
        (pool("fake_A"), pool("fake_B")),
        reals=(pool("real_A"), pool("real_B")) if count > 0 else None,
        count=count,
    )


def _augment(
    policy: Sequence[str], generator: torch.Generator
) -> DifferentiableAugmentation | None:
    return DifferentiableAugmentation(policy, generator=generator) if policy else None


def _discriminator(
    options: NetworkOptions, generator: torch.Generator, in_channels: int
) -> nn.Module:
    if options.netD == "projected":
        return ProjectedDiscriminator(channels=options.ndf, generator=generator)
    if options.netD == "pixel":
        return PixelDiscriminator(channels=options.ndf, norm=options.norm, in_channels=in_channels)
    layers = 3 if options.netD == "basic" else options.n_layers_D
    return PatchDiscriminator(
        channels=options.ndf, layers=layers, norm=options.norm, in_channels=in_channels
    )


def _averages(networks: Networks, decay: float) -> dict[str, WeightAverage]:
    if decay == 0:
        return {}
    return {
        name: WeightAverage(network, decay=decay)
        for name, network in networks.items()
        if _is(name, "G")
    }
