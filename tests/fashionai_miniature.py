"""A miniature of FashionAI's raw download with every quirk of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from agman_lib.data.dataset import PreparedDataset
from data_prep.fashionai.convert import prepare
from data_prep.fashionai.files import PARTS, SCHEMA

T1, T2 = PARTS


def letters(attribute: str, value: int, maybe: int | None = None) -> str:
    text = ["n"] * SCHEMA[attribute]
    text[value] = "y"
    if maybe is not None:
        text[maybe] = "m"
    return "".join(text)


def line(attribute: str, photo: str, text: str) -> str:
    return f"Images/{attribute}_labels/{photo}.jpg,{attribute}_labels,{text}"


def add_photo(raw: Path, part: str, attribute: str, photo: str, empty: bool = True) -> None:
    file = raw / part / "Images" / f"{attribute}_labels" / f"{photo}.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    if empty:
        file.touch()
    else:
        Image.new("RGB", (8, 8)).save(file)


def add_labels(raw: Path, part: str, lines: list[str], ending: str = "\n") -> None:
    folder = raw / part / "Annotations"
    folder.mkdir(parents=True)
    (folder / "label.csv").write_bytes(ending.join(lines).encode())


def make_raw(raw: Path, n: int = 30) -> Path:
    """n clean skirts in train1 and n clean necks in train2, and one row of each quirk."""
    skirts = [("skirt_length", f"s{i:031x}", letters("skirt_length", i % 6)) for i in range(n)]
    necks = [("neck_design", f"e{i:031x}", letters("neck_design", i % 5)) for i in range(n)]
    special = [
        ("skirt_length", "maybe", letters("skirt_length", 3, maybe=4)),
        ("coat_length", "no_y", "nnnmnnnn"),
        ("coat_length", "two_y", "nyynnnnn"),
        ("coat_length", "short", "nny"),
        ("coat_length", "letter", "nnynnnnx"),
        ("shoe_heel", "unknown", "nny"),
        ("lapel_design", "conflict", letters("lapel_design", 1)),
        ("lapel_design", "twice", letters("lapel_design", 2)),
        ("skirt_length", "two_attributes", letters("skirt_length", 0)),
        ("neck_design", "two_attributes", letters("neck_design", 4)),
        ("collar_design", "gone", letters("collar_design", 4)),
    ]
    for attribute, photo, _ in skirts + special:
        if photo != "gone":
            add_photo(raw, T1, attribute, photo)
    first = [line(*row) for row in skirts + special]
    first.insert(3, "Images/skirt_length_labels/half")
    first.append(f"{line('skirt_length', 'folder', 'ynnnnn')}".replace(",skirt", ",coat"))
    add_labels(raw, T1, first, "\r\n")
    again = [
        ("lapel_design", "conflict", letters("lapel_design", 3, maybe=1)),
        ("lapel_design", "twice", letters("lapel_design", 2)),
    ]
    for attribute, photo, _ in necks + again:
        add_photo(raw, T2, attribute, photo)
    add_labels(raw, T2, [line(*row) for row in necks + again])
    return raw


def run(raw: Path, out: Path, **options: Any) -> dict[str, Any]:
    return prepare(raw, out, **{"check_images": False, "progress": False, **options})


def labels_of(out: Path) -> dict[str, tuple[str, str]]:
    data = PreparedDataset.load(out)
    columns = (data.labels[c] for c in ("image", "attribute", "value"))
    return {image: (a, v) for image, a, v in zip(*columns, strict=True)}


def add_splits(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_bytes(text.replace("\n", "\r\n").encode())
    return folder


def skirt(i: int) -> str:
    return f"{T1}/Images/skirt_length_labels/s{i:031x}.jpg"


def neck(i: int) -> str:
    return f"{T2}/Images/neck_design_labels/e{i:031x}.jpg"
