from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agman_lib.base.errors import AgmanError
from agman_lib.data.dataset import PreparedDataset, staging
from agman_lib.data.images import decode_image
from agman_lib.data.pixels import Pixels, fit_image, normalize

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def folder(squares_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(squares_folder, tmp_path / "squares"))


def edit(folder: Path, file: str, line: int, old: str, new: str) -> None:
    lines = (folder / file).read_text().splitlines()
    assert old in lines[line - 1], lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    (folder / file).write_text("\n".join(lines) + "\n")


def test_labels_as_indices(squares):
    assert squares.attribute_names == ["colour", "side"]
    train = squares.split_labels("train")
    assert len(train) == 60
    table = squares.labels.set_index("image")
    for image, attribute, value in zip(train.image, train.attribute, train.value, strict=True):
        row = table.loc[squares.images["image"][image]]
        assert row["attribute"] == squares.attributes[attribute].name
        assert row["value"] == squares.attributes[attribute].values[value]
    queries = squares.split_labels("valid", "query", evaluated=True)
    assert len(queries) == 6
    assert squares.paths[3].name == squares.images["path"][3]
    assert squares.attribute_index("side") == 1
    assert squares.image_index("i5") == 5
    with pytest.raises(AgmanError, match="unknown attribute 'sid'; did you mean 'side'"):
        squares.attribute_index("sid")
    with pytest.raises(AgmanError, match="unknown image 'i5000'"):
        squares.image_index("i5000")


DAMAGE = [
    ("images.csv", 3, "train,train", "trian,train", "images.csv, line 3: unknown split 'trian'"),
    ("images.csv", 3, "train,train", "train,query", "line 3: role 'query' does not fit split"),
    ("images.csv", 3, "i1", "i0", "line 3: image 'i0' stands on an earlier line"),
    ("images.csv", 3, "1.png", "0.png", "line 3: path '0.png' stands on an earlier line"),
    ("images.csv", 3, "1.png", "../1.png", "line 3: path '../1.png' must lie inside"),
    ("images.csv", 3, "1.png", "/tmp/1.png", "must lie inside the image root"),
    ("images.csv", 3, "1.png", "gone.png", "line 3: no file .*gone.png; restore it"),
    ("images.csv", 1, "role", "rolle", "images.csv, line 1: the columns must be"),
    ("labels.csv", 5, "i3", "i9999", "labels.csv, line 5: image 'i9999' is not in images.csv"),
    ("labels.csv", 5, "side", "sides", "labels.csv, line 5: unknown attribute 'sides'"),
    ("labels.csv", 2, "red", "rad", "line 2: unknown value of colour 'rad'; did you mean 'red'"),
    ("labels.csv", 2, "red,0", "red,2", "line 2: evaluated must be 0 or 1, not '2'"),
    ("dataset.json", 6, "retrieval", "ranking", "unknown protocol 'ranking'"),
    ("dataset.json", 8, "[]", '["tests"]', "published_splits must be a list of train, valid, test"),
]


@pytest.mark.parametrize(("file", "line", "old", "new", "message"), DAMAGE)
def test_what_is_off_is_named_by_file_and_line(folder, file, line, old, new, message):
    edit(folder, file, line, old, new)
    with pytest.raises(AgmanError, match=message):
        PreparedDataset.load(folder)


def test_lines_are_counted_as_an_editor_counts_them(folder):
    """Blank lines and line ends inside quotes count; pandas passes over both."""
    first, *rest = (folder / "labels.csv").read_text().splitlines()
    about = json.loads((folder / "dataset.json").read_text())
    about["attributes"][1]["values"].append("left\nor right")
    (folder / "dataset.json").write_text(json.dumps(about))
    quoted = 'i1,side,"left\nor right",0'
    lines = ["", first, "", " \t", rest[0], quoted, "", *rest[2:]]
    (folder / "labels.csv").write_bytes("\r\n".join(lines).encode())
    assert PreparedDataset.load(folder).split_labels("train").value[1] == 2
    text = "\r\n".join(lines).replace("i3,side", "i3,sides").replace("i7,side", "i7,sides")
    (folder / "labels.csv").write_bytes(text.encode())
    line = next(n for n, line in enumerate(text.split("\n"), 1) if line.startswith("i3,"))
    with pytest.raises(AgmanError, match=rf"labels.csv, line {line}: .*\(2 such lines\)"):
        PreparedDataset.load(folder)
    (folder / "labels.csv").write_text("\n\n" + first.replace("value", "valeu"))
    with pytest.raises(AgmanError, match=r"labels.csv, line 3: the columns must be"):
        PreparedDataset.load(folder)


def test_json_that_is_none_and_files_that_are_not_there(folder):
    with pytest.raises(AgmanError, match="no such folder; make a prepared data set"):
        PreparedDataset.load(folder / "nowhere")
    with pytest.raises(AgmanError, match=r"has no dataset.json, so it is not"):
        PreparedDataset.load(folder / "images")
    (folder / "labels.csv").unlink()
    with pytest.raises(AgmanError, match=r"labels.csv: missing; prepare the data set again"):
        PreparedDataset.load(folder)
    (folder / "dataset.json").write_text("{")
    with pytest.raises(AgmanError, match="not valid JSON"):
        PreparedDataset.load(folder)
    (folder / "dataset.json").write_text('{"name": "x"}')
    with pytest.raises(AgmanError, match="lacks title, source"):
        PreparedDataset.load(folder)


def test_labels_twice_and_attributes_twice(folder):
    text = (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(text + "i0,colour,red,0\n")
    with pytest.raises(AgmanError, match="this label stands on an earlier line already"):
        PreparedDataset.load(folder)
    first = text.splitlines().index("i60,colour,red,1") + 1
    (folder / "labels.csv").write_text(text + "i60,colour,blue,1\n")
    with pytest.raises(AgmanError, match="a second evaluated label") as caught:
        PreparedDataset.load(folder)
    assert f"line {first}:" not in str(caught.value)
    (folder / "labels.csv").write_text(text)
    about = json.loads((folder / "dataset.json").read_text())
    about["attributes"].append(about["attributes"][0])
    (folder / "dataset.json").write_text(json.dumps(about))
    with pytest.raises(AgmanError, match="attribute 'colour' is listed twice"):
        PreparedDataset.load(folder)


def test_regions_and_triplets_are_checked(folder):
    (folder / "regions.csv").write_text("image,attribute,x0,y0,x1,y1\ni3,side,1,2,10,12\n")
    loaded = PreparedDataset.load(folder)
    assert loaded.boxes(3, 1).tolist() == [[1, 2, 10, 12]]
    assert loaded.boxes(3, 0).shape == loaded.boxes(4, 1).shape == (0, 4)
    for wrong in ("5,2,5,12", "-1,2,5,12", "1,2,x,12", "1.5,2,5,12"):
        (folder / "regions.csv").write_text(f"image,attribute,x0,y0,x1,y1\ni3,side,{wrong}\n")
        with pytest.raises(AgmanError, match=r"regions.csv, line 2: needs whole pixels"):
            PreparedDataset.load(folder)
    (folder / "regions.csv").unlink()
    head = "anchor,negative,positive,attribute,split\n"
    (folder / "triplets.csv").write_text(head + "i0,i1,i77777,colour,train\n")
    with pytest.raises(AgmanError, match=r"triplets.csv, line 2: image 'i77777'"):
        PreparedDataset.load(folder)


def test_names_that_look_like_missing_values_survive(folder):
    about = json.loads((folder / "dataset.json").read_text())
    about["attributes"][0]["values"].append("NA")
    (folder / "dataset.json").write_text(json.dumps(about))
    edit(folder, "labels.csv", 2, "red", "NA")
    loaded = PreparedDataset.load(folder)
    assert loaded.split_labels("train").value[0] == 3


def test_empty_splits_say_so(folder):
    images = pd.read_csv(folder / "images.csv", dtype=str)
    images[images["split"] != "valid"].to_csv(folder / "images.csv", index=False)
    labels = pd.read_csv(folder / "labels.csv", dtype=str)
    keep = labels["image"].isin(images["image"][images["split"] != "valid"])
    labels[keep].to_csv(folder / "labels.csv", index=False)
    loaded = PreparedDataset.load(folder)
    with pytest.raises(AgmanError, match="split 'valid' has no evaluated query labels"):
        loaded.split_labels("valid", "query", evaluated=True)
    with pytest.raises(AgmanError, match="unknown split 'vald'; did you mean 'valid'"):
        loaded.split_labels("vald")


def test_staging_leaves_all_or_nothing(squares_folder, tmp_path):
    out = tmp_path / "out"

    def half_way() -> None:
        with staging(out) as partial:
            shutil.copytree(squares_folder / "images", partial / "images")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        half_way()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AgmanError, match=r"no dataset.json"), staging(out) as partial:
        (partial / "images").mkdir()
    assert list(tmp_path.iterdir()) == []
    with staging(out) as partial:
        shutil.copytree(squares_folder, partial, dirs_exist_ok=True)
    assert PreparedDataset.load(out).name == "squares"
    with pytest.raises(AgmanError, match="already exists; choose another --out"), staging(out):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


# --------------------------------------------------------------------------- pixels


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_the_cache_holds_what_resizing_gives_each_time(folder, fit):
    from PIL import Image

    wide = np.random.default_rng(0).integers(0, 256, (33, 61, 3)).astype(np.uint8)
    Image.fromarray(wide).save(folder / "images" / "0.png")
    dataset = PreparedDataset.load(folder)
    plain = Pixels(dataset, 32, fit).take(np.arange(20))
    cached = Pixels(dataset, 32, fit, cache=True)
    assert plain.shape == (20, 3, 32, 32)
    assert plain.equal(cached.take(np.arange(20)))
    (file,) = (folder / "cache").glob("*.npy")
    made = file.stat().st_mtime_ns
    Pixels(dataset, 32, fit, cache=True)
    assert file.stat().st_mtime_ns == made
    Image.fromarray(255 - wide).save(folder / "images" / "0.png")
    changed = Pixels(dataset, 32, fit, cache=True).take(np.arange(20))
    assert not plain[0].equal(changed[0])
    assert plain[1:].equal(changed[1:])
    (left,) = (folder / "cache").glob("[!.]*")  # the file for the photo as it was is gone
    assert left.suffix == ".npy"
    assert left != file


def test_a_broken_off_cache_goes_on_and_a_broken_image_is_named(folder, monkeypatch):
    from agman_lib.data import images, pixels

    monkeypatch.setattr(pixels, "CHUNK", 10)
    dataset = PreparedDataset.load(folder)
    image = folder / "images" / "95.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:200])
    import os

    stat = os.stat(image)
    with pytest.raises(AgmanError, match=r"95\.png"):
        Pixels(dataset, 32, cache=True)
    assert not list((folder / "cache").glob("*.npy"))
    read = []
    monkeypatch.setattr(
        images, "decode_image", lambda path: read.append(path.name) or decode_image(path)
    )
    # The same name, size and time: only the chunks that were not finished are read.
    image.write_bytes(whole[:200])
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(AgmanError, match=r"95\.png"):
        Pixels(dataset, 32, cache=True)
    assert "95.png" in read
    assert len(read) < 100
    image.write_bytes(whole)
    assert (
        Pixels(dataset, 32, cache=True)
        .take(np.array([95]))
        .equal(Pixels(dataset, 32).take(np.array([95])))
    )


def build_in_a_process(folder, seen, begun, halfway=None, go=None) -> None:
    """Build the cache chunk by chunk; ``seen`` counts photos, and before the 16th it may wait."""
    from agman_lib.data import images, pixels

    def counted(path: Path):
        seen.value += 1
        if halfway is not None and path.name == "15.png":
            halfway.set()
            assert go.wait(60)
        return decode_image(path)

    pixels.CHUNK, images.usable_cores, images.decode_image = 10, lambda: 1, counted
    dataset = PreparedDataset.load(folder)
    pixels.fit_image(decode_image(dataset.paths[0]), 32)  # what is imported late is there now
    begun.set()
    pixels.build_cache(dataset, 32, "crop")


@pytest.mark.parametrize("first_is_killed", [False, True])
def test_of_two_processes_one_builds_the_cache_and_the_other_waits(folder, first_is_killed):
    seen, begun = (FORK.Value("i"), FORK.Value("i")), FORK.Event()
    halfway, go = FORK.Event(), FORK.Event()
    args = (folder, seen[0], FORK.Event(), halfway, go)
    first = FORK.Process(target=build_in_a_process, args=args, daemon=True)
    second = FORK.Process(target=build_in_a_process, args=(folder, seen[1], begun), daemon=True)
    first.start()
    assert halfway.wait(60)
    second.start()
    assert begun.wait(60)
    second.join(1)  # without a lock it would be through by now, and the first one's files gone
    assert second.is_alive()
    assert seen[1].value == 0
    first.kill() if first_is_killed else go.set()
    first.join()
    second.join()
    assert (first.exitcode, second.exitcode) == (-signal.SIGKILL if first_is_killed else 0, 0)
    # A killed build is gone on with: the first ten photos are in it.
    assert seen[1].value == (90 if first_is_killed else 0)
    dataset = PreparedDataset.load(folder)
    every = np.arange(len(dataset.images))
    assert Pixels(dataset, 32, cache=True).take(every).equal(Pixels(dataset, 32).take(every))


def build_and_die_after_the_renaming(folder: Path) -> None:
    os.replace = lambda a, b: (os.rename(a, b), Path(b).suffix == ".npy" and os._exit(0))
    Pixels(PreparedDataset.load(folder), 32, cache=True)


def test_a_build_killed_at_the_very_end_leaves_the_cache_alone(folder):
    child = FORK.Process(target=build_and_die_after_the_renaming, args=(folder,))
    child.start()
    child.join()
    Pixels(PreparedDataset.load(folder), 32, cache=True)
    (left,) = (folder / "cache").glob("[!.]*")
    assert left.suffix == ".npy"


def test_crop_is_the_published_resize_and_centre_crop():
    from PIL import Image
    from torchvision import transforms

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 70, 3)).astype(np.uint8))
    published = transforms.Compose([transforms.Resize(64), transforms.CenterCrop(64)])(image)
    assert np.array_equal(fit_image(image, 64), np.asarray(published).transpose(2, 0, 1))
    padded = fit_image(image, 64, "pad")
    assert (padded[:, :, 0] == 255).all()
    assert (padded[:, :, 32] != 255).any()


def test_normalize_is_torchvisions():
    import torch
    from torchvision import transforms

    pixels = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    expected = transforms.Normalize(mean, std)(pixels.float() / 255)
    torch.testing.assert_close(normalize(pixels), expected)
