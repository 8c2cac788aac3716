"""The figures of a run show what they say: the log, the first queries, what is nearest to them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import OFFSET, lively_network
from matplotlib.colors import to_hex

from agman_lib.data.pixels import Pixels, normalize
from agman_lib.evaluation.embedding import embed
from agman_lib.evaluation.protocol import retrieval_tasks
from agman_lib.explain.figures import attention_figure, retrieval_figure
from agman_lib.explain.overlays import RIGHT, WRONG, overlay
from agman_lib.explain.plots import training_curve


@pytest.fixture(scope="module")
def network():
    return lively_network("agman", n_attributes=2)


@pytest.fixture
def pixels(squares) -> Pixels:
    return Pixels(squares, 64)


def shown(figure) -> list[np.ndarray]:
    return [np.asarray(a.images[0].get_array()) for a in figure.axes if a.images]


def test_the_training_curve_is_the_log():
    rows = [(1, 2, 0.5, 0.3, np.nan), (1, 4, 0.4, 0.2, 41.0), (2, 4, 0.2, 0.1, 55.0)]
    log = pd.DataFrame(rows, columns=["epoch", "step", "triplet", "classification", "valid"])
    losses, score = training_curve(log, 25.0).axes
    triplet, classification = losses.lines
    assert triplet.get_xydata().tolist() == [[2, 0.5], [4, 0.4], [8, 0.2]]
    assert classification.get_ydata().tolist() == [0.3, 0.2, 0.1]
    valid, random = score.lines
    assert valid.get_xydata().tolist() == [[1, 41], [2, 55]]
    assert set(random.get_ydata()) == {25}
    without = training_curve(log.assign(classification=0.0), 25.0).axes[0]
    assert len(without.lines) == 1


def test_attention_is_drawn_over_the_photo_that_it_is_of(network, squares, pixels):
    tasks = retrieval_tasks(squares, "test")
    pictures = shown(attention_figure(network, squares, pixels, tasks, n=2))
    for task in tasks:
        raw = pixels.take(task.query[:2])
        maps = network.attention_maps(normalize(raw), torch.full((2,), task.attribute))
        for photo, heat in zip(raw.permute(0, 2, 3, 1).numpy(), maps.detach(), strict=True):
            plain, overlaid = pictures.pop(0), pictures.pop(0)
            assert np.array_equal(plain, photo)
            assert np.array_equal(overlaid, overlay(photo, heat.numpy(), OFFSET))
    assert not pictures


def test_the_retrieval_figure_shows_the_nearest_and_marks_them_truly(network, squares, pixels):
    tasks = retrieval_tasks(squares, "test")
    figure = retrieval_figure(network, squares, pixels, tasks, k=4)
    cells = [a for a in figure.axes if a.images]
    for task in tasks:
        images = np.concatenate([task.query[:1], task.candidate])
        vectors = embed(network, pixels, images, np.full(len(images), task.attribute))
        nearest = np.argsort(-(vectors[1:] @ vectors[0]), kind="stable")[:4]
        query, *found = [cells.pop(0) for _ in range(5)]
        photos = pixels.take(images[[0, *(1 + nearest)]]).permute(0, 2, 3, 1).numpy()
        for cell, photo in zip([query, *found], photos, strict=True):
            assert np.array_equal(cell.images[0].get_array(), photo)
        right = task.relevant(slice(0, 1))[0, nearest]
        assert [to_hex(c.title.get_color()) for c in found] == [
            RIGHT if r else WRONG for r in right
        ]
        values = squares.attributes[task.attribute].values
        own = values[task.query_values[0].argmax()]
        assert query.get_title() == f"query: {own}"
        assert [c.get_title().split()[-1] == own for c in found] == right.tolist()
