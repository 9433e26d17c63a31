"""Typed options of every command: dataclasses and YAML presets. Never imports torch."""

import lazy_loader

# The names are listed in __init__.pyi and imported when they are first used, so that a command
# starts without the options of all others.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
