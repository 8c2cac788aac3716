from __future__ import annotations

import numpy as np
import pytest
import torch

from agman_lib.data.pixels import Pixels
from agman_lib.data.triplets import LabelIndex
from agman_lib.training.batches import Batch, EpochBatches


@pytest.fixture
def make(squares, tiny):
    """(step, changes of the config, epoch, part) -> that step's batch of sampler batch."""
    pixels, index = Pixels(squares, 32), LabelIndex(squares.split_labels("train"))
    config = tiny.changed(sampler="batch", values_per_attribute=2, images_per_value=3, batch_size=8)

    def batch(step: int = 0, epoch: int = 0, part=(0, 1), **changes) -> Batch:
        made = EpochBatches(config.changed(**changes), pixels, index, None, epoch, part)[step]
        assert isinstance(made, Batch)
        return made

    return batch


def same(one: Batch, other: Batch) -> bool:
    return one.images.equal(other.images) and one.attributes.equal(other.attributes)


def test_the_batch_sampler_mirrors_half_of_the_images_and_where_asked_none(make, squares):
    plain = torch.cat([make(step, flip=False).images for step in range(20)])
    stored = Pixels(squares, 32).take(np.arange(len(squares.images)))
    assert all((stored == image).all(dim=(1, 2, 3)).any() for image in plain)
    mirrored = torch.cat([make(step).images for step in range(20)])
    as_stored = np.array([a.equal(b) for a, b in zip(mirrored, plain, strict=True)])
    turned = np.array([a.flip(2).equal(b) for a, b in zip(mirrored, plain, strict=True)])
    assert (as_stored ^ turned).all()
    assert 0.4 < turned.mean() < 0.6  # of 480


def test_each_step_epoch_seed_and_process_draws_a_batch_of_its_own_again_and_again(make):
    asked = [{}, {"step": 1}, {"epoch": 1}, {"seed": 1}]
    asked += [{"part": (0, 2)}, {"part": (1, 2)}]
    batches = [make(**a) for a in asked]
    assert all(same(batch, make(**a)) for batch, a in zip(batches, asked, strict=True))
    for i, one in enumerate(batches):
        assert not any(same(one, other) for other in batches[:i]), asked[i]
    alone, *shares = batches[0], *batches[4:]
    assert [len(share.images) for share in shares] == [len(alone.images) // 2] * 2
