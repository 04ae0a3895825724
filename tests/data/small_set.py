"""Small synthetic sets of shards for the tests of the data path."""

from pathlib import Path

import numpy as np

from waterscape.data.manifest import Manifest
from waterscape.data.pack import SetWriter

JPEG = b"\xff\xd8 not a picture, but nobody decodes it here \xff\xd9"


def sample(number):
    """Every kind of column; each value tells which sample it belongs to."""
    values = {
        "occurrence.npy": (np.arange(35, dtype=np.uint8) * 7 + number).reshape(5, 7),
        "label.npy": np.array(number, np.int64),
        "bodies.npy": np.full((number % 3, 2), number, np.float32),
        "json": {"region": "ö", "number": number},
        "jpg": JPEG + str(number).encode(),
    }
    if number % 4 == 1:
        values["rare.npy"] = np.array([number], np.int16)
    return values


def write_set(out: Path, samples: int = 41, samples_per_shard: int = 6, **options) -> Manifest:
    with SetWriter(out, facts={"synthetic": True}, samples_per_shard=samples_per_shard, **options) as writer:
        for number in range(samples):
            writer.add("test" if number % 5 == 4 else "train", sample(number))
        return writer.finish(classes=["lake", "river"])
