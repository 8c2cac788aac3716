from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset
from data_prep import garments
from data_prep.garments import ATTRIBUTES, KINDS, VISIBLE, draw_look, random_values, render
from data_prep.garments.look import Clutter
from data_prep.garments.picture import _boxes, _without_specks

OWNED = [(kind, attribute) for kind, owned in KINDS.items() for attribute in owned]
PLACED = [(kind, attribute) for kind, attribute in OWNED if attribute != "pattern"]
SMALL = dict(
    size=64, train=70, valid_queries=1, valid_candidates=2, test_queries=2, test_candidates=4
)


def example(kind, number):
    rng = np.random.default_rng((7, number))
    return random_values(kind, rng), draw_look(rng)


def visibly_changed(one, other):
    return np.abs(one.astype(int) - other).max(axis=2) >= VISIBLE


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    out = tmp_path_factory.mktemp("garments") / "one"
    counts = garments.prepare(out, **SMALL, workers=1)
    return out, counts


def labels_of(folder):
    images = pd.read_csv(folder / "images.csv")
    return images.merge(pd.read_csv(folder / "labels.csv", keep_default_na=False), on="image")


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ------------------------------------------------------------------------------ looks and values


def test_look_takes_the_same_random_numbers_whatever_it_becomes():
    states = set()
    for look_seed in range(30):
        rng = np.random.default_rng(look_seed)
        start = rng.bit_generator.state["state"]
        draw_look(rng)
        step = rng.bit_generator.state["state"]
        # PCG64 advanced by n from `start`: the same n must lead from start to step each time.
        states.add(_steps_between(start, step))
    assert len(states) == 1


def _steps_between(start, end):
    bit_generator = np.random.PCG64()
    state = bit_generator.state
    state["state"] = start
    bit_generator.state = state
    for n in range(5000):
        if bit_generator.state["state"] == end:
            return n
        bit_generator.random_raw()
    raise AssertionError("more than 5000 random numbers")


def test_random_values_are_uniform_over_the_owned_attributes():
    rng = np.random.default_rng(0)
    for kind, owned in KINDS.items():
        drawn = pd.DataFrame([random_values(kind, rng) for _ in range(400)])
        assert list(drawn.columns) == list(owned)
        for attribute in owned:
            shares = drawn[attribute].value_counts(normalize=True)
            assert set(shares.index) == set(ATTRIBUTES[attribute])
            expected = 1 / len(ATTRIBUTES[attribute])
            assert (shares - expected).abs().max() < 0.1


# --------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("size", [64, 96, 224])
@pytest.mark.parametrize("kind", KINDS)
def test_render_is_a_pure_function(kind, size):
    values, look = example(kind, 0)
    before = dict(values)
    first = render(kind, values, look, size)
    render(kind, *example(kind, 1), size)  # another picture in between
    again = render(kind, values, look, size)
    assert first.shape == (size, size, 3)
    assert first.dtype == np.uint8
    assert first.std() > 5
    np.testing.assert_array_equal(first, again)
    assert values == before


def test_another_look_is_another_picture():
    values, look = example("coat", 0)
    other = draw_look(np.random.default_rng(99))
    changed = visibly_changed(render("coat", values, look, 64), render("coat", values, other, 64))
    assert changed.mean() > 0.5


@pytest.mark.parametrize("size", [64, 96])
@pytest.mark.parametrize(("kind", "attribute"), OWNED)
def test_every_two_values_look_different(kind, attribute, size):
    for number in range(4):
        values, look = example(kind, number)
        pictures = {
            value: render(kind, {**values, attribute: value}, look, size)
            for value in ATTRIBUTES[attribute]
        }
        for one, other in combinations(pictures, 2):
            share = visibly_changed(pictures[one], pictures[other]).mean()
            assert share > 0.004, f"{one} and {other}, look {number}: {share:.4f} of the pixels"


@pytest.mark.parametrize(
    ("kind", "change", "size", "message"),
    [
        ("hat", {}, 96, "unknown kind 'hat'"),
        ("top", {"lapel": "peak"}, 96, "needs values of"),
        ("top", {"neckline": "deep"}, 96, "unknown value 'deep' of neckline"),
        ("top", {}, 63, "64 to 224"),
        ("top", {}, 225, "64 to 224"),
    ],
)
def test_render_refuses_what_it_does_not_know(kind, change, size, message):
    values, look = example("top", 0)
    with pytest.raises(ValueError, match=message):
        render(kind, {**values, **change}, look, size)


# ---------------------------------------------------------------------------------------- regions


@pytest.mark.parametrize(("kind", "attribute"), PLACED)
def test_a_value_changes_pixels_inside_its_region_only(kind, attribute):
    for number in range(3):
        values, look = example(kind, number)
        boxes = garments.true_region(kind, values, attribute, look, 96)
        assert boxes
        inside = np.zeros((96, 96), bool)
        for x0, y0, x1, y1 in boxes:
            assert 0 <= x0 < x1 <= 96
            assert 0 <= y0 < y1 <= 96
            inside[y0:y1, x0:x1] = True
        assert boxes == sorted(boxes)
        assert all(left[2] < right[0] for left, right in pairwise(boxes))
        assert inside.mean() < 0.7
        original = render(kind, values, look, 96)
        anywhere = np.zeros((96, 96), bool)
        for other in ATTRIBUTES[attribute]:
            picture = render(kind, {**values, attribute: other}, look, 96)
            anywhere |= visibly_changed(original, picture)
        outside = anywhere & ~inside
        assert outside.sum() <= 12  # the specks that are left out
        for x0, y0, x1, y1 in boxes:  # no box is larger than its pixels
            box = anywhere[y0:y1, x0:x1]
            assert box[0].any()
            assert box[-1].any()
            assert box[:, 0].any()
            assert box[:, -1].any()


def test_two_sleeves_give_two_boxes_left_and_right_of_the_garment():
    found = 0
    for number in range(8):
        values, look = example("top", number)
        boxes = garments.true_region("top", values, "sleeve_length", look, 96)
        large = [box for box in boxes if (box[2] - box[0]) * (box[3] - box[1]) > 100]
        found += len(large) == 2 and large[0][2] < 48 + 10 and large[1][0] > 48 - 10
    assert found >= 6


def test_regions_lie_where_the_attribute_is():
    for number in range(5):
        values, look = example("dress", number)
        neckline = garments.true_region("dress", values, "neckline", look, 96)
        skirt = garments.true_region("dress", values, "skirt_length", look, 96)
        assert max(box[3] for box in neckline) < min(box[1] for box in skirt)


def test_specks_make_no_box():
    mask = np.zeros((20, 20), bool)
    mask[3, 3] = True  # alone
    mask[10, 8:10] = True  # two
    mask[2:8, 14] = True  # a thin line stays, less its ends
    assert _boxes(_without_specks(mask)) == [(14, 3, 15, 7)]
    assert _boxes(np.zeros((20, 20), bool)) == []
    whole = np.ones((5, 5), bool)
    assert _boxes(_without_specks(whole)) == [(0, 0, 5, 5)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_pattern_has_no_region(kind):
    values, look = example(kind, 0)
    with pytest.raises(ValueError, match="everywhere"):
        garments.true_region(kind, values, "pattern", look, 64)


def test_region_of_an_attribute_the_kind_does_not_own():
    values, look = example("skirt", 0)
    with pytest.raises(ValueError, match="a skirt has no neckline"):
        garments.true_region("skirt", values, "neckline", look, 64)


# ---------------------------------------------------------------------------------- prepared folder


def test_prepared_folder_is_valid_and_has_what_was_asked_for(prepared):
    folder, counts = prepared
    dataset = PreparedDataset.load(folder)
    assert {a.name: a.values for a in dataset.attributes} == ATTRIBUTES
    assert dataset.licence == "MIT"
    assert counts["images"] == 70 + 7 * (1 + 2 + 2 + 4) == len(dataset.images)
    sizes = dataset.images.groupby(["split", "role"]).size().to_dict()
    assert sizes == {
        ("train", "train"): 70,
        ("valid", "query"): 7,
        ("valid", "candidate"): 14,
        ("test", "query"): 14,
        ("test", "candidate"): 28,
    }
    with Image.open(dataset.paths[0]) as image:
        assert image.size == (64, 64)
        assert image.mode == "RGB"


def test_one_label_an_image_of_its_kind_balanced_and_evaluated_outside_training(prepared):
    folder, _ = prepared
    labels = labels_of(folder)
    assert not labels["image"].duplicated().any()
    assert labels["evaluated"].eq(labels["split"].ne("train")).all()
    kinds = pd.read_csv(folder / "kinds.csv").set_index("image")["kind"]
    assert all(row.attribute in KINDS[kinds[row.image]] for row in labels.itertuples(index=False))
    for _, group in labels.groupby(["split", "role"]):
        assert group["attribute"].value_counts().nunique() == 1
    training = labels[labels["split"].eq("train")]
    for attribute, group in training.groupby("attribute"):
        counts = group["value"].value_counts().reindex(ATTRIBUTES[attribute], fill_value=0)
        assert counts.max() - counts.min() <= 1


def test_labels_all_label_training_images_for_every_attribute_of_their_kind(prepared, tmp_path):
    folder, _ = prepared
    garments.prepare(tmp_path / "all", **SMALL, labels="all", workers=1)
    one, every = labels_of(folder), labels_of(tmp_path / "all")
    kinds = pd.read_csv(tmp_path / "all" / "kinds.csv").set_index("image")["kind"]
    training = every[every["split"].eq("train")]
    for image, group in training.groupby("image"):
        assert set(group["attribute"]) == set(KINDS[kinds[image]])
    key = ["image", "attribute", "value"]
    assert len(one.merge(every, on=key)) == len(one)  # the one label is among them, unchanged
    pd.testing.assert_frame_equal(
        every[every["split"].ne("train")].reset_index(drop=True),
        one[one["split"].ne("train")].reset_index(drop=True),
    )
    images, other = contents(folder / "images"), contents(tmp_path / "all" / "images")
    assert images == other


def test_labels_every_label_all_images_with_all_their_regions(prepared, tmp_path):
    folder, _ = prepared
    garments.prepare(tmp_path / "every", **SMALL, labels="every", workers=1)
    one, every = labels_of(folder), labels_of(tmp_path / "every")
    kinds = pd.read_csv(tmp_path / "every" / "kinds.csv").set_index("image")["kind"]
    for image, group in every.groupby("image"):
        assert set(group["attribute"]) == set(KINDS[kinds[image]])
    key = ["image", "attribute", "value", "evaluated"]
    assert len(one.merge(every, on=key)) == len(one)
    assert every["evaluated"].sum() == one["evaluated"].sum()  # the same is evaluated
    few, all_ = (PreparedDataset.load(f).regions for f in (folder, tmp_path / "every"))
    assert len(few.merge(all_)) == len(few)
    test = every[every["split"].eq("test") & every["attribute"].ne("pattern")]
    marked = all_[["image", "attribute"]].drop_duplicates()
    assert len(marked) == len(marked.merge(test)) > 2 * len(few[["image"]].drop_duplicates())


def test_the_hard_look_draws_the_same_garments_smaller_and_partly_hidden(prepared, tmp_path):
    folder, _ = prepared
    garments.prepare(tmp_path / "hard", **SMALL, look="hard", workers=1)
    for name in ("labels.csv", "kinds.csv", "images.csv"):
        assert (tmp_path / "hard" / name).read_bytes() == (folder / name).read_bytes()
    plain, hard = (PreparedDataset.load(f) for f in (folder, tmp_path / "hard"))
    assert (hard.title, plain.title) == ("Built-in garments, hard look", "Built-in garments")
    assert set(hard.regions["image"]) == set(plain.regions["image"])  # none is hidden wholly
    areas = [
        (r["x1"] - r["x0"]).mul(r["y1"] - r["y0"]).sum() for r in (hard.regions, plain.regions)
    ]
    assert areas[0] < 0.75 * areas[1]


def test_what_lies_before_a_garment_hides_its_attribute():
    """The region of a value is what can still be seen of it."""
    values, look = example("top", 0)
    (box, *_) = garments.true_region("top", values, "neckline", look, 96)
    middle = ((box[0] + box[2]) / 192, (box[1] + box[3]) / 192)
    screen = Clutter("rectangle", middle, (0.5, 0.5), 0.0, (0.5, 0.5, 0.5))
    assert garments.true_region("top", values, "neckline", replace(look, front=(screen,)), 96) == []
    behind = replace(look, clutter=(screen,))
    assert garments.true_region("top", values, "neckline", behind, 96)


def test_result_does_not_depend_on_the_workers(prepared, tmp_path):
    garments.prepare(tmp_path / "two", **SMALL, workers=2)
    assert contents(prepared[0]) == contents(tmp_path / "two")


def test_a_killed_preparation_leaves_no_process_behind(tmp_path):
    code = (
        "import sys; from pathlib import Path; from data_prep import garments; "
        "garments.prepare(Path(sys.argv[1]), size=64, workers=2)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as main:
        while not list(tmp_path.rglob("*.png")):
            assert main.poll() is None
            time.sleep(0.05)
        main.kill()
        main.communicate(timeout=20)  # until the last process that holds its output has ended


def test_more_images_leave_the_others_as_they_are_and_another_seed_does_not(prepared, tmp_path):
    garments.prepare(tmp_path / "more", **{**SMALL, "train": 76}, workers=1)
    garments.prepare(tmp_path / "seed", **{**SMALL, "train": 7}, seed=1, workers=1)
    before = contents(prepared[0] / "images")
    more = contents(tmp_path / "more" / "images")
    seed = contents(tmp_path / "seed" / "images")
    assert len(more) == len(before) + 6
    assert all(more[path] == before[path] for path in before)
    assert all(seed[path] != before[path] for path in seed)


def test_region_of_every_test_image_but_for_pattern(prepared):
    folder, counts = prepared
    regions, labels = pd.read_csv(folder / "regions.csv"), labels_of(folder)
    assert counts["regions"] == len(regions)
    test = labels[labels["split"].eq("test") & labels["attribute"].ne("pattern")]
    assert set(zip(regions["image"], regions["attribute"], strict=True)) == set(
        zip(test["image"], test["attribute"], strict=True)
    )
    assert (regions[["x1", "y1"]] <= 64).all().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": "some"}, "one of one, all, every"),
        ({"size": 32}, "64 to 224"),
        ({"train": 0}, "at least 1"),
        ({"seed": -1}, "negative"),
    ],
)
def test_prepare_refuses_and_leaves_nothing(tmp_path: Path, change, message):
    with pytest.raises(AgmanError, match=message):
        garments.prepare(tmp_path / "out", **{**SMALL, **change}, workers=1)
    assert not list(tmp_path.iterdir())


def test_colour_histograms_stay_near_chance():
    """Values must not leak through colours: a histogram ranks about as well as chance."""
    for kind, attribute in (("top", "neckline"), ("coat", "closure"), ("skirt", "pattern")):
        pictures, values = [], []
        for number in range(100):
            rng = np.random.default_rng((3, number))
            owned = random_values(kind, rng)
            picture = render(kind, owned, draw_look(rng), 64) // 64
            codes = picture @ np.array([16, 4, 1])
            pictures.append(np.sqrt(np.bincount(codes.ravel(), minlength=64) / codes.size))
            values.append(owned[attribute])
        similarity = np.array(pictures) @ np.array(pictures).T
        np.fill_diagonal(similarity, -1)
        same = np.array(values)[:, None] == np.array(values)
        nearest = np.argsort(-similarity, axis=1)[:, :10]
        hits = np.take_along_axis(same, nearest, axis=1).mean()
        chance = (same.sum() - len(values)) / (len(values) * (len(values) - 1))
        assert hits < chance + 0.08, f"{kind} {attribute}: {hits:.2f}, chance {chance:.2f}"
