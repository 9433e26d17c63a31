"""Translate a batch of tensors with a trained generator: a shipped one, a run, or a file.

Run it with a model of your own: python examples/translate_tensor.py checkpoints/monet
"""

import sys

import torch

import impasto


def main(argv: list[str]) -> None:
    """Translate two random pictures of an odd size and print what came out."""
    generator = impasto.load_generator(argv[0] if argv else "monet")
    translate = impasto.Translator.of(generator, device=torch.device("cpu"))
    images = torch.rand(2, 3, 75, 101) * 2 - 1  # RGB in [-1, 1]
    painted = translate(images)
    low, high = painted.min().item(), painted.max().item()
    print(f"{generator.architecture}: {tuple(images.shape)} -> {tuple(painted.shape)}")
    print(f"values in [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main(sys.argv[1:])
