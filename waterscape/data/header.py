"""What the headers of a tar say: of one that a writer of shards made, or of any other writer's.

What only another writer leaves is told apart from what no shard may hold: GNU tar, Python's `tarfile` and webdataset's
writers note owners and times, in the headers themselves or in PAX extension records before them (POSIX.1-2001, pax).
Neither changes what a member is called nor how long it is, so that a reader who goes by an index may pass over them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from waterscape.data.shard import HEADER, tar_header

OCTAL = re.compile(rb"[ 0]*([0-7]{1,20})[ \0]*")
WITHOUT_PAYLOAD = b"123456"  # links, devices, directories and pipes: readers of tars ignore their size
TYPES = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a directory",
    b"6": "a named pipe",
    b"x": "a PAX header",
    b"g": "a PAX header",
    b"L": "a GNU header for a long name",
    b"K": "a GNU header for a long link",
    b"S": "a GNU sparse file",
}
ASIDE = b"5xg"  # may stand beside the samples of a foreign tar
PAX_KEPT = 1 << 16  # bytes of a PAX header that are looked at
PAX_RECORD = re.compile(rb"(\d{1,9}) ([^=]+)=")
PAX_HARMLESS = re.compile(
    rb"[mac]time|[ug]id|[ug]name|comment|(SCHILY|LIBARCHIVE)\.(xattr|acl)\..+|SCHILY\.(dev|ino|nlink|fflags)"
    rb"|LIBARCHIVE\.creationtime|RHT\.security\.selinux"
)


@dataclass(frozen=True)
class Header:
    """What a tar header says: full name, bytes of the payload, and what is wrong with it.

    `faults`: what no shard may have. `foreign`: what only another writer's tar may have; empty where a writer of shards
    made it. `aside`: it is no file but a directory or a note on the next one.
    """

    name: str
    size: int
    faults: tuple[str, ...] = ()
    foreign: str = ""
    aside: bool = False


def read_header(block: bytes) -> Header | None:
    """A header block's content; None where it is none, or a damaged one."""
    fields = HEADER.unpack(block)
    usual = _usual(block, fields[0], fields[4])
    if usual is not None:
        return usual
    sizes, sums = OCTAL.fullmatch(fields[4]), OCTAL.fullmatch(fields[6])
    if sums is None or int(sums[1], 8) != sum(block) - sum(fields[6]) + 8 * 32:
        return None
    name, prefix = (field.rstrip(b"\0").decode("latin-1") for field in (fields[0], fields[15]))
    full = f"{prefix}/{name}" if prefix else name
    kind = fields[7]
    if sizes is None:
        return Header(full, 0, ("its size is no octal number",))
    size = 0 if kind in WITHOUT_PAYLOAD else int(sizes[1], 8)
    if kind not in b"0\0":
        what = f"is {TYPES.get(kind, f'of the unknown type {kind!r}')}, not a plain file"
        return Header(full, size, foreign=what, aside=True) if kind in ASIDE else Header(full, size, (what,))
    if prefix:
        return Header(full, size, ("its path goes on in the header's prefix field: at most 100 bytes can be indexed",))
    return Header(full, size, foreign="its header is not written as the format says")


def _usual(block: bytes, name: bytes, size: bytes) -> Header | None:
    """What a header says that is, byte for byte, the one that a writer of shards makes; None where it is not."""
    if not size[:11].isdigit():
        return None
    try:
        header = Header(name.rstrip(b"\0").decode("ascii"), int(size[:11], 8))
        return header if block == tar_header(header.name, header.size) else None
    except ValueError:
        return None


def pax_faults(size: int, head: bytes) -> list[str]:
    """What forbids passing over a PAX header of `size` bytes that begins with `head`: it renames, resizes, links."""
    if size > len(head):
        return [f"a PAX header of {size} bytes: more than {len(head)} are not looked at"]
    place = 0
    while place < size:
        record = PAX_RECORD.match(head, place)
        end = place + int(record[1]) if record else 0
        if record is None or not record.end() < end <= size or head[end - 1 : end] != b"\n":
            return ["a PAX header that cannot be read"]
        if not PAX_HARMLESS.fullmatch(record[2]):
            return [
                f"a PAX header that sets {record[2].decode('latin-1')!a}: only owners, times, notes are passed over"
            ]
        place = end
    return []
