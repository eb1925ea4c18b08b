"""The files of a folder of classes, found; and pictures, read as the camera meant them or refused with their name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .._files import sha256_of
from .._formatting import printable
from .report import MANY, first_of_equals, merge_variants, remarks_on
from .splits import Size, split_sizes, stratified_split

if TYPE_CHECKING:
    from PIL.Image import Image

SPLIT_FOLDERS = {"train", "val", "valid", "validation", "test"}
MADE_BY_PROGRAMS = {"__MACOSX", "Thumbs.db", "desktop.ini"}  # and whatever begins with a dot
NEARLY_ONE_COLOUR = 16  # of 256 levels; what a picture of 12 bits looks like when it says that it has 16


@dataclass(frozen=True)
class ClassFiles:
    """The pictures, or sounds, of a folder with one sub-folder for each class.

    Attributes:
        folder: where they are.
        files: N paths, sorted by class and name.
        targets: (N,) class numbers.
        classes: the names of the sub-folders, or of those that are one class.
        remarks: what was left out or merged, in words.
    """

    folder: Path
    files: tuple[str, ...]
    targets: Tensor
    classes: tuple[str, ...]
    remarks: tuple[str, ...]

    def name(self, i: int) -> str:
        """File ``i`` in a message."""
        return printable(os.path.relpath(self.files[i], self.folder))

    def counts(self) -> list[int]:
        """How many files each class has."""
        return torch.bincount(self.targets, minlength=len(self.classes)).tolist()

    def first_of_equals(self) -> Tensor:
        """(N,) int64: of each file the position of the first one with the same content."""
        sizes = [_size(file) for file in self.files]
        several = {size for size, n in Counter(sizes).items() if n > 1 and size >= 0}
        named = enumerate(zip(self.files, sizes, strict=True))
        return first_of_equals([sha256_of(Path(file)) if size in several else i for i, (file, size) in named])


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return -1  # a link that leads nowhere: said when it is read


def find_pictures(folder: Path) -> ClassFiles:
    """The pictures of a folder, in the order of torchvision's ``ImageFolder``; raises what ``find_files`` does."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    return find_files(folder, IMG_EXTENSIONS, "picture", "images")


def find_files(folder: Path, kinds: tuple[str, ...], noun: str, plural: str) -> ClassFiles:
    """The files of some endings in a folder with one sub-folder for each class, sorted by class and name.

    What programs leave behind (``._0.png``, ``.ipynb_checkpoints``, ``__MACOSX``) is passed over, and so are links that
    lead back into the folder: their files are in it already.

    Args:
        folder: which.
        kinds: the endings, in lower case with their dot.
        noun: what one of the files is, in messages.
        plural: what several of them are.

    Raises:
        FileNotFoundError: no such folder, no sub-folders, or a sub-folder without such files.
        ValueError: the sub-folders are splits, or a folder cannot be opened.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    entries = sorted(entry for entry in os.listdir(folder) if not _by_program(entry))
    classes = [entry for entry in entries if (folder / entry).is_dir()]
    problem = "" if classes else "it has no sub-folders"
    found: list[tuple[str, int]] = []
    skipped: Counter[str] = Counter()
    links: list[str] = []
    for c, name in enumerate(classes):
        there = list(_walk(folder, folder / name, links))
        mine = [file for file in there if file.lower().endswith(kinds)]
        skipped.update(_kind(file) for file in there if not file.lower().endswith(kinds))
        found += [(file, c) for file in mine]
        if not mine:
            problem = problem or f"there is no {noun} in {name!r}"
    endings = ", ".join(kinds)
    if {name.lower() for name in classes} <= SPLIT_FOLDERS and classes:
        raise ValueError(f"{folder} has {' and '.join(classes)} in it, not classes; give the folder of one of them")
    if problem:
        aside = f" ({_listed(skipped)} skipped)" if skipped else ""
        raise FileNotFoundError(
            f"{printable(folder)} is not one sub-folder of {plural} per class: {problem}{aside}; they end in {endings}"
        )
    beside = [entry for entry in entries if entry.lower().endswith(kinds) and entry not in classes]
    said = []
    if skipped:
        said.append(f"skipped {_listed(skipped)}: {noun}s end in {endings}")
    if beside:
        said.append(f"skipped {len(beside)} {noun}s beside the folders of the classes, such as {printable(beside[0])}")
    if links:
        said.append(f"skipped {len(links)} links that lead back into the folder, such as {printable(links[0])}")
    files, targets = zip(*found, strict=True)
    return ClassFiles(folder, files, torch.tensor(targets), tuple(classes), tuple(said))


def split_files(
    found: ClassFiles,
    sizes: tuple[Size, Size, Size],
    seed: int,
    balanced: bool,
    merge_labels: bool,
    group_duplicates: bool,
    plural: str,
) -> tuple[ClassFiles, dict[str, Tensor], list[str]]:
    """Merge the classes whose names differ by case or blanks only, if asked to, and draw the splits.

    Args:
        found: the files.
        sizes: of train, validation and test: a number, a share, or None for all that is left.
        seed: seed of the split.
        balanced: equal numbers of every class.
        merge_labels: whether such sub-folders are one class.
        group_duplicates: files of the same content stand in one split.
        plural: what the files are, in remarks.

    Returns:
        (the files with their classes, sorted by name; the positions of each split; remarks on the splits).

    Raises:
        ValueError: one class only, or a size that cannot be had.
    """
    labels, variants = merge_variants([found.classes[c] for c in found.targets.tolist()], merge_labels)
    classes = tuple(sorted(set(labels)))
    targets = torch.tensor([classes.index(label) for label in labels])
    first = found.first_of_equals()
    grouped = first if group_duplicates else None
    splits = stratified_split(targets, split_sizes(len(targets), *sizes), classes, seed, balanced, grouped)
    remarks = remarks_on(plural, classes, targets, splits, first, group_duplicates, found.name)
    return replace(found, targets=targets, classes=classes, remarks=(*found.remarks, *variants)), splits, remarks


def _by_program(name: str) -> bool:
    return name.startswith(".") or name in MADE_BY_PROGRAMS


def _kind(file: str) -> str:
    return Path(file).suffix.lower() or "files without an ending"


def _listed(kinds: Counter[str]) -> str:
    return ", ".join(f"{n} {printable(kind)}" for kind, n in kinds.most_common(MANY))


def _walk(folder: Path, start: Path, links: list[str]) -> Iterator[str]:
    """All files under ``start``, sorted; links to folders are followed where they lead out of ``folder``, once."""
    top = os.path.realpath(folder)
    seen = {os.path.realpath(start)}
    found = []
    for root, folders, files in os.walk(start, onerror=_refuse, followlinks=True):
        kept = []
        for name in folders:
            path = os.path.join(root, name)
            real = os.path.realpath(path)
            if _by_program(name):
                continue
            if os.path.islink(path) and (real in seen or os.path.commonpath([top, real]) in (top, real)):
                links.append(os.path.relpath(path, folder))
                continue
            seen.add(real)
            kept.append(name)
        folders[:] = kept
        found.append((root, sorted(name for name in files if not _by_program(name))))
    for root, files in sorted(found):
        yield from (os.path.join(root, name) for name in files)


def _refuse(error: OSError) -> None:
    raise ValueError(f"a folder cannot be opened: {error}") from error


# -- reading -----------------------------------------------------------------------------------------------------------


def read_pictures(files: Sequence[str], size: int) -> list[Tensor]:
    """Each picture as (3, size, size) uint8: turned as its EXIF data say, scaled, the middle square.

    Raises:
        ValueError: in one line: files that cannot be read, or values that are no brightness.
    """
    pixels, unreadable = [], []
    for file in files:
        try:
            pixels.append(_read(file, size))
        except _NoBrightnessError as error:
            raise ValueError(f"{printable(file)} {error}") from error
        except Exception:  # Pillow's plugins meet damage with nearly any exception, IndexError and struct.error too
            unreadable.append(file)
    if unreadable:
        first = printable(unreadable[0])
        raise ValueError(f"{len(unreadable)} of {len(files)} images cannot be read, the first is {first}")
    return pixels


def remarks_on_pictures(pixels: Sequence[Tensor], files: Sequence[str]) -> list[str]:
    """Pictures on which there is next to nothing to be seen."""
    flat = [i for i, picture in enumerate(pixels)
            if int((picture.amax((1, 2)).int() - picture.amin((1, 2)).int()).max()) < NEARLY_ONE_COLOUR]  # fmt: skip
    return [f"{len(flat)} pictures are nearly of one colour, such as {printable(files[flat[0]])}"] if flat else []


class _NoBrightnessError(ValueError):
    """The file is sound, but its numbers do not say what is black and what is white."""


def _read(file: str, size: int) -> Tensor:
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        upright = _eight_bits(ImageOps.exif_transpose(image), image.format)
        square = ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)  # (3, size, size)


def _eight_bits(image: Image, kind: str | None) -> Image:
    """As RGB of 8 bits. Pillow's own conversion cuts every value above 255, and so makes 16 bits white."""
    from PIL.Image import fromarray

    if not image.mode.startswith(("I", "F")):
        return image.convert("RGB")
    values = np.asarray(image).astype(np.float64)
    low, high = values.min(), values.max()
    white = 1.0 if image.mode == "F" else 65535.0
    clear = image.mode != "I" or kind in ("PNG", "PPM")  # those have 16 bits at most, whatever Pillow keeps them in
    if not (clear and 0 <= low <= high <= white):
        raise _NoBrightnessError(
            f"holds 32-bit values from {low:g} to {high:g}, which do not say what is black and what is white; "
            "save it with 8 or 16 bits"
        )
    return fromarray(np.round(values * (255.0 / white)).astype(np.uint8)).convert("RGB")
