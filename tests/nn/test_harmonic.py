"""Convolutions made of cosines: the basis is the known one, and with all of it they are ordinary convolutions."""

import pytest
import torch
from scipy.fft import dctn
from torch import nn

from waterscape.nn.harmonic import HarmonicConv2d, cosine_basis


def pair(side=3, frequencies=None):
    """A harmonic convolution, and the ordinary one with its kernel, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = HarmonicConv2d(4, 5, side, frequencies).double()
        plain = nn.Conv2d(4, 5, side, padding=side // 2, padding_mode="replicate").double()
    with torch.no_grad():
        plain.weight.copy_(ours.kernel())
        plain.bias.copy_(ours.bias)
    return ours, plain, torch.rand(2, 4, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("side", [1, 3, 5])
def test_the_basis_is_orthonormal_and_that_of_the_dct(side):
    basis = cosine_basis(side, torch.float64)
    flat = basis.flatten(1)
    assert torch.allclose(flat @ flat.T, torch.eye(side**2, dtype=torch.float64), atol=1e-14)
    picture = torch.rand(side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(side))
    wanted = torch.from_numpy(dctn(picture.numpy(), norm="ortho")).flatten().sort().values
    assert torch.allclose((flat @ picture.flatten()).sort().values, wanted)


def test_the_basis_runs_from_flat_to_the_finest_chequers():
    basis = cosine_basis(3, torch.float64)
    changes = [int((one.sign().diff(dim=0) != 0).any()) + int((one.sign().diff(dim=1) != 0).any()) for one in basis]
    assert torch.allclose(basis[0], torch.full((3, 3), 1 / 3, dtype=torch.float64))
    assert changes[0] == 0
    roughness = [float(one.diff(dim=0).square().sum() + one.diff(dim=1).square().sum()) for one in basis]
    assert max(range(9), key=roughness.__getitem__) == 8


@pytest.mark.parametrize("frequencies", [None, 6, 1])
def test_it_is_the_ordinary_convolution_with_its_kernel(frequencies):
    ours, plain, x = pair(frequencies=frequencies)
    assert torch.allclose(ours(x), plain(x))
    assert torch.linalg.matrix_rank(ours.kernel().flatten(0, 1).flatten(1)) == (frequencies or 9)


def test_all_frequencies_span_every_kernel():
    ours, plain, x = pair()
    wanted = torch.rand(5, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        plain.weight.copy_(wanted)
        ours.weight.copy_(torch.einsum("oixy,fxy->oif", wanted, ours.basis))
    assert torch.allclose(ours(x), plain(x))


def test_gradient_descent_takes_the_same_step_in_either_basis():
    ours, plain, x = pair()
    for layer in (ours, plain):
        descent = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(x).square().mean().backward()
        descent.step()
    assert torch.allclose(ours.kernel(), plain.weight)
    assert torch.allclose(ours.bias, plain.bias)


@pytest.mark.parametrize("frequencies", [9, 6, 3])
def test_it_begins_as_large_as_an_ordinary_convolution(frequencies):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours, plain = HarmonicConv2d(64, 64, 3, frequencies), nn.Conv2d(64, 64, 3)
        ratio = ours.kernel().detach().std() / plain.weight.detach().std()
    assert 0.95 < ratio < 1.05


@pytest.mark.parametrize(("side", "frequencies"), [(4, 3), (3, 10), (3, 0)])
def test_frequencies_that_there_are_not(side, frequencies):
    with pytest.raises(ValueError, match="an odd side, and from 1 to all"):
        HarmonicConv2d(1, 1, side, frequencies)
