"""The three figures of a run, from its weights and its data set; the figure of an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from agman_lib.base.pictures import save_picture
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels
from agman_lib.evaluation.embedding import embed
from agman_lib.evaluation.protocol import Task, retrieval_tasks
from agman_lib.explain.explainer import Explainer, OpenPhoto
from agman_lib.explain.maps import MAPS, Explanation, map_names
from agman_lib.explain.overlays import OPACITY, ExplanationRow, channel_bars, overlay
from agman_lib.explain.plots import (
    AttentionExample,
    RetrievalExample,
    attention_rows,
    retrieval_grid,
    training_curve,
)
from agman_lib.networks.model import RetrievalModel
from agman_lib.training.run import Run


def run_figures(
    run: Run, dataset: PreparedDataset, folder: Path, split: str = "test"
) -> list[Path]:
    """Write training_curve.png, attention.png and retrieval.png; returns their paths.

    The examples are the first queries of the split, not chosen ones. For a network without spatial
    attention there is no attention.png, which is printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = run.model("best")
    pixels = Pixels(dataset, run.config.image_size, run.config.fit, run.config.cache)
    valid = run.metrics["valid"]["mean"]
    metric = next(iter(valid))
    made: dict[str, Figure] = {
        "training_curve": training_curve(run.log, valid["random"], metric),
    }
    if dataset.protocol == "retrieval":
        tasks = retrieval_tasks(dataset, split)
        if "attention" in map_names(model):
            made["attention"] = attention_figure(model, dataset, pixels, tasks)
        else:
            print(f"no attention.png: the network {model.name} has no spatial attention")
        made["retrieval"] = retrieval_figure(model, dataset, pixels, tasks)
    paths = [folder / f"{name}.png" for name in made]
    for path, figure in zip(paths, made.values(), strict=True):
        save_picture(figure, path)
    return paths


def attention_figure(
    model: RetrievalModel, dataset: PreparedDataset, pixels: Pixels, tasks: list[Task], n: int = 3
) -> Figure:
    """S over the first n queries of every attribute, beside the true region where it is known."""
    rows = {}
    for task in tasks:
        images, attribute = task.query[:n], task.attribute
        raw = pixels.take(images)
        with torch.no_grad():
            attributes = torch.full((len(images),), attribute)
            maps = model.attention_maps(model.normalize(raw), attributes).numpy()
        values = dataset.attributes[attribute].values
        rows[dataset.attributes[attribute].name] = [
            AttentionExample(
                image=raw[k].permute(1, 2, 0).numpy(),
                attention=maps[k],
                boxes=pixels.boxes(image, attribute),
                caption=values[int(task.query_values[k].argmax())],
            )
            for k, image in enumerate(images)
        ]
    title = "Spatial attention of the first test images (not chosen)"
    if dataset.regions is not None:
        title += "; boxes: where the picture changes when only this attribute's value does"
    return attention_rows(rows, title, model.backbone.offset)


def retrieval_figure(
    model: RetrievalModel, dataset: PreparedDataset, pixels: Pixels, tasks: list[Task], k: int = 7
) -> Figure:
    """The first query of every attribute and its first k candidates."""
    rows = []
    for task in tasks:
        images = np.concatenate([task.query[:1], task.candidate])
        vectors = embed(model, pixels, images, np.full(len(images), task.attribute))
        order = np.argsort(-(vectors[1:] @ vectors[0]), kind="stable")[:k]
        attribute = dataset.attributes[task.attribute]
        shown = pixels.take(np.concatenate([task.query[:1], task.candidate[order]]))
        pictures = list(shown.permute(0, 2, 3, 1).numpy())
        rows.append(
            RetrievalExample(
                attribute=attribute.name,
                query=pictures[0],
                query_value=attribute.values[int(task.query_values[0].argmax())],
                found=pictures[1:],
                found_values=[
                    attribute.values[int(v.argmax())] for v in task.candidate_values[order]
                ],
                right=list(task.relevant(slice(0, 1))[0, order]),
            )
        )
    return retrieval_grid(rows, "The first test query of each attribute (not chosen) and its top 7")


def explanation_row(
    explainer: Explainer,
    photo: OpenPhoto,
    attribute: str,
    maps: Sequence[str],
    *,
    k: int = 5,
    opacity: float = OPACITY,
    regions: bool = True,
    cam: np.ndarray | None = None,
    channels: bool = True,
    scale: int = 1,
) -> ExplanationRow:
    """A photo under an attribute: the picture, the maps over it, and the k nearest of the gallery.

    Args:
        maps: names of `maps.MAPS`; those that the network lacks are left out.
        cam: a Grad-CAM map; without it that of the similarity to the nearest other photo.
        regions: draw the true regions, where they are known.
        channels: with the channel attention, where the network has it.
        scale: as in `overlays.overlay`.
    """
    seen, found = explainer.explain(photo, attribute), explainer.search(photo, attribute, k)
    boxes = explainer.boxes(photo, attribute) if regions else ()
    offset = explainer.offset
    value = explainer.value(photo, attribute) or "photo"
    plain = overlay(photo.picture, None, offset, boxes=boxes, scale=scale)
    pictures = {value.replace("_", " "): plain}
    for name in maps:
        heat = seen.maps.get(name)
        if name == "grad_cam" and cam is not None:
            heat = cam
        elif name == "grad_cam":
            heat = explainer.nearest_cam(photo, attribute, found)
        if heat is not None:
            pictures[MAPS[name]] = overlay(photo.picture, heat, offset, opacity, boxes, scale)
    rows = list(found.itertuples())
    return ExplanationRow(
        label=attribute,
        pictures=pictures,
        bars=bars_of(seen) if channels else None,
        found=[explainer.picture(explainer.gallery.row_of(r.image)) for r in rows],
        captions=[f"{r.score:.2f}\n{r.value}".strip() for r in rows],
        right=[explainer.right(photo, attribute, r.value) for r in rows],
    )


def bars_of(seen: Explanation) -> np.ndarray | None:
    """The picture of the channel attention and the mask; None where there is neither."""
    if seen.channel is None:
        return None if seen.mask is None else channel_bars(np.zeros_like(seen.mask), seen.mask)
    return channel_bars(seen.channel, seen.mask)
