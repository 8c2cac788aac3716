"""A miniature of DeepFashion's raw download with its quirks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agman_lib.data.dataset import PreparedDataset
from data_prep.deepfashion.convert import prepare

# global id: name, type; "lace" twice in fabric, once in part
CLOTH = [
    ("abstract chevron print", 1),
    ("lace", 2),
    ("maxi", 3),
    ("lace", 2),
    ("a-line", 3),
    ("lace", 4),
    ("dotted", 1),
    ("boho", 5),
    ("mini", 3),
]
VALUES = {  # in rank order
    "texture-related": ["abstract chevron print", "dotted"],
    "fabric-related": ["lace", "lace (2)"],
    "shape-related": ["maxi", "a-line", "mini"],
    "part-related": ["lace"],
    "style-related": ["boho"],
}
OF_ID = [
    ("texture-related", "abstract chevron print"),
    ("fabric-related", "lace"),
    ("shape-related", "maxi"),
    ("fabric-related", "lace (2)"),
    ("shape-related", "a-line"),
    ("part-related", "lace"),
    ("texture-related", "dotted"),
    ("style-related", "boho"),
    ("shape-related", "mini"),
]
Label = tuple[str, str]


def path(name: str) -> str:
    return f"img/{name}/img_00000001.jpg"


def make_raw(
    raw: Path,
    labels: list[tuple[str, list[int]]],
    partition: dict[str, str],
    anno: str = "Anno_coarse",
    images: str = "img",
) -> Path:
    """The download: (name, global ids) a line; photos are empty files."""
    (raw / anno).mkdir(parents=True)
    (raw / "Eval").mkdir()
    cloth = [f"{name:<40}{kind}" for name, kind in CLOTH]
    lines = [str(len(CLOTH)), "attribute_name  attribute_type", *cloth]
    (raw / anno / "list_attr_cloth.txt").write_bytes("\r\n".join(lines).encode())
    lines = [str(len(labels)), "image_name  attribute_labels"]
    for i, (name, ids) in enumerate(labels):
        marks = [f"{1 if g in ids else (-1, 0)[i % 2]:>3}" for g in range(len(CLOTH))]
        lines.append(f"{path(name):<50}{''.join(marks)} ")
    (raw / anno / "list_attr_img.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = [str(len(partition)), "image_name  evaluation_status"]
    lines += [f"{path(name)}   {split}" for name, split in partition.items()]
    (raw / "Eval" / "list_eval_partition.txt").write_text("\n".join(lines), encoding="utf-8")
    for name, _ in labels:
        file = raw / path(name).replace("img/", f"{images}/", 1)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return raw


def clean(n: int = 24) -> tuple[list[tuple[str, list[int]]], dict[str, str]]:
    """n images; image i has one to three labels."""
    ids = [sorted({i % 9, (i + 2) % 9, (i * 2) % 9}) for i in range(n)]
    labels = [(f"n{i}", own) for i, own in enumerate(ids)]
    return labels, {f"n{i}": ("train", "val", "test")[i % 3] for i in range(n)}


def run(raw: Path, out: Path, **options: Any) -> dict[str, Any]:
    return prepare(raw, out, **{"check_images": False, "progress": False, **options})


def labels_of(out: Path, evaluated: bool = False) -> dict[str, set[Label]]:
    table = PreparedDataset.load(out).labels
    table = table[table["evaluated"]] if evaluated else table
    result: dict[str, set[Label]] = {}
    for row in table.itertuples():
        result.setdefault(row.image.split("/")[0], set()).add((row.attribute, row.value))
    return result


def roles_of(out: Path) -> dict[str, str]:
    images = PreparedDataset.load(out).images
    names = images["image"].str.split("/").str[0]
    return dict(zip(names, images["split"] + " " + images["role"], strict=True))


def add_splits(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_bytes(text.replace("\n", "\r\n").encode())
    return folder
