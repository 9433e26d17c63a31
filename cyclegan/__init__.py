"""Unpaired image-to-image translation with CycleGAN (Zhu et al. 2017).

Read in this order: `networks` and `architecture` (the registry of generators), `losses`, `terms`
and `painting` (the objective), `trainer` (the algorithm), `build` (from options to all of it),
`weights` and `models` (trained generators), `inference` (translating with them), `evaluation`, and
`jobs` (whole commands).
"""

import lazy_loader

# The names are listed in __init__.pyi and imported when they are first used, so that what
# needs no torch starts without it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
