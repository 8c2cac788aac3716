"""The three figures of a run, from its weights and its data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from agman_lib.dataset import PreparedDataset
from agman_lib.embed import embed
from agman_lib.evaluate import Task, retrieval_tasks
from agman_lib.models import RetrievalModel
from agman_lib.pixels import Pixels, normalize
from agman_lib.plots import (
    AttentionExample,
    RetrievalExample,
    attention_rows,
    retrieval_grid,
    training_curve,
)
from agman_lib.runs import Run


def run_figures(
    run: Run, dataset: PreparedDataset, folder: Path, split: str = "test"
) -> list[Path]:
    """Write training_curve.png, attention.png and retrieval.png; returns their paths.

    The examples are the first queries of the split, not chosen ones.
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
        made["attention"] = attention_figure(model, dataset, pixels, tasks)
        made["retrieval"] = retrieval_figure(model, dataset, pixels, tasks)
    paths = []
    for name, figure in made.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=100)
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
            maps = model.attention_maps(normalize(raw), attributes).numpy()
        values = dataset.attributes[attribute].values
        rows[dataset.attributes[attribute].name] = [
            AttentionExample(
                image=raw[k].permute(1, 2, 0).numpy(),
                attention=maps[k],
                boxes=_boxes_as_shown(dataset, image, attribute, pixels),
                caption=values[int(task.query_values[k].argmax())],
            )
            for k, image in enumerate(images)
        ]
    title = "Spatial attention of the first test images (not chosen)"
    if dataset.regions is not None:
        title += "; boxes: where the picture changes when only this attribute's value does"
    return attention_rows(rows, title)


def _boxes_as_shown(
    dataset: PreparedDataset, image: int, attribute: int, pixels: Pixels
) -> np.ndarray:
    """True boxes in the pixels of the shown square; none where the file is not that square."""
    from PIL import Image

    with Image.open(dataset.paths[image]) as file:
        width, height = file.size
    boxes = dataset.boxes(image, attribute)
    if width != height:
        return boxes[:0]
    return boxes * pixels.size / width


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
