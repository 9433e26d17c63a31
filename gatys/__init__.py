"""Gatys et al. (2015, 2016): style transfer of single pictures by optimisation."""

__all__: list[str] = []
