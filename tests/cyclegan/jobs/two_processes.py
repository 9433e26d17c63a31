"""Run by test_processes.py under torchrun: one step, or a whole training, in each process.

Usage: two_processes.py step|train OPTIONS.yaml OUTPUT.pt
"""

import sys
from pathlib import Path

import torch
import yaml

from impasto.cyclegan import build_loader, build_trainer, train
from impasto.data import UnpairedBatch
from impasto.options import TrainOptions, make
from impasto.runs import make_accelerator
from impasto.runs.processes import leave_processes


def step(options: TrainOptions, output: Path) -> None:
    """Write the gradients of one step, and the losses averaged over the processes."""
    accelerator = make_accelerator("cpu", "no")
    loader, trainer = build_loader(options, accelerator), build_trainer(options, accelerator)
    for network in trainer.networks.values():
        network.double()  # so that only the order of sums differs, by 1e-15
    batch = next(iter(loader)).to(accelerator.device)
    result = trainer.step([UnpairedBatch(A=batch.A.double(), B=batch.B.double())])
    shown = "G_L1" if options.data.paired else "cycle_A"
    distance = accelerator.reduce(result.losses[shown], reduction="mean")
    if accelerator.is_main_process:
        gradients = {
            f"{name}.{key}": weight.grad
            for name, network in trainer.networks.items()
            for key, weight in network.named_parameters()
        }
        torch.save({"gradients": gradients, "distance": distance}, output)


def main() -> None:
    """Do what the arguments say."""
    torch.set_num_threads(1)
    what, file, output = sys.argv[1:]
    options = make(TrainOptions, yaml.safe_load(Path(file).read_text(encoding="utf-8")))
    if what == "step":
        step(options, Path(output))
    else:
        train(options)
    leave_processes()


if __name__ == "__main__":
    main()
