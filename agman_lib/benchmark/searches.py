"""A search in a gallery, and how long the library takes to begin."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.benchmark.timing import Row, Setting, compared, peak_of_arrays, side_by_side
from agman_lib.networks.build import build_model
from agman_lib.search.gallery import Gallery

TOP, D = 100, 512


def random_gallery(n: int) -> Gallery:
    """A gallery of n images under one attribute: random unit embeddings (n, 1, 512), no photos."""
    embeddings = np.random.default_rng(0).standard_normal((n, 1, D), dtype=np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=2, keepdims=True)
    names = np.arange(n).astype(str).astype(object)
    items = pd.DataFrame({"image": names, "path": names, "attribute": ""})
    about = {"attributes": [{"name": "attribute", "values": []}], "image_size": 32, "fit": "crop"}
    return Gallery(build_model("triplet", 1, "resnet18"), about, items, embeddings, Path())


def bare_top(embeddings: np.ndarray, query: np.ndarray, k: int = TOP) -> np.ndarray:
    """The k nearest rows of (N, D) to (D,), best first: a product and a partition."""
    score = embeddings @ query
    best = np.argpartition(score, -k)[-k:]
    return best[np.argsort(-score[best])]


def search(setting: Setting) -> list[Row]:
    """The 100 nearest of 10⁴ and 10⁵ items (and of 10⁶, if asked for), exactly."""
    million = (1_000_000,) if setting.million else ()
    sizes = (10_000, 50_000) if setting.quick else (10_000, 100_000, *million)
    return [row for n in sizes for row in _of_size(n, setting)]


def _of_size(n: int, setting: Setting) -> list[Row]:
    gallery = random_gallery(n)
    query = gallery.embeddings[7] + np.float32(0.01)
    what, beside = f"a search, top {TOP}", f"the bare product, top {TOP}"
    calls: dict[str, Callable[[], Any]] = {
        what: lambda: gallery.search(query, "attribute", TOP)["image"],
        beside: lambda: bare_top(gallery.embeddings[:, 0], query[0]),
    }
    times = side_by_side(calls, setting)
    same = calls[what]().astype(int).tolist() == calls[beside]().tolist()
    agree = "the same images" if same else "in another order where scores tie"
    return [
        compared(
            "search", setting, times, *names, size=n, note=note,
            memory=peak_of_arrays(calls[names[0]]),
        )
        for *names, note in ((what, beside, agree), (beside, "", ""))
    ]  # fmt: skip


def startup(setting: Setting) -> list[Row]:
    """Processes of their own: what a person waits before anything happens."""

    def process(*words: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, *words], check=True, capture_output=True)

    beside = "a bare Python"
    calls = {
        "`agman --help`": lambda: process("-m", "agman_lib", "--help"),
        "`import agman_lib`": lambda: process("-c", "import agman_lib"),
        "`import torch`": lambda: process("-c", "import torch"),
        beside: lambda: process("-c", "pass"),
    }
    times = side_by_side(calls, setting)
    return [compared("startup", setting, times, what, beside) for what in calls if what != beside]
