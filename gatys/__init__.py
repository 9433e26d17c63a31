"""Style transfer by optimization (Gatys et al. 2016), and the feature networks it looks through."""

import lazy_loader

# The names are listed in __init__.pyi and imported when they are first used, so that what
# needs no torch starts without it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
