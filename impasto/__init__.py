"""Impasto: unpaired image-domain translation, style transfer, and real-or-fake surveys.

``impasto.translate("photo.jpg", output="out")`` does what ``impasto translate photo.jpg --output
out`` does; :mod:`impasto.api` documents all functions. The parts that they are made of are public,
too: :mod:`impasto.cyclegan`, :mod:`impasto.gatys`, :mod:`impasto.survey`, :mod:`impasto.data`,
:mod:`impasto.runs` and :mod:`impasto.options`.
"""

import lazy_loader

# The names are listed in __init__.pyi and imported when they are first used, so that
# ``import impasto`` and what needs no torch start at once.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
