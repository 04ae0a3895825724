"""Host memory in the layout of safetensors files, allocated once: a copy of what trains, taken within milliseconds.

Layout: https://github.com/huggingface/safetensors (8 bytes of header length, a JSON header, the tensors without gaps).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

Layout = tuple[tuple[str, torch.dtype, tuple[int, ...]], ...]

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 64  # bytes


class Snapshot:
    """Files of tensors as they were at the last `fill`."""

    def __init__(self) -> None:
        self.files: dict[str, HostFile] = {}

    def fill(self, files: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Copy the tensors of each file; memory is allocated again only for a file whose tensors changed in shape."""
        waiting = False
        held, self.files = self.files, {}
        for name, tensors in files.items():
            layout = tuple((key, tensor.dtype, tuple(tensor.shape)) for key, tensor in tensors.items())
            on_cuda = any(tensor.is_cuda for tensor in tensors.values())
            file = held.get(name)
            if file is None or file.layout != layout:
                file = HostFile(layout, pinned=on_cuda)
            for key, tensor in tensors.items():
                file.views[key].copy_(tensor.detach(), non_blocking=True)
            self.files[name] = file
            waiting |= on_cuda
        if waiting:
            torch.cuda.synchronize()

    def problems(self, prefixes: tuple[str, ...]) -> Iterator[str]:
        """Tensors that are not finite, of the files whose names begin with one of the prefixes."""
        for name, file in self.files.items():
            for key, view in file.views.items():
                if name.startswith(prefixes) and view.is_floating_point() and view.numel():
                    low, high = torch.aminmax(view)  # one pass without temporary memory; a NaN anywhere shows in both
                    if not (low.isfinite() and high.isfinite()):
                        yield f"{key} of {name} is not finite"


class HostFile:
    """One safetensors file in memory: `content` is the file's bytes, `views` the tensors within."""

    def __init__(self, layout: Layout, *, pinned: bool = False) -> None:
        self.layout = layout
        header, starts, size = {}, {}, 0
        for key, dtype, shape in sorted(layout, key=lambda entry: (-entry[1].itemsize, entry[0])):  # each stays aligned
            stop = size + dtype.itemsize * torch.Size(shape).numel()
            header[key] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [size, stop]}
            starts[key], size = (size, stop), stop
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % _ALIGNMENT)
        head = len(text).to_bytes(8, "little") + text
        buffer = torch.empty(len(head) + size, dtype=torch.uint8, pin_memory=pinned)
        buffer[: len(head)] = torch.frombuffer(bytearray(head), dtype=torch.uint8)
        data = buffer[len(head) :]
        self.content = memoryview(buffer.numpy().data)
        self.views = {key: data[slice(*starts[key])].view(dtype).view(shape) for key, dtype, shape in layout}
