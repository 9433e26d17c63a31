"""Losses for painters, which look at pictures through networks.

:class:`ProjectedDiscriminator` judges what a frozen EfficientNet-Lite0 sees (Sauer et al. 2021,
Projected GANs): nothing has to learn what textures are before it can tell paintings from
translations.

:class:`StyleLoss` compares means and covariances of its features over all positions (after Gatys et
al. 2016; Li et al. 2017 show that both say the same). With which painting, decides how it looks:
skies learn strokes from skies only if they are compared with skies. So each translation is compared
with the one of several crops of paintings whose light, color and detail stand to other paintings as
those of the photograph stand to other photographs.

:class:`ContrastiveTerm` asks that patches of a translation can be told to be those of its input, by
what the generator's own encoder makes of them (Park et al. 2020, CUT).
"""

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.cyclegan.networks import Generator, ResnetGenerator
from impasto.cyclegan.terms import LossTerm, Translations
from impasto.data.datasets import UnpairedBatch
from impasto.data.tensors import to_color
from impasto.gatys.features.lite import Lite, default_lite_layers, load_lite
from impasto.gatys.features.smoothing import full_precision
from impasto.options.errors import OptionError
from impasto.options.losses import StyleTargets
from impasto.options.networks import Direction
from impasto.runs.capture import on_device

__all__ = [
    "ContrastiveTerm",
    "FrozenFeatures",
    "PatchProjector",
    "ProjectedDiscriminator",
    "StyleLoss",
    "StyleTerm",
    "default_nce_layers",
    "describe_crops",
    "encode",
    "moment_distance",
    "patch_nce",
]

_LAYERS = tuple(f"block{block}.expand" for block in (1, 3, 5, 7))
# Heads with spectral norm change slowly along their input, so that scores are small without it.
_GAIN = 4.0
_SLOPE = 0.2
# Of a channel's deviation: channels that hardly ever answer are not blown up.
_LEAST_DEVIATION = 0.05


class FrozenFeatures:
    """EfficientNet-Lite0 for pictures in [-1, 1], outside of the modules that are saved.

    Args:
        layers: layers that are returned.
        network: the network; that of the installed package unless given.

    Raises:
        CheckpointError: its weights are not installed.
    """

    def __init__(self, layers: Sequence[str], *, network: Lite | None = None) -> None:
        self.layers = tuple(layers)
        self._network = load_lite(layers=self.layers) if network is None else network
        self.channels = {layer: self._network.channels[layer] for layer in self.layers}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Return features (N, C, h, w), float32, by layer.

        Args:
            images: RGB, (N, 3, H, W), in [-1, 1]; or gray, (N, 1, H, W), which it sees as RGB.
        """
        if next(self._network.parameters()).device != images.device:
            self._network.to(images.device)
        maps = self._network((to_color(images) + 1) / 2, list(self.layers))
        return {layer: full_precision(features) for layer, features in maps.items()}


class ProjectedDiscriminator(nn.Module):
    """Judges what a frozen EfficientNet-Lite0 sees of a picture, at 2, 4, 8 and 16 px per position.

    Input: RGB, (N, 3, H, W), float in [-1, 1], sides of at least 32 pixels. Output: scores
    (N, 4, H/2, W/2) without sigmoid, one channel for each depth; coarser ones are repeated, so that
    a mean over all scores weighs the depths alike, and exactly so at multiples of 16 pixels.

    Each head is a 1 x 1 convolution, a 3 x 3 convolution and a 1 x 1 convolution with spectral
    normalization (Miyato et al. 2018) on standardized features. Departure: Sauer et al. mix the
    features of depths by random convolutions before the heads; here they go to them as they are,
    and the network is EfficientNet-Lite0.

    Args:
        channels: number of filters of each head.
        features: frozen features; those of the installed EfficientNet-Lite0 unless given.
        generator: random generator of the weights, on the CPU.

    Attributes:
        compilable: False: torch.compile has not been tried on it.

    Raises:
        CheckpointError: the weights of EfficientNet-Lite0 are not installed.
    """

    compilable = False

    def __init__(
        self,
        *,
        channels: int = 32,
        features: FrozenFeatures | None = None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self._features = FrozenFeatures(_LAYERS) if features is None else features
        # Spectral normalization draws its first vectors from torch's own generator.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            self.heads = nn.ModuleList(
                _head(count, channels) for count in self._features.channels.values()
            )
        for place, count in enumerate(self._features.channels.values()):
            self.register_buffer(f"mean_{place}", torch.zeros(1, count, 1, 1))
            self.register_buffer(f"deviation_{place}", torch.ones(1, count, 1, 1))

    @torch.no_grad()
    def standardize(self, pictures: Sequence[Tensor]) -> None:
        """Measure mean and deviation of each channel, by which the heads' inputs are standardized.

        Args:
            pictures: real pictures of the domain, each RGB, (3, H, W), in [-1, 1]; at least one.
        """
        device = next(self.heads.parameters()).device
        maps = [self._features(picture[None].to(device)) for picture in pictures]
        for place, layer in enumerate(self._features.layers):
            values = torch.cat([each[layer].flatten(2) for each in maps], dim=2)
            mean, deviation = values.mean(2), values.std(2, correction=0)
            self.get_buffer(f"mean_{place}").copy_(mean[:, :, None, None])
            self.get_buffer(f"deviation_{place}").copy_(deviation[:, :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (N, 4, H/2, W/2) for images (N, 3, H, W) in [-1, 1]."""
        maps: Mapping[str, Tensor] = self._features(images)
        scores = []
        for place, head in enumerate(self.heads):
            mean, deviation = (self.get_buffer(f"{name}_{place}") for name in ("mean", "deviation"))
            standard = (maps[self._features.layers[place]] - mean) / (deviation + _LEAST_DEVIATION)
            scores.append(_GAIN * head(standard))
        size = scores[0].shape[2:]
        return torch.cat([F.interpolate(each, size, mode="nearest") for each in scores], dim=1)


def _head(channels: int, width: int) -> nn.Module:
    normalized = nn.utils.parametrizations.spectral_norm
    return nn.Sequential(
        normalized(nn.Conv2d(channels, width, 1)),
        nn.LeakyReLU(_SLOPE),
        normalized(nn.Conv2d(width, width, 3, padding=1)),
        nn.LeakyReLU(_SLOPE),
        normalized(nn.Conv2d(width, 1, 1)),
    )


_KNOWN = 256  # pictures of each domain that say what is usual there
_DECAY = 0.99  # of the moments of the collection
_SHIFT_PX = 8
# No distance d counts for more, as d / (1 + d / 20): crops of one color have hardly a covariance
# to be relative to.
_MOST = 20.0
_LEAST_ENERGY = 1e-6
_SIDE = 16  # of the small pictures that crops are described by
# Lightness, and what red and green have more than the others.
_OPPONENTS = ((0.299, 0.587, 0.114), (0.5, -0.25, -0.25), (-0.25, 0.5, -0.25))
_SEEN = round(_DECAY / (1 - _DECAY))  # pictures after which the decay is _DECAY


def describe_crops(images: Tensor) -> Tensor:
    """Return six numbers for each picture, by which crops are matched, (N, 6).

    Mean lightness and two colors, the logarithms of the spread of lightness and of the mean step
    between neighbors, and how much lighter the lower half is than the upper one; all of the picture
    reduced to 16 x 16 pixels.

    Args:
        images: RGB, (N, 3, H, W), in [-1, 1].
    """
    small = F.adaptive_avg_pool2d((to_color(images).float() + 1) / 2, _SIDE)
    red, green, blue = small.unbind(1)
    # Numbers, not a tensor of them, which would have to be sent to the device in each step.
    light, red, green = ((r * red + g * green) + b * blue for r, g, b in _OPPONENTS)
    steps = [light.diff(dim=axis).abs().mean((1, 2)) for axis in (1, 2)]
    values = [
        *(each.mean((1, 2)) for each in (light, red, green)),
        (light.flatten(1).std(1) + 0.01).log(),
        (steps[0] + steps[1] + 0.003).log(),
        light[:, _SIDE // 2 :].mean((1, 2)) - light[:, : _SIDE // 2].mean((1, 2)),
    ]
    return torch.stack(values, dim=1)


def moment_distance(made: tuple[Tensor, Tensor], target: tuple[Tensor, Tensor]) -> Tensor:
    """Compare means and covariances of features: squared distances relative to the target's.

    Args:
        made: means (N, C) and covariances (N, C, C).
        target: those to reach, of the same shapes.

    Returns:
        Sum d of both distances, as d / (1 + d / 20), which is below 20; the mean over N, a scalar.
    """
    parts = []
    for ours, theirs in zip(made, target, strict=True):
        apart, energy = (values.square().flatten(1).sum(1) for values in (ours - theirs, theirs))
        parts.append(apart / (energy + _LEAST_ENERGY))
    apart = parts[0] + parts[1]
    return (apart / (1 + apart / _MOST)).mean()


class StyleLoss:
    """Compares the moments of features with those of matching real pictures, or of all of them.

    Args:
        features: frozen features; stem and the expansions of blocks 1 to 5 and 7 of the installed
            EfficientNet-Lite0 unless given.
        targets: ``nearest`` compares each translation with the one of the last real pictures that
            matches its input; ``collection`` compares a batch of translations with the running
            moments of all real pictures; ``both`` takes the mean.
        candidates: number of real pictures, the newest ones, among which the nearest is chosen.
        scales: number of sizes at which pictures are compared, each half of the one before.
        generator: random generator of shifts, on the CPU.
    """

    def __init__(
        self,
        features: FrozenFeatures | None = None,
        *,
        targets: StyleTargets,
        candidates: int,
        scales: int = 1,
        generator: torch.Generator,
    ) -> None:
        self._features = FrozenFeatures(default_lite_layers()[1]) if features is None else features
        self._scales = scales
        self._targets, self._count, self._generator = targets, candidates, generator
        self._candidates: Tensor | None = None
        self._usual: dict[str, Tensor] = {}
        self._collection: dict[str, Tensor] = {}
        # Calls that the moments of each size are of: a size, or the whole, may be new to a run.
        self._seen = [0] * scales

    @property
    def settled(self) -> bool:
        """Whether each further call does the same work, in the same memory.

        That is so for batches of one size, once as much is remembered as ever will be.
        """
        full = self._targets == "collection" or (
            self._candidates is not None
            and len(self._candidates) == self._count
            and all(len(self._usual.get(name, ())) == _KNOWN for name in ("source", "real"))
        )
        return full and (self._targets == "nearest" or min(self._seen) == _SEEN)

    def __call__(self, made: Tensor, source: Tensor, real: Tensor) -> Tensor:
        """Return the distance, a scalar, at least 0, and remember the pictures.

        Args:
            made: translations, RGB, (N, 3, H, W), in [-1, 1], for which the loss has gradients.
            source: their inputs, of the same shape and range.
            real: real pictures of the domain of the translations, (M, 3, H, W).
        """
        source, real = source.detach(), real.detach()
        nearest = None if self._targets == "collection" else self._match(source, real)
        distances = []
        for scale in range(self._scales):
            features = self._features(self._shift(_halved(made, scale)))
            if nearest is not None:
                with torch.no_grad():
                    theirs = self._features(self._shift(_halved(nearest, scale)))
                distances.append(_compare(features, {k: _moments(v) for k, v in theirs.items()}))
            if self._targets != "nearest":
                distances.append(_compare(_pooled(features), self._all_moments(real, scale)))
        return torch.stack(distances).mean()

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered, on the CPU, and the state of the random generator."""
        candidates = self._candidates
        # Copies, since the next steps write to this memory.
        return {
            "candidates": None if candidates is None else candidates.to("cpu", copy=True),
            "usual": {name: values.to("cpu", copy=True) for name, values in self._usual.items()},
            "collection": {
                name: values.to("cpu", copy=True) for name, values in self._collection.items()
            },
            "seen": list(self._seen),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        """Continue from a saved state.

        Where targets or scales were others, what these need begins anew, and what they do not need
        is forgotten: it would be old once it is needed again.
        """
        candidates = None if self._targets == "collection" else state["candidates"]
        self._candidates = None if candidates is None else candidates.to(device, copy=True)
        usual = {} if candidates is None else state["usual"]
        self._usual = {name: values.to(device, copy=True) for name, values in usual.items()}
        seen = state["seen"]
        if isinstance(seen, int):  # a state of earlier versions, which counted all sizes as one
            seen = [seen] * self._scales
        collection = {} if self._targets == "nearest" else state["collection"]
        self._collection, self._seen = {}, [0] * self._scales
        for scale in range(self._scales):
            known = [name for name in collection if _scale_of(name) == scale]
            if known and scale < len(seen):
                self._seen[scale] = min(seen[scale], _SEEN)
                for name in known:
                    self._collection[name] = collection[name].to(device, copy=True)
        self._generator.set_state(state["generator"].cpu())

    def _match(self, source: Tensor, real: Tensor) -> Tensor:
        """Return the candidate nearest to each input, as each stands in its own domain."""
        earlier = self._candidates
        if earlier is None or earlier.shape[1:] != real.shape[1:]:
            earlier = real[:0]
        candidates = torch.cat([real, earlier])[: self._count]
        self._candidates = _remember(self._candidates, candidates)
        ours = self._standard("source", source, source)
        theirs = self._standard("real", real, candidates)
        nearest = (ours[:, None] - theirs).square().sum(2).argmin(1)
        return candidates.index_select(0, nearest)

    def _standard(self, domain: str, new: Tensor, pictures: Tensor) -> Tensor:
        """Describe pictures, relative to what is usual in their domain."""
        described = describe_crops(new)
        known = torch.cat([described, self._usual.get(domain, described[:0])])[:_KNOWN]
        self._usual[domain] = _remember(self._usual.get(domain), known)
        spread = known.std(0, correction=0).clamp_min(1e-3)
        return (describe_crops(pictures) - known.mean(0)) / spread

    def _all_moments(self, real: Tensor, scale: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the running moments of all real pictures, these included, at one size."""
        with torch.no_grad():
            new = _pooled(self._features(self._shift(_halved(real, scale))))
        decay = min(_DECAY, self._seen[scale] / (self._seen[scale] + 1))
        self._seen[scale] = min(self._seen[scale] + 1, _SEEN)
        size = f"1/{2**scale} " if scale else ""
        found = {}
        for layer, features in new.items():
            mean, covariance = _moments(features)
            raw = covariance + mean[:, :, None] * mean[:, None]
            names = f"{size}{layer} mean", f"{size}{layer} square"
            for name, value in zip(names, (mean, raw), strict=True):
                old = self._collection.get(name, value)
                moment = torch.lerp(value, old, decay)
                self._collection[name] = _remember(self._collection.get(name), moment)
            mean, raw = (self._collection[name] for name in names)
            found[layer] = mean, raw - mean[:, :, None] * mean[:, None]
        return found

    def _shift(self, images: Tensor) -> Tensor:
        """Move all pictures by up to 8 px, mirrored at the border.

        The network looks at every second to eighth pixel; patterns on that grid would stay unseen.
        """
        most = min(_SHIFT_PX, min(images.shape[2:]) - 1)
        down, right = on_device(partial(self._draw, most), images.device)
        for axis, shift in ((2, down), (3, right)):
            size = images.shape[axis]
            places = (torch.arange(size, device=images.device) + shift).abs()
            places = size - 1 - (size - 1 - places).abs()
            images = images.index_select(axis, places)
        return images

    def _draw(self, most: int) -> Tensor:
        return torch.randint(-most, most + 1, (2,), generator=self._generator)


class StyleTerm(LossTerm):
    """The collection style loss of the translations of one direction.

    Args:
        name: name of the term in the log.
        direction: direction whose translations are compared with their target domain.
        style: style loss, which remembers pictures.
        weight: factor of the term in the objective.
    """

    capturable = True

    def __init__(
        self, name: str, direction: Direction, *, style: StyleLoss, weight: float = 1.0
    ) -> None:
        super().__init__(name, weight=weight)
        self.state_key = "style"
        self._direction: Direction = direction
        self._style = style

    def __call__(self, batch: UnpairedBatch, made: Translations) -> Tensor:
        """Return the distance for one batch."""
        images = made.of(self._direction, batch)
        return self._style(images.fake, images.real, images.target)

    @property
    def settled(self) -> bool:
        """Whether the loss remembers as much as it ever will."""
        return self._style.settled

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state of the loss."""
        return self._style.state_dict()

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        """Continue from a saved state."""
        self._style.load_state_dict(state, device=device)


def _scale_of(name: str) -> int:
    """Return how often the pictures were halved whose moments have that name."""
    size = name.split(" ", maxsplit=1)[0]
    return int(size.removeprefix("1/")).bit_length() - 1 if size.startswith("1/") else 0


def _remember(known: Tensor | None, new: Tensor) -> Tensor:
    """Return a copy of what is new: in place, where a captured step looks for it, if it fits."""
    if known is None or known.shape != new.shape:
        return new.clone()
    return known.copy_(new)


def _compare(
    features: Mapping[str, Tensor], targets: Mapping[str, tuple[Tensor, Tensor]]
) -> Tensor:
    """Return the mean distance over the layers."""
    distances = [moment_distance(_moments(features[name]), targets[name]) for name in features]
    return torch.stack(distances).mean()


def _halved(images: Tensor, times: int) -> Tensor:
    """Return pictures whose sides are halved so many times, by means of squares."""
    return F.avg_pool2d(images, 2**times) if times else images


def _pooled(features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the positions of all pictures of a batch, (1, C, N h, w)."""
    return {
        name: torch.cat(list(torch.split(values, 1)), dim=2) for name, values in features.items()
    }


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return means (N, C) and covariances (N, C, C) over the positions of (N, C, h, w)."""
    with torch.autocast(features.device.type, enabled=False):
        flat = features.float().flatten(2)
        mean = flat.mean(2)
        centered = flat - mean[:, :, None]
        return mean, centered @ centered.transpose(1, 2) / flat.shape[2]


def default_nce_layers(blocks: int) -> tuple[int, ...]:
    """Return the pixels, both strided convolutions, and the first and the middle residual block.

    Departure: Park et al. take the layers 0, 4, 8, 12 and 16 of nine blocks.

    Args:
        blocks: number of residual blocks.
    """
    return tuple(dict.fromkeys((0, 4, 7, 10, 10 + blocks // 2)))


def encode(generator: Generator, images: Tensor, layers: Sequence[int]) -> list[Tensor]:
    """Return what a ResNet makes of images in some layers of its encoder, and compute no further.

    Without stroke noise: what is compared is what pictures show. The same noise for a picture and
    its translation would mark each place in both, so that places could be told without looking at
    the pictures; noise drawn twice would only hide what they show, and teach the generator not to
    use it.

    Args:
        generator: a :class:`~impasto.cyclegan.networks.ResnetGenerator`.
        images: RGB, (N, 3, H, W), in [-1, 1].
        layers: places in the generator's sequence, ascending: 0 pads the pixels, 4 and 7 are the
            strided convolutions, 10 and on the residual blocks; up to the last of these.

    Raises:
        OptionError: a layer lies behind the encoder, or the generator is no ResNet.
    """
    if not isinstance(generator, ResnetGenerator):
        raise OptionError("lambda_nce", "looks into the layers of a ResNet; expected such a --netG")
    last = 9 + generator.blocks
    if not layers or min(layers) < 0 or max(layers) > last:
        raise OptionError(
            "nce_layers",
            f"expected numbers from 0 to {last}, the last residual block, got "
            f"{' '.join(map(str, layers)) or 'none'}",
        )
    found = {}
    for place, layer in enumerate(generator.model[: max(layers) + 1]):
        images = layer(images)
        if place in layers:
            # The next layer may work in place.
            found[place] = images.clone() if place < last else images
    return [found[place] for place in layers]


class PatchProjector(nn.Module):
    """Two linear layers for each layer of the encoder, then vectors of length 1 (F of CUT).

    Args:
        generator: generator whose features it will see.
        layers: layers of the generator's encoder.
        width: number of values of a vector; Park et al. 2020, appendix C.1: 256.

    Raises:
        OptionError: a layer lies behind the encoder, or the generator is no ResNet.
    """

    def __init__(self, generator: Generator, layers: Sequence[int], *, width: int = 256) -> None:
        super().__init__()
        side = 2 * generator.smallest
        with torch.no_grad():
            shapes = encode(
                copy.deepcopy(generator).to("meta"),
                torch.zeros(1, generator.in_channels, side, side, device="meta"),
                layers,
            )
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(shape.shape[1], width), nn.ReLU(), nn.Linear(width, width))
            for shape in shapes
        )

    def forward(self, patches: Sequence[Tensor]) -> list[Tensor]:
        """Return vectors (N, P, width) of length 1, for features (N, P, C) of each layer."""
        return [
            F.normalize(full_precision(project(each)), dim=2)
            for project, each in zip(self.projections, patches, strict=True)
        ]


def patch_nce(query: Tensor, key: Tensor, *, temperature: float) -> Tensor:
    """Return the cross-entropy of finding each patch among all patches of its picture (eq. 3, 4).

    Args:
        query: vectors of the translations' patches, (N, P, D), of length 1.
        key: vectors of the same patches of the inputs, (N, P, D), of length 1; they get no
            gradient.
        temperature: tau; Park et al. 2020, appendix C.1: 0.07.

    Returns:
        The mean over patches and pictures, a scalar; log P where nothing is found.
    """
    similarity = query @ key.detach().transpose(1, 2) / temperature
    right = torch.arange(similarity.shape[2], device=similarity.device)
    return F.cross_entropy(similarity.flatten(0, 1), right.repeat(len(similarity)))


class ContrastiveTerm(LossTerm):
    """How well patches of a translation are told to be those of its input, layer by layer.

    Args:
        name: name of the term in the log.
        generator: generator of the direction, whose encoder makes the features.
        projector: network that turns them into vectors; it is trained with the generator.
        layers: layers of the encoder.
        num_patches: number of places that are compared in each layer; Park et al. 2020: 256.
        temperature: tau of :func:`patch_nce`.
        random: random generator of the places, on the CPU.
        identity: compare the target pictures with their own translations instead.
        weight: factor of the term in the objective.
    """

    capturable = True

    def __init__(  # noqa: PLR0913
        self,
        name: str,
        *,
        generator: Generator,
        projector: nn.Module,
        layers: Sequence[int],
        num_patches: int,
        temperature: float,
        random: torch.Generator,
        identity: bool = False,
        weight: float = 1.0,
    ) -> None:
        super().__init__(name, weight=weight)
        self.state_key = "contrastive"
        self._generator, self._projector = generator, projector
        self._layers, self._count, self._temperature = tuple(layers), num_patches, temperature
        self._random, self._identity = random, identity

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state of the random generator."""
        return {"generator": self._random.get_state()}

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        """Continue from a saved state."""
        del device
        self._random.set_state(state["generator"].cpu())

    def __call__(self, batch: UnpairedBatch, made: Translations) -> Tensor:
        """Return the mean over the layers; 0 if there are no translations to compare."""
        images = made.of("AtoB", batch)
        before, after = images.real, images.fake
        if self._identity:
            if images.identity is None:
                return images.fake.new_zeros(())
            before, after = images.target, images.identity
        look = partial(encode, self._generator, layers=self._layers)
        with torch.no_grad():
            keys = look(images=before)
        queries = look(images=after)
        places = [self._choose(features) for features in keys]
        with torch.no_grad():
            known = self._projector(_take(keys, places))
        asked = self._projector(_take(queries, places))
        losses = [
            patch_nce(query, key, temperature=self._temperature)
            for query, key in zip(asked, known, strict=True)
        ]
        return torch.stack(losses).mean()

    def _choose(self, features: Tensor) -> Tensor:
        """Draw places of a layer, the same for all pictures of a batch."""
        count = features.shape[2] * features.shape[3]
        return on_device(partial(self._draw, count), features.device)

    def _draw(self, count: int) -> Tensor:
        return torch.randperm(count, generator=self._random)[: self._count]


def _take(features: Sequence[Tensor], places: Sequence[Tensor]) -> list[Tensor]:
    """Return the chosen positions of each layer, (N, P, C)."""
    return [
        each.flatten(2).index_select(2, chosen).transpose(1, 2)
        for each, chosen in zip(features, places, strict=True)
    ]
