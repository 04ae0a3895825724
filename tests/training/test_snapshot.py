"""Host copies in the layout of safetensors: read back by the library itself."""

import pytest
import torch
from safetensors.torch import load

from waterscape.training.snapshot import Snapshot

KINDS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


def test_the_library_reads_what_was_copied_of_every_dtype_and_shape():
    torch.manual_seed(0)
    tensors = {
        f"{kind}.{shape}": (9 * torch.randn(shape)).to(kind) for kind in KINDS for shape in [(), (3,), (2, 0), (5, 7)]
    }
    tensors["channels last"] = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    tensors["transposed"] = torch.randn(3, 4).t()
    snapshot = Snapshot()
    snapshot.fill({"file": tensors})
    found = load(bytes(snapshot.files["file"].content))
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


def test_memory_is_allocated_once_and_holds_the_moment_of_copying():
    weights = torch.arange(5.0)
    snapshot = Snapshot()
    snapshot.fill({"file": {"weights": weights}})
    place = snapshot.files["file"].views["weights"].data_ptr()
    weights += 1
    assert snapshot.files["file"].views["weights"].tolist() == [0, 1, 2, 3, 4]
    snapshot.fill({"file": {"weights": weights}})
    assert snapshot.files["file"].views["weights"].tolist() == [1, 2, 3, 4, 5]
    assert snapshot.files["file"].views["weights"].data_ptr() == place
    snapshot.fill({"file": {"weights": torch.zeros(6)}})
    assert load(bytes(snapshot.files["file"].content))["weights"].tolist() == [0] * 6


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_named(bad):
    weights = torch.zeros(1000)
    weights[777] = bad
    snapshot = Snapshot()
    snapshot.fill(
        {
            "network.decoder": {"weights": weights, "count": torch.ones(1, dtype=torch.int64)},
            "optimizer": {"m": weights},
        }
    )
    assert list(snapshot.problems(("network.",))) == ["weights of network.decoder is not finite"]
