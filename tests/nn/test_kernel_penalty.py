"""L2 on kernels, as Keras means it."""

import torch
from torch import nn

from waterscape.nn.losses import kernel_penalty


def test_the_penalty_is_that_of_each_kind_s_kernels_and_of_no_biases():
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(5, 6)).double()
    penalty = kernel_penalty(
        network, {nn.Conv2d: 0.01, nn.Linear: 0.5, nn.ConvTranspose2d: 7.0}
    )  # it has none of these
    first, second, dense = network[0], network[2], network[4]
    wanted = 0.01 * (first.weight.square().sum() + second.weight.square().sum()) + 0.5 * dense.weight.square().sum()
    torch.testing.assert_close(penalty, wanted)
    penalty.backward()
    torch.testing.assert_close(first.weight.grad, 2 * 0.01 * first.weight.detach())
    torch.testing.assert_close(dense.weight.grad, 2 * 0.5 * dense.weight.detach())
    assert all(layer.bias.grad is None for layer in (first, second, dense))
