"""A miniature download of Fashion Product Images with one of each trouble, in every form."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from data_prep.fashion_products.convert import prepare
from data_prep.fashion_products.downloads import COLUMNS

HEADER = ",".join(COLUMNS)


def jpeg(mode: str = "RGB", shade: int = 90) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (6, 8), shade if mode == "L" else (shade, 40, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


def row(number: int, **changed: str) -> list[str]:
    """A clean row: genders alternate, colours go round, season and usage are in halves."""
    values = {
        "id": str(1000 + number),
        "gender": ("Men", "Women")[number % 2],
        "masterCategory": "Apparel",
        "subCategory": "Topwear",
        "articleType": ("Shirts", "Tops")[number // 2 % 2],
        "baseColour": ("Red", "Blue", "Navy Blue")[number % 3],
        "season": ("Summer", "Fall")[number // 3 % 2],
        "year": "2012",
        "usage": ("Casual", "Sports")[number // 5 % 2],
        "productDisplayName": f"Shirt {number}",
    }
    return list((values | changed).values())


def miniature() -> tuple[list[list[str]], dict[str, bytes]]:
    """Rows and photos with one of each trouble; 120 rows are clean."""
    rows = [row(n) for n in range(120)]
    photos = {r[0]: jpeg(shade=n) for n, r in enumerate(rows)}
    extra = {
        "1": row(0, id="1", productDisplayName="Shirt, red, large"),
        "2": row(0, id="2"),  # no image file
        "3": row(0, id="3"),  # unreadable image
        "4": row(0, id="4"),  # grey image
        "5": row(0, id="5", usage="NA", season=""),
        "6": row(0, id="6", baseColour="Teal"),  # rare
        "7": row(0, id="7", gender="", articleType="Hat", baseColour="NA", season="", usage="NA"),
    }
    rows += extra.values()
    rows += [row(0, id="6", baseColour="Blue")]  # a duplicate id
    photos |= {i: jpeg() for i in "1567"} | {"3": jpeg()[:200], "4": jpeg("L")}
    return rows, photos


def styles(rows: list[list[str]]) -> bytes:
    return "\n".join([HEADER, *map(",".join, rows), "8,too,short", ""]).encode()


def make_folder(
    folder: Path, content: tuple[list[list[str]], dict[str, bytes]] | None = None
) -> Path:
    rows, photos = content or miniature()
    (folder / "images").mkdir(parents=True)
    (folder / "styles.csv").write_bytes(styles(rows))
    for name, photo in photos.items():
        (folder / "images" / f"{name}.jpg").write_bytes(photo)
    return folder


def make_zip(file: Path, prefix: str = "") -> Path:
    rows, photos = miniature()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{prefix}styles.csv", styles(rows))
        for name, content in photos.items():
            archive.writestr(f"{prefix}images/{name}.jpg", content)
    return file


def make_parquet(file: Path) -> Path:
    pytest.importorskip("pyarrow")
    rows, photos = miniature()
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["image"] = [
        {"bytes": photos[i], "path": f"{i}.jpg"} if i in photos else None for i in table["id"]
    ]
    table["id"], table["year"] = table["id"].astype(int), table["year"].astype(float)
    table["usage"] = table["usage"].where(table["usage"].ne("NA"), None)
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(file)
    return file


def run(source: Path, out: Path, **options: Any) -> dict[str, Any]:
    return prepare(source, out, **({"min_images": 10, "progress": False} | options))


def tables(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "images.csv").read_bytes(), (folder / "labels.csv").read_bytes()
