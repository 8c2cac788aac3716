"""Small fixtures of ours, so that the essential tests need no data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from agman_lib.data.dataset import Attribute, PreparedDataset, write_prepared
from agman_lib.evaluation.report import model_facts
from agman_lib.networks.build import build_model
from agman_lib.networks.model import RetrievalModel
from agman_lib.search.gallery import Gallery
from agman_lib.training.config import TrainConfig
from data_prep import garments

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
ATTRIBUTES = (Attribute("colour", ("red", "green", "blue")), Attribute("side", ("left", "right")))
COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (50, 60, 220)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The notebooks first: they take longest, and the other files are tested beside them."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


def shared(path: str) -> Path:
    """A file of the shared data; the test is skipped where it is absent."""
    if not (SHARED / path).exists():
        pytest.skip(f"needs {path} of the shared data, which is not here")
    return SHARED / path


def draw_square(colour: str, side: str, rng: np.random.Generator, size: int = 40) -> Image.Image:
    """A coloured block in the left or right half of a noisy picture."""
    pixels = rng.integers(90, 160, (size, size, 3)).astype(np.uint8)
    x = rng.integers(2, 8) + (0 if side == "left" else size // 2)
    y = rng.integers(4, size - 16)
    pixels[y : y + 12, x : x + 10] = COLOURS[colour]
    return Image.fromarray(pixels)


def make_squares(folder: Path, n_train: int = 60, n_query: int = 6, n_candidate: int = 14) -> Path:
    """A prepared folder, each image labelled for one attribute."""
    rng = np.random.default_rng(7)
    (folder / "images").mkdir(parents=True)
    plan = [("train", "train")] * n_train
    for split in ("valid", "test"):
        plan += [(split, "query")] * n_query + [(split, "candidate")] * n_candidate
    images, labels = [], []
    for i, (split, role) in enumerate(plan):
        colour = ATTRIBUTES[0].values[i // 2 % 3]
        side = ATTRIBUTES[1].values[i // 6 % 2]
        draw_square(colour, side, rng).save(folder / "images" / f"{i}.png")
        images.append((f"i{i}", f"{i}.png", split, role))
        attribute, value = (("colour", colour), ("side", side))[i % 2]
        labels.append((f"i{i}", attribute, value, int(split != "train")))
    write_prepared(
        folder,
        name="squares",
        title="Coloured squares",
        source="drawn by the tests",
        licence="MIT",
        attributes=ATTRIBUTES,
        images=pd.DataFrame(images, columns=["image", "path", "split", "role"]),
        labels=pd.DataFrame(labels, columns=["image", "attribute", "value", "evaluated"]),
    )
    return folder


@pytest.fixture(scope="session")
def squares_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_squares(tmp_path_factory.mktemp("data") / "squares")


@pytest.fixture(scope="session")
def squares(squares_folder: Path) -> PreparedDataset:
    return PreparedDataset.load(squares_folder)


@pytest.fixture
def tiny(squares_folder: Path, tmp_path: Path) -> TrainConfig:
    """A training run of a few seconds."""
    return TrainConfig(
        data=str(squares_folder),
        out=str(tmp_path / "run"),
        backbone="resnet18",
        class_branch=False,  # most of the weights, and so of the time to train and to save them
        image_size=32,
        epochs=2,
        steps_per_epoch=4,
        batch_size=4,
        lr=1e-3,
        passes="joint",
        threads=1,
        device="cpu",
        log_every=2,
        checkpoint_every=2,
    )


# --------------------------------------------------------------------------- garments to explain

GARMENT_SIZE = 64
OFFSET = 3.0  # of `lively_network`'s maps: no real backbone's, so it must have been asked for


def lively_network(name: str, n_attributes: int = 7) -> RetrievalModel:
    """A network with random weights that listens to the attribute."""
    torch.manual_seed(2)
    values = [4] * n_attributes if name == "proxies" else None
    model = build_model(name, n_attributes, "resnet18", n_values=values).eval()
    with torch.no_grad():
        for weight in model.attribute_head.parameters():
            weight.mul_(1.5)
    model.backbone.offset = OFFSET
    return model


def hooks_and_gradients(model: torch.nn.Module) -> int:
    """How many hooks and gradients are on a network."""
    kinds = ("_forward_hooks", "_backward_hooks", "_forward_pre_hooks")
    hooks = sum(len(getattr(m, kind)) for m in model.modules() for kind in kinds)
    return hooks + sum(p.grad is not None for p in model.parameters())


@pytest.fixture(scope="session")
def garments_set(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """A few garments with all labels and regions."""
    folder = tmp_path_factory.mktemp("data") / "garments"
    garments.prepare(
        folder, size=GARMENT_SIZE, train=7, valid_queries=1, valid_candidates=1, test_queries=2,
        test_candidates=4, labels="every", workers=1,
    )  # fmt: skip
    return PreparedDataset.load(folder)


@pytest.fixture(scope="session")
def garments_gallery(garments_set: PreparedDataset) -> Gallery:
    facts = model_facts(garments_set, GARMENT_SIZE, "crop")
    return Gallery.build(lively_network("agman"), facts, garments_set)
