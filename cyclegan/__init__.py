"""Zhu et al. 2017: networks, losses, image pool, trainer, translator, import and export."""

__all__: list[str] = []
