"""Folders of classes, as sets of landscape photos are published: which file is of which class, and of which split."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waterscape.errors import UserError
from waterscape.sources.occurrence import SYNTHETIC_MARK
from waterscape.sources.photo_facts import sidecars_among
from waterscape.sources.photo_file import NOT_BY_NAME, files_below, is_hidden
from waterscape.sources.photo_tally import Dropped, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

LEFT_OUT = "-"
NO_CLASS, NO_SPLIT, OUT_OF_CLASSES = "in no class's folder", "in no split's folder", "its class is left out"
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
BESIDE_SPLITS = {"seg", "data", "set", "dataset", "images", "pictures"}  # as in seg_train, Training Data


@dataclass(frozen=True)
class Found:
    """A file in the folder of a class."""

    name: str
    """Below the root's own name: `intel/train/sea/1.jpg`."""
    path: Path
    root: str
    label: str
    split: str | None
    """As its folder says; None: none does."""


def class_map(words: Sequence[str]) -> dict[str, str]:
    """Folder → class of words like coast=sea, in lower case. Raises `UserError` for any other word."""
    found: dict[str, str] = {}
    for word in (part for words_ in words for part in words_.split(",") if part):
        folder, equals, label = (part.strip().lower() for part in word.partition("="))
        if not (folder and equals and label):
            raise UserError(f"--map {word}: give FOLDER=CLASS, as in coast=sea, or FOLDER={LEFT_OUT} to leave it out")
        if found.setdefault(folder, label) != label:
            raise UserError(f"--map gives {folder} two classes, {found[folder]} and {label}: choose one")
    return found


class Root:
    """A folder of class folders, or of split folders that hold these. Raises `UserError` where it is neither."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise UserError(f"{path} is no folder: give folders that hold a folder for each class")
        self.path = path
        self.name = plain(path.resolve().name)
        splits = {folder: split for folder in _folders(path) if (split := split_word(folder))}
        self.bases: dict[Path, str | None] = {_inner(path / folder): split for folder, split in splits.items()}
        self.has_splits = bool(splits)
        if not splits:
            self.bases = {path: None}
        self.class_folders = [base / folder for base in self.bases for folder in _folders(base)]
        if not self.class_folders:
            raise UserError(f"{path} holds no folder of a class: give a folder such as one with sea/ and forest/ in it")

    def files(self) -> Iterator[tuple[str, Path, str | None, str | None]]:
        """Every file: its name, which begins with the root's own, its path, its split and the folder of its class.

        But for a synthetic world's facts of itself, which are no picture.
        """
        depth = len(self.path.parts)
        bases = {base.parts[depth:]: split for base, split in self.bases.items()}
        for file in files_below(self.path):
            below = file.parts[depth:]
            base = next((base for base in bases if below[: len(base)] == base), None)
            inside = () if base is None else below[len(base) :]
            folder = inside[0] if len(inside) > 1 else None
            if folder is not None or file.name != SYNTHETIC_MARK:
                name = plain("/".join((self.name, *below)))
                yield name, file, None if base is None else bases[base], folder and plain(folder)


@dataclass(frozen=True)
class Folders:
    """All files of the roots."""

    found: tuple[Found, ...]
    """In the folder of a class, by name."""
    astray: tuple[Dropped, ...]
    sidecars: int
    classes: tuple[str, ...]
    """In the order of their numbers, those of empty folders too."""


def find(roots: Sequence[Path], mapped: Mapping[str, str], classes: Sequence[str]) -> Folders:
    """All files of roots.

    A class is called as its folder in lower case, unless `mapped` says otherwise. Where `classes` are given, there may
    be no others.

    Raises:
        UserError: a root without class folders, a mapped folder that is nowhere, an unknown class.
    """
    found: list[Found] = []
    astray: list[Dropped] = []
    opened = [Root(path) for path in roots]
    folders = {plain(folder.name).lower(): plain(str(folder)) for root in opened for folder in root.class_folders}
    _check(folders, mapped, classes)
    for root in opened:
        for name, path, split, folder in root.files():
            if is_hidden(path.parts[len(root.path.parts) :]):
                astray.append(Dropped(name, NOT_BY_NAME, "hidden"))
            elif folder is None:
                astray.append(Dropped(name, NO_SPLIT if root.has_splits and split is None else NO_CLASS))
            elif (label := mapped.get(folder.lower(), folder.lower())) == LEFT_OUT:
                astray.append(Dropped(name, OUT_OF_CLASSES, folder))
            else:
                found.append(Found(name, path, root.name, label, split))
    beside = sidecars_among({one.path for one in found})
    kept = sorted((one for one in found if one.path not in beside), key=lambda one: one.name)
    labels = {mapped.get(folder, folder) for folder in folders} - {LEFT_OUT}
    return Folders(tuple(kept), tuple(astray), len(beside), tuple(classes or sorted(labels)))


def _check(folders: Mapping[str, str], mapped: Mapping[str, str], classes: Sequence[str]) -> None:
    """Refuse what was mapped and is not there, and what is there and no class; `folders`: lower case → path."""
    there = ", ".join(sorted(folders))
    for word in mapped:
        if word not in folders:
            near = difflib.get_close_matches(word, folders, 1, 0.6)
            meant = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(f"--map {word}={mapped[word]}: no folder is called {word}{meant}; there are {there}")
    labels = {mapped.get(word, word): where for word, where in folders.items()}
    labels.pop(LEFT_OUT, None)
    for label, where in labels.items():
        if classes and label not in classes:
            near = difflib.get_close_matches(label, classes, 1, 0.0)
            raise UserError(
                f"{where} is of no class among {', '.join(classes)}: say --map {label}={near[0]}, or --map "
                f"{label}={LEFT_OUT} to leave it out"
            )
    for label in classes:
        if label not in labels:
            raise UserError(f"class {label} has no folder: there are {there}; map one to it, or leave the class out")


def split_word(folder: str) -> str | None:
    """The split that a folder's name stands for, as in seg_train or Testing Data; None: it stands for none."""
    words = [word for word in re.split(r"[\W_\d]+", folder.lower()) if word]
    splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    others = {word for word in words if word not in SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 and others <= BESIDE_SPLITS else None


def _inner(folder: Path) -> Path:
    """Where a split's classes lie: archives often hold seg_train/seg_train."""
    inside = _folders(folder)
    while len(inside) == 1 and split_word(inside[0]):
        folder = folder / inside[0]
        inside = _folders(folder)
    return folder


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_hidden((entry.name,)))
