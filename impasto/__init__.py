"""Impasto: unpaired image-domain translation, style transfer, and real-or-fake surveys."""

import lazy_loader

# The names are listed in __init__.pyi and imported when they are first used, so that
# ``import impasto`` and what needs no torch start at once.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
