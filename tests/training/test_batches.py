from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.pixels import Pixels
from agman_lib.data.triplets import LabelIndex, Triplets
from agman_lib.training.batches import Batch, EpochBatches, branch_classes


@pytest.fixture
def make(squares, tiny):
    """(step, changes of the config, epoch, part) -> that step's batch, of values x images."""
    pixels, index = Pixels(squares, 32), LabelIndex(squares.split_labels("train"))
    config = tiny.changed(sampler="batch", values_per_attribute=2, images_per_value=3, batch_size=8)

    def batch(
        step: int = 0, epoch: int = 0, part=(), listed=None, classes=None, **changes
    ) -> Batch:
        changed = config.changed(**changes)
        made = EpochBatches(changed, pixels, index, listed, epoch, *part, classes=classes)[step]
        assert isinstance(made, Batch)
        return made

    return batch


def same(one: Batch, other: Batch) -> bool:
    return one.images.equal(other.images) and one.attributes.equal(other.attributes)


@pytest.mark.parametrize("sampler", ["batch", "triplets"])
def test_half_of_the_images_are_mirrored_and_where_asked_none(make, squares, sampler):
    asked = {"sampler": sampler, "steps_per_epoch": 20}
    plain = torch.cat([make(step, flip=False, **asked).images for step in range(20)])
    stored = Pixels(squares, 32).take(np.arange(len(squares.images)))
    assert all((stored == image).all(dim=(1, 2, 3)).any() for image in plain)
    mirrored = torch.cat([make(step, **asked).images for step in range(20)])
    as_stored = np.array([a.equal(b) for a, b in zip(mirrored, plain, strict=True)])
    turned = np.array([a.flip(2).equal(b) for a, b in zip(mirrored, plain, strict=True)])
    assert (as_stored ^ turned).all()
    assert 0.4 < turned.mean() < 0.6  # of 480


@pytest.mark.parametrize("sampler", ["batch", "triplets"])
def test_copies_are_drawn_as_often_as_the_image_and_are_weak(make, squares, sampler):
    asked = {"sampler": sampler, "steps_per_epoch": 20, "flip": False, "distort": 3}
    drawn = torch.cat([make(step, **asked).images for step in range(20)])
    stored = Pixels(squares, 32).take(np.arange(len(squares.images)))
    away = (drawn[:, None].float() - stored[None]).abs().mean(dim=(2, 3, 4))
    assert 0.2 < (away.amin(1) == 0).float().mean() < 0.3  # of 480, those that are as stored
    each = drawn[away.amin(1) > 0].unique(dim=0)
    assert 140 < len(each) <= 180  # three copies of each of 60 training images
    assert away.amin(1).max() < 75
    again = torch.cat([make(step, **asked).images for step in range(20)])
    assert again.equal(drawn)
    turned = torch.cat([make(step, **asked | {"flip": True}).images for step in range(20)])
    as_stored = (turned[:, None] == stored[None]).all(dim=(2, 3, 4)).any(1)
    mirrored = (turned.flip(3)[:, None] == stored[None]).all(dim=(2, 3, 4)).any(1)
    assert 0.08 < as_stored.float().mean() < 0.17
    assert 0.08 < mirrored.float().mean() < 0.17


def test_each_step_epoch_seed_and_process_draws_a_batch_of_its_own_again_and_again(make):
    asked = [{}, {"step": 1}, {"epoch": 1}, {"seed": 1}]
    asked += [{"part": (0, 2)}, {"part": (1, 2)}]
    batches = [make(**a) for a in asked]
    assert all(same(batch, make(**a)) for batch, a in zip(batches, asked, strict=True))
    for i, one in enumerate(batches):
        assert not any(same(one, other) for other in batches[:i]), asked[i]
    alone, *shares = batches[0], *batches[4:]
    assert [len(share.images) for share in shares] == [len(alone.images) // 2] * 2


@pytest.mark.parametrize("processes", [1, 2])
def test_an_epoch_of_listed_triplets_is_the_list_shuffled_in_batches(make, squares, processes):
    """24 of 10 triplets: the list twice, and four of its third round; anchor, negative, positive.

    The images are told apart by their pixels, and each triplet by its anchor.
    """
    number = np.arange(10)
    listed = Triplets(number, number + 10, number + 20, number % 2)
    stored = Pixels(squares, 32).take(np.arange(30))

    def numbers(images: torch.Tensor) -> list[int]:
        found = [
            (stored == image).all(dim=(1, 2, 3)).nonzero().ravel().tolist() for image in images
        ]
        assert all(len(one) == 1 for one in found)
        return [one[0] for one in found]

    anchors = []
    for step in range(3):
        parts = [(rank, processes) for rank in range(processes)] if processes > 1 else [()]
        asked = {"listed": listed, "steps_per_epoch": 3, "flip": False}
        shares = [make(step, part=part, **asked) for part in parts]
        for share in shares:
            anchor, negative, positive = np.split(np.array(numbers(share.images)), 3)
            assert len(anchor) == 8 // processes
            assert (negative == anchor + 10).all()
            assert (positive == anchor + 20).all()
            assert share.attributes.tolist() == np.tile(anchor % 2, 3).tolist()
            assert share.relation is None
            anchors += anchor.tolist()
    if processes == 1:
        rounds = anchors[:10], anchors[10:20], anchors[20:]
        assert [len(set(r)) for r in rounds] == [10, 10, 4]
        assert rounds[0] != rounds[1] != sorted(rounds[1])
    assert sorted(np.bincount(anchors).tolist()) == [2] * 6 + [3] * 4


def test_classes_for_the_branch(make, squares, tiny, tmp_path):
    assert branch_classes(tiny, squares) is None
    labels = squares.split_labels("train")
    shuffled = branch_classes(tiny.changed(branch_classes="shuffled"), squares)
    own = shuffled[labels.image]
    assert np.bincount(own).tolist() == np.bincount(labels.attribute).tolist()
    assert 0.3 < (own == labels.attribute).mean() < 0.7
    other = branch_classes(tiny.changed(branch_classes="shuffled", seed=1), squares)
    assert not np.array_equal(shuffled, other)

    config = tiny.changed(branch_classes="kind")
    folder = Path(shutil.copytree(squares.folder, tmp_path / "kinds"))
    of_kinds = PreparedDataset.load(folder)
    with pytest.raises(AgmanError, match=r"kinds\.csv: missing"):
        branch_classes(config, of_kinds)
    images = list(squares.images["image"])
    rows = [f"{image},{'shoe' if i % 3 else 'bag'}" for i, image in enumerate(images)]
    (folder / "kinds.csv").write_text("\n".join(["image,kind", *rows]))
    classes = branch_classes(config, of_kinds)
    assert classes.tolist() == [1 if i % 3 else 0 for i in range(len(images))]
    (folder / "kinds.csv").write_text("\n".join(["image,kind", *rows[1:]]))
    with pytest.raises(AgmanError, match=f"no kind of image '{images[0]}'"):
        branch_classes(config, of_kinds)
    (folder / "kinds.csv").write_text("\n".join(["image,kind", "i0,hat", *rows[1:]]))
    with pytest.raises(AgmanError, match="3 kinds; every image needs one of at most 2"):
        branch_classes(config, of_kinds)

    batch = make(classes=np.arange(len(images)), flip=False)
    stored = Pixels(squares, 32).take(batch.classes.numpy())  # each image's class is its number
    assert batch.images.equal(stored)
    known = {
        (i, a): v for i, a, v in zip(labels.image, labels.attribute, labels.value, strict=True)
    }
    drawn = zip(batch.classes.tolist(), batch.attributes.tolist(), strict=True)
    assert batch.values.tolist() == [known[pair] for pair in drawn]
