from .build import build_objective, build_settings, build_statistic
from .classifier.train import train_backbone
from .features.distances import (
    FeatureExtractor,
    PerceptualDistance,
    make_extractor,
    make_perceptual_distance,
)
from .features.make import Backbone, make_network
from .features.pixels import Pixels
from .features.random import RandomRecipe, random_vgg
from .features.vgg import Vgg
from .features.weights import find_weights, load_weights
from .jobs.stylize import Plan, StylizeResult, stylize
from .jobs.stylize_files import stylize_to_files
from .losses.functional import content_loss, gram_loss, gram_matrix, total_variation
from .losses.objective import LossTerm, Objective, RangePenalty, TotalVariation
from .losses.statistics import Gaussian, Gram, Patches, ResampledSliced, Sliced
from .losses.targets import Content, Region, Style, StylePicture, feature_losses
from .losses.transport import sliced_wasserstein_loss, wasserstein_loss
from .masks import read_mask
from .optim.iterates import Iterate, Watch
from .optim.loop import Outcome, optimize
from .optim.methods import Adam, Lbfgs
from .presets import Preset, find_preset

__all__ = [
    "Adam",
    "Backbone",
    "Content",
    "FeatureExtractor",
    "Gaussian",
    "Gram",
    "Iterate",
    "Lbfgs",
    "LossTerm",
    "Objective",
    "Outcome",
    "Patches",
    "PerceptualDistance",
    "Pixels",
    "Plan",
    "Preset",
    "RandomRecipe",
    "RangePenalty",
    "Region",
    "ResampledSliced",
    "Sliced",
    "Style",
    "StylePicture",
    "StylizeResult",
    "TotalVariation",
    "Vgg",
    "Watch",
    "build_objective",
    "build_settings",
    "build_statistic",
    "content_loss",
    "feature_losses",
    "find_preset",
    "find_weights",
    "gram_loss",
    "gram_matrix",
    "load_weights",
    "make_extractor",
    "make_network",
    "make_perceptual_distance",
    "optimize",
    "random_vgg",
    "read_mask",
    "sliced_wasserstein_loss",
    "stylize",
    "stylize_to_files",
    "total_variation",
    "train_backbone",
    "wasserstein_loss",
]
