"""A ledger and its set, with whatever other tools leave beside them, of which somebody is to be forgotten."""

from __future__ import annotations

import json
import re
import shutil

from collected_pairs import OWNERS, collect, keys_of
from packed_photos import samples
from PIL import Image

from waterscape.data.cache import Cache
from waterscape.data.manifest import Manifest
from waterscape.data.store import tar_name
from waterscape.sheet import save_png
from waterscape.sources import making
from waterscape.sources.ledger import Ledger
from waterscape.sources.ledger_pairs import LedgerPairs
from waterscape.sources.pairs import Joining
from waterscape.sources.photo_set import Sharing

WHO = OWNERS[2]  # of the first eight photos, one was rejected and one has no sound tile
OPTIONS = Joining(sharing=Sharing(samples_per_shard=4))


def pack(path, out, **options):
    return making.pack(LedgerPairs.find(path, out, None, OPTIONS), out, **options)


def collect_all(root):
    """A ledger and its set, with what other tools leave beside them; a run trained on the set, and one on another."""
    path = collect(root)
    out = root / "shards" / "pairs"
    pack(path, out)
    theirs = keys_of(path, WHO)
    (root / "photos.sheet.png").write_bytes((out / "contact.png").read_bytes())
    (root / "photos" / "thumbnails").mkdir()
    for key in theirs:
        (root / "photos" / "thumbnails" / f"{key}-256.jpg").write_bytes(b"small")
    (root / "photos.filtered").mkdir()
    for name, shown in (("blur", theirs[0]), ("season", keys_of(path, OWNERS[1])[0])):
        save_png(Image.new("RGB", (9, 9)), root / "photos.filtered" / f"{name}.png", photos=f"vk-0 {shown}")
    (out / "quarantine.json").write_text(json.dumps({"quarantined": theirs}))
    (out / "notes.txt").write_text("a note about nobody\n")
    (out / "map.png").write_bytes((out / "contact.png").read_bytes())
    parts = root / "shards" / "pairs.parts"
    making.pack_part(LedgerPairs.find(path, out, None, OPTIONS), out, part=1, parts=2, replace=True)
    assert parts.is_dir()
    with Ledger(path) as ledger, ledger.part(root / "photos.db.part-0001-of-0002.db") as part:
        part.add(ledger.photos())
    for name, sha256 in (("seen", Manifest.load(out).sha256), ("other", "0" * 64), ("earlier", "")):
        (root / "runs" / name).mkdir(parents=True)
        facts = {"manifest_sha256": sha256, "run": {"data": "elsewhere"}}
        (root / "runs" / name / "run.json").write_text(json.dumps(facts))
    return root


def copy_of(made, tmp_path, monkeypatch):
    """A copy, whose shards lie in this node's cache too."""
    root = shutil.copytree(made, tmp_path / "here")
    facts = {"manifest_sha256": "1" * 64, "run": {"data": str(root / "shards" / "pairs")}}
    (root / "runs" / "earlier" / "run.json").write_text(json.dumps(facts))
    monkeypatch.setenv("WATERSCAPE_CACHE", str(tmp_path / "cache"))
    for shard in Manifest.load(root / "shards" / "pairs").shards:
        for folder, name, ending in (("tars", tar_name(shard), "tar"), ("indexes", f"{shard.index_sha256}.npy", "")):
            Cache(tmp_path / "cache" / folder)
            source = root / "shards" / "pairs" / f"{shard.name}.{ending or 'index.npy'}"
            shutil.copy(source, tmp_path / "cache" / folder / name)
    return root


def traces(root, made, who=WHO):
    """Every file below `root` that holds the owner's number, a photo's name or a piece of a photo of theirs."""
    keys = keys_of(made / "photos.db", who)
    pictures = [path.read_bytes() for key in keys for path in sorted(made.rglob(f"{key}.jpg"))]
    pieces = [who.encode(), *(key.encode() for key in keys), *(content[-96:-32] for content in pictures)]
    searched = re.compile(b"|".join(map(re.escape, pieces)))
    words = {path: bytes(path.relative_to(root)) for path in root.rglob("*")}
    words |= {path: words[path] + path.read_bytes() for path in words if path.is_file()}
    return {path.relative_to(root).as_posix() for path in words if searched.search(words[path])}


def content(out):
    """What training reads of a set, split by split, in order; without the manifest's own sums."""
    return {(split, key): values for (split, key), values in sorted(samples(out).items())}
