"""The network as prediction calls it computes what it computes in training, and changes nothing that it is given."""

import pytest
import torch

from waterscape.nn import pixel_network
from waterscape.nn.pixel_network import MARGIN, PixelNetwork
from waterscape.training.torch_threads import torch_threads


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("at_once", [1, 44 * 5, 1 << 20])  # a row, five rows, all rows of a picture
def test_inference_rounds_and_no_more(images, layout, at_once, monkeypatch):
    monkeypatch.setattr(pixel_network, "AT_ONCE", at_once)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = PixelNetwork().to(memory_format=layout)
        bands = torch.randn(images, 8, 40, 50).contiguous(memory_format=layout)
    given = bands.clone()
    learning = network(bands)
    learning.square().sum().backward()
    gradients = [parameter.grad.double() for parameter in network.parameters()]
    with torch_threads(1), torch.inference_mode():  # as each part of a scene is predicted
        scores = network(bands)
    assert scores.shape == (images, 2, 40 - 2 * MARGIN, 50 - 2 * MARGIN)
    network.double().zero_grad()
    exact = network(bands.double())
    exact.square().sum().backward()
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert (gradient - parameter.grad).abs().max() <= 1e-5 * parameter.grad.abs().max()
    exact = exact.detach()
    assert (scores - exact).abs().max() <= 2e-6 * exact.abs().max()
    assert (learning - exact).abs().max() <= 2e-6 * exact.abs().max()
    assert torch.equal(bands, given)


def test_no_picture_gives_no_scores():
    with torch.inference_mode():
        assert PixelNetwork()(torch.zeros(0, 8, 40, 50)).shape == (0, 2, 34, 44)
