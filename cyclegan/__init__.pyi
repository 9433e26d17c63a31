from .architecture import GeneratorArchitecture, detect_architecture
from .averaging import WeightAverage
from .build import build_loader, build_networks, build_trainer
from .checkpoint import find_generator
from .discriminators import PatchDiscriminator, PixelDiscriminator, receptive_field
from .evaluating import EvaluateResult, run_evaluation
from .evaluation import Candidate, Evaluation, Reference, Sample, evaluate
from .feature_distances import frechet_distance, kernel_distance
from .generators import ResnetGenerator, UnetGenerator
from .image_pool import ImagePool
from .inception import Inception
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
    "Candidate",
    "EvaluateResult",
    "Evaluation",
    "GeneratorArchitecture",
    "ImagePool",
    "Inception",
    "LearningRate",
    "LoadedGenerator",
    "LossWeights",
    "Networks",
    "PatchDiscriminator",
    "PerceptualLoss",
    "PixelDiscriminator",
    "Reference",
    "ResnetGenerator",
    "Sample",
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
    "evaluate",
    "find_generator",
    "frechet_distance",
    "gradient_penalty",
    "identity_loss",
    "init_weights",
    "kernel_distance",
    "load_generator",
    "lr_multiplier",
    "receptive_field",
    "run_evaluation",
    "save_generator",
    "train",
    "translate",
]
