"""The registry of generators, against the options and the networks themselves."""

from typing import get_args

import pytest
import torch

from impasto.cyclegan.architecture import (
    GeneratorArchitecture,
    detect_architecture,
    generator_entry,
    register_generator,
    registered_generators,
)
from impasto.options.errors import CheckpointError
from impasto.options.networks import NetG, NetworkOptions

SHIPPED = get_args(NetG)


def test_the_options_name_every_generator_of_the_package() -> None:
    registered = registered_generators().values()
    ours = [entry.name for entry in registered if entry.build.__module__.startswith("impasto.")]
    assert ours == list(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_options_registry_and_network_agree_about_sizes(name: NetG) -> None:
    entry, options = generator_entry(name), NetworkOptions(netG=name, netD="pixel")
    with torch.device("meta"):
        network = GeneratorArchitecture(kind=entry.kind, depth=entry.depth, channels=2).build()
    assert (options.stride, options.smallest) == (entry.stride, entry.smallest)
    assert (network.stride, network.smallest) == (entry.stride, entry.smallest)
    # What they promise: the smallest image goes through, of which the narrowest layer keeps enough.
    real = GeneratorArchitecture(kind=entry.kind, depth=entry.depth, channels=1).build().eval()
    image = torch.zeros(1, 3, entry.smallest, entry.smallest)
    assert real(image).shape == image.shape


@pytest.mark.parametrize("name", SHIPPED)
def test_every_row_can_be_read_off_its_weights(name: str) -> None:
    entry = generator_entry(name)
    architecture = GeneratorArchitecture(kind=entry.kind, depth=entry.depth, channels=2)
    with torch.device("meta"):
        weights = architecture.build().state_dict()
    assert detect_architecture(weights) == architecture


def test_a_name_is_given_once_and_unknown_ones_are_refused() -> None:
    with pytest.raises(ValueError, match="there is a generator unet_128 already"):
        register_generator(generator_entry("unet_128"))
    with pytest.raises(ValueError, match=r"netG: expected one of resnet_9blocks, .* got 'swin'"):
        generator_entry("swin")
    with pytest.raises(ValueError, match=r"kind: expected resnet or unet.*, got 'swin'"):
        GeneratorArchitecture(kind="swin")


def test_weights_of_another_cyclegan_are_named_by_what_differs() -> None:
    # PyTorch-GAN calls the layers of a block `block`, those around them as the reference does.
    ours = GeneratorArchitecture(kind="resnet", depth=6, channels=2).build().state_dict()
    weights = {name.replace("conv_block", "block"): value for name, value in ours.items()}
    with pytest.raises(CheckpointError) as error:
        detect_architecture(weights)
    assert "expected blocks such as model.10.conv_block.1.weight" in str(error.value)
    assert "found model.10.block.1.weight" in str(error.value)
