"""Searching large galleries, exactly and approximately: agman_lib/assets/large_gallery.json.

    python figures/large_gallery.py

Real embeddings are those of 8,056 drawn garments under the network of the package and one
attribute. 500 of them are the queries. Each item of a gallery is one of the others plus noise, made
unit again. The noise is as long as the step from a real embedding to its nearest neighbour, in two
ways: with the covariance of these steps (`neighbours`), as more garments of the same kind would
lie; and the same in all 512 directions (`isotropic`), which no real gallery is, but which
compresses worst.

Everything goes through `Gallery`, on one thread. Times are of the processor (CPU), because the
machine may be busy with other work, and of the clock (wall). It takes about half an hour and 10 GB
of disk (a temporary folder, removed at the end).
"""

from __future__ import annotations

import datetime
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
import torch

import agman_lib
from agman_lib.base.folders import write_json
from agman_lib.course import start_model
from agman_lib.data import PreparedDataset
from agman_lib.networks import build_model
from agman_lib.search import Gallery, approximate
from data_prep import garments

OUT = Path(agman_lib.__file__).parent / "assets" / "large_gallery.json"
MACHINE = f"{os.cpu_count()}-core virtual machine, other work beside it"
ATTRIBUTE, QUERIES, ROUNDS = "neckline", 500, 15
SIZES = (10_000, 100_000, 1_000_000)
CHUNK = 20_000


def real_embeddings(folder: Path) -> np.ndarray:
    """Unit embeddings (8056, D) of drawn garments under the attribute."""
    garments.prepare(
        folder, size=96, train=8000, valid_queries=2, valid_candidates=2, test_queries=2,
        test_candidates=2, seed=11, workers=1,
    )  # fmt: skip
    gallery = Gallery.build(*start_model(), PreparedDataset.load(folder), progress=True)
    return gallery.embeddings[:, gallery.attribute_index(ATTRIBUTE)]


def steps_to_the_nearest(real: np.ndarray) -> np.ndarray:
    """(N, D): from each embedding to its nearest other one."""
    steps = np.empty_like(real)
    for start in range(0, len(real), 1000):
        some = real[start : start + 1000]
        score = some @ real.T
        score[np.arange(len(some)), start + np.arange(len(some))] = -2
        steps[start : start + 1000] = real[score.argmax(axis=1)] - some
    return steps


def perturbed(real: np.ndarray, n: int, noise: str) -> Iterator[np.ndarray]:
    """n unit embeddings, in chunks (c, D)."""
    random, d = np.random.default_rng(0), real.shape[1]
    steps = steps_to_the_nearest(real)
    values, vectors = np.linalg.eigh(steps.T @ steps / len(steps))
    if noise == "isotropic":
        values, vectors = np.full(d, values.sum() / d), np.eye(d)
    spread = (vectors * np.sqrt(values.clip(0))).T.astype(np.float32)
    for start in range(0, n, CHUNK):
        c = min(CHUNK, n - start)
        items = real[random.integers(len(real), size=c)]
        items = items + random.standard_normal((c, d), dtype=np.float32) @ spread
        yield items / np.linalg.norm(items, axis=1, keepdims=True)


def seconds(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Of the processor and of the clock, and what the work returns."""
    cpu, wall = time.process_time(), time.perf_counter()
    made = work()
    return time.process_time() - cpu, time.perf_counter() - wall, made


def milliseconds(name: str, found: list[tuple[float, float, Any]]) -> dict[str, float]:
    """The median of each time, and the 95th percentile of the processor's."""
    cpu, wall = (np.array([row[i] for row in found]) * 1000 for i in (0, 1))
    return {
        f"{name}, ms CPU": round(float(np.median(cpu)), 2),
        f"{name}, ms CPU (95 %)": round(float(np.percentile(cpu, 95)), 2),
        f"{name}, ms wall": round(float(np.median(wall)), 2),
    }


def in_memory(items: Iterator[np.ndarray], n: int, d: int, file: Path) -> Gallery:
    """A gallery of one attribute, without photos, its embeddings in a file."""
    stored = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(1, n, d))
    filled = 0
    for some in items:
        stored[0, filled : filled + len(some)] = some
        filled += len(some)
    names = [f"{row}.png" for row in range(n)]
    table = pd.DataFrame({"image": names, "path": names, ATTRIBUTE: ""}, dtype=object)
    about = {"attributes": [{"name": ATTRIBUTE}], "image_size": 96, "fit": "crop"}
    model = build_model("agman", 1, "resnet18")
    return Gallery(model, about, table, stored.transpose(1, 0, 2), file.parent)


def exact_rows(gallery: Gallery, queries: np.ndarray) -> dict[str, Any]:
    """Exact search for the top 100 beside the bare product, in both precisions, interleaved."""
    half = Gallery(**gallery.__dict__ | {"embeddings": gallery.embeddings.astype(np.float16, "K")})
    vectors = np.ascontiguousarray(gallery.embeddings[:, 0])
    rounds: list[tuple[Any, ...]] = []
    for q in queries[: ROUNDS + 1]:

        def bare(q: np.ndarray = q) -> np.ndarray:
            return np.argpartition(-(vectors @ q), 100)[:100]

        rounds.append((
            seconds(bare),
            seconds(lambda q=q: gallery.search(q[None], ATTRIBUTE, 100)),
            seconds(lambda q=q: half.search(q[None], ATTRIBUTE, 100)),
        ))  # fmt: skip
    cpu = np.array([[work[0] for work in each] for each in rounds[1:]])
    change = [
        np.abs(np.subtract(full[2]["score"], other[2]["score"])).max() for _, full, other in rounds
    ]
    return {
        "items": len(gallery),
        "bare product and top 100, ms CPU": round(float(np.median(cpu[:, 0])) * 1000, 2),
        "float32, ratio to bare": round(float(np.median(cpu[:, 1] / cpu[:, 0])), 2),
        "float16, ratio to bare": round(float(np.median(cpu[:, 2] / cpu[:, 0])), 2),
        "float16, largest change of a score": float(max(change)),
    }


def approximate_row(gallery: Gallery, queries: np.ndarray, folder: Path) -> dict[str, Any]:
    """Build, save and open with lists; then each query exactly and approximately."""
    plain = seconds(lambda: gallery.save(folder / "plain"))
    built = seconds(lambda: gallery.save(folder / "lists", approximate=True))
    opened = seconds(lambda: Gallery.load(folder / "lists"))
    saved = opened[2]
    asked = [q[None] for q in queries]
    first = seconds(lambda: saved.search(asked[0], ATTRIBUTE, 10, approximate=True))
    exact = [seconds(lambda q=q: saved.search(q, ATTRIBUTE, 10)) for q in asked]
    found = [seconds(lambda q=q: saved.search(q, ATTRIBUTE, 10, approximate=True)) for q in asked]
    same = [len(set(e[2]["image"]) & set(f[2]["image"])) for e, f in zip(exact, found, strict=True)]
    lists = folder / "lists" / "approximate" / "0.faiss"
    return {
        "build the lists, s CPU": round(built[0] - plain[0], 1),
        "build the lists, s wall": round(built[1] - plain[1], 1),
        "embeddings, MB": round((folder / "lists" / "embeddings.npy").stat().st_size / 1e6),
        "lists, MB": round(lists.stat().st_size / 1e6),
        "open, s CPU": round(opened[0], 2),
        "first search, s CPU": round(first[0], 3),
        **milliseconds("exact", exact),
        **milliseconds("approximate", found),
        "recall@10": round(sum(same) / (10 * len(same)), 4),
    }


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    rows: list[dict[str, Any]] = []
    exact: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        real = real_embeddings(folder / "garments")
        queries, others = real[:QUERIES], real[QUERIES:]
        for n in SIZES:
            for noise in ("neighbours", "isotropic"):
                place = folder / f"{n}-{noise}"
                place.mkdir()
                items = perturbed(others, n, noise)
                gallery = in_memory(items, n, real.shape[1], place / "made.npy")
                if n == 100_000 and noise == "neighbours":
                    exact = exact_rows(gallery, queries)
                    print(exact, flush=True)
                row = {"items": n, "noise": noise, **approximate_row(gallery, queries, place)}
                rows.append(row)
                print(row, flush=True)
                for file in place.rglob("*.npy"):
                    file.unlink()
    write_json(OUT, {
        "command": "python figures/large_gallery.py",
        "date": datetime.date.today().isoformat(),
        "machine": MACHINE,
        "threads": 1,
        "versions": {
            "agman_lib": agman_lib.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "torch": torch.__version__,
            "faiss": faiss.__version__,
        },
        "attribute": ATTRIBUTE,
        "dimensions": real.shape[1],
        "queries": QUERIES,
        "settings": {"lists": "round(sqrt(items))"} | approximate.SETTINGS,
        "exact": exact,
        "approximate": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
