"""The contrastive loss against a direct formula, and the features that it compares."""

import math

import pytest
import torch
from torch import Tensor, nn

from impasto.cyclegan.networks import ResnetGenerator, UnetGenerator
from impasto.cyclegan.painting import (
    ContrastiveTerm,
    PatchProjector,
    default_nce_layers,
    encode,
    patch_nce,
)
from impasto.cyclegan.terms import Translations
from impasto.data import UnpairedBatch
from impasto.options import OptionError
from tests.trainings import number


def unit(*shape: int, seed: int) -> Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return nn.functional.normalize(drawn, dim=-1)


def pictures(count: int, *, seed: int) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def generator() -> ResnetGenerator:
    torch.manual_seed(0)
    return ResnetGenerator(channels=2, blocks=4)


def direct(query: Tensor, key: Tensor, tau: float) -> float:
    """Spell equation 3 of Park et al. 2020 out, patch by patch."""
    losses = []
    for picture in range(len(query)):
        for place in range(query.shape[1]):
            similar = [
                math.exp(number(query[picture, place] @ key[picture, other]) / tau)
                for other in range(key.shape[1])
            ]
            losses.append(-math.log(similar[place] / sum(similar)))
    return sum(losses) / len(losses)


def test_it_is_equation_3_with_the_other_patches_of_the_picture_as_negatives() -> None:
    query, key = unit(2, 7, 5, seed=0), unit(2, 7, 5, seed=1)
    found = number(patch_nce(query, key, temperature=0.2))
    assert found == pytest.approx(direct(query, key, 0.2), rel=1e-5)


def test_patches_that_are_all_alike_cost_the_logarithm_of_their_number() -> None:
    same = unit(1, 1, 4, seed=0).expand(1, 9, 4)
    assert number(patch_nce(same, same, temperature=0.07)) == pytest.approx(math.log(9), rel=1e-5)


def test_keys_get_no_gradient() -> None:
    query, key = (unit(1, 3, 4, seed=seed).requires_grad_() for seed in (0, 1))
    loss = patch_nce(query, key, temperature=0.1)
    assert torch.autograd.grad(loss, query, retain_graph=True)[0].abs().sum() > 0
    with pytest.raises(RuntimeError, match="used in the graph"):
        torch.autograd.grad(loss, key)


def test_features_are_what_the_generator_s_layers_make() -> None:
    network, images = generator().eval(), pictures(2, seed=0)
    seen: dict[int, Tensor] = {}
    for place, layer in enumerate(network.model):
        layer.register_forward_hook(
            lambda _module, _inputs, output, place=place: seen.update({place: output.clone()})
        )
    network(images)
    found = encode(network, images, [0, 1, 4, 10, 13])
    assert [tuple(each.shape[1:]) for each in found] == [
        (3, 22, 22),
        (2, 16, 16),
        (4, 8, 8),
        (8, 4, 4),
        (8, 4, 4),
    ]
    for place, features in zip([0, 1, 4, 10, 13], found, strict=True):
        assert torch.equal(features, seen[place])


def test_stroke_noise_is_in_none_of_the_compared_features() -> None:
    """Else places could be told by the noise, or the noise would hide what pictures show."""
    torch.manual_seed(0)
    network = ResnetGenerator(channels=2, blocks=4, noise=True).train()
    layers, images = (0, 4, 10, 13), pictures(2, seed=0)
    batch, made = UnpairedBatch(A=images, B=images), made_of(pictures(2, seed=2))
    assert network.noise is not None

    def loss() -> Tensor:
        torch.manual_seed(1)
        return ContrastiveTerm(
            "nce_A",
            generator=network,
            projector=PatchProjector(network, layers, width=6),
            layers=layers,
            num_patches=500,
            temperature=0.07,
            random=torch.Generator().manual_seed(0),
        )(batch, made)

    quiet = ResnetGenerator(channels=2, blocks=4).train()
    own = {k: v for k, v in network.state_dict().items() if not k.startswith("noise.")}
    quiet.load_state_dict(own)
    expected = encode(quiet, images, layers)
    before = torch.get_rng_state()
    found = encode(network, images, layers)
    assert torch.equal(torch.get_rng_state(), before)  # no noise was drawn
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    first = loss()
    first.backward()  # type: ignore[no-untyped-call]
    assert network.noise.mix.weight.grad is None
    with torch.no_grad():
        network.noise.mix.weight.mul_(100)
    assert torch.equal(loss(), first)


def test_default_layers_lie_in_every_resnet() -> None:
    assert default_nce_layers(9) == (0, 4, 7, 10, 14)
    assert default_nce_layers(1) == (0, 4, 7, 10)
    assert len(encode(generator(), pictures(1, seed=0), default_nce_layers(4))) == 5


def test_layers_behind_the_encoder_and_other_networks_are_refused() -> None:
    with pytest.raises(OptionError, match=r"nce_layers: expected .* 0 to 13, .* got 4 14"):
        encode(generator(), pictures(1, seed=0), [4, 14])
    with pytest.raises(OptionError, match="lambda_nce"):
        encode(UnetGenerator(downs=2, channels=2), pictures(1, seed=0), [0])


def made_of(fake: Tensor, identity: Tensor | None = None) -> Translations:
    return Translations(
        fake_B=fake, fake_A=None, rec_A=None, rec_B=None, idt_A=identity, idt_B=None
    )


def term(network: ResnetGenerator, *, identity: bool = False, count: int = 500) -> ContrastiveTerm:
    layers = (1, 4)
    torch.manual_seed(1)
    return ContrastiveTerm(
        "nce_A",
        generator=network,
        projector=PatchProjector(network, layers, width=6),
        layers=layers,
        num_patches=count,
        temperature=0.07,
        random=torch.Generator().manual_seed(0),
        identity=identity,
    )


def test_the_term_compares_all_places_of_each_layer_by_the_projector() -> None:
    network = generator().eval()
    batch = UnpairedBatch(A=pictures(2, seed=0), B=pictures(2, seed=1))
    fake = pictures(2, seed=2)
    own = term(network)
    expected = []
    assert isinstance(own._projector, PatchProjector)
    for layer, project in zip((1, 4), own._projector.projections, strict=True):
        vectors = []
        for images in (fake, batch.A):
            (features,) = encode(network, images, [layer])
            flat = features.flatten(2).transpose(1, 2)
            vectors.append(nn.functional.normalize(project(flat), dim=2).detach())
        expected.append(direct(vectors[0], vectors[1], 0.07))
    found = number(own(batch, made_of(fake)))
    assert found == pytest.approx(sum(expected) / 2, rel=1e-4)  # in whatever order of places
    assert number(term(network, identity=True)(batch, made_of(fake))) == 0
    other = term(network, identity=True)(batch, made_of(fake, pictures(2, seed=3)))
    assert number(other) != pytest.approx(found)


def test_the_input_itself_is_found_best() -> None:
    network = generator()
    batch = UnpairedBatch(A=pictures(1, seed=0), B=pictures(1, seed=1))
    values = [number(term(network)(batch, made_of(fake))) for fake in (batch.A, batch.B)]
    assert values[0] < values[1]


def test_it_draws_few_places_anew_each_time_and_goes_on_where_it_was() -> None:
    network = generator()
    batch = UnpairedBatch(A=pictures(1, seed=0), B=pictures(1, seed=1))
    one, other = term(network, count=5), term(network, count=5)
    first = number(one(batch, made_of(batch.B)))
    other.load_state_dict(one.state_dict(), device=torch.device("cpu"))
    second = number(one(batch, made_of(batch.B)))
    assert second != first
    assert number(other(batch, made_of(batch.B))) == second
