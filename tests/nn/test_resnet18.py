"""ResNet-18: torchvision's size and names, and files of weights, whole, foreign and dangerous."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from waterscape.errors import UserError
from waterscape.nn.resnet18 import ResNet18, fill_resnet18


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return ResNet18(5).eval()


def test_it_has_the_parameters_of_torchvision_and_their_names():
    known = ResNet18(1000)
    assert sum(value.numel() for value in known.parameters()) == 11_689_512
    names = list(known.state_dict())
    assert len(names) == 122
    assert {"conv1.weight", "layer2.0.downsample.0.weight", "layer2.0.downsample.1.running_var"} <= set(names)
    assert {"layer4.1.bn2.num_batches_tracked", "fc.bias"} <= set(names)
    assert not any(name.startswith("layer1.0.downsample") for name in names)


def test_it_halves_the_side_five_times(network):
    sizes = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: sizes.append(tuple(out.shape)))
        for layer in (network.maxpool, network.layer1, network.layer2, network.layer3, network.layer4)
    ]
    assert network(torch.zeros(2, 3, 128, 96)).shape == (2, 5)
    for hook in hooks:
        hook.remove()
    assert sizes == [(2, 64, 32, 24), (2, 64, 32, 24), (2, 128, 16, 12), (2, 256, 8, 6), (2, 512, 4, 3)]


@pytest.mark.parametrize("kind", ["safetensors", "plain", "places365"])
def test_weights_of_a_file(network, kind, tmp_path):
    """`places365`: as the project wrote it, before batches were counted, from within DataParallel."""
    state = {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "resnet18_places365.pth.tar")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "plain":
        torch.save(network.state_dict(), path)
    else:
        held = {"epoch": 90, "arch": "resnet18", "state_dict": {f"module.{name}": v for name, v in state.items()}}
        torch.save(held, path, _use_new_zipfile_serialization=False)
    other = ResNet18(5).eval()
    fill_resnet18(other, path, "--weights")
    seen = torch.rand(2, 3, 64, 64)
    assert torch.equal(other(seen), network(seen))


def refused(path, classes=5):
    with pytest.raises(UserError) as error:
        fill_resnet18(ResNet18(classes), path, "--weights")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_files_that_are_none(network, tmp_path):
    whole = tmp_path / "whole.pth"
    torch.save(network.state_dict(), whole)
    assert "of another network than ResNet-18 of 365 classes: 2 of 102 tensors" in refused(whole, 365)
    (tmp_path / "cut.pth").write_bytes(whole.read_bytes()[:10_000])
    assert "cannot be read safely" in refused(tmp_path / "cut.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "cannot be read safely" in refused(tmp_path / "list.pth")
    assert "there is no such file" in refused(tmp_path / "none.pth")


def test_no_code_of_a_file_is_run(tmp_path):
    ran = tmp_path / "ran"

    class Command:
        def __reduce__(self):
            return ran.touch, ()

    (tmp_path / "bad.pth").write_bytes(pickle.dumps({"state_dict": Command()}))
    assert "cannot be read safely" in refused(tmp_path / "bad.pth")
    torch.save({"state_dict": Command()}, tmp_path / "worse.pth")
    assert "cannot be read safely" in refused(tmp_path / "worse.pth")
    assert not ran.exists()
