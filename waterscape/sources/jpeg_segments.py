"""A JPEG without what it says besides its picture: segments are left out, the picture's own bytes stay as they are.

Kept: the tables and scans, JFIF's density, Adobe's note of how colours are stored, colour profiles (ICC). Left out:
EXIF with its GPS, thumbnail and serial numbers, XMP, IPTC, further pictures (MPF), comments, and all that follows the
end, as some telephones append films. A picture that EXIF says lies on its side gets an EXIF with that one word.

Source: ITU-T T.81, annex B; T.871 (JFIF); ICC.1:2022, annex B.4; Exif 2.32.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

START, END, SCAN, COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
APP = range(0xE0, 0xF0)
JFIF, ICC, ADOBE = (0xE0, b"JFIF\0"), (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe")
NAMES = {
    (0xE1, b"Exif\0"): "EXIF",
    (0xE1, b"http://ns.adobe.com/x"): "XMP",
    (0xED, b"Photoshop"): "IPTC",
    (0xE2, b"MPF\0"): "further pictures",
    (0xE0, b"JFXX"): "a thumbnail",
}
JFIF_BYTES = 16  # of a segment without a thumbnail, its length included


class JpegError(ValueError):
    """Not a whole JPEG."""


@dataclass(frozen=True)
class Plain:
    """A JPEG that says nothing but its picture."""

    content: bytes
    left_out: tuple[str, ...]
    """What was."""


def without_metadata(content: bytes, orientation: int = 1) -> Plain:
    """The picture alone.

    Args:
        content: of a JPEG file.
        orientation: as its EXIF has it, 1 to 8; anything but 1 is kept.

    Raises:
        JpegError: it is no JPEG, or ends before its end.
    """
    if content[:3] != b"\xff\xd8\xff":
        raise JpegError(f"begins with {content[:8]!r}")
    kept, left_out, place = [content[:2]], [], 2
    noted = orientation not in range(2, 9)
    while True:
        marker, place = _marker(content, place)
        if marker == END:
            if content[place:].strip(b"\0"):
                left_out.append("what follows the end")
            return Plain(b"".join([*kept, b"\xff\xd9"]), tuple(dict.fromkeys(left_out)))
        if marker in ALONE:
            kept.append(bytes([0xFF, marker]))
            continue
        if place + 2 > len(content):
            raise JpegError("it ends within a marker")
        length = int.from_bytes(content[place : place + 2], "big")
        segment = content[place : place + length]
        if length < 2 or len(segment) < length:
            raise JpegError("it ends within a segment")
        place += length
        name = _left_out(marker, segment[2:])
        if not noted and (marker, segment[2:7]) != JFIF:
            kept.append(_exif(orientation))
            noted = True
        if name:
            left_out.append(name)
            continue
        if (marker, segment[2:7]) == JFIF and length > JFIF_BYTES:
            segment = struct.pack(">H", JFIF_BYTES) + segment[2:14] + b"\0\0"
            left_out.append("a thumbnail")
        kept += [bytes([0xFF, marker]), segment]
        if marker == SCAN:
            end = _end_of_scan(content, place)
            kept.append(content[place:end])
            place = end


def _marker(content: bytes, place: int) -> tuple[int, int]:
    """The marker that stands at a place, fill bytes skipped, and what follows it."""
    if content[place : place + 1] != b"\xff":
        raise JpegError("it ends, or goes wrong, where a marker should stand")
    while content[place : place + 1] == b"\xff":
        place += 1
    if place >= len(content):
        raise JpegError("it ends within a marker")
    return content[place], place + 1


def _end_of_scan(content: bytes, place: int) -> int:
    """Where the coded picture ends: at the first marker that is neither a restart nor a stuffed FF."""
    while True:
        place = content.find(b"\xff", place)
        if place < 0 or place + 1 >= len(content):
            raise JpegError("it ends within the picture")
        if content[place + 1] and content[place + 1] not in ALONE and content[place + 1] != 0xFF:
            return place
        place += 1 if content[place + 1] == 0xFF else 2


def _left_out(marker: int, payload: bytes) -> str:
    """The name of a segment that is left out; empty for one that is kept."""
    if marker == COMMENT:
        return "a comment"
    if marker not in APP or any(marker == of and payload.startswith(begins) for of, begins in (JFIF, ICC, ADOBE)):
        return ""
    found = (name for (of, begins), name in NAMES.items() if marker == of and payload.startswith(begins))
    return next(found, f"APP{marker - 0xE0}")


def _exif(orientation: int) -> bytes:
    """A segment that holds nothing but how the picture lies (tag 0x0112)."""
    table = struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    payload = b"Exif\0\0" + b"MM\0*" + struct.pack(">I", 8) + table
    return b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
