"""One side of ``benchmarks/stylize.py``, in a process of its own; that file starts it.

A peer's own program runs here, from its checkout and unchanged but for its optimizer: a subclass
that tells every loss and waits for its turn after each evaluation. Impasto's loss function does the
same. Lines of JSON come out; a line in lets the side go on. With pictures to judge, the optimizer
puts each into the place of the one that is optimized, evaluates the program's loss, and moves
nothing.
"""

import json
import os
import runpy
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor

from benchmarks.stylize_session import EndedError, Job, Session

__all__ = ["main"]

# What the Caffe networks of both programs expect to be subtracted: blue, green, red.
_CAFFE_MEAN = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)

Convert = Callable[[Tensor], Tensor]
"""Turns a picture of one program into another's, (1, 3, H, W)."""


def main() -> int:
    """Run the job of the command line."""
    given = json.loads(sys.argv[1])
    job = Job(**{**given, "judge": tuple(given.get("judge", ()))})
    session = Session(job, sys.stdout)
    if job.threads:
        torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")  # of the programs, some of which are old
    with redirect_stdout(StringIO()):
        if job.checkout is None:
            _impasto(session)
        else:
            os.chdir(job.folder)
            {"leongatys": _leongatys, "neural_style": _neural_style, "crowsonkb": _crowsonkb}[
                job.preset
            ](session)
    return 0


# Impasto.


def _impasto(session: Session) -> None:
    """Make one picture as gatys/jobs/stylize.py does."""
    # Imported only here and below, as the other side must not carry it.
    from impasto.gatys.features.vgg import Vgg  # noqa: PLC0415
    from impasto.gatys.features.weights import load_weights  # noqa: PLC0415
    from impasto.gatys.optim.iterates import total_loss  # noqa: PLC0415
    from impasto.gatys.optim.loop import optimize  # noqa: PLC0415
    from impasto.gatys.scales import enlarge, plan_scales, scale_sizes  # noqa: PLC0415

    job = session.job
    session.begin()
    content, style = (_read(Path(job.folder) / name) for name in ("content.png", "style.png"))
    height, width = content.shape[:2]
    settings = _settings(job.preset, height, width)
    network = Vgg(pooling=settings.pooling, replicate_padding=settings.replicate_padding)
    load_weights(network, Path(job.folder) / "vgg19.pth")
    network.truncate("relu5_1")  # the deepest layer of all three
    if job.judge:
        objective = _objective(network, settings, content, style, (height, width))
        with torch.no_grad():
            session.judged([total_loss(objective(_load(name))).item() for name in job.judge])
        return
    adam = settings.optimizer == "adam"
    longest = max(height, width)
    scales = plan_scales(
        height,
        width,
        scale_sizes(longest, smallest=min(job.smallest, longest)) if adam else [longest],
        # The last evaluation is of the average, which no peer evaluates.
        iterations=job.iterations + adam,
    )
    outcome = None
    for scale in scales:
        size = (scale.height, scale.width)
        evaluate = _told(_objective(network, settings, content, style, size), session)
        outcome = optimize(
            enlarge(outcome.image, *size) if outcome else session.shaken(_tensor(content, size)),
            evaluate,
            method=_method(settings, 3 * scale.height * scale.width, own_steps=job.own_steps),
            iterations=scale.iterations,
            average=settings.average_decay or None,
            state=outcome.state if outcome else None,
        )
    assert outcome is not None and session.best is not None  # noqa: PT018, S101 - scales >= 1
    session.end(outcome.image if adam else session.best, outcome.losses["total"])


def _settings(preset: str, height: int, width: int) -> Any:
    """Return a preset; what depends on a picture's size, for this one."""
    from impasto.gatys.presets import (  # noqa: PLC0415
        find_preset,
        variation_from_sum,
    )

    settings = find_preset(preset)
    if preset != "neural_style":
        return settings
    # The preset is of the Lua program, whose white is 256; neural-style-pt's is 255.
    variation = variation_from_sum(1e-3, height=height, width=width, white=255)
    # A picture of whites of 255 looks 256 / 255 times as bright to the Lua program's weights.
    bright = 256 / 255
    return replace(
        settings,
        content_weight=settings.content_weight / bright**2,
        style_weight=settings.style_weight / bright**4,
        variation=variation,
    )


def _method(settings: Any, values: int, *, own_steps: bool) -> Any:
    """Return the optimizer, with the steps of the peers' ones unless Impasto's are wished."""
    from impasto.gatys.optim.methods import (  # noqa: PLC0415
        Adam,
        Lbfgs,
    )

    if settings.optimizer == "adam":
        adam = Adam(lr=settings.learning_rate, betas=settings.betas)
        return adam if own_steps else replace(adam, epsilon=1e-8)  # torch's default
    lbfgs = Lbfgs(lr=settings.learning_rate, history=settings.history)
    if own_steps:
        return lbfgs
    # torch.optim.LBFGS: the absolute values of the first step, of 0 to 255, add up to 1.
    inf = float("inf")
    return replace(lbfgs, first_step=1 / (255 * values), longest_step=inf, explosion=inf)


def _objective(
    network: Any, settings: Any, content: Any, style: Any, size: tuple[int, int]
) -> Callable[[Tensor], Any]:
    """Return the losses at one scale, (height, width)."""
    from impasto.gatys.losses.objective import Objective, TotalVariation  # noqa: PLC0415
    from impasto.gatys.losses.statistics import Gaussian, Gram  # noqa: PLC0415
    from impasto.gatys.losses.targets import (  # noqa: PLC0415
        Content,
        Region,
        Style,
        StylePicture,
        feature_losses,
    )
    from impasto.gatys.scales import fit  # noqa: PLC0415

    rows, columns = style.shape[:2]
    style_size = fit(rows, columns, min(max(size), max(rows, columns)))
    region = Region(styles=[StylePicture(picture=_tensor(style, style_size))])
    gaussian = settings.statistic == "gaussian"
    compared = feature_losses(
        network,
        content=Content(
            picture=_tensor(content, size),
            layers=settings.content_layers,
            weight=settings.content_weight,
        ),
        style=Style(
            regions=[region],
            layers=settings.style_layers,
            weight=settings.style_weight,
            statistic=Gaussian(iterations=settings.root_iterations) if gaussian else Gram(),
        ),
    )
    variation = TotalVariation(weight=settings.variation, kind=settings.variation_kind)
    return Objective(network, {**compared, "variation": variation})


def _told(objective: Callable[[Tensor], Any], session: Session) -> Callable[[Tensor], Any]:
    from impasto.gatys.optim.iterates import total_loss  # noqa: PLC0415

    limit = session.count + session.job.iterations

    def evaluate(image: Tensor) -> Any:
        losses = objective(image)
        if session.count < limit:
            session.evaluated(total_loss(losses), image)
        return losses

    return evaluate


def _read(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB"))


def _tensor(rgb: Any, size: tuple[int, int]) -> Tensor:
    from impasto.gatys.inputs import picture_image  # noqa: PLC0415

    return picture_image(rgb, *size)


# The peers.


def _leongatys(session: Session) -> None:
    """Run the code cells of the notebook, through the first loop; its plots go nowhere."""
    notebook = Path(str(session.job.checkout)) / "NeuralStyleTransfer.ipynb"
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    nothing = SimpleNamespace(set_size_inches=lambda *_: None)
    names: dict[str, Any] = {
        "__name__": "notebook",
        **dict.fromkeys(("imshow", "show", "gcf"), lambda *_: nothing),
    }
    # Its name for Resize, of old; the pictures have their size already.
    torchvision.transforms.Scale = lambda _size: lambda picture: picture
    session.begin()
    with _recorded(session, _from_caffe, _to_caffe):
        for source in sources:
            code = "\n".join(line for line in source.splitlines() if not line.startswith("%"))
            exec(compile(code, str(notebook), "exec"), names)  # noqa: S102 - that is the benchmark


def _neural_style(session: Session) -> None:
    """Run the script, with its own command line."""
    job = session.job
    count = job.iterations
    longest = max(_read(Path("content.png")).shape)
    # Its file names decide what it takes a network for, so this one is relative.
    sys.argv = (
        f"neural_style.py -content_image content.png -style_image style.png -image_size {longest} "
        f"-model_file caffe/vgg19.pth -disable_check -gpu c -init image -print_iter 0 -save_iter 0 "
        f"-num_iterations {count} -output_image neural_style.png"
    ).split()
    sys.path.insert(0, str(job.checkout))
    session.begin()
    with _recorded(session, _from_caffe, _to_caffe):
        runpy.run_path(str(Path(str(job.checkout)) / "neural_style.py"), run_name="__main__")


def _crowsonkb(session: Session) -> None:
    """Call the library, with torchvision's VGG19 filled from our file."""
    job = session.job
    sys.path.insert(0, str(job.checkout))
    page = ModuleType("style_transfer.web_interface")  # needs a web server
    page.__dict__["WebInterface"] = None
    sys.modules[page.__name__] = page
    program = import_module("style_transfer")
    session.begin()
    make = torchvision.models.vgg19

    def vgg19(**_weights: Any) -> Any:
        network = make(init_weights=False)
        network.load_state_dict(torch.load("vgg19.pth", weights_only=True), strict=False)
        return network

    torchvision.models.vgg19 = vgg19
    content, style = Image.open("content.png"), Image.open("style.png")
    longest = max(content.size)
    with _recorded(session, torch.Tensor.clone, torch.Tensor.clone):
        transfer = program.StyleTransfer()
        transfer.stylize(
            content,
            [style],
            min_scale=longest if job.judge else job.smallest,
            end_scale=longest,
            initial_iterations=job.iterations,
            iterations=job.iterations,
        )
    if not job.judge:
        session.end(transfer.get_image_tensor()[None], float("nan"))  # it does not measure that


@contextmanager
def _recorded(session: Session, to_rgb: Convert, from_rgb: Convert) -> Iterator[None]:
    """Let torch's optimizers tell what they do; L-BFGS ends with the last evaluation.

    Args:
        session: whom they tell.
        to_rgb: turns a program's picture into RGB in [0, 1].
        from_rgb: the reverse.
    """
    before = {name: getattr(torch.optim, name) for name in ("LBFGS", "Adam")}
    for name, base in before.items():
        setattr(torch.optim, name, _recording(base, session, to_rgb, from_rgb))
    try:
        yield
    except EndedError:
        pass
    finally:
        for name, base in before.items():
            setattr(torch.optim, name, base)


def _recording(base: Any, session: Session, to_rgb: Convert, from_rgb: Convert) -> Any:
    """Return a subclass of an optimizer that tells."""
    job = session.job
    limit = job.iterations if base is torch.optim.LBFGS else None

    def step(self: Any, closure: Callable[[], Tensor]) -> Any:
        (picture,) = self.param_groups[0]["params"]

        def told() -> Tensor:
            loss = closure()
            session.evaluated(loss, picture)
            if session.count == limit:
                session.end(to_rgb(picture.detach()), loss.item())
                raise EndedError
            return loss

        if job.judge:
            session.judged(_judged(closure, picture, from_rgb, job.judge))
            raise EndedError
        if job.shake and not session.count:
            picture.data.copy_(from_rgb(session.shaken(to_rgb(picture.detach()))))
        return base.step(self, told)

    return type(base.__name__, (base,), {"step": step})


def _judged(
    closure: Callable[[], Tensor], picture: Tensor, from_rgb: Convert, names: Sequence[str]
) -> list[float]:
    """Return the losses of pictures, each in the place of the one that is optimized."""
    losses = []
    for name in names:
        picture.data.copy_(from_rgb(_load(name)))
        losses.append(float(closure()))
    return losses


def _load(name: str) -> Tensor:
    picture: Tensor = torch.load(name, weights_only=True)
    return picture


def _from_caffe(picture: Tensor) -> Tensor:
    return ((picture + _CAFFE_MEAN) / 255).flip(1)


def _to_caffe(picture: Tensor) -> Tensor:
    return 255 * picture.flip(1) - _CAFFE_MEAN


if __name__ == "__main__":
    raise SystemExit(main())
