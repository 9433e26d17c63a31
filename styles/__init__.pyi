from .job import train_styles
from .learner import StyleLearner
from .losses import StyleObjective
from .network import ConditionalNorm, StyleNetwork

__all__ = [
    "ConditionalNorm",
    "StyleLearner",
    "StyleNetwork",
    "StyleObjective",
    "train_styles",
]
