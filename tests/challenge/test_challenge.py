"""A challenge: what is handed out, what is refused, and who stands where."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import struct
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file

from agman_lib.base.errors import AgmanError
from agman_lib.challenge import (
    Challenge,
    leaderboard,
    make_challenge,
    read_handout,
    write_predictions,
    write_submission,
)
from agman_lib.cli import main
from agman_lib.course import start_model
from agman_lib.data import Pixels, PreparedDataset, normalize
from agman_lib.data.pixels import read_photos
from agman_lib.evaluation import evaluate_model
from agman_lib.networks import save_model
from data_prep import garments


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> PreparedDataset:
    folder = tmp_path_factory.mktemp("data") / "garments"
    garments.prepare(
        folder,
        size=96,
        train=7,
        valid_queries=1,
        valid_candidates=1,
        test_queries=20,
        test_candidates=30,
        seed=2**127 + 5,
    )
    return PreparedDataset.load(folder)


@pytest.fixture(scope="module")
def challenge(data, tmp_path_factory) -> Path:
    """The folder with the handout and the key."""
    out = tmp_path_factory.mktemp("challenge") / "made"
    make_challenge(out, data)
    return out


def embeddings(challenge: Path, noise: float, seed: int, width: int = 32) -> np.ndarray:
    """Rows for the handout's pairs that know their labels up to noise."""
    key = Challenge.load(challenge / "key")
    labels = key.dataset.labels.set_index(["image", "attribute"])["value"]
    places = pd.read_csv(challenge / "key" / "places.csv")
    values = {v: k for k, v in enumerate(sorted(labels.unique()))}
    known = [
        values[labels[i, a]] for i, a in zip(places["image"], places["attribute"], strict=True)
    ]
    # The noise belongs to the image and attribute: the order of the pairs is random every time.
    order = places.sort_values(["image", "attribute"])["pair"].to_numpy()
    rows = np.eye(width)[known]
    rows[order] += noise * np.random.default_rng(seed).standard_normal((len(known), width))
    return rows


def hand_in(challenge: Path, folder: Path, noise: float, seed: int) -> Path:
    """A whole submission of three predictions."""
    folder.mkdir(parents=True)
    files = [folder.parent / f".{folder.name}{k}.safetensors" for k in range(3)]
    for k, file in enumerate(files):
        write_predictions(file, challenge / "handout", embeddings(challenge, noise, 10 * seed + k))
    write_submission(folder, files, images_seen=7000, parameters=4_000_000)
    return folder


# ---------------------------------------------------------------- the handout


def test_a_handout_holds_photos_and_questions_and_no_answers(challenge, data):
    handout = challenge / "handout"
    assert sorted(p.name for p in handout.iterdir()) == ["challenge.json", "pairs.csv", "photos"]
    assert list(pd.read_csv(handout / "pairs.csv")) == ["pair", "image", "attribute"]
    text = (handout / "challenge.json").read_text() + (handout / "pairs.csv").read_text()
    values = {v for a in data.attributes for v in a.values if v not in data.attribute_names}
    assert not [v for v in values | {"query", "candidate", "seed"} if re.search(rf"\b{v}\b", text)]

    key = Challenge.load(challenge / "key")
    places = pd.read_csv(challenge / "key" / "places.csv")
    path = key.dataset.images.set_index("image")["path"]
    for pair, (shown, image) in enumerate(
        zip(read_handout(handout)["path"], places["image"], strict=True)
    ):
        stored = key.dataset.image_root / path[image]
        assert shown.read_bytes() == stored.read_bytes(), pair
    asked = set(zip(places["image"], places["attribute"], strict=True))
    tested = data.images[data.images["split"] == "test"]["image"]
    rows = data.labels[data.labels["image"].isin(tested)]
    assert asked == set(zip(rows["image"], rows["attribute"], strict=True))
    # Neither the pairs nor the photos' numbers follow the order of the tables.
    order = places["image"].map({image: k for k, image in enumerate(path.index)})
    numbers = places["image"].map(
        dict(
            zip(
                places["image"],
                read_handout(handout)["path"].map(lambda p: int(p.stem)),
                strict=True,
            )
        )
    )
    assert abs(np.corrcoef(order, range(len(order)))[0, 1]) < 0.2
    assert abs(np.corrcoef(order, numbers)[0, 1]) < 0.2


def test_two_challenges_differ(challenge, data, tmp_path):
    again = make_challenge(tmp_path / "again", data)
    assert again.id != Challenge.load(challenge / "key").id


def test_weights_and_predictions_score_what_the_library_scores(challenge, data, tmp_path):
    model, about = start_model()
    pairs = read_handout(challenge / "handout")
    names = [a["name"] for a in about["attributes"]]
    photos = torch.from_numpy(np.stack(list(read_photos(list(pairs["path"]), 96, about["fit"]))))
    asked = torch.tensor([names.index(a) for a in pairs["attribute"]])
    with torch.no_grad():
        rows = torch.cat(
            [
                model(normalize(photos[part]), asked[part])
                for part in torch.arange(len(asked)).split(100)
            ]
        )
    files = []
    for k in range(3):  # weights once, and predictions twice, which differ by rounding
        files.append(tmp_path / f"{k}.safetensors")
        if k == 0:
            save_model(files[0], model, about)
        else:
            write_predictions(files[k], challenge / "handout", (rows + k * 1e-7).numpy())
    write_submission(tmp_path / "in" / "ours", files, 7000, 1)
    board = leaderboard(challenge / "key", tmp_path / "in", "ours")
    expected = evaluate_model(model, data, "test", Pixels(data, 96, about["fit"]))
    row = board.table.loc["ours"]
    assert not board.refused
    assert row["MAP"] == pytest.approx(expected.loc["mean", "MAP"], abs=0.02)
    for name in names:
        assert row[name] == pytest.approx(expected.loc[name, "MAP"], abs=0.05)
        assert board.random[name] == pytest.approx(expected.loc[name, "random"])
    assert row["parameters"] == sum(p.numel() for p in model.parameters())


# ---------------------------------------------------------------- what is refused


def declare(folder: Path, **changes) -> None:
    file = folder / "submission.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def rewrite(folder: Path, change, metadata: dict | None = None) -> None:
    """Change the arrays of the first training."""
    file = folder / "seed0.safetensors"
    about = {"challenge": challenge_id(file)} if metadata is None else metadata
    save_file({k: np.ascontiguousarray(v) for k, v in change(load_file(file)).items()}, file, about)


def challenge_id(file: Path) -> str:
    length = struct.unpack("<Q", file.read_bytes()[:8])[0]
    return json.loads(file.read_bytes()[8 : 8 + length])["__metadata__"]["challenge"]


def embedding(change):
    return lambda folder: rewrite(folder, lambda a: a | {"embedding": change(a["embedding"])})


def with_nan(rows):
    rows[5, 2] = np.nan
    return rows


def as_labels(rows):
    return np.eye(rows.shape[1], dtype=np.float32)[rows.argmax(1)]


def swapped(arrays):
    order = np.arange(len(arrays["pair"]))
    order[[3, 4]] = 4, 3
    return {k: v[order] for k, v in arrays.items()}


def announcing(size: int):
    """A file of a few bytes whose header announces many."""

    def write(folder: Path) -> None:
        header = {
            "embedding": {"dtype": "F32", "shape": [size // 2048, 512], "data_offsets": [0, size]}
        }
        text = json.dumps(header).encode()
        (folder / "seed0.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"0" * 64)

    return write


class _Trap:
    """Unpickled, it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def a_pickle(folder: Path) -> None:
    (folder / "seed0.safetensors").write_bytes(pickle.dumps(_Trap(folder.parent / "sprung")))


def weights(change=None, images_seen: int = 7000, **about):
    """Weights of the small network, whose header is changed."""

    def write(folder: Path) -> None:
        model, known = start_model()
        file = folder / "seed0.safetensors"
        save_model(file, model, known | {"images_seen": images_seen} | about)
        if change is not None:
            length = struct.unpack("<Q", file.read_bytes()[:8])[0]
            header = json.loads(file.read_bytes()[8 : 8 + length])
            ours = json.loads(header["__metadata__"]["agman"])
            header["__metadata__"]["agman"] = json.dumps(change(ours))
            text = json.dumps(header).encode()
            rest = file.read_bytes()[8 + length :]
            file.write_bytes(struct.pack("<Q", len(text)) + text + rest)

    return write


def huge(header):
    return header | {"network": header["network"] | {"n_attributes": 10**9}}


def large(header):
    network = header["network"] | {"backbone": "resnet50"}
    return header | {"network": network}


def elsewhere(folder: Path) -> None:
    shutil.copy(folder / "seed0.safetensors", folder.parent / ".secret.safetensors")
    declare(folder, files=["../.secret.safetensors", "seed1.safetensors", "seed2.safetensors"])


def linked(folder: Path) -> None:
    file = folder / "seed0.safetensors"
    file.rename(folder.parent / ".linked.safetensors")
    file.symlink_to(folder.parent / ".linked.safetensors")


def as_pt(folder: Path) -> None:
    torch.save({"embedding": torch.zeros(3)}, folder / "seed0.pt")
    declare(folder, files=["seed0.pt", "seed1.safetensors", "seed2.safetensors"])


BAD = {
    "too many images": (lambda f: declare(f, images_seen=7681), r"7,681 training images seen"),
    "too many parameters": (lambda f: declare(f, parameters=5_000_001), r"5,000,001 parameters"),
    "another dimension": (
        embedding(lambda e: np.pad(e, ((0, 0), (0, 513 - e.shape[1])))),
        r"513 dimensions, and 512 are allowed",
    ),
    "not of length 1": (embedding(lambda e: 1.01 * e), r"not of length 1 \(off by 0.01\)"),
    "NaN": (embedding(with_nan), r"holds NaN"),
    "integers": (embedding(lambda e: np.round(e).astype(np.int32)), r"of the type int32"),
    "rows out of order": (lambda f: rewrite(f, swapped), r"not in the order of pairs.csv"),
    "a row missing": (lambda f: rewrite(f, lambda a: {k: v[1:] for k, v in a.items()}), "350 rows"),
    "labels as embeddings": (embedding(as_labels), r"only \d+ different embeddings of 50 under"),
    "a pickle": (a_pickle, r"not a whole safetensors file"),
    "a .pt file": (as_pt, r"'seed0.pt' is not a safetensors file"),
    "10 GB announced": (announcing(10_000_000_000), r"not a whole safetensors file"),
    "another challenge": (lambda f: rewrite(f, dict, {"challenge": "0" * 16}), "another challenge"),
    "other tensors": (lambda f: rewrite(f, lambda a: {"x": a["pair"]}), r"neither weights of ours"),
    "two trainings": (lambda f: declare(f, files=["seed0.safetensors"] * 3), r"1 trainings, and 3"),
    "one copied": (
        lambda f: shutil.copy(f / "seed0.safetensors", f / "seed1.safetensors"),
        r"two of its trainings are the same file",
    ),
    "outside its folder": (elsewhere, r"is not a file in its folder"),
    "a link": (linked, r"is not a file in its folder"),
    "no file": (lambda f: (f / "seed0.safetensors").unlink(), r"is not a file in its folder"),
    "nothing": (lambda f: (f / "submission.json").unlink(), r"no submission.json"),
    "no JSON": (lambda f: (f / "submission.json").write_text("{" * 9000), r"is not JSON"),
    "deep JSON": (lambda f: (f / "submission.json").write_text("[" * 90_000), r"is not JSON"),
    "a list": (lambda f: (f / "submission.json").write_text("[1]"), r"not a JSON object"),
    "true": (lambda f: declare(f, images_seen=True), r"no whole number under 'images_seen'"),
    "a name that is no text": (lambda f: declare(f, files=["\ud800", "a", "b"]), r"not a file"),
    "weights that saw more": (weights(images_seen=7001), r"saw 7,001 training images"),
    "weights of a giant": (weights(huge), r"do not agree"),
    "weights of a ResNet-50": (
        weights(large),
        r"\d+,\d+,\d+ parameters, and 5,000,000 are allowed",
    ),
    "weights of nothing": (weights(lambda h: h | {"network": {}}), r"its description is damaged"),
    "weights for large photos": (weights(image_size=4096), r"photos of 4096 pixels"),
    "weights of other attributes": (
        weights(attributes=[{"name": "x", "values": ["y"]}] * 7),
        r"does not know the attribute sleeve_length",
    ),
}


@pytest.fixture(scope="module")
def thirty(challenge, tmp_path_factory):
    """Over thirty bad submissions and three good ones, scored in one go."""
    folder = tmp_path_factory.mktemp("handed-in")
    hand_in(challenge, folder / "baseline", 1.0, 0)
    hand_in(challenge, folder / "better", 0.8, 1)
    hand_in(challenge, folder / "a <script>|b", 1.0, 2)
    (folder / "a note.txt").write_text("not a submission")
    for name, (spoil, _) in BAD.items():
        shutil.copytree(folder / "better", folder / name)
        spoil(folder / name)
    return leaderboard(challenge / "key", folder, "baseline"), folder


def test_bad_submissions_are_refused_and_stop_nobody(thirty):
    board, folder = thirty
    assert len(BAD) == 31
    assert set(board.refused) == set(BAD)
    assert {n: why for n, why in board.refused.items() if not re.search(BAD[n][1], why)} == {}
    assert set(board.table.index) == {"baseline", "better", "a <script>|b"}
    assert not (folder / "sprung").exists()


# ---------------------------------------------------------------- the leaderboard


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.inside = False

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.inside = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def test_the_files_agree_and_hold_no_markup_of_a_submission(thirty, tmp_path):
    board, _ = thirty
    board.write(tmp_path / "out")
    page = _Page()
    page.feed((tmp_path / "out" / "leaderboard.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert {len(row) for row in page.rows} == {len(page.rows[0])}
    text = (tmp_path / "out" / "leaderboard.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(page.rows[0]) + 1}
    assert "<script" not in text
    table = pd.read_csv(tmp_path / "out" / "leaderboard.csv", index_col="submission")
    assert len(table) == 34
    assert (table["points"] >= 0).all()
    assert [row[1] for row in page.rows[1:-1]] == list(board.table.index)
    assert page.rows[-1][1] == "a random ranking"
    assert float(page.rows[-1][2]) == pytest.approx(board.random["mean"], abs=0.05)


def test_places_are_shared_and_points_earned_by_what_is_settled(challenge, tmp_path):
    for name, noise, seed in (("baseline", 0.5, 0), ("twin", 0.5, 3), ("best", 0.35, 1)):
        hand_in(challenge, tmp_path / name, noise, seed)
    hand_in(challenge, tmp_path / "worse", 1.5, 2)
    # Better on average, but one of its trainings failed: its seeds do not settle it.
    hand_in(challenge, tmp_path / "shaky", 0.25, 4)
    failed = embeddings(challenge, 3.0, 99)
    write_predictions(tmp_path / "shaky" / "seed1.safetensors", challenge / "handout", failed)

    table = leaderboard(challenge / "key", tmp_path, "baseline").table
    t = table.loc
    assert t["best", "place"] == 1
    assert t["best", "low"] > 0
    assert t["best", "gain"] > t["best", "gain seeds ±"]
    assert t["best", "points"] == min(10, t["best", "gain"]) > 0
    assert t["baseline", "place"] == t["twin", "place"]
    assert t["baseline", "place"] == 2
    assert t["worse", "place"] == 4  # the shaky one is ahead of nobody for certain
    assert t["shaky", "low"] > 0
    assert t["shaky", "gain"] < t["shaky", "gain seeds ±"]
    assert t["shaky", "place"] == 1
    for name in ("baseline", "twin", "worse", "shaky"):
        assert t[name, "points"] == 0
    assert (np.diff(table["MAP"]) <= 0).all()
    few = leaderboard(challenge / "key", tmp_path, "baseline", points=1.5).table
    assert few.loc["best", "points"] == 1.5


# ---------------------------------------------------------------- the command line


def test_from_the_command_line(challenge, data, tmp_path, capsys):
    made = tmp_path / "made"
    assert main(["challenge", str(made), "--data", str(data.folder), "--dimensions", "99"]) == 0
    assert Challenge.load(made / "handout").rules.dimensions == 99
    assert main(["challenge", str(made), "--data", str(data.folder)]) == 2
    hand_in(challenge, tmp_path / "in" / "baseline", 1.0, 0)
    words = [str(tmp_path / "in"), "--baseline", "baseline", "--out", str(tmp_path / "board")]
    assert main(["score", str(made / "key"), *words]) == 2
    assert "another challenge" in capsys.readouterr().err
    assert not (tmp_path / "board").exists()
    assert main(["score", str(challenge / "handout"), *words]) == 2
    assert "name the key" in capsys.readouterr().err
    assert main(["score", str(challenge / "key"), *words[:2], "basline", *words[3:]]) == 2
    assert "did you mean 'baseline'" in capsys.readouterr().err
    assert main(["score", str(challenge / "key"), *words]) == 0
    assert "| 1 | baseline |" in capsys.readouterr().out
    assert len(list((tmp_path / "board").iterdir())) == 3


def test_a_camera_changes_every_picture_alike(data, tmp_path):
    for name in ("one", "two", "again"):
        shutil.copytree(data.image_root / "test", tmp_path / name)
    garments.another_camera(tmp_path / "one", 1)
    garments.another_camera(tmp_path / "two", 2)
    garments.another_camera(tmp_path / "again", 1)

    def grey(folder: str) -> np.ndarray:
        files = sorted((tmp_path / folder).glob("*.png"))
        return np.stack(list(read_photos(files, 96, "pad"))).mean((2, 3))

    before = np.stack(
        list(read_photos(sorted((data.image_root / "test").glob("*.png")), 96, "pad"))
    )
    one, two, before = grey("one"), grey("two"), before.mean((2, 3))
    assert (one == grey("again")).all()
    for changed in (one, two):  # each channel of every picture goes up with what it was
        assert min(np.corrcoef(changed[:, c], before[:, c])[0, 1] for c in range(3)) > 0.97
        assert np.abs(changed - before).mean() > 4
    assert np.abs(one - two).mean() > 4


def test_a_handout_is_no_place_to_score(challenge):
    with pytest.raises(AgmanError, match="a key; the handout beside it"):
        read_handout(challenge / "key")
