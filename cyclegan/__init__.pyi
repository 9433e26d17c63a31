from .architecture import GeneratorArchitecture, detect_architecture
from .averaging import WeightAverage
from .build import build_loader, build_networks, build_trainer
from .checkpoint import find_generator
from .discriminators import PatchDiscriminator, PixelDiscriminator, receptive_field
from .generators import ResnetGenerator, UnetGenerator
from .image_pool import ImagePool
from .initialise import init_weights
from .losses import (
    adversarial_loss,
    cycle_loss,
    discriminator_loss,
    gradient_penalty,
    identity_loss,
)
from .networks import Networks
from .schedules import LearningRate, lr_multiplier
from .steps import LossWeights, PerceptualLoss, StepLosses
from .trainer import Trainer
from .training import TrainResult, train
from .translation import TranslateResult, translate
from .translator import Translator
from .weights import LoadedGenerator, load_generator, save_generator

__all__ = [
    "GeneratorArchitecture",
    "ImagePool",
    "LearningRate",
    "LoadedGenerator",
    "LossWeights",
    "Networks",
    "PatchDiscriminator",
    "PerceptualLoss",
    "PixelDiscriminator",
    "ResnetGenerator",
    "StepLosses",
    "TrainResult",
    "Trainer",
    "TranslateResult",
    "Translator",
    "UnetGenerator",
    "WeightAverage",
    "adversarial_loss",
    "build_loader",
    "build_networks",
    "build_trainer",
    "cycle_loss",
    "detect_architecture",
    "discriminator_loss",
    "find_generator",
    "gradient_penalty",
    "identity_loss",
    "init_weights",
    "load_generator",
    "lr_multiplier",
    "receptive_field",
    "save_generator",
    "train",
    "translate",
]
