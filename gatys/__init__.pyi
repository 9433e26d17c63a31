from .adam import Adam
from .backbones import Vgg
from .conventions import Preset
from .extractor import FeatureExtractor, make_extractor
from .iterates import Iterate
from .lbfgs import Lbfgs
from .losses import content_loss, gram_loss, gram_matrix, total_variation
from .masks import read_mask
from .networks import Backbone, make_network
from .objective import Objective, Variation
from .optimize import Outcome, optimise
from .patches import Patches
from .perceptual import PerceptualDistance, make_perceptual_distance
from .pixels import Pixels
from .presets import find_preset
from .random_backbone import RandomRecipe, random_vgg
from .statistics import Gaussian, Gram, ResampledSliced, Sliced
from .stylizing import Plan, StylizeResult, stylize
from .targets import Content, Region, Style, StylePicture
from .transport import sliced_wasserstein_loss, wasserstein_loss
from .weights import find_weights, load_weights

__all__ = [
    "Adam",
    "Backbone",
    "Content",
    "FeatureExtractor",
    "Gaussian",
    "Gram",
    "Iterate",
    "Lbfgs",
    "Objective",
    "Outcome",
    "Patches",
    "PerceptualDistance",
    "Pixels",
    "Plan",
    "Preset",
    "RandomRecipe",
    "Region",
    "ResampledSliced",
    "Sliced",
    "Style",
    "StylePicture",
    "StylizeResult",
    "Variation",
    "Vgg",
    "content_loss",
    "find_preset",
    "find_weights",
    "gram_loss",
    "gram_matrix",
    "load_weights",
    "make_extractor",
    "make_network",
    "make_perceptual_distance",
    "optimise",
    "random_vgg",
    "read_mask",
    "sliced_wasserstein_loss",
    "stylize",
    "total_variation",
    "wasserstein_loss",
]
