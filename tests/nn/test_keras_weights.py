"""Files as Keras 2 and 3 lay them out, written here group by group; and what happens to files that are not those."""

import io
import sys
import zipfile

import h5py
import numpy as np
import pytest
import torch
from scipy.signal import correlate

from waterscape.errors import UserError
from waterscape.nn.keras_weights import fill_convolutions, read_layers
from waterscape.nn.pixel_network import PixelNetwork

SHAPES = ((3, 3, 8, 16), (3, 3, 16, 32), (3, 3, 40, 64), (1, 1, 72, 128), (1, 1, 128, 2))


@pytest.fixture(scope="module")
def weights():
    """Kernels (height, width, in, out) and biases of the reference."""
    random = np.random.default_rng(1)
    return [
        (random.normal(0, 0.1, s).astype(np.float32), random.normal(0, 0.1, s[-1]).astype(np.float32)) for s in SHAPES
    ]


def keras_2(path, weights, root="model_weights", numbers=range(8, 13), suffix=":0"):
    """`model.save(".h5")`; with no `root`, `model.save_weights`. Layers without weights have empty groups."""
    with h5py.File(path, "w") as file:
        group = file.create_group(root) if root else file
        names = ["input_1", *(f"conv2d_{number}" for number in numbers), "concatenate"]
        group.attrs["layer_names"] = [name.encode() for name in names]
        group.attrs["backend"] = b"tensorflow"
        for name in names:
            group.create_group(name).attrs["weight_names"] = []
        for name, (kernel, bias) in zip(names[1:-1], weights, strict=True):
            group[name].attrs["weight_names"] = [f"{name}/{part}{suffix}".encode() for part in ("kernel", "bias")]
            group[f"{name}/{name}/kernel{suffix}"] = kernel
            group[f"{name}/{name}/bias{suffix}"] = bias
        if root:
            adam = file.create_group("optimizer_weights/Adam/conv2d_8")
            adam["kernel:0"], adam["bias:0"] = weights[0]


def keras_3(path, weights, layers="layers"):
    """`model.save_weights(".weights.h5")`: numbered arrays in groups of the classes' names."""
    with h5py.File(path, "w") as file:
        file.create_group(f"{layers}/input_layer/vars")
        for number, (kernel, bias) in enumerate(weights):
            group = file.create_group(f"{layers}/conv2d{f'_{number}' if number else ''}/vars")
            group["0"], group["1"] = kernel, bias
        variables = file.create_group("optimizer/vars")
        variables["0"], variables["1"], variables["2"] = np.int64(7), np.float32(1e-5), weights[0][0]


def archive(path, weights):
    """`model.save(".keras")`."""
    held = io.BytesIO()
    keras_3(held, weights)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")
        file.writestr("model.weights.h5", held.getvalue())


WRITERS = {
    "model.h5": keras_2,
    "weights.h5": lambda path, weights: keras_2(path, weights, root=""),
    "keras3.h5": lambda path, weights: keras_2(path, weights, suffix=""),
    "dense.h5": lambda path, weights: keras_2(path, [(np.squeeze(kernel), bias) for kernel, bias in weights]),
    "model.weights.h5": keras_3,
    "tf215.weights.h5": lambda path, weights: keras_3(path, weights, layers="_layer_checkpoint_dependencies"),
    "model.keras": archive,
}


@pytest.mark.parametrize("name", WRITERS)
def test_layers_come_out_in_their_order(name, weights, tmp_path):
    """Layers 8 to 12: by their letters, 10 would come first."""
    WRITERS[name](tmp_path / name, weights)
    layers = read_layers(str(tmp_path / name))
    assert [layer.kernel.shape for layer in layers] == list(SHAPES)
    for layer, (kernel, bias) in zip(layers, weights, strict=True):
        assert np.array_equal(layer.kernel, kernel)
        assert np.array_equal(layer.bias, bias)


def test_the_network_computes_what_keras_would(weights, tmp_path):
    """Against the layers written out with scipy: cross-correlation, channels last, and ReLU."""
    keras_2(tmp_path / "model.h5", weights)
    network = PixelNetwork()
    fill_convolutions(network, str(tmp_path / "model.h5"))
    picture = np.random.default_rng(2).normal(size=(11, 12, 8)).astype(np.float32)

    def convolved(x, layer):
        kernel, bias = weights[layer]
        maps = [correlate(x, kernel[..., out], mode="valid")[..., 0] + bias[out] for out in range(kernel.shape[3])]
        return np.stack(maps, -1)

    y = np.maximum(convolved(np.maximum(convolved(picture, 0), 0), 1), 0)
    y = np.maximum(convolved(np.concatenate([y, picture[2:-2, 2:-2]], -1), 2), 0)
    y = np.maximum(convolved(np.concatenate([y, picture[3:-3, 3:-3]], -1), 3), 0)
    wanted = convolved(y, 4).transpose(2, 0, 1)
    with torch.no_grad():
        found = network(torch.from_numpy(picture.transpose(2, 0, 1)[None]))[0].numpy()
    assert np.abs(found - wanted).max() < 1e-5


def test_what_does_not_fit_is_named(weights, tmp_path):
    """Skips of 7 channels, as a table of the source has them by mistake."""
    path = str(tmp_path / "model.h5")
    wrong = [*weights]
    wrong[2] = (weights[2][0][:, :, 1:], weights[2][1])
    keras_2(path, wrong)
    with pytest.raises(
        UserError, match=r"kernel of conv2d_10 is 3 × 3 × 39 × 64 .* network's third is 3 × 3 × 40 × 64"
    ):
        fill_convolutions(PixelNetwork(), path)
    keras_2(path, weights[:4], numbers=range(4))
    with pytest.raises(UserError, match=r"has 4 convolutions \(conv2d_0, .*\); the network has 5"):
        fill_convolutions(PixelNetwork(), path)


def test_files_that_cannot_be_read(weights, tmp_path):
    with pytest.raises(UserError, match=r"none\.h5: there is no such file"):
        read_layers(str(tmp_path / "none.h5"))
    (tmp_path / "text.h5").write_text("no weights")
    with pytest.raises(UserError, match=r"text\.h5 cannot be read"):
        read_layers(str(tmp_path / "text.h5"))
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as file:
        file.writestr("config.json", "{}")
    with pytest.raises(UserError, match=r"empty\.keras cannot be read \(.*model\.weights\.h5"):
        read_layers(str(tmp_path / "empty.keras"))
    keras_2(tmp_path / "whole.h5", weights)
    (tmp_path / "cut.h5").write_bytes((tmp_path / "whole.h5").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"cut\.h5 cannot be read"):
        read_layers(str(tmp_path / "cut.h5"))


def test_without_the_library_its_command_is_told(weights, tmp_path, monkeypatch):
    keras_2(tmp_path / "whole.h5", weights)
    monkeypatch.setitem(sys.modules, "h5py", None)  # as Python sees what is not installed
    with pytest.raises(UserError, match=r"takes h5py: pip install 'waterscape\[keras\]'"):
        read_layers(str(tmp_path / "whole.h5"))
