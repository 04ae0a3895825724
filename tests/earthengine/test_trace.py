"""A traced program is the network, and what has no exact form is named with its place."""
# ruff: noqa: ARG005 (each step of a refused network gets all three, whatever it uses)

from __future__ import annotations

import pytest
import torch
from grown_networks import BANDS, networks, picture
from hypothesis import HealthCheck, given, settings
from torch import nn
from torch.nn import functional

from waterscape.earthengine.operations import Affine, Convolution
from waterscape.earthengine.trace import trace
from waterscape.errors import UserError
from waterscape.nn.pixel_network import PixelNetwork


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(network=networks())
def test_a_program_is_the_network(network):
    pictures = torch.from_numpy(picture(network.rows + 2, network.columns + 5))[None].double()
    program = trace(network, len(BANDS))
    with torch.no_grad():
        torch.testing.assert_close(program(pictures), network.double()(pictures), rtol=1e-12, atol=1e-12)


def test_the_receptive_field_is_where_the_gradient_is():
    program = trace(PixelNetwork(8, widths=(4, 4, 4, 4)), 8)
    pictures = torch.rand(1, 8, 11, 11, dtype=torch.float64, requires_grad=True)
    program(pictures)[0, 0, 2, 2].backward()
    moved = (pictures.grad[0].abs().sum(0) > 0).nonzero().tolist()
    alignment = program.alignments()[-1]
    assert alignment.removed == (6, 6)
    assert {(row, column) for row, column in moved} <= {(2 + down, 2 + right) for down, right in alignment.support}
    assert alignment.seen() == [(down, right) for down in range(-3, 4) for right in range(-3, 4)]


def test_batch_norm_is_folded():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    kinds = [type(each) for each in trace(network, 3).operations]
    assert kinds.count(Affine) == 1  # the one behind a ReLU stays
    assert kinds.count(Convolution) == 2
    assert len(kinds) == 4


def test_what_nothing_needs_is_left_out():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 3)

        def forward(self, x):
            y = self.used(x)
            self.spare(x)
            return y

    assert len(trace(Spare(), 3).operations) == 1


class Step(nn.Module):
    """A convolution, and one step after it."""

    def __init__(self, step, **layers):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3))
        self.step = step
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.step(self, self.body(x), x)


REFUSED = {
    "pooling": (Step(lambda n, y, x: n.pool(y), pool=nn.MaxPool2d(2)), "layer 'pool' (MaxPool2d), line"),
    "stride": (Step(lambda n, y, x: n.far(y), far=nn.Conv2d(4, 2, 3, stride=2)), "stride (2, 2)"),
    "padding": (Step(lambda n, y, x: n.pad(y), pad=nn.Conv2d(4, 2, 3, padding=1)), "layer 'pad' (Conv2d), line"),
    "same padding": (
        Step(lambda n, y, x: n.pad(y), pad=nn.Conv2d(4, 2, 3, padding="same")),
        "take padding 0, and crop",
    ),
    "transposed": (Step(lambda n, y, x: n.up(y), up=nn.ConvTranspose2d(4, 2, 2)), "ConvTranspose2d has no exact form"),
    "instance norm": (Step(lambda n, y, x: n.norm(y), norm=nn.InstanceNorm2d(4)), "InstanceNorm2d has no exact form"),
    "batch statistics": (
        Step(lambda n, y, x: n.norm(y), norm=nn.BatchNorm2d(4, track_running_stats=False)),
        "no running statistics",
    ),
    "activation": (Step(lambda n, y, x: functional.gelu(y)), "gelu has no exact form there"),
    "product": (Step(lambda n, y, x: y * y), "two tensors are multiplied"),
    "division": (Step(lambda n, y, x: 1 / y), "a division by a tensor"),
    "misaligned": (Step(lambda n, y, x: torch.cat([y, x[:, :, 2:, 1:-1]], 1)), "do not lie over the same pixels"),
    "uncropped": (Step(lambda n, y, x: torch.cat([y, x], 1)), "do not lie over the same pixels"),
    "sizes": (Step(lambda n, y, x: x[:, :, 1 : 1 + y.shape[2]]), "it asks for a tensor's shape"),
    "fixed window": (Step(lambda n, y, x: x[:, :, 0:5]), "the crop 0:5"),
    "axis": (Step(lambda n, y, x: torch.cat([y, y], 2)), "it concatenates along axis 2"),
    "softmax of rows": (Step(lambda n, y, x: torch.softmax(y, 2)), "a softmax over axis 2"),
    "two outputs": (Step(lambda n, y, x: (y, x)), "more than one tensor"),
    "values": (Step(lambda n, y, x: y if y.sum() > 0 else x), "steps must not depend on values"),
    "linear over width": (Step(lambda n, y, x: n.last(y), last=nn.Linear(4, 2)), "permute the channels to the end"),
    "in place": (
        Step(lambda n, y, x: y + functional.relu(y, inplace=True)),
        "changes in place what is used again",
    ),
    "layer in place": (Step(lambda n, y, x: n.bend(y) + y, bend=nn.ReLU(inplace=True)), "layer 'bend' (ReLU), line"),
    "view in place": (
        Step(lambda n, y, x: functional.relu(y[:, :, 1:-1, 1:-1], inplace=True) + y[:, :, 1:-1, 1:-1]),
        "changes in place what is used again",
    ),
    "map constant": (Step(lambda n, y, x: y + torch.ones(5, 5)), "one number, or one for each channel"),
}


@pytest.mark.parametrize(("network", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_has_no_exact_form_is_named_with_its_place(network, told):
    with pytest.raises(UserError) as caught:
        trace(network, 3)
    message = str(caught.value)
    assert told in message
    assert "\n" not in message
    assert "line" in message or "tensor" in message
    assert "test_trace.py" in message or "more than one" in message


def test_a_nested_layer_is_named_by_its_path():
    network = nn.Sequential(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sequential(nn.AvgPool2d(2))))
    with pytest.raises(UserError, match=r"layer '0\.1\.0' \(AvgPool2d\)"):
        trace(network, 3)
