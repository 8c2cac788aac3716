"""Reading DeepFashion's Category and Attribute Prediction download.

::

    Anno/ or Anno_coarse/          newer downloads have Anno_coarse
        list_attr_cloth.txt        count; header; "name  type", where a name may hold spaces
        list_attr_img.txt          count; header; path and one of -1, 0, 1 for each attribute
    Eval/list_eval_partition.txt   count; header; path and train, val or test
    img/<item>/img_00000001.jpg    also as Img/img/

What is made of it: `data_prep.deepfashion.convert`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from agman_lib.base.errors import AgmanError
from agman_lib.base.progress import bar

TYPES = ("texture-related", "fabric-related", "shape-related", "part-related", "style-related")
DOWNLOAD = (
    "download Category and Attribute Prediction from mmlab.ie.cuhk.edu.hk/projects/DeepFashion.html"
    " (password by form), img.zip unzipped"
)
PARTITIONS = {"train": "train", "val": "valid", "test": "test"}
_MARKS = {b"-1", b"0", b"1"}


@dataclass(frozen=True)
class Layout:
    """``root`` is what the listed paths (``img/...``) are relative to."""

    root: Path
    attributes: Path
    labels: Path
    partition: Path


@dataclass(frozen=True)
class TrueLabels:
    """The true labels of list_attr_img.txt.

    ``paths`` are unique, in the order of the file; ``image`` and ``attribute`` (L,) int64 index
    them and the *global* attributes, sorted by image, then attribute; ``repeated`` are the paths
    that are listed more than once, whose true labels are united.
    """

    paths: list[str]
    image: np.ndarray
    attribute: np.ndarray
    repeated: list[str]
    n_lines: int


def find_layout(source: Path) -> Layout:
    """Find the files, in ``source`` or one folder deeper.

    Raises:
        AgmanError: it is no folder, or the annotations or the photos are not there.
    """
    if not source.is_dir():
        raise AgmanError(f"{source}: no such folder; {DOWNLOAD}")
    source = source.resolve()
    for base in [source, *sorted(p for p in source.iterdir() if p.is_dir())]:
        for name in ("Anno_coarse", "Anno"):
            folder = base / name
            if (folder / "list_attr_cloth.txt").is_file():
                return _layout(base, folder)
    if (source / "Anno_fine").is_dir():
        raise AgmanError(
            f"{source}: has only Anno_fine, other labels than the 1000 attributes; get Anno_coarse "
            "of the same download too"
        )
    raise AgmanError(f"{source}: has no Anno_coarse/ or Anno/list_attr_cloth.txt; {DOWNLOAD}")


def _layout(base: Path, folder: Path) -> Layout:
    labels = folder / "list_attr_img.txt"
    if not labels.is_file():
        raise AgmanError(f"{labels}: missing; {DOWNLOAD}")
    for root in (base / "Img", base / "img", base):  # Img/ and img/ are one on some disks
        if (root / "img").is_dir():
            partition = base / "Eval" / "list_eval_partition.txt"
            return Layout(root, folder / "list_attr_cloth.txt", labels, partition)
    raise AgmanError(f"{base}: has no folder img with the photos; unzip img.zip there")


def read_attributes(file: Path) -> tuple[list[str], np.ndarray]:
    """Names and types 1..5 (G,) of the global attributes, from list_attr_cloth.txt.

    A name that another attribute of its type has already gets " (2)", " (3)", ... by its place.

    Raises:
        AgmanError: naming the line that is off.
    """
    names: list[str] = []
    types: list[int] = []
    taken: set[tuple[int, str]] = set()
    for number, line in _body(file):
        fields = line.decode("utf-8", errors="replace").rsplit(None, 1)
        if len(fields) != 2 or fields[1] not in ("1", "2", "3", "4", "5"):
            raise _broken(file, number, "needs a name and a type from 1 to 5")
        name, kind = fields[0].strip(), int(fields[1])
        unique, n = name, 1
        while (kind, unique) in taken:
            unique, n = f"{name} ({n + 1})", n + 1
        taken.add((kind, unique))
        names.append(unique)
        types.append(kind)
    for kind, title in enumerate(TYPES, 1):
        if kind not in types:
            raise AgmanError(f"{file}: has no attribute of type {kind} ({title}); {DOWNLOAD}")
    return names, np.array(types)


def read_true_labels(file: Path, n_attributes: int, progress: bool = True) -> TrueLabels:
    """list_attr_img.txt, read line by line, so that memory holds only the true labels.

    Raises:
        AgmanError: naming the line that is off, or the file is cut off.
    """
    index: dict[str, int] = {}
    image, attribute = array("q"), array("q")
    repeated: dict[str, None] = {}
    n_lines = 0
    for number, line in bar(_body(file), "reading labels" if progress else None, unit="line"):
        path, *marks = line.rsplit(None, n_attributes)
        if len(marks) != n_attributes or not set(marks) <= _MARKS:
            say = f"needs a path and {n_attributes} times -1, 0 or 1"
            raise _broken(file, number, say)
        name = _clean(path, file, number)
        if name in index:
            repeated[name] = None
        row = index.setdefault(name, len(index))
        at = -1
        for _ in range(marks.count(b"1")):
            at = marks.index(b"1", at + 1)
            image.append(row)
            attribute.append(at)
        n_lines += 1
    keys = np.unique(np.array(image, np.int64) * n_attributes + np.array(attribute, np.int64))
    return TrueLabels(
        list(index), keys // n_attributes, keys % n_attributes, list(repeated), n_lines
    )


def read_partition(file: Path) -> tuple[dict[str, str], list[str]]:
    """The split (train, valid, test) of each path, from list_eval_partition.txt.

    A path in two splits stays out of training: test counts, then valid.

    Returns:
        The split by path, and the paths that stand in two.

    Raises:
        AgmanError: naming the line that is off.
    """
    splits: dict[str, str] = {}
    torn: dict[str, None] = {}
    for number, line in _body(file):
        path, *rest = line.rsplit(None, 1)
        split = PARTITIONS.get(rest[0].decode("ascii", errors="replace")) if rest else None
        if split is None:
            raise _broken(file, number, "needs a path and train, val or test")
        name = _clean(path, file, number)
        if splits.setdefault(name, split) != split:
            torn[name] = None
            splits[name] = max(split, splits[name], key=("train", "valid", "test").index)
    return splits, list(torn)


# --------------------------------------------------------------------------- lines


def _broken(file: Path, line: int, say: str) -> AgmanError:
    return AgmanError(f"{file}, line {line}: {say}; restore the file from the download")


def _clean(path: bytes, file: Path, number: int) -> str:
    name = path.decode("utf-8", errors="replace").strip()
    parts = name.split("/")
    if parts[0] != "img" or {"", ".", ".."} & set(parts) or not name.isprintable():
        raise _broken(file, number, f"{name[:80]!r} is not a path img/<item>/<photo>.jpg")
    return name


def _body(file: Path) -> Iterator[tuple[int, bytes]]:
    """The lines after count and header, stripped, with their numbers; as many as line 1 says."""
    try:
        with open(file, "rb") as stream:
            yield from _counted(file, stream)
    except OSError as error:
        raise AgmanError(f"{file}: cannot be read ({error.strerror}); {DOWNLOAD}") from None


def _counted(file: Path, stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    first = stream.readline().removeprefix(b"\xef\xbb\xbf").strip()
    if not first.isdigit():
        raise _broken(file, 1, f"must be the number of lines, not {first[:40]!r}")
    stream.readline()
    n, number = 0, 2
    for number, line in enumerate(stream, 3):
        if line := line.strip():
            yield number, line
            n += 1
    if n != int(first):
        say = f"the file ends after {n:,} entries where line 1 says {int(first):,}"
        raise _broken(file, number, say)
