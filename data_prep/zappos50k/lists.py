"""What goes with the photos of UT-Zappos50K: ``meta-data.csv`` and CSN's triplet lists.

- ``meta-data.csv`` of ``ut-zap50k-data.zip``: CID (``<ProductID>-<ColorID>``), Category,
  SubCategory, HeelHeight, Insole, Closure, Gender, Material, ToeStyle. All but the first three may
  be empty, and a cell may hold several values between semicolons (read in the download's readme).
- CSN's ``filenames.json``, plain text in spite of its name, one path a line, and
  ``tripletlists/<attribute>_tripletlist_<split>.txt`` (read in CSN's loader).
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agman_lib.base.errors import AgmanError
from data_prep.common.archives import open_zip, read_member
from data_prep.zappos50k.photos import PHOTO, SOURCE

COLUMNS = {"class": "Category", "closure": "Closure", "gender": "Gender", "heel": "HeelHeight"}
SPLITS = {"train": "train", "valid": "val", "test": "test"}  # ours: CSN's

_TRIPLET = re.compile(r"[ \t]*([0-9]+)[ \t]+([0-9]+)[ \t]+([0-9]+)[ \t]*\r?")


# --------------------------------------------------------------------------- meta-data.csv


@dataclass(frozen=True)
class Row:
    """A line of meta-data.csv; ``values`` by our attribute names, none, one or several each."""

    line: int
    cid: str
    folder: str
    values: dict[str, tuple[str, ...]]


def find_metadata(source: Path) -> Path | None:
    """meta-data.csv, or the zip that holds it, in or beside the photos; None where it is not."""
    names = ("meta-data.csv", "ut-zap50k-data/meta-data.csv", "ut-zap50k-data.zip")
    folders = [source, source.parent] if source.is_dir() else [source.parent]
    return next((f / n for f in folders for n in names if (f / n).is_file()), None)


def read_metadata(source: Path) -> list[Row]:
    """Read meta-data.csv from the file, a folder that holds it, or ut-zap50k-data.zip.

    Empty cells and "NA" are no values.

    Raises:
        AgmanError: naming the file and the line that cannot be used.
    """
    where = source
    if source.is_dir():
        below = [source / "meta-data.csv", source / "ut-zap50k-data" / "meta-data.csv"]
        where = next((p for p in below if p.is_file()), below[0])
    if not where.is_file():
        raise AgmanError(f"{where}: no such file; get ut-zap50k-data.zip from {SOURCE}")
    if where.suffix.lower() == ".zip":
        with open_zip(where) as archive:
            members = [n for n in archive.namelist() if n.split("/")[-1] == "meta-data.csv"]
            if not members:
                raise AgmanError(f"{where}: holds no meta-data.csv; get ut-zap50k-data.zip")
            content = read_member(archive, min(members, key=len))
        where = where / "meta-data.csv"
    else:
        content = where.read_bytes()
    return parse_metadata(content.decode("utf-8-sig", errors="replace"), str(where))


def parse_metadata(text: str, where: str) -> list[Row]:
    """The rows of meta-data.csv. Raises AgmanError with file and line."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        needed = ["CID", "Category", "SubCategory", *COLUMNS.values()]
        if missing := sorted(set(needed) - set(header)):
            raise AgmanError(
                f"{where}, line 1: lacks the columns {', '.join(missing)}; "
                f"get ut-zap50k-data.zip from {SOURCE}"
            )
        at = {name: header.index(name) for name in needed}
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(header) or any("\n" in cell for cell in cells):
                raise AgmanError(
                    f"{where}, line {reader.line_num}: {len(cells)} fields where the header has "
                    f"{len(header)}, or one that spans lines; get ut-zap50k-data.zip again"
                )
            values = {a: _values(cells[at[column]]) for a, column in COLUMNS.items()}
            folder = f"{cells[at['Category']]}/{cells[at['SubCategory']]}"
            rows.append(Row(reader.line_num, cells[at["CID"]].strip(), folder, values))
    except csv.Error as error:
        raise AgmanError(
            f"{where}, line {reader.line_num}: {error}; get ut-zap50k-data.zip again"
        ) from None
    return rows


def _values(cell: str) -> tuple[str, ...]:
    stripped = (value.strip() for value in cell.split(";"))
    return tuple(dict.fromkeys(v for v in stripped if v not in ("", "NA")))


# --------------------------------------------------------------------------- CSN's lists


@dataclass(frozen=True)
class Lists:
    """CSN's lists: the path of each line of ``file``, and (T, 3) line numbers, negative second."""

    file: Path
    paths: list[str]
    triplets: dict[tuple[str, str], np.ndarray]  # (our split, attribute)


def read_lists(folder: Path) -> Lists:
    """Read filenames.json and the twelve triplet lists.

    Args:
        folder: where ``tripletlists/`` is, or that folder itself.

    Raises:
        AgmanError: naming the file and the line that cannot be used.
    """
    folders = [folder, folder / "tripletlists", folder / "data" / "tripletlists"]
    lists = next((f for f in folders if (f / "class_tripletlist_train.txt").is_file()), None)
    if lists is None:
        raise AgmanError(
            f"{folder}: holds no tripletlists/class_tripletlist_train.txt; name the folder that "
            "CSN's csn_zappos_triplets.zip unpacks to, or leave the option out"
        )
    files = [f / "filenames.json" for f in (lists.parent, lists, folder)]
    file = next((f for f in files if f.is_file()), None)
    if file is None:
        raise AgmanError(f"{files[0]}: missing; unpack CSN's archive again")
    text = file.read_bytes().decode("utf-8-sig", errors="replace")
    paths = [line.strip() for line in text.rstrip().split("\n")]
    for number, path in enumerate(paths, 1):
        if path and not PHOTO.fullmatch(path.replace("\\", "/")):
            raise AgmanError(
                f"{file}, line {number}: {path[:80]!r} is not a photo's path such as "
                "Shoes/Oxfords/Brand/1.2.jpg; unpack CSN's archive again"
            )
    triplets = {}
    for split, theirs in SPLITS.items():
        for attribute in COLUMNS:
            one = lists / f"{attribute}_tripletlist_{theirs}.txt"
            if not one.is_file():
                raise AgmanError(f"{one}: missing; unpack CSN's archive again")
            triplets[split, attribute] = parse_triplets(one, paths)
    return Lists(file, paths, triplets)


def parse_triplets(file: Path, paths: list[str]) -> np.ndarray:
    """One triplet list.

    Args:
        file: lines ``anchor far close``, 0-based line numbers of filenames.json; blank lines of
            the list count for nothing.
        paths: the lines of filenames.json; an empty one names no photo.

    Returns:
        (T, 3) int64 in the order of the list: anchor, negative, positive.

    Raises:
        AgmanError: naming the line that is not three such numbers, or a list without any.
    """
    rows: list[tuple[int, ...]] = []
    for number, line in enumerate(file.read_bytes().decode("ascii", "replace").split("\n"), 1):
        match = _TRIPLET.fullmatch(line)
        if match is None:
            if line.strip(" \t\r"):
                raise AgmanError(
                    f"{file}, line {number}: {line[:80]!r} is not three whole numbers "
                    "(anchor far close); unpack CSN's archive again"
                )
            continue
        # more digits than any line number needs would take int() a long time
        row = tuple(int(field) if len(field) < 19 else len(paths) for field in match.groups())
        if max(row) >= len(paths) or not all(paths[i] for i in row):
            raise AgmanError(
                f"{file}, line {number}: {line[:80]!r} names a line that filenames.json does not "
                f"have (it has 0 to {len(paths) - 1}); unpack CSN's archive again"
            )
        rows.append(row)
    if not rows:
        raise AgmanError(f"{file}: lists no triplet; unpack CSN's archive again")
    return np.array(rows, np.int64)
