"""A prepared folder of enlarged parts of photos, cut out where a trained network attends.

The second look of a coarse-to-fine search (the idea of RPF, Dong et al. 2023): a network that has
learnt roughly where an attribute is finds the place, and another one, trained on the enlarged
parts, sees it in more detail. The values of an image play no part in where it is cut.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor, from_numpy

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset, staging, write_prepared
from agman_lib.data.images import decode_image
from agman_lib.data.pixels import Fit, Pixels, fit_boxes, read_photos
from agman_lib.evaluation.embedding import each_batch
from agman_lib.evaluation.report import check_fits
from agman_lib.networks.model import RetrievalModel
from agman_lib.networks.multi_level_backbone import STRIDE
from agman_lib.networks.weights import load_model
from agman_lib.training.run import Run

BOX = ["x0", "y0", "x1", "y1"]


def cut_windows(
    source: str | Path, run: str | Path, out: str | Path, *, zoom: float = 2.0
) -> dict[str, float]:
    """Make a prepared folder of the parts that a run's network attends to.

    Each pair of an image and an attribute that it is labelled for becomes an image of its own: the
    photo is resized to ``zoom`` times the run's image size, and a window of the image size is cut
    out around the centre of mass of the spatial attention S under that attribute. Splits, roles and
    labels stay, and regions move with the window.

    Args:
        source: a prepared folder with the retrieval protocol.
        run: a finished run folder on the same attributes; its best weights are taken.
        out: the prepared folder to make.
        zoom: how much larger a part is shown than the photo was, above 1.

    Returns:
        How many ``parts of photos`` there are; and where regions are known, ``% of the regions'
        area inside`` the windows, beside that of ``windows in the middle`` of each photo.

    Raises:
        AgmanError: a zoom that is not above 1; a data set of triplets, or of other attributes than
            the run's; a network without spatial attention; a broken photo; an existing ``out``.
    """
    if not zoom > 1:
        raise AgmanError(f"the zoom must be above 1, not {zoom}")
    dataset, config = PreparedDataset.load(source), Run.load(run).config
    if dataset.protocol != "retrieval":
        raise AgmanError(f"{source}: of triplets, and this needs labels to say where to look")
    model, about = load_model(Path(run) / "best.safetensors")
    check_fits(about, dataset, str(run))
    size, large = config.image_size, round(zoom * config.image_size)
    parts = dataset.labels[["image", "attribute"]].drop_duplicates(ignore_index=True)
    image = pd.Index(dataset.images["image"]).get_indexer(parts["image"])
    attribute = pd.Index(dataset.attribute_names).get_indexer(parts["attribute"])
    pixels = Pixels(dataset, size, config.fit, config.cache)
    centres = attended_centres(model, pixels, image, attribute)
    corners = np.clip(np.rint(centres * large / size - size / 2), 0, large - size).astype(int)
    parts[["x", "y"]] = corners
    parts["part"] = parts["image"] + " " + parts["attribute"]
    parts["path"] = parts.index.astype(str).str.zfill(6) + ".png"
    with staging(out) as folder:
        (folder / "images").mkdir()
        photos = read_photos([dataset.paths[i] for i in image], large, config.fit)
        for photo, (x, y), path in zip(photos, corners, parts["path"], strict=True):
            if isinstance(photo, AgmanError):
                raise photo
            window = photo[:, y : y + size, x : x + size].transpose(1, 2, 0)
            Image.fromarray(np.ascontiguousarray(window)).save(folder / "images" / path)
        regions, shares = _moved_regions(dataset, parts, size, large, config.fit)
        _write_tables(folder, dataset, parts, regions)
    return {"parts of photos": len(parts)} | shares


def attended_centres(
    model: RetrievalModel, pixels: Pixels, image: np.ndarray, attribute: np.ndarray
) -> np.ndarray:
    """Centre of mass (n, 2) of S as x and y in pixels of the input, of n images and attributes.

    Raises:
        AgmanError: the network has no spatial attention.
    """
    centres = np.empty((len(image), 2))

    def work(part: slice, images: Tensor) -> None:
        asked = from_numpy(attribute[part]).to(images.device)
        maps = model.attention_maps(images, asked).cpu().double().numpy()
        place = STRIDE * np.arange(maps.shape[1]) + model.backbone.offset + 0.5
        centres[part] = np.stack([maps.sum(axis) @ place for axis in (1, 2)], axis=1)

    each_batch(model, len(image), lambda part: pixels.take(image[part]), work, progress="look")
    return centres


def _moved_regions(
    dataset: PreparedDataset, parts: pd.DataFrame, size: int, large: int, fit: Fit
) -> tuple[pd.DataFrame | None, dict[str, float]]:
    """The regions as the parts show them, and the shares of `cut_windows`'s report.

    What lies outside a part is left out.
    """
    if dataset.regions is None:
        return None, {}
    moved = dataset.regions.merge(parts, on=["image", "attribute"])
    number = pd.Index(dataset.images["image"]).get_indexer(moved["image"])
    sizes = {i: decode_image(dataset.paths[i]).size for i in np.unique(number)}
    boxes = moved[BOX].to_numpy(float)
    large_boxes = np.array(
        [fit_boxes(box, *sizes[i], large, fit) for box, i in zip(boxes, number, strict=True)]
    )
    corners = np.tile(moved[["x", "y"]].to_numpy(float), 2)
    shown, in_the_middle = (
        np.clip(large_boxes - corner, 0, size) for corner in (corners, (large - size) // 2)
    )
    seen, centred, whole = (_areas(b).sum() for b in (shown, in_the_middle, large_boxes))
    moved[BOX] = np.rint(shown).astype(int)
    inside = (moved["x0"] < moved["x1"]) & (moved["y0"] < moved["y1"])
    shares = {
        "% of the regions' area inside": 100 * seen / whole,
        "% inside windows in the middle": 100 * centred / whole,
    }
    return moved[inside].assign(image=moved["part"]), shares


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _write_tables(
    folder: Path, dataset: PreparedDataset, parts: pd.DataFrame, regions: pd.DataFrame | None
) -> None:
    labels = dataset.labels.merge(parts, on=["image", "attribute"], validate="many_to_one")
    images = parts.merge(dataset.images.drop(columns="path"), on="image")
    write_prepared(
        folder,
        name=f"{dataset.name}-looked-at-again",
        title=f"{dataset.title}, enlarged parts",
        source=dataset.source,
        licence=dataset.licence,
        attributes=dataset.attributes,
        images=images.assign(image=images["part"]),
        labels=labels.assign(image=labels["part"], evaluated=labels["evaluated"].astype(int)),
        regions=regions,
    )
    if (dataset.folder / "kinds.csv").is_file():
        kinds = pd.read_csv(dataset.folder / "kinds.csv", dtype=str, keep_default_na=False)
        kinds = parts.merge(kinds, on="image")
        kinds.assign(image=kinds["part"])[["image", "kind"]].to_csv(
            folder / "kinds.csv", index=False, lineterminator="\n"
        )


def summary(report: dict[str, float]) -> str:
    """The report in one line."""
    return ", ".join(f"{value:,.0f} {what}" for what, value in report.items())
