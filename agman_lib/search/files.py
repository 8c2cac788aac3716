"""What a gallery is made from and kept in: photos, and its folder.

The gallery itself, and what is in its folder: `agman_lib.search.gallery`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.base.folders import whole_folder, write_json, write_whole
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.images import decode_image, upright_rgb
from agman_lib.networks.model import RetrievalModel, without_class_branch
from agman_lib.networks.weights import load_model, save_model
from agman_lib.search.approximate import InvertedLists, check_enough, write_lists

FORMAT = "agman-gallery-2"
BY_IMAGE = "agman-gallery-1"  # of earlier versions: embeddings (N, A, D)
EMBEDDINGS, LISTS = "embeddings.npy", "approximate"
CHUNK = 8192  # images whose embeddings are written at once
REMAKE = "make the gallery again with `agman index`"
SEVERAL = " | "  # between the names, where an image has several values of an attribute
Photo = str | Path | bytes | Image.Image
Photos = PreparedDataset | str | Path | Iterable[str | Path]
Precision = Literal["float32", "float16"]


# --------------------------------------------------------------------------- photos


def attributes_of(model: RetrievalModel, about: dict[str, Any]) -> list[str]:
    """The attributes' names in index order. Raises AgmanError when ``about`` does not fit."""
    missing = [key for key in ("attributes", "image_size", "fit") if key not in about]
    if missing:
        raise AgmanError(
            f"the network's `about` lacks {', '.join(missing)}, so it is not known what it was "
            "trained on (a converted checkpoint does not say so); save it with `save_model(path, "
            "model, {'attributes': [{'name': …, 'values': […]}, …], 'image_size': 224, "
            "'fit': 'crop'})`"
        )
    names = [a["name"] for a in about["attributes"]]
    if len(names) != model.n_attributes:
        raise AgmanError(
            f"`about` names {len(names)} attributes and the network has {model.n_attributes}; "
            "both must be of one weights file"
        )
    if set(names) & {"image", "path"}:
        raise AgmanError("an attribute is called image or path, as items.csv's columns; rename it")
    return names


def list_photos(photos: Photos, attributes: list[str]) -> tuple[pd.DataFrame, Path, dict[str, str]]:
    """A gallery's items, the folder that their paths lie in, and files with unusable names."""
    if isinstance(photos, PreparedDataset):
        return _with_values(photos, attributes), photos.image_root, {}
    if isinstance(photos, str | Path):
        root = Path(photos)
        if not root.exists():
            raise AgmanError(f"{root}: no such folder; name the one with the photos")
        files = [root] if root.is_file() else _files_below(root)
        root = root.parent if root.is_file() else root
    else:
        files = [Path(os.path.abspath(photo)) for photo in photos]
        if not files:
            raise AgmanError("the list of photos is empty; give at least one file")
        try:
            root = Path(os.path.commonpath([f.parent for f in files]))
        except ValueError:
            raise AgmanError("the photos are on several drives; index one drive's first") from None
    paths, left_out = [], {}
    for path in dict.fromkeys(f.relative_to(root).as_posix() for f in files):
        try:
            path.encode()
            paths.append(path)
        except UnicodeEncodeError:
            left_out[ascii(path)] = f"{path!a}: a name that is no text; rename the file"
    items = pd.DataFrame({"image": paths, "path": paths}, dtype=object)
    return items.assign(**dict.fromkeys(attributes, "")), root, left_out


def _files_below(root: Path) -> list[Path]:
    """Every file in a folder and its subfolders but hidden ones, sorted."""
    found = []
    for folder, inside, files in os.walk(root):
        inside[:] = [name for name in inside if not name.startswith(".")]
        found += [Path(folder) / name for name in files if not name.startswith(".")]
    return sorted(found)


def _with_values(dataset: PreparedDataset, attributes: list[str]) -> pd.DataFrame:
    """The images of a data set with the names of their values."""
    labels = dataset.labels[dataset.labels["attribute"].isin(attributes)]
    odd = labels.loc[labels["value"].str.contains(SEVERAL, regex=False), "value"]
    if len(odd):
        raise AgmanError(f"value {odd.iloc[0]!r} has {SEVERAL!r} in its name; rename it")
    names = labels.groupby(["image", "attribute"], sort=False)["value"].agg(SEVERAL.join)
    table = names.unstack() if len(names) else pd.DataFrame()
    table = table.reindex(index=dataset.images["image"], columns=attributes).fillna("")
    items = dataset.images[["image", "path"]].reset_index(drop=True)
    return pd.concat([items, table.astype(object).reset_index(drop=True)], axis=1)


def decode_photo(photo: Photo) -> Image.Image:
    """A photo of any kind as an upright RGB image of its own. Raises AgmanError."""
    if not isinstance(photo, Image.Image):
        return decode_image(photo)
    try:
        return upright_rgb(photo)
    except Exception as error:  # as decode_image: a damaged image makes Pillow raise anything
        raise AgmanError(f"image: cannot be decoded ({error}); save it as JPEG or PNG") from None


# --------------------------------------------------------------------------- the folder


def write_gallery(
    folder: Path,
    model: RetrievalModel,
    about: dict[str, Any],
    items: pd.DataFrame,
    embeddings: np.ndarray,
    root: Path,
    left_out: dict[str, str],
    precision: Precision,
    approximate: bool,
) -> None:
    """Write a gallery's folder, whole or not at all.

    Raises:
        AgmanError: there is one; values that are not numbers; as `check_enough`.
    """
    if approximate:
        check_enough(len(items))
    with whole_folder(folder) as partial:
        table = items.to_csv(index=False, lineterminator="\n")
        write_whole(partial / "items.csv", table.encode())
        _write_embeddings(partial / EMBEDDINGS, items["image"], embeddings, np.dtype(precision))
        if approximate:
            stored = np.load(partial / EMBEDDINGS, mmap_mode="r")
            write_lists(partial / LISTS, stored)
            del stored  # Windows renames no folder in which a file is mapped
        save_model(partial / "model.safetensors", without_class_branch(model), about)
        description = {
            "format": FORMAT,
            "images": len(items),
            "attributes": attributes_of(model, about),
            "embedding_size": model.embedding_size,
            "image_root": str(root.resolve()),
            "left_out": left_out,
        }
        write_json(partial / "gallery.json", description)


def _write_embeddings(
    file: Path, images: pd.Series, embeddings: np.ndarray, dtype: np.dtype[Any]
) -> None:
    """Write (N, A, D) in NumPy's format as (A, N, D), some at a time, with a look at each."""
    n, a, d = embeddings.shape
    with open(file, "wb") as out:
        header = {"descr": dtype.str, "fortran_order": False, "shape": (a, n, d)}
        np.lib.format.write_array_header_1_0(out, header)
        for attribute in range(a):
            for start in range(0, n, CHUNK):
                rows = embeddings[start : start + CHUNK, attribute]
                if not np.isfinite(rows).all():
                    row = start + int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
                    raise AgmanError(
                        f"image {images.iloc[row]!r}: its embedding holds values that are not "
                        "numbers; use a network whose training did not diverge"
                    )
                out.write(rows.astype(dtype).tobytes())
        out.flush()
        os.fsync(out.fileno())


def read_gallery(folder: Path) -> dict[str, Any]:
    """What a `Gallery` is made of, by name; the embeddings stay in their file, mapped.

    Raises:
        AgmanError: with the file and the fix. The values of the embeddings are not read here.
    """
    description = _read_description(folder / "gallery.json")
    model, about = load_model(folder / "model.safetensors")
    names = attributes_of(model, about)
    if description["attributes"] != names:
        raise AgmanError(
            f"{folder / 'model.safetensors'}: belongs to another gallery, whose attributes are "
            f"{', '.join(names)}; {REMAKE}"
        )
    items = _read_items(folder / "items.csv", names, description["images"])
    shape = (len(items), len(names), model.embedding_size)
    by_image = description["format"] == BY_IMAGE
    return {
        "model": model,
        "about": about,
        "items": items,
        "embeddings": _map_embeddings(folder / EMBEDDINGS, shape, by_image),
        "root": Path(description["image_root"]),
        "left_out": description["left_out"],
        "lists": InvertedLists.open(folder / LISTS, shape),
    }


def _map_embeddings(file: Path, shape: tuple[int, int, int], by_image: bool) -> np.ndarray:
    """Embeddings (N, A, D) as a view of their file."""
    n, a, d = shape
    stored = (n, a, d) if by_image else (a, n, d)
    try:
        embeddings = np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise AgmanError(f"{file}: missing or damaged ({error}); {REMAKE}") from None
    if embeddings.shape != stored or embeddings.dtype not in (np.float32, np.float16):
        raise AgmanError(
            f"{file}: holds {embeddings.dtype} {embeddings.shape}, not float32 or float16 "
            f"{stored}; {REMAKE}"
        )
    return embeddings if by_image else embeddings.transpose(1, 0, 2)


def _read_description(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise AgmanError(f"{file.parent}: not a gallery (no gallery.json); see `agman index`")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AgmanError(f"{file}: not valid JSON ({error}); {REMAKE}") from None
    if not isinstance(content, dict) or content.get("format") not in (FORMAT, BY_IMAGE):
        raise AgmanError(f"{file}: not of a gallery of this version ({FORMAT}); {REMAKE}")
    kinds = {"images": int, "attributes": list, "image_root": str, "left_out": dict}
    wrong = [key for key, kind in kinds.items() if not isinstance(content.get(key), kind)]
    if wrong:
        raise AgmanError(f"{file}: lacks a usable {wrong[0]!r}; {REMAKE}")
    return content


def _read_items(file: Path, attributes: list[str], n_images: int) -> pd.DataFrame:
    try:
        items = pd.read_csv(file, dtype=object, keep_default_na=False, encoding="utf-8")
    except (OSError, ValueError) as error:
        raise AgmanError(f"{file}: missing or not a readable table ({error}); {REMAKE}") from None
    if list(items.columns) != ["image", "path", *attributes]:
        columns = ",".join(["image", "path", *attributes])
        raise AgmanError(f"{file}, line 1: the columns must be {columns}; put them back")
    if len(items) != n_images:
        raise AgmanError(
            f"{file}: has {len(items)} lines of images, not {n_images}; value names may be edited, "
            f"but lines stay, in their order: put them back, or {REMAKE}"
        )
    return items
