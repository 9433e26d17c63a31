"""Options of the reference CycleGAN that Impasto calls otherwise, and what to type instead.

The reference is pytorch-CycleGAN-and-pix2pix, of every age; CUT has most of these, too.
"""

from collections.abc import Mapping

__all__ = ["REFERENCE_GUIDE", "REFERENCE_OPTIONS", "answer_for"]

REFERENCE_GUIDE = "docs/from_the_reference.md"
"""The guide for who comes from the reference."""

_LEAVE_OUT = "leave it out"
_SIZES = f"{_LEAVE_OUT}; pictures keep their own size, and --long_side reduces large ones"

REFERENCE_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "impasto train": {
        "model": f"{_LEAVE_OUT}; impasto train always trains a CycleGAN",
        "gpu_ids": "is --device here: --device cpu for -1, --device cuda for 0; several GPUs are "
        "started by torchrun or accelerate launch",
        "continue_train": "is --resume here, which knows where the run was",
        "epoch_count": f"{_LEAVE_OUT}; --resume knows where the run was",
        "epoch": f"{_LEAVE_OUT}; --resume continues the latest state",
        "load_iter": f"{_LEAVE_OUT}; --resume continues the latest state",
        "no_flip": "is --flip false here",
        "no_dropout": f"{_LEAVE_OUT}; --dropout is false unless it is given",
        "no_html": "is --display console here, without page",
        "no_lsgan": "is --gan_mode vanilla here",
        "display_id": f"{_LEAVE_OUT}; no display server is needed; to use visdom, give "
        "--display console,page,visdom",
        "display_ncols": _LEAVE_OUT,
        "display_winsize": _LEAVE_OUT,
        "update_html_freq": "is --display_freq here",
        "save_by_iter": f"{_LEAVE_OUT}; --save_latest_freq keeps the latest state",
        "input_nc": f"{_LEAVE_OUT}; pictures have 3 channels; gray ones are read as RGB",
        "output_nc": f"{_LEAVE_OUT}; pictures have 3 channels",
        "dataset_mode": f"{_LEAVE_OUT}; the two folders are always unaligned",
        "phase": f"{_LEAVE_OUT}; impasto train reads trainA and trainB; for other folders, give "
        "--folder_A and --folder_B",
        "niter": "is --n_epochs here",
        "niter_decay": "is --n_epochs_decay here",
        "identity": "is --lambda_identity here",
        "which_direction": "is --direction here",
        "which_model_netG": "is --netG here",
        "which_model_netD": "is --netD here",
        "loadSize": "is --load_size here",
        "fineSize": "is --crop_size here",
        "batchSize": "is --batch_size here",
        "nThreads": "is --num_threads here",
        "resize_or_crop": "is --preprocess here",
        "suffix": f"{_LEAVE_OUT}; write the whole name into --name",
        "verbose": _LEAVE_OUT,
        "use_wandb": f"{_LEAVE_OUT}; --display takes console, page, visdom and tensorboard",
        "wandb_project_name": _LEAVE_OUT,
    },
    "impasto translate": {
        "dataroot": "is an argument here: impasto translate FOLDER --output DIR",
        "name": "is --model here: the name of the run, its folder, or a .pth file",
        "checkpoints_dir": "is part of --model here: --model CHECKPOINTS_DIR/NAME",
        "results_dir": "is --output here",
        "model_suffix": "is --direction here: AtoB for _A, BtoA for _B",
        "gpu_ids": "is --device here: --device cpu for -1, --device cuda for 0",
        "num_test": f"{_LEAVE_OUT}; all pictures are translated",
        "how_many": f"{_LEAVE_OUT}; all pictures are translated",
        "which_epoch": "is --epoch here",
        "which_direction": "is --direction here",
        "netG": f"{_LEAVE_OUT}; the architecture is read off the weights",
        "which_model_netG": f"{_LEAVE_OUT}; the architecture is read off the weights",
        "ngf": f"{_LEAVE_OUT}; the architecture is read off the weights",
        "norm": f"{_LEAVE_OUT}; the architecture is read off the weights",
        "no_dropout": f"{_LEAVE_OUT}; the architecture is read off the weights",
        "input_nc": f"{_LEAVE_OUT}; pictures have 3 channels",
        "output_nc": f"{_LEAVE_OUT}; pictures have 3 channels",
        "preprocess": _SIZES,
        "load_size": _SIZES,
        "crop_size": _SIZES,
        "loadSize": _SIZES,
        "fineSize": _SIZES,
        "resize_or_crop": _SIZES,
        "aspect_ratio": _SIZES,
        "dataset_mode": _LEAVE_OUT,
        "phase": _LEAVE_OUT,
        "eval": _LEAVE_OUT,
        "serial_batches": _LEAVE_OUT,
        "no_flip": _LEAVE_OUT,
        "load_iter": _LEAVE_OUT,
        "display_winsize": _LEAVE_OUT,
        "display_id": _LEAVE_OUT,
        "ntest": _LEAVE_OUT,
        "suffix": _LEAVE_OUT,
        "verbose": _LEAVE_OUT,
    },
}
"""What to type instead, by command and by the reference's name, without dashes."""


def answer_for(command: str, name: str) -> str:
    """Return what to type instead of an option of the reference; nothing for any other option.

    Args:
        command: the words before the options, e.g. ``"impasto train"``.
        name: name of the option, without dashes.
    """
    return REFERENCE_OPTIONS.get(command, {}).get(name, "")
