"""The human real-or-fake study: export, audit, serve, import, report. Never imports torch."""

import lazy_loader

# The names are listed in __init__.pyi and imported when they are first used, so that what
# needs no SciPy or Flask starts without it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
