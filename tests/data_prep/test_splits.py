"""The stratified split: every value in every cell, in the wanted shares."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.common.splits import assign_cells

SHARES = np.array([0.8, 0.02, 0.08, 0.02, 0.08])


@pytest.mark.parametrize("seed", range(5))
def test_rare_values_are_in_every_cell(seed: int) -> None:
    """50 of 3,000 images have a rare value: one query each in valid and test, and candidates."""
    generator = np.random.default_rng(seed)
    values = generator.integers([0, 5], [5, 10], (3000, 2))
    values[generator.choice(3000, 50, replace=False), 1] = 10
    cells = assign_cells(values, SHARES, generator)
    rare = np.bincount(cells[values[:, 1] == 10], minlength=5)
    assert rare.tolist() == [40, 1, 4, 1, 4]
    assert np.bincount(cells, minlength=5) == pytest.approx(3000 * SHARES, abs=12)


def test_a_value_too_rare_for_a_query_gets_candidates() -> None:
    values = np.array([[0]] * 1000 + [[1]] * 10)
    cells = assign_cells(values, SHARES, np.random.default_rng(0))
    assert np.bincount(cells[1000:], minlength=5).tolist() == [8, 0, 1, 0, 1]


def test_images_without_some_labels_are_assigned_too() -> None:
    values = np.array([[0, -1], [-1, 1], [0, 1], [-1, 1]] * 25)
    cells = assign_cells(values, np.array([0.5, 0.5]), np.random.default_rng(0))
    assert np.bincount(cells) == pytest.approx([50, 50], abs=1)
    assert np.bincount(cells[values[:, 0] == 0]) == pytest.approx([25, 25], abs=1)


def test_a_value_twice_is_an_error_not_an_endless_loop():
    values = np.array([[0, 1], [2, 2], [0, 1]])
    with pytest.raises(ValueError, match="the same value twice"):
        assign_cells(values, np.array([0.5, 0.5]), np.random.default_rng(0))
