"""ASEN's published split files, which AG-MAN and most later work are scored on.

::

    meta.json              {data set: {ATTRIBUTES: [name, ...], ATTRIBUTES_NUM: {name: values}}}
    filenames_SPLIT.txt    a relative path a line                        SPLIT: train, valid, test
    label_train.txt        fileIndex attr value [attr value ...]
    query_SPLIT.txt        fileIndex attr value                          SPLIT: valid, test
    candidate_SPLIT.txt    fileIndex attr value
    label_valid.txt        fileIndex type id [type id ...]      DeepFashion's: all labels, type 1..5
                                                                and *global* attribute id

Indices count from 0; a ``fileIndex`` is a line of the same split's filenames. Lines may end in CRLF
or in tabs, and a last line may lack its newline: all of that occurs in the published files, and so
does a path that is listed twice (DeepFashion, valid). Every other oddity is refused with
`AgmanError`, which names the file, the line and the fix: no line gives a wrong label.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from data_prep.common.asen_lines import (
    RESTORE,
    Rows,
    broken,
    check_repeats,
    lines_of,
    read_rows,
    refuse,
)

Schema = dict[str, int]  # attribute -> number of its values, in index order
SPLIT_NAMES = ("train", "valid", "test")


@dataclass(frozen=True)
class Split:
    """One published split: its ``paths`` and, by role, the labels that index them."""

    name: str
    paths: list[str]
    roles: dict[str, Rows]

    def table(self) -> pd.DataFrame:
        """One label a row: path, split, role, attribute, value (indices), file, line."""
        paths = np.array(self.paths, object)
        tables = [
            pd.DataFrame(
                {
                    "path": paths[rows.image],
                    "split": self.name,
                    "role": role,
                    "attribute": rows.attribute,
                    "value": rows.value,
                    "file": rows.file.name,
                    "line": rows.line,
                }
            )
            for role, rows in self.roles.items()
        ]
        return pd.concat(tables, ignore_index=True)


# --------------------------------------------------------------------------- whole splits


def find_splits(folder: str | Path, data_set: str) -> Path:
    """The folder that holds a data set's split files: ``folder`` or ``folder/data_set``.

    Raises:
        AgmanError: neither has any ``filenames_*.txt``.
    """
    folder = Path(folder)
    for place in (folder / data_set, folder):
        if any((place / f"filenames_{name}.txt").is_file() for name in SPLIT_NAMES):
            return place
    raise AgmanError(
        f"{folder}: has no filenames_train.txt, filenames_valid.txt or filenames_test.txt, here or "
        f"in {data_set}/; give the folder of ASEN's split files, or leave --splits out"
    )


def read_schema(file: str | Path, data_set: str) -> Schema:
    """Attributes and their numbers of values from meta.json.

    Raises:
        AgmanError: the file cannot be read or lacks the data set, or its parts disagree.
    """
    file = Path(file)
    try:
        about: Any = json.loads(file.read_text(encoding="utf-8-sig"))[data_set]
        schema = {str(name): about["ATTRIBUTES_NUM"][name] for name in about["ATTRIBUTES"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AgmanError(
            f"{file}: gives no ATTRIBUTES with their ATTRIBUTES_NUM for {data_set} ({error!r}); "
            f"{RESTORE}"
        ) from None
    counts = list(schema.values())
    if not counts or not all(type(n) is int and n > 0 for n in counts):
        raise AgmanError(
            f"{file}: ATTRIBUTES_NUM of {data_set} must be whole numbers above 0; {RESTORE}"
        )
    if len(schema) != len(about["ATTRIBUTES"]) or len(schema) != len(about["ATTRIBUTES_NUM"]):
        raise AgmanError(
            f"{file}: ATTRIBUTES and ATTRIBUTES_NUM of {data_set} do not match; {RESTORE}"
        )
    return schema


def read_splits(folder: str | Path, data_set: str, schema: Schema) -> dict[str, Split]:
    """The published splits of a data set that are there, by name (`find_splits`, `read_split`).

    A meta.json there, or one folder higher, must agree with ``schema``.
    """
    place = find_splits(folder, data_set)
    for meta in (place / "meta.json", place.parent / "meta.json"):
        if meta.is_file() and (found := read_schema(meta, data_set)) != schema:
            raise AgmanError(
                f"{meta}: its attributes of {data_set} are {found}, not {schema}; {RESTORE}"
            )
    splits = {name: read_split(place, name, schema) for name in SPLIT_NAMES}
    return {name: split for name, split in splits.items() if split is not None}


def read_split(folder: Path, name: str, schema: Schema) -> Split | None:
    """One split: train, valid or test; None where its filenames are not there.

    Labels without their filenames cannot be used: FashionAI's ``label_train.txt`` is still public
    but not the list of files that it indexes.

    Raises:
        AgmanError: filenames without their labels, or any line is off.
    """
    filenames = folder / f"filenames_{name}.txt"
    if not filenames.is_file():
        return None
    paths = read_filenames(filenames)
    if name == "train":
        rows = read_labels(folder / "label_train.txt", len(paths), schema)
        return Split(name, paths, {"train": rows})
    query, candidate = (
        read_pairs(folder / f"{role}_{name}.txt", len(paths), schema)
        for role in ("query", "candidate")
    )
    both = np.flatnonzero(np.isin(candidate.image, query.image))
    if len(both):
        image = candidate.image[both[0]]
        line = query.line[query.image == image][0]
        say = f"index {image} is a query already ({query.file.name}, line {line}); {RESTORE}"
        raise broken(candidate.file, candidate.line[both[0]], say)
    return Split(name, paths, {"query": query, "candidate": candidate})


# --------------------------------------------------------------------------- single files


def read_filenames(file: str | Path) -> list[str]:
    """The paths of ``filenames_*.txt`` in order. A path may be listed twice (see the module)."""
    file = Path(file)
    paths = []
    for number, line in enumerate(lines_of(file), 1):
        try:
            path = line.decode("utf-8")
        except UnicodeDecodeError:
            raise broken(file, number, f"{line[:80]!r} is not UTF-8 text; {RESTORE}") from None
        parts = path.split("/")
        if not path.isprintable() or path != path.strip() or re.search(r"[\\:]", path):
            raise broken(file, number, f"{path[:80]!r} is not a clean relative path; {RESTORE}")
        if {"", ".", ".."} & set(parts):
            raise broken(file, number, f"{path[:80]!r} is not a path inside the data; {RESTORE}")
        paths.append(path)
    return paths


def read_labels(file: str | Path, n_files: int, schema: Schema) -> Rows:
    """``label_train.txt``: a file's index, then one or more pairs of attribute and value."""
    rows = read_rows(Path(file), n_files)
    _check_schema(rows, schema)
    check_repeats(rows)
    return rows


def read_pairs(file: str | Path, n_files: int, schema: Schema) -> Rows:
    """``query_*.txt`` or ``candidate_*.txt``: a file's index, one attribute, one value."""
    rows = read_rows(Path(file), n_files, pairs=1)
    _check_schema(rows, schema)
    return rows


def read_global_labels(file: str | Path, n_files: int, types: np.ndarray | None = None) -> Rows:
    """DeepFashion's ``label_valid.txt``: a file's index, then pairs of type and global id.

    Args:
        file: the file.
        n_files: lines of the split's filenames.
        types: (G,), the type 1..5 of each global attribute id, from ``list_attr_cloth.txt``; None:
            1000 ids, and a line may not contradict an earlier one about an id's type.

    Returns:
        Rows with ``attribute`` = type - 1 and ``value`` = the *global* id (`ranks` maps it).
    """
    rows = read_rows(Path(file), n_files)
    n_ids = 1000 if types is None else len(types)
    types_read = rows.attribute
    refuse(rows, (types_read < 1) | (types_read > 5), lambda i: f"type {types_read[i]} not 1..5")
    bad = rows.value >= n_ids
    refuse(rows, bad, lambda i: f"attribute id {rows.value[i]} is not below {n_ids}")
    if types is None:
        ids, first = np.unique(rows.value, return_index=True)
        types = np.zeros(n_ids, np.int64)
        types[ids] = types_read[first]
    known = types[rows.value]
    say = "attribute id {} has type {}, not {}"
    refuse(rows, known != types_read, lambda i: say.format(rows.value[i], known[i], types_read[i]))
    check_repeats(rows)
    return Rows(rows.file, rows.line, rows.image, types_read - 1, rows.value)


def ranks(types: np.ndarray) -> np.ndarray:
    """ASEN's value of each global attribute id: its rank among the ids of its type.

    >>> ranks(np.array([3, 1, 3, 1, 1]))
    array([0, 0, 1, 1, 2])
    """
    rank = np.zeros(len(types), np.int64)
    for kind in np.unique(types):
        of_kind = types == kind
        rank[of_kind] = np.arange(of_kind.sum())
    return rank


def _check_schema(rows: Rows, schema: Schema) -> None:
    names, sizes = list(schema), np.array(list(schema.values()))
    attribute, value = rows.attribute, rows.value
    bad = attribute >= len(names)
    refuse(rows, bad, lambda i: f"attribute {attribute[i]} is not below {len(names)}")
    limit = sizes[attribute]
    say = "value {} of attribute {} ({}) is not below {}"
    refuse(
        rows,
        value >= limit,
        lambda i: say.format(value[i], attribute[i], names[attribute[i]], limit[i]),
    )
