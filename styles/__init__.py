"""Fast styles: one small network that shows pictures in the style of one of several paintings.

It is trained with the losses of `gatys` (Johnson et al. 2016) and is a generator of `cyclegan`,
which translates with it like with any other; neither of the two knows the other, so this stands
above both. Read in this order: `network` (normalizations of several styles), `loading`
(photographs), `losses`, `learner` (a step) and `job` (the whole training).
"""

import lazy_loader

# The names are listed in __init__.pyi and imported when they are first used, so that what
# needs no torch starts without it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
