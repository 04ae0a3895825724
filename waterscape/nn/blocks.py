"""Layers that several models build on."""

from __future__ import annotations

from torch import nn


def glorot(network: nn.Module) -> nn.Module:
    """Start as Keras does: kernels uniform after Glorot & Bengio 2010, biases zero. Returns the network."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
