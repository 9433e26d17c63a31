"""Translate a batch of tensors with a generator that was just made, trained or loaded.

Run it with a weights file: python examples/translate_tensor.py checkpoints/monet/G_B.safetensors
"""

import sys
from pathlib import Path

import torch

from impasto.cyclegan import GeneratorArchitecture, Translator, load_generator


def main(argv: list[str]) -> None:
    """Translate two random pictures of an odd size and print what came out."""
    if argv:
        generator = load_generator(Path(argv[0])).network
    else:
        generator = GeneratorArchitecture(kind="resnet", depth=6, channels=8).build()
    translate = Translator(generator, device=torch.device("cpu"))
    images = torch.rand(2, 3, 75, 101) * 2 - 1  # RGB in [-1, 1]
    painted = translate(images)
    low, high = painted.min().item(), painted.max().item()
    print(f"{tuple(images.shape)} -> {tuple(painted.shape)}, in [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main(sys.argv[1:])
