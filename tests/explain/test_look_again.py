"""The second look: what is cut out, in which detail, and that labels and regions go with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import COLOURS, make_squares
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.images import decode_image
from agman_lib.data.pixels import Pixels, fit_boxes
from agman_lib.evaluation.protocol import retrieval_tasks
from agman_lib.explain import look_again
from agman_lib.explain.look_again import attended_centres, cut_windows
from agman_lib.training.loop import train


def block(image: Image.Image, colour: str, wrong: int) -> list[int]:
    """The bounding box of the pixels that differ from a colour by less than this."""
    near = np.abs(np.asarray(image).astype(int) - COLOURS[colour]).max(2) < wrong
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    return [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.fixture
def blocks(tmp_path):
    """Squares on a tall picture, with kinds, a second attribute of some, and a region for each."""
    folder = make_squares(tmp_path / "blocks")
    images, labels = (pd.read_csv(folder / f"{name}.csv") for name in ("images", "labels"))
    regions = []
    for row, path in zip(labels.itertuples(), images["path"], strict=True):
        file = folder / "images" / path
        tall = Image.new("RGB", (40, 60), (128, 128, 128))
        tall.paste(Image.open(file), (0, 10))
        tall.save(file)
        colour = next(c for c in COLOURS if (np.asarray(tall) == COLOURS[c]).all(2).any())
        regions += [(row.image, a, *block(tall, colour, 1)) for a in ("colour", "side")]
        if row.attribute == "side" and row.Index % 4 == 1:
            labels.loc[len(labels)] = [row.image, "colour", colour, row.evaluated]
    labels.to_csv(folder / "labels.csv", index=False)
    columns = ["image", "attribute", "x0", "y0", "x1", "y1"]
    pd.DataFrame(regions, columns=columns).to_csv(folder / "regions.csv", index=False)
    kinds = images.assign(kind="block")[["image", "kind"]]
    kinds.to_csv(folder / "kinds.csv", index=False)
    return folder


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_parts_show_the_place_enlarged_with_its_labels_and_regions(
    blocks, fit, tiny, tmp_path, monkeypatch
):
    """With a network that attends to the middle of the block."""
    run = train(tiny.changed(data=str(blocks), fit=fit, epochs=1, steps_per_epoch=1))

    def centres(model, pixels, image, attribute):
        boxes = [pixels.boxes(int(i), int(a))[0] for i, a in zip(image, attribute, strict=True)]
        return np.array([((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for b in boxes])

    monkeypatch.setattr(look_again, "attended_centres", centres)
    before = PreparedDataset.load(blocks)
    n, inside, in_the_middle = cut_windows(
        blocks, run.folder, tmp_path / "parts", zoom=2.5
    ).values()
    after = PreparedDataset.load(tmp_path / "parts")
    assert n == len(before.labels) == len(after.images)
    assert 90 < inside <= 100
    assert in_the_middle < 75
    scale = 2.5 * 32 / (40 if fit == "crop" else 60)
    for old, new in zip(before.labels.itertuples(), after.labels.itertuples(), strict=True):
        assert new[2:] == old[2:]
        i, j = before.image_index(old.image), after.image_index(new.image)
        rows = before.images.iloc[i], after.images.iloc[j]
        assert (rows[0]["split"], rows[0]["role"]) == (rows[1]["split"], rows[1]["role"])
        part = decode_image(after.paths[j])
        assert part.size == (32, 32)
        a = before.attribute_names.index(old.attribute)
        box = before.boxes(i, a)[0]
        (moved,) = after.boxes(j, a)
        whole = (box[2:] - box[:2]) * scale  # the block's size, were all of it shown
        assert (moved[2:] - moved[:2] <= np.minimum(whole, 32) + 1).all()
        shown = fit_boxes(box, 40, 60, 80, fit)
        place = (shown[:2] + shown[2:]) / 2
        from_edge = np.minimum(place, 16) + np.maximum(place - (80 - 16), 0)  # 16: in the middle
        at_edge = (moved[:2] == 0) | (moved[2:] == 32)
        middle = (moved[:2] + moved[2:]) / 2
        assert (at_edge | (np.abs(middle - from_edge) <= 2)).all()
        colour = next(c for c in COLOURS if (np.asarray(decode_image(before.paths[i]))
                                             == COLOURS[c]).all(2).any())  # fmt: skip
        assert np.abs(np.array(block(part, colour, 45)) - moved).max() <= 2
    sizes = [[len(t.query), len(t.candidate)] for t in retrieval_tasks(before, "test")]
    assert sizes == [[len(t.query), len(t.candidate)] for t in retrieval_tasks(after, "test")]
    assert set(pd.read_csv(after.folder / "kinds.csv")["image"]) == set(after.images["image"])


def test_the_centre_is_that_of_the_attention_under_the_attribute(squares):
    class Looks(torch.nn.Module):
        """One row down for attribute 1, and half way between two columns for all."""

        def __init__(self):
            super().__init__()
            self.backbone = torch.nn.Linear(1, 1)
            self.backbone.offset = 3.0

        def normalize(self, pixels):
            return pixels

        def attention_maps(self, images, attributes):
            maps = torch.zeros(len(images), 4, 4)
            maps[range(len(images)), attributes, 1] = maps[range(len(images)), attributes, 2] = 0.5
            return maps

    image, attribute = np.array([5, 5, 7]), np.array([0, 1, 1])
    centres = attended_centres(Looks(), Pixels(squares, 64), image, attribute)
    assert centres.tolist() == [[27.5, 3.5], [27.5, 19.5], [27.5, 19.5]]


def test_what_it_needs_is_said(squares_folder, garments_set, tiny, tmp_path):
    run = train(tiny.changed(model="triplet", epochs=1, steps_per_epoch=1))
    for source, zoom, why in (
        (squares_folder, 1.0, "the zoom must be above 1, not 1"),
        (garments_set.folder, 2.0, "was trained on the attributes colour, side"),
        (squares_folder, 2.0, "network 'triplet' has no spatial attention"),
    ):
        with pytest.raises(AgmanError, match=why):
            cut_windows(source, run.folder, tmp_path / "parts", zoom=zoom)
        assert not (tmp_path / "parts").exists()
