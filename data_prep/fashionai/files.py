"""Reading FashionAI's download: where its parts are, and the rows of its label.csv files.

::

    fashionAI_attributes_train1/Annotations/label.csv                  no header:
        Images/coat_length_labels/<32 hex>.jpg,coat_length_labels,nnnymnnn
    fashionAI_attributes_train1/Images/coat_length_labels/<32 hex>.jpg
    fashionAI_attributes_train2/...                                    the same

One letter a value: ``y`` the value, ``m`` maybe, ``n`` no. What is done with the rows:
`convert`. Earlier releases of the challenge had a part ``base`` of the same form and a
warm-up ``web`` whose only label file is ``Annotations/skirt_length_labels.csv`` (both recalled, and
seen in public code, not in the download); they are read where train1 and train2 are not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import Attribute

VALUES = {
    "skirt_length": "Invisible,Short,Knee,Midi,Ankle,Floor",
    "sleeve_length": "Invisible,Sleeveless,Cup,Short,Elbow,3/4,Wrist,Long,Extra Long",
    "coat_length": "Invisible,High Waist,Regular,Long,Micro,Knee,Midi,Ankle&Floor",
    "pant_length": "Invisible,Short,Mid,3/4,Cropped,Full",
    "collar_design": "Invisible,Shirt,Peter Pan,Puritan,Rib",
    "lapel_design": "Invisible,Notched,Collarless,Shawl,Plus Size Shawl",
    "neckline_design": "Invisible,Strapless,Deep V,Straight,V,Square,Off Shoulder,Round,"
    "Sweetheart,One Shoulder",
    "neck_design": "Invisible,Turtle,Ruffle Semi-High,Low Turtle,Draped",
}
ATTRIBUTES = tuple(Attribute(name, tuple(values.split(","))) for name, values in VALUES.items())
SCHEMA = {a.name: len(a.values) for a in ATTRIBUTES}
PARTS = ("fashionAI_attributes_train1", "fashionAI_attributes_train2")
EARLIER = ("base", "web")
DOWNLOAD = (
    "download and unzip fashionAI_attributes_train1.zip and fashionAI_attributes_train2.zip "
    "(FashionAI challenge at tianchi.aliyun.com, login and agreement needed)"
)
COLUMNS = ["where", "id", "photo", "path", "attribute", "value", "maybe", "reason"]
_PATH = re.compile(r"Images/(\w+)_labels/([^/\\:]+)\.jpe?g", re.IGNORECASE)


@dataclass(frozen=True)
class Download:
    """``root`` holds the ``parts``; ``label_files`` are those parts' label files by part."""

    root: Path
    parts: tuple[str, ...]
    label_files: dict[str, Path]


def find_download(source: Path, labels_needed: bool) -> Download:
    """Find the parts: in ``source``, one folder deeper, or ``source`` is one itself.

    Args:
        source: the folder.
        labels_needed: every part must have its label file.

    Raises:
        AgmanError: it is no folder, no part is there, or one is incomplete.
    """
    if not source.is_dir():
        raise AgmanError(f"{source}: no such folder; {DOWNLOAD}")
    source = source.resolve()
    for names in (PARTS, EARLIER):
        if source.name in names and (source / "Images").is_dir():
            return _download(source.parent, (source.name,), labels_needed)
        for root in [source, *sorted(p for p in source.iterdir() if p.is_dir())]:
            if parts := tuple(name for name in names if (root / name).is_dir()):
                return _download(root, parts, labels_needed)
    raise AgmanError(f"{source}: has neither {PARTS[0]} nor {PARTS[1]}; {DOWNLOAD}")


def _download(root: Path, parts: tuple[str, ...], labels_needed: bool) -> Download:
    files = {}
    for part in parts:
        if not (root / part / "Images").is_dir():
            raise AgmanError(f"{root / part}: has no folder Images; unzip it again, as a whole")
        warm_up = "skirt_length_labels.csv"
        for name in ("label.csv", warm_up) if part == "web" else ("label.csv",):
            file = root / part / "Annotations" / name
            if file.is_file():
                files[part] = file
                break
        else:
            if labels_needed:
                raise AgmanError(f"{file}: missing; unzip {part} again, as a whole")
    return Download(root, parts, files)


def split_path(path: str) -> tuple[str, str] | None:
    """Attribute and photo name of ``Images/<attribute>_labels/<photo>.jpg``, else None.

    >>> split_path("Images/coat_length_labels/ed86.jpg")
    ('coat_length', 'ed86')
    """
    match = _PATH.fullmatch(path)
    return (match[1], match[2]) if match else None


def read_rows(download: Download) -> pd.DataFrame:
    """All rows of all label files, in order: the columns `COLUMNS`.

    ``where`` names file and line; ``id`` is ``attribute/photo``; ``path`` is relative to the root;
    ``attribute`` and ``value`` are indices, -1 where ``reason`` says why the row cannot be used;
    ``maybe``: an ``m`` stands beside the ``y``.
    """
    rows = []
    for part, file in download.label_files.items():
        text = file.read_bytes().decode("utf-8-sig", errors="replace")
        for number, line in enumerate(text.rstrip().split("\n"), 1):
            where = f"{part}/Annotations/{file.name}, line {number}"
            rows.append((where, *_read_row(part, line.rstrip("\r"))))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"attribute": np.int64, "value": np.int64, "maybe": bool})


_INDEX = {name: i for i, name in enumerate(SCHEMA)}
UNREADABLE, UNKNOWN, LETTERS, NO_Y, SEVERAL_Y = UNUSABLE = (
    "unreadable row",
    "unknown attribute",
    "wrong length or letter",
    "no y",
    "several y",
)


def _read_row(part: str, line: str) -> tuple[str, str, str, int, int, bool, str]:
    """The fields after ``where``: id, photo, path, attribute, value, maybe, reason."""
    fields = line.split(",")
    where = split_path(fields[0])
    if len(fields) != 3 or where is None:
        return "", "", "", -1, -1, False, UNREADABLE
    name, photo = where
    known = (f"{name}/{photo}", photo, f"{part}/{fields[0]}")
    if name not in SCHEMA:
        return *known, -1, -1, False, UNKNOWN
    if fields[1] != f"{name}_labels":
        return *known, -1, -1, False, UNREADABLE
    text, attribute = fields[2], _INDEX[name]
    if len(text) != SCHEMA[name] or set(text) - set("ymn"):
        return *known, attribute, -1, False, LETTERS
    if text.count("y") != 1:
        return *known, attribute, -1, "m" in text, SEVERAL_Y if "y" in text else NO_Y
    return *known, attribute, text.index("y"), "m" in text, ""
