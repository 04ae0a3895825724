"""Layers and losses over the global batch: several processes against torch's own layers in one."""

import layers_in_ranks
import pytest
import torch
from programs import ROOT
from safetensors.torch import load_file
from torch import nn

from waterscape.nn.batchnorm import GlobalBatchNorm2d
from waterscape.nn.global_batch import gather_batch, shares
from waterscape.proof.launch import Ranks

TOLERANCE = {torch.float32: 4e-6, torch.float64: 1e-13}


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def ranks(request, tmp_path_factory):
    """What three processes found, which hold 2, 2 and 1 samples, on a CPU or sharing one GPU."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    out = tmp_path_factory.mktemp("ranks")
    words = [ROOT / "tests/nn/layers_in_ranks.py", out, request.param]
    Ranks(3, words, out / "log", device=request.param == "cuda").wait()
    return {dtype: [load_file(out / f"{dtype}-{rank}.safetensors") for rank in range(3)] for dtype in TOLERANCE}


def far(one, other):
    """Largest difference, in units of the largest number."""
    return float((one - other).abs().max() / one.abs().max().clamp(min=1))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_several_processes_are_torch_s_layers_in_one(ranks, dtype):
    stock = layers_in_ranks.cases(layers_in_ranks.STOCK, dtype) | layers_in_ranks.contrast(dtype)
    for name, wanted in stock.items():
        if name.startswith("rows"):
            assert far(wanted, torch.cat([held[name] for held in ranks[dtype]])) <= TOLERANCE[dtype], name
        for held in ranks[dtype] if not name.startswith("rows") else ():
            if name == "twice":
                assert held[name].abs().max() <= 1e-6
            else:
                assert far(wanted, held[name]) <= TOLERANCE[dtype], name


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_frozen_layer_in_training_mode_takes_the_statistics_of_all_even_of_processes_without_rows(ranks, dtype):
    stock = layers_in_ranks.norm(layers_in_ranks.STOCK, 1, dtype)
    stock(layers_in_ranks.numbers(5, 4, seed=5, dtype=dtype)[:2])  # those of the first process
    for held in ranks[dtype]:
        for key, value in stock.named_buffers():
            assert far(value.to(dtype), held[f"one empty: {key}"]) <= TOLERANCE[dtype]


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_one_process_alone_in_evaluation_mode(ranks, dtype):
    layer = layers_in_ranks.norm(layers_in_ranks.STOCK, 2, dtype).eval()
    wanted = layer(layers_in_ranks.numbers(2, 4, 3, 3, seed=9, dtype=dtype)).detach()
    assert far(wanted, ranks[dtype][0]["alone"]) <= TOLERANCE[dtype]


def test_in_one_process_it_is_torch_s_layer_bitwise():
    for dtype in TOLERANCE:
        ours = layers_in_ranks.cases(layers_in_ranks.GLOBAL, dtype)
        for name, value in layers_in_ranks.cases(layers_in_ranks.STOCK, dtype).items():
            assert torch.equal(value, ours[name]), name


def test_checkpoints_of_torch_s_layer_fit():
    stock = nn.BatchNorm2d(3)
    stock(torch.randn(4, 3, 2, 2))
    layer = GlobalBatchNorm2d(3)
    layer.load_state_dict(stock.state_dict())
    assert torch.equal(layer.running_var, stock.running_var)


def test_rows_that_are_no_multiple_of_the_samples_are_refused():
    with shares((3, 2), 0), pytest.raises(ValueError, match="4 rows cannot be gathered for 3 samples"):
        gather_batch(torch.zeros(4, 1))
    assert gather_batch(rows := torch.zeros(4, 1)) is rows
