"""Which layers a model of torchvision has, and which of them suit a style transfer."""

from giverny.gatys.anatomy import find_anatomy
from giverny.gatys.model_names import stage_of

__all__ = ["default_layers", "layer_table"]


def default_layers(name: str) -> tuple[str, tuple[str, ...]]:
    """Return a layer for content and layers for style that suit a model.

    Style: for each size of maps, the end of the last stage that has it. Of a ResNet these are what
    Wang, Li and Vasconcelos 2021 take: the stem and the four stages. Content: the one at 16 pixels
    per position, as they do, or the deepest.

    Raises:
        OptionError: as :func:`find_anatomy`.
    """
    maps = find_anatomy(name).maps
    ends = {stage_of(layer): layer for layer in maps}
    by_stride = {maps[layer].stride: layer for layer in ends.values()}
    style = tuple(by_stride.values())
    return by_stride.get(16, style[-1]), style


def layer_table(name: str) -> str:
    """Return all layers of a model with channels and strides, one a line; stages end with ``*``.

    Raises:
        OptionError: as :func:`find_anatomy`.
    """
    anatomy = find_anatomy(name)
    content, style = default_layers(name)
    ends = set({stage_of(layer): layer for layer in anatomy.maps}.values())
    wide = max(map(len, anatomy.maps)) + 2
    lines = [f"{'layer':{wide}} channels  pixels per position"]
    lines += [
        f"{layer + ('*' if layer in ends else ''):{wide}} {found.channels:8}  {found.stride}"
        for layer, found in anatomy.maps.items()
    ]
    lines += [
        "",
        f"* end of a stage, which can be called by the stage's name, e.g. {stage_of(content)}",
        f"content unless said otherwise: {content}",
        f"style unless said otherwise: {' '.join(style)}",
    ]
    return "\n".join(lines)
