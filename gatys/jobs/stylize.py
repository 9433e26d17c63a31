"""The whole stylization, from options to a picture: scale by scale, from coarse to fine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.gatys.build import (
    build_backbone,
    build_memory_estimate,
    build_method,
    build_objective,
    build_settings,
)
from impasto.gatys.colors import keep_colors
from impasto.gatys.features.make import Backbone
from impasto.gatys.inputs import (
    Pictures,
    alpha_at,
    picture_image,
    read_pictures,
    start_at,
    style_side,
    style_size,
)
from impasto.gatys.masks import MaskedRegion, compose_untouched, resize_mask
from impasto.gatys.memory import MemoryEstimate, MemoryPlan, plan_memory
from impasto.gatys.optim.captured import choosing_algorithms
from impasto.gatys.optim.iterates import Iterate, Watch, Watcher
from impasto.gatys.optim.loop import Outcome, optimize
from impasto.gatys.presets import Finish, Preset
from impasto.gatys.scales import Scale, add_detail, enlarge, plan_scales, scale_sizes, widen
from impasto.options.errors import PictureError
from impasto.options.stylize import StylizeOptions
from impasto.runs.devices import choose_precision, computing, describe_computing
from impasto.runs.memory import gigabytes, usable_memory
from impasto.runs.processes import pick_device, return_freed_memory

__all__ = ["Plan", "StylizeResult", "stylize"]

# Gradients of pixels are smaller than what float16 holds.
_LOSS_SCALES = {"fp16": 1024.0}


def _ignore(_: object) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The resolved plan of a stylization, known before it begins.

    Attributes:
        backbone: name of the feature network.
        preset: name of the preset.
        scales: sizes of the run, from coarse to fine.
        memory_bytes: estimated memory of the run, in bytes.
        tile_px: side of the tiles in which the network sees the largest scale, in pixels, since the
            whole would not fit into memory; None: it sees the whole.
        device: device that will compute.
        threads: number of threads on the processor.
        mixed_precision: precision of the feature network: ``no``, ``fp16`` or ``bf16``.
        files: all files that were read, weights included.
        finish: function that turns an iterate's image, (1, 3, H, W), into a finished picture, as
            for the result: RGB, (H, W, 3), float32, with the content's colors and untouched
            regions, where the options ask for them.
        alpha_at: function that returns the content's transparency for a height and width, (H, W),
            uint8; None where nothing is transparent.
    """

    backbone: str
    preset: str
    scales: Sequence[Scale]
    memory_bytes: int
    tile_px: int | None
    device: torch.device
    threads: int
    mixed_precision: str
    files: Sequence[Path]
    finish: Callable[[torch.Tensor], NDArray[np.float32]]
    alpha_at: Callable[[int, int], NDArray[np.uint8] | None]

    @property
    def evaluations(self) -> int:
        """Number of evaluations of the losses, at all scales together."""
        return self.scales[-1].before + self.scales[-1].iterations

    def __str__(self) -> str:
        last = self.scales[-1]
        network = "no network" if self.backbone == "pixels" else self.backbone
        where = describe_computing(self.device, self.mixed_precision, self.threads)
        return (
            f"preset {self.preset} with {network} on {where}: {last.width} x {last.height} pixels "
            f"in {last.scales} scale{'s' * (last.scales > 1)}, about "
            f"{gigabytes(self.memory_bytes)} of memory"
            f"{f', in tiles of {self.tile_px} pixels' if self.tile_px else ''}"
        )


@dataclass(frozen=True, kw_only=True)
class StylizeResult:
    """The result of a stylization.

    Attributes:
        image: stylized picture, RGB, (H, W, 3), float32, sRGB in [0, 1].
        alpha: the content's transparency, (H, W), uint8, 0 is transparent; None: nothing is.
        settings: settings resolved from the preset and the options.
        backbone: feature network and the source of its weights.
        pictures: input pictures.
        losses: final losses at the last scale, by name.
        evaluations: number of evaluations of the losses, at all scales together.
        seconds: wall-clock time of the optimization.
        stopped: how far the run had come when it was stopped early, in words; empty if it was not.
            If it was stopped at a coarse scale, the picture is enlarged to the final size.
        statements: one sentence about the outcome of each scale.
        device: device that computed the result.
        mixed_precision: precision of the feature network: ``no``, ``fp16`` or ``bf16``.
        files: all files that were read, weights included.
    """

    image: NDArray[np.float32] = field(repr=False)
    alpha: NDArray[np.uint8] | None = field(repr=False)
    settings: Preset
    backbone: Backbone
    pictures: Pictures = field(repr=False)
    losses: dict[str, float]
    evaluations: int
    seconds: float
    stopped: str
    statements: Sequence[str]
    device: torch.device
    mixed_precision: str
    files: Sequence[Path]


def stylize(
    options: StylizeOptions,
    *,
    begin: Callable[[Plan], None] = _ignore,
    watcher: Watcher = _ignore,
    every: int = 50,
    stop: Callable[[], bool] = _never,
) -> StylizeResult:
    """Render a picture in the style of others (Gatys et al. 2016).

    Args:
        options: all options of the stylization; this function writes nothing to ``output``.
        begin: called once with the plan, before anything is computed.
        watcher: called with an iterate every ``every`` evaluations and at the end of each scale.
        every: number of evaluations between iterates.
        stop: called after each evaluation; if it returns True, the run ends with the best picture
            so far.

    Raises:
        ImpastoError: a picture, a file of weights or an option cannot be used, there is not
            enough memory, or no finite picture was found.
    """
    with computing(threads=options.threads):
        return _stylize(options, begin, partial(Watch, tell=watcher, every=every, stop=stop))


def _stylize(
    options: StylizeOptions, begin: Callable[[Plan], None], watch: Callable[..., Watch]
) -> StylizeResult:
    settings = build_settings(options)
    cuts = {"auto": settings.cut_frames, "cut": True, "keep": False}
    pictures = read_pictures(options, cut_frames=cuts[options.style_frames])
    device = pick_device(options.device)
    precision = choose_precision(options.mixed_precision, device)
    options = replace(options, mixed_precision=precision)
    backbone = build_backbone(options, settings)
    scales = _plan_scales(options, settings, backbone, pictures)
    last = scales[-1]
    _check_styles(options, settings, backbone, pictures, scales)
    estimate = replace(
        build_memory_estimate(settings, backbone.network.to(device)),
        style_share=_style_share(options, pictures, last),
    )
    margin = settings.margin
    fitted = _fit_into_memory(estimate, scales, options.memory_bytes, device, margin)
    plan = Plan(
        backbone=backbone.name,
        preset=settings.name,
        scales=scales,
        memory_bytes=max(fit.bytes for fit in fitted),
        tile_px=fitted[-1].tile_px,
        device=device,
        threads=torch.get_num_threads(),
        mixed_precision=precision,
        files=[*pictures.files, *([backbone.weights.path] if backbone.weights else [])],
        finish=partial(_finish_picture, options=options, pictures=pictures),
        alpha_at=partial(alpha_at, pictures),
    )
    begin(plan)
    initial = _starts(options, settings, pictures, device)
    start = image = initial(scales[0])
    outcomes: list[Outcome] = []
    for scale, memory in zip(scales, fitted, strict=True):
        before, size = start, (scale.height, scale.width)
        start = initial(scale) if settings.kept_detail else start
        image = add_detail(image, before, start, settings.kept_detail) if outcomes else image
        # Moments of steps that had become tiny mislead the first, large ones at the next scale.
        carried = settings.schedule == "constant" and outcomes
        state = outcomes[-1].state if carried else None
        current = settings.finishing() if scale.finishing else settings
        objective = build_objective(
            options, current, backbone, pictures, scale, device, memory.tile_px
        )
        with choosing_algorithms(device):
            outcome = optimize(
                widen(enlarge(image, *size), margin),
                objective,
                method=build_method(current, scale.iterations),
                iterations=scale.iterations,
                average=settings.average_decay or None,
                watch=_without_margin(
                    watch(scale=scale.index, scales=scale.scales, before=scale.before), margin
                ),
                state=None if state is None else state.resized(scale.height, scale.width),
                loss_scale=_LOSS_SCALES.get(precision, 1.0),
            )
        del objective  # the next one is not to be made beside its targets
        outcomes.append(outcome)
        image = _cut_off(outcome.image, margin)
        if outcome.ended == "stopped":
            break
    final = outcomes[-1]
    return StylizeResult(
        image=plan.finish(enlarge(image, last.height, last.width)),
        alpha=plan.alpha_at(last.height, last.width),
        settings=settings,
        backbone=backbone,
        pictures=pictures,
        losses=final.losses,
        evaluations=sum(outcome.evaluations for outcome in outcomes),
        seconds=sum(outcome.seconds for outcome in outcomes),
        stopped=_describe_stop(plan, scales[len(outcomes) - 1], outcomes),
        statements=[outcome.statement for outcome in outcomes],
        device=device,
        mixed_precision=precision,
        files=plan.files,
    )


def _fit_into_memory(
    estimate: MemoryEstimate,
    scales: Sequence[Scale],
    limit: int | None,
    device: torch.device,
    margin: int,
) -> list[MemoryPlan]:
    """Return how each scale fits into memory; if one does not, it is the largest that is named."""
    if limit is not None:
        return_freed_memory()  # as what is kept counts
    available = usable_memory(device, limit)
    fit = partial(plan_memory, estimate, device=device, margin=margin, available=available)
    plans = [fit(scale.height, scale.width) for scale in reversed(scales)][::-1]
    if any(plan.tile_px for plan in plans):
        return_freed_memory()  # estimates are of what is in use
    return plans


def _style_share(options: StylizeOptions, pictures: Pictures, last: Scale) -> float:
    """Return the pixels of the largest style picture relative to those of the content."""
    longest = style_side(last.height, last.width, options.style_scale)
    sizes = (style_size(rgb, longest) for group in pictures.styles for rgb in group)
    return max((height * width for height, width in sizes), default=0) / (last.height * last.width)


def _starts(
    options: StylizeOptions, settings: Preset, pictures: Pictures, device: torch.device
) -> Callable[[Scale], torch.Tensor]:
    """Return the function that gives the initial picture at a scale, (1, 3, H, W)."""

    def start(scale: Scale) -> torch.Tensor:
        return start_at(
            pictures,
            "content" if options.strength == 0 else options.init or settings.init,
            scale.height,
            scale.width,
            seed=options.seed,
            strength=options.strength,
        ).to(device)

    return start


def _cut_off(image: torch.Tensor, margin: int) -> torch.Tensor:
    """Return a picture, (1, 3, H, W), without the margin around it."""
    return image[..., margin : image.shape[-2] - margin, margin : image.shape[-1] - margin]


def _without_margin(watch: Watch, margin: int) -> Watch:
    """Return a watch that is told the picture alone."""
    if margin == 0:
        return watch

    def tell(iterate: Iterate) -> None:
        image = _cut_off(iterate.image, margin)
        watch.tell(replace(iterate, image=image, height=image.shape[-2], width=image.shape[-1]))

    return replace(watch, tell=tell)


def _describe_stop(plan: Plan, scale: Scale, outcomes: Sequence[Outcome]) -> str:
    """Say where a run was stopped; nothing if it was not."""
    if outcomes[-1].ended != "stopped":
        return ""
    count = sum(outcome.evaluations for outcome in outcomes)
    statement = f"stopped after {count} evaluations of {plan.evaluations}"
    if scale.index == scale.scales:
        return statement
    return f"{statement}, at {scale.width} x {scale.height} pixels, and enlarged"


def _plan_scales(
    options: StylizeOptions, settings: Preset, backbone: Backbone, pictures: Pictures
) -> list[Scale]:
    """Return the scales: those of the preset, brought to the size that is asked for."""
    if settings.size_factor:
        sizes = scale_sizes(options.size, smallest=min(settings.sizes), factor=settings.size_factor)
    else:
        largest = max(settings.sizes)
        scaled = (max(round(size * options.size / largest), 1) for size in settings.sizes)
        sizes = sorted(set(scaled))
    iterations = settings.iterations
    if not options.iterations:
        iterations = iterations[: len(sizes)]
    height, width = pictures.content.shape[:2]
    scales = plan_scales(
        height,
        width,
        sizes,
        iterations=iterations,
        smallest_side=backbone.network.smallest([*settings.content_layers, *settings.style_layers]),
    )
    return scales if settings.finish is None else [*scales, _finishing(scales[-1], settings.finish)]


def _finishing(last: Scale, finish: Finish) -> Scale:
    """Return the second run at the largest scale."""
    return replace(
        last,
        iterations=min(finish.iterations, last.iterations),
        before=last.before + last.iterations,
        finishing=True,
    )


def _check_styles(
    options: StylizeOptions,
    settings: Preset,
    backbone: Backbone,
    pictures: Pictures,
    scales: Sequence[Scale],
) -> None:
    """Refuse styles that are too small for the network, before anything is computed."""
    # Styles are looked at in all layers: those of the content tell histograms and energies.
    needed = backbone.network.smallest([*settings.content_layers, *settings.style_layers])
    longest = style_side(scales[0].height, scales[0].width, options.style_scale)
    for path, group in zip(options.styles, pictures.styles, strict=True):
        for rgb in group:
            height, width = style_size(rgb, longest)
            if min(height, width) < needed:
                raise PictureError(
                    path,
                    f"is a style of {width} x {height} pixels at the smallest scale, too small for "
                    f"the network, which needs {needed}: take a larger picture, a larger --size or "
                    "--style_scale, or earlier --style_layers",
                )


def _finish_picture(
    image: torch.Tensor, options: StylizeOptions, pictures: Pictures
) -> NDArray[np.float32]:
    """Return the picture as an array, with the content's colors and untouched regions."""
    result = image[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy().astype(np.float32)
    height, width = result.shape[:2]
    scaled = picture_image(pictures.content, height, width)[0].permute(1, 2, 0).numpy()
    if options.keep_colors == "luminance":
        result = keep_colors(result, scaled)
    if any(region.style is None for region in pictures.regions):
        regions = [
            MaskedRegion(
                name=region.name, mask=resize_mask(region.mask, height, width), style=region.style
            )
            for region in pictures.regions
        ]
        result = compose_untouched(result, scaled, regions)
    return np.asarray(result, dtype=np.float32)
