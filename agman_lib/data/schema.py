"""Reading and checking the files of a prepared folder (its format: `agman_lib.data.dataset`).

Every check raises `AgmanError` with the file, the line and the fix.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError, unknown

SPLITS = ("train", "valid", "test")
ROLES = ("train", "query", "candidate")
PROTOCOLS = ("retrieval", "triplets")
COLUMNS = {
    "images.csv": ["image", "path", "split", "role"],
    "labels.csv": ["image", "attribute", "value", "evaluated"],
    "triplets.csv": ["anchor", "negative", "positive", "attribute", "split"],
    "regions.csv": ["image", "attribute", "x0", "y0", "x1", "y1"],
}


def read_about(folder: Path) -> dict[str, Any]:
    """dataset.json, its keys and types checked."""
    file = folder / "dataset.json"
    if not file.is_file():
        raise AgmanError(
            f"{folder}: has no dataset.json, so it is not a prepared data set; "
            "make one with `agman prepare`"
        )
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AgmanError(f"{file}: not valid JSON ({error})") from None
    needed = ("name", "title", "source", "licence", "protocol", "image_root", "attributes")
    missing = [key for key in needed if not isinstance(about, dict) or key not in about]
    if missing:
        raise AgmanError(f"{file}: lacks {', '.join(missing)}")
    if about["protocol"] not in PROTOCOLS:
        raise unknown("protocol", about["protocol"], PROTOCOLS, str(file))
    published = about.get("published_splits", [])
    if not isinstance(published, list) or not set(map(str, published)) <= set(SPLITS):
        raise AgmanError(f"{file}: published_splits must be a list of {', '.join(SPLITS)}")
    entries = about["attributes"]
    if not (isinstance(entries, list) and entries) or not all(
        isinstance(a, dict)
        and isinstance(a.get("name"), str)
        and isinstance(a.get("values"), list)
        and a["values"]
        and all(isinstance(v, str) for v in a["values"])
        for a in entries
    ):
        raise AgmanError(
            f'{file}: attributes must be a list of {{"name": text, "values": [text, …]}}'
        )
    for what, names in [("attribute", [a["name"] for a in entries])] + [
        (f"value of {a['name']}", a["values"]) for a in entries
    ]:
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise AgmanError(f"{file}: {what} {twice[0]!r} is listed twice; keep one")
    return about


def read_table(folder: Path, file: str) -> pd.DataFrame:
    """One CSV file as text columns, its header checked; "NA" and empty stay text."""
    path = folder / file
    if not path.is_file():
        raise AgmanError(f"{path}: missing; prepare the data set again")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, pd.errors.ParserError) as error:
        raise AgmanError(f"{path}: not a readable CSV table ({error})") from None
    if list(table.columns) != COLUMNS[file]:
        raise AgmanError(
            f"{path}, line {_line(path, 0)}: the columns must be {','.join(COLUMNS[file])}, "
            f"not {','.join(map(str, table.columns))}"
        )
    return table


def _line(path: Path, record: int) -> int:
    """The line on which a record of a CSV file begins; 0 is the header.

    It is looked up only when something is off: pandas, which reads the tables fast, passes over
    blank lines and joins the lines of a quoted text, and does not say where it was.
    """
    with open(path, newline="", encoding="utf-8") as file:
        reader, begins = csv.reader(file), 1
        for fields in reader:
            blank = not fields or (len(fields) == 1 and fields[0].isspace())
            record -= not blank
            if record < 0:
                break
            begins = reader.line_num + 1
    return begins


def _refuse(path: Path, bad: pd.Series | np.ndarray, table: pd.DataFrame, say: Any) -> None:
    """Raise for the first row where ``bad``; ``say(row)`` says what is wrong and how to fix it."""
    rows = np.flatnonzero(np.asarray(bad))
    if len(rows):
        more = f" ({len(rows)} such lines)" if len(rows) > 1 else ""
        line = _line(path, int(rows[0]) + 1)
        raise AgmanError(f"{path}, line {line}: {say(table.iloc[rows[0]])}{more}")


def check_images(folder: Path, protocol: str) -> pd.DataFrame:
    """images.csv: ids and paths unique and inside, splits and roles known."""
    file, table = folder / "images.csv", read_table(folder, "images.csv")
    if table.empty:
        raise AgmanError(f"{file}: lists no image")
    for column, allowed in (("split", SPLITS), ("role", ROLES)):
        bad = ~table[column].isin(allowed)
        _refuse(file, bad, table, lambda r, c=column, a=allowed: unknown(c, r[c], a))
    for column in ("image", "path"):
        bad = table[column].duplicated()
        say = f"{column} {{!r}} stands on an earlier line already; an image has one split and role"
        _refuse(file, bad, table, lambda r, c=column, s=say: s.format(r[c]))
    outside = table["path"].map(_climbs)
    _refuse(file, outside, table, lambda r: f"path {r['path']!r} must lie inside the image root")
    if protocol == "retrieval":
        bad = table["split"].eq("train") != table["role"].eq("train")
        say_role = "role {role!r} does not fit split {split!r}; training images have role 'train'"
        _refuse(file, bad, table, lambda r: say_role.format(role=r["role"], split=r["split"]))
    return table


def _climbs(path: str) -> bool:
    pure = PurePosixPath(path.replace("\\", "/"))
    return not path or pure.is_absolute() or ".." in pure.parts or ":" in pure.parts[0]


def check_files(folder: Path, root: Path, images: pd.DataFrame) -> None:
    """Every listed file is there."""
    if not root.is_dir():
        raise AgmanError(f"{root}: no such folder; set image_root in {folder / 'dataset.json'}")
    prefix = str(root) + os.sep
    missing = ~images["path"].map(lambda p: os.path.isfile(prefix + p))
    _refuse(
        folder / "images.csv",
        missing,
        images,
        lambda r: f"no file {prefix + r['path']}; restore it or leave the image out",
    )


def check_known(
    file: Path, table: pd.DataFrame, images: pd.DataFrame, known: dict[str, Any], columns: list[str]
) -> None:
    """The images in these columns and the attribute are known."""
    ids = pd.Index(images["image"])
    for column in columns:
        bad = ~table[column].isin(ids)
        say = "image {!r} is not in images.csv; add it there or remove this line"
        _refuse(file, bad, table, lambda r, c=column, s=say: s.format(r[c]))
    bad = ~table["attribute"].isin(list(known))
    _refuse(file, bad, table, lambda r: unknown("attribute", r["attribute"], known))


def check_labels(folder: Path, images: pd.DataFrame, known: dict[str, Any]) -> pd.DataFrame:
    """labels.csv: known images, attributes and values, nothing twice."""
    file, table = folder / "labels.csv", read_table(folder, "labels.csv")
    check_known(file, table, images, known, ["image"])
    allowed = pd.MultiIndex.from_tuples([(a, v) for a, values in known.items() for v in values])
    bad = ~pd.MultiIndex.from_frame(table[["attribute", "value"]]).isin(allowed)
    _refuse(
        file,
        bad,
        table,
        lambda r: unknown(f"value of {r['attribute']}", r["value"], known[r["attribute"]]),
    )
    bad = ~table["evaluated"].isin(["0", "1"])
    _refuse(file, bad, table, lambda r: f"evaluated must be 0 or 1, not {r['evaluated']!r}")
    table["evaluated"] = table["evaluated"].eq("1")
    bad = table.duplicated(["image", "attribute", "value"])
    _refuse(file, bad, table, lambda r: "this label stands on an earlier line already; keep one")
    bad = table["evaluated"] & table[table["evaluated"]].duplicated(["image", "attribute"]).reindex(
        table.index, fill_value=False
    )
    _refuse(file, bad, table, lambda r: "a second evaluated label of this image and attribute")
    return table


def check_regions(folder: Path, images: pd.DataFrame, known: dict[str, Any]) -> pd.DataFrame | None:
    """regions.csv, where there is one: whole pixels, not empty."""
    file = folder / "regions.csv"
    if not file.exists():
        return None
    table = read_table(folder, "regions.csv")
    check_known(file, table, images, known, ["image"])
    box = ["x0", "y0", "x1", "y1"]
    numbers = table[box].apply(pd.to_numeric, errors="coerce")
    bad = (
        numbers.isna().any(axis=1)
        | (numbers < 0).any(axis=1)
        | (numbers % 1 != 0).any(axis=1)
        | (numbers["x0"] >= numbers["x1"])
        | (numbers["y0"] >= numbers["y1"])
    )
    _refuse(file, bad, table, lambda r: "needs whole pixels with 0 <= x0 < x1 and 0 <= y0 < y1")
    table[box] = numbers.astype(int)
    return table


def check_triplets(
    folder: Path, images: pd.DataFrame, known: dict[str, Any], protocol: str
) -> pd.DataFrame | None:
    """triplets.csv, where there is one (the protocol "triplets" needs it)."""
    file = folder / "triplets.csv"
    if not file.exists() and protocol != "triplets":
        return None
    table = read_table(folder, "triplets.csv")
    check_known(file, table, images, known, ["anchor", "negative", "positive"])
    bad = ~table["split"].isin(SPLITS)
    _refuse(file, bad, table, lambda r: unknown("split", r["split"], SPLITS))
    return table
