"""Approximate search, for galleries that take too long to search exactly.

faiss, an optional dependency, does it: the embeddings of each attribute are projected onto their
128 principal components, divided into √N lists of similar ones (k-means), and kept there
compressed (product quantisation, a byte for two numbers). A search looks through the lists nearest
to the query, and the most similar of what is compressed there are candidates. `Gallery` ranks these
by their exact scores. So each score is that of an exact search, but an image that is no candidate
is not found. How often that happens: `figures/large_gallery.py` measures it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from agman_lib.base.errors import AgmanError
from agman_lib.base.progress import bar

LEAST = 10_000  # images: of fewer, 256 codes cannot be learned (faiss asks for 39 images a code)
DIMENSIONS, BYTES = 128, 64  # at most, of a compressed embedding
TRAINING_A_LIST = 40  # images that the middle of a list is learned from
ROUNDS = 10  # of k-means
CHUNK = 16_384  # images that are compressed at once
LISTS_LOOKED_THROUGH = 32
CANDIDATES = 200
SETTINGS = {
    "images a list is learned from": TRAINING_A_LIST,
    "rounds of k-means": ROUNDS,
    "principal components": DIMENSIONS,
    "bytes of a compressed embedding": BYTES,
    "lists looked through": LISTS_LOOKED_THROUGH,
    "candidates ranked again": CANDIDATES,
}
"""What a measurement depends on, by names for people."""


def check_enough(n_images: int) -> None:
    """Raise AgmanError where lists cannot be made: too few images, or faiss is not installed."""
    need_faiss()
    if n_images < LEAST:
        raise AgmanError(
            f"approximate search needs at least {LEAST:,} images, and the gallery has "
            f"{n_images:,}; search it exactly, which takes milliseconds"
        )


def write_lists(folder: Path, stored: np.ndarray) -> None:
    """Make the folder with the inverted lists of each attribute, ``0.faiss``, ``1.faiss``, …

    Args:
        stored: unit embeddings (A, N, D), float32 or float16; they are read in chunks. Memory: the
            training sample (40 images for each of √N lists, 4 x D bytes each), and the lists of one
            attribute (72 bytes an image). N is at least what `check_enough` asks for.
    """
    folder.mkdir()
    for attribute, vectors in enumerate(bar(stored, "make lists", unit="attribute")):
        need_faiss().write_index(make_lists(vectors), str(folder / f"{attribute}.faiss"))


def make_lists(vectors: np.ndarray) -> Any:
    """faiss's index of the unit vectors (N, D) of one attribute; the same whenever it is made."""
    faiss = need_faiss()
    n, d = vectors.shape
    lists, dimensions = round(n**0.5), min(d, DIMENSIONS)
    codes = max(m for m in range(1, BYTES + 1) if dimensions % m == 0)
    # L2: of unit vectors it ranks as the cosine does, and it stays when PCA takes the mean away.
    # "np": no polysemous training, which takes faiss minutes and is for another kind of search.
    index = faiss.index_factory(d, f"PCA{dimensions},IVF{lists},PQ{codes}np", faiss.METRIC_L2)
    inverted = faiss.downcast_index(faiss.extract_index_ivf(index))
    inverted.cp.niter = inverted.pq.cp.niter = ROUNDS
    inverted.nprobe = LISTS_LOOKED_THROUGH  # is kept in the file
    sample = min(n, max(LEAST, TRAINING_A_LIST * lists))
    rows = np.sort(np.random.default_rng(0).choice(n, sample, replace=False))
    index.train(vectors[rows].astype(np.float32))
    for start in range(0, n, CHUNK):
        index.add(vectors[start : start + CHUNK].astype(np.float32))
    return index


class InvertedLists:
    """The lists of a saved gallery, each attribute's read when it is first searched.

    Args:
        folder: as `write_lists` makes it.
        shape: (N, A, D) of the gallery's embeddings.
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        self.folder, self.shape = folder, shape
        self._of_attribute = lru_cache(None)(self._read)

    @classmethod
    def open(cls, folder: Path, shape: tuple[int, int, int]) -> InvertedLists | None:
        """The lists in a folder; None where there is no such folder."""
        return cls(folder, shape) if folder.is_dir() else None

    def candidates(self, attribute: int, asked: np.ndarray, k: int) -> np.ndarray:
        """Rows of images that are probably near to a unit vector (D,), in the gallery's order.

        Args:
            attribute: its index.
            k: how many images will be wanted. There are 200 candidates, or 4 k where that is more;
                fewer where the lists that are looked through do not hold so many.

        Raises:
            AgmanError: faiss is not installed; the file is missing, damaged or another gallery's.
        """
        many = min(max(CANDIDATES, 4 * k), self.shape[0])
        _, rows = self._of_attribute(attribute).search(asked[None], many)
        return np.sort(rows[rows >= 0])

    def _read(self, attribute: int) -> Any:
        faiss, file = need_faiss(), self.folder / f"{attribute}.faiss"
        again = (
            f"remove the folder {self.folder} to search exactly, or make the lists again with "
            "`Gallery.load(…).save(…, approximate=True)`"
        )
        try:
            index = faiss.read_index(str(file))
        except RuntimeError as error:
            raise AgmanError(f"{file}: missing or damaged ({_short(error)}); {again}") from None
        n, _, d = self.shape
        if (index.ntotal, index.d) != (n, d):
            raise AgmanError(
                f"{file}: holds {index.ntotal} images with {index.d} numbers each, not {n} with "
                f"{d}; {again}"
            )
        return index


def need_faiss() -> Any:
    """The module faiss. Raises AgmanError, which names the extra, where it is not installed."""
    try:
        import faiss
    except ImportError:
        raise AgmanError("approximate search needs faiss: pip install 'agman-lib[faiss]'") from None
    return faiss


def _short(error: RuntimeError) -> str:
    """faiss's message without the place in its source, in one line."""
    return str(error).strip().splitlines()[0].split("Error: ")[-1]
