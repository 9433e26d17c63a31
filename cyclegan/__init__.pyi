from .architecture import (
    GeneratorArchitecture,
    GeneratorEntry,
    detect_architecture,
    register_generator,
    registered_generators,
)
from .build import build_loader, build_networks, build_terms, build_trainer
from .evaluation.inception import Inception
from .evaluation.sets import frechet_distance, kernel_distance
from .evaluation.table import Candidate, Evaluation, Reference, Sample, evaluate
from .export.graph import TranslationGraph
from .inference.translator import Translator
from .jobs.check import CheckResult, check_training
from .jobs.evaluate import EvaluateResult, run_evaluation
from .jobs.train import TranslationLearner, save_networks, train
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
    Generator,
    Networks,
    PatchDiscriminator,
    PixelDiscriminator,
    ResnetGenerator,
    UnetGenerator,
    init_weights,
    receptive_field,
)
from .optim import LearningRate, WeightAverage, lr_multiplier
from .painting import ContrastiveTerm, ProjectedDiscriminator, StyleLoss, patch_nce
from .pools import ImagePool
from .terms import DirectionImages, DiscriminatorLoss, LossTerm, PerceptualLoss, Translations
from .trainer import OneSidedTrainer, Trainer
from .weights import LoadedGenerator, load_generator, save_generator

__all__ = [
    "Candidate",
    "CheckResult",
    "ContrastiveTerm",
    "DirectionImages",
    "DiscriminatorLoss",
    "EvaluateResult",
    "Evaluation",
    "Generator",
    "GeneratorArchitecture",
    "GeneratorEntry",
    "ImagePool",
    "Inception",
    "LearningRate",
    "LoadedGenerator",
    "LossTerm",
    "Networks",
    "OneSidedTrainer",
    "PatchDiscriminator",
    "PerceptualLoss",
    "PixelDiscriminator",
    "ProjectedDiscriminator",
    "Reference",
    "ResnetGenerator",
    "Sample",
    "StyleLoss",
    "Trainer",
    "TranslateResult",
    "TranslationGraph",
    "TranslationLearner",
    "Translations",
    "Translator",
    "UnetGenerator",
    "WeightAverage",
    "adversarial_loss",
    "build_loader",
    "build_networks",
    "build_terms",
    "build_trainer",
    "check_training",
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
    "patch_nce",
    "receptive_field",
    "register_generator",
    "registered_generators",
    "run_evaluation",
    "save_generator",
    "save_networks",
    "train",
    "translate",
]
