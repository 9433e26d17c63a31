from .architecture import GeneratorArchitecture, detect_architecture
from .build import build_loader, build_networks, build_trainer
from .evaluation.inception import Inception
from .evaluation.sets import frechet_distance, kernel_distance
from .evaluation.table import Candidate, Evaluation, Reference, Sample, evaluate
from .jobs.evaluate import EvaluateResult, run_evaluation
from .jobs.train import TrainResult, train
from .jobs.translate import TranslateResult, translate
from .losses import (
    adversarial_loss,
    cycle_loss,
    discriminator_loss,
    gradient_penalty,
    identity_loss,
)
from .models import find_generator
from .networks import (
    PatchDiscriminator,
    PixelDiscriminator,
    ResnetGenerator,
    UnetGenerator,
    init_weights,
    receptive_field,
)
from .optim import LearningRate, WeightAverage, lr_multiplier
from .pools import ImagePool
from .trainer import LossWeights, Networks, PerceptualLoss, StepLosses, Trainer
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
