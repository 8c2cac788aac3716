"""From files to network input: size, the lossless cache, normalisation."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from filelock import FileLock
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import get_worker_info

from agman_lib.base.errors import AgmanError
from agman_lib.base.folders import write_whole
from agman_lib.base.progress import bar
from agman_lib.data.dataset import PreparedDataset
from agman_lib.data.distortion import distort_each
from agman_lib.data.images import decode_each, decode_image

Fit = Literal["crop", "pad"]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CHUNK = 256


def fit_image(image: Image.Image, size: int, fit: Fit = "crop") -> np.ndarray:
    """An RGB image as uint8 (3, size, size).

    Args:
        fit: "crop" resizes the shorter side to ``size`` and crops the centre (published);
            "pad" resizes the longer side and pads with white, so that nothing is lost.
    """
    if fit == "pad":
        image = ImageOps.pad(image, (size, size), Image.Resampling.BILINEAR, color="white")
    else:
        from torchvision.transforms.v2 import functional as transforms

        image = transforms.center_crop(transforms.resize(image, [size]), [size])
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def read_photos(
    paths: Sequence[Path], size: int, fit: Fit = "crop"
) -> Iterator[np.ndarray | AgmanError]:
    """Each photo as `fit_image` gives it, in order, or why it cannot be decoded.

    It uses all cores, but one thread in a loader process, which is one of several.
    """
    threads = 1 if get_worker_info() else None
    return decode_each(paths, partial(fit_image, size=size, fit=fit), threads)


def _read_all(paths: Sequence[Path], size: int, fit: Fit) -> np.ndarray:
    """Photos as uint8 (n, 3, size, size). Raises AgmanError for the first that is not to be had."""
    out = np.empty((len(paths), 3, size, size), np.uint8)
    for row, photo in enumerate(read_photos(paths, size, fit)):
        if isinstance(photo, AgmanError):
            raise photo
        out[row] = photo
    return out


def fit_boxes(
    boxes: np.ndarray, width: int, height: int, size: int, fit: Fit = "crop"
) -> np.ndarray:
    """Boxes (R, 4) as x0, y0, x1, y1 of a stored picture, where `fit_image` puts them; float.

    What "crop" cuts off lies outside 0 … size.
    """
    scale = size / (min if fit == "crop" else max)(width, height)
    left, top = (size - width * scale) / 2, (size - height * scale) / 2
    return boxes * scale + np.array([left, top, left, top])


def normalize(
    pixels: Tensor,
    mean: Sequence[float] = IMAGENET_MEAN,
    deviation: Sequence[float] = IMAGENET_STD,
) -> Tensor:
    """uint8 (B, 3, H, W) -> float32 in multiples of the deviation from the mean, channels last.

    By default ImageNet's, as ResNets want it. A network's own `normalize` is always right.
    """
    from torchvision.transforms.v2 import functional as transforms

    scaled = transforms.to_dtype(pixels, torch.float32, scale=True)
    scaled = transforms.normalize(scaled, list(mean), list(deviation))
    return scaled.contiguous(memory_format=torch.channels_last)


class Pixels:
    """The images of a prepared data set at one size, decoded when asked for or from the cache.

    Args:
        size, fit: as in `fit_image`.
        cache: keep the resized pixels once, lossless, in ``<folder>/cache``: the same bytes as
            resizing each time.
    """

    def __init__(
        self, dataset: PreparedDataset, size: int, fit: Fit = "crop", cache: bool = False
    ) -> None:
        self.dataset, self.size, self.fit = dataset, size, fit
        self._file = build_cache(dataset, size, fit) if cache else None

    @cached_property
    def _cached(self) -> np.ndarray | None:
        return None if self._file is None else np.load(self._file, mmap_mode="r")

    def __getstate__(self) -> dict[str, object]:
        # A loader process opens the map itself; pickled, the map would be copied whole.
        return {k: v for k, v in self.__dict__.items() if k != "_cached"}

    def take(
        self,
        images: np.ndarray,
        mirrored: np.ndarray | None = None,
        copies: np.ndarray | None = None,
    ) -> Tensor:
        """uint8 (n, 3, size, size) of these image indices.

        Args:
            mirrored: bool (n,), where to mirror.
            copies: (n,), which distorted copy to take (`distort_each`), and 0 for the photo itself.
        """
        if self._cached is not None:
            taken = torch.from_numpy(self._cached[np.asarray(images)])
        else:
            paths = [self.dataset.paths[image] for image in images]
            taken = torch.from_numpy(_read_all(paths, self.size, self.fit))
        if mirrored is not None:
            rows = torch.from_numpy(mirrored)
            taken[rows] = taken[rows].flip(3)
        if copies is not None:
            flips = np.zeros(len(images), bool) if mirrored is None else mirrored
            taken = distort_each(taken, images, flips, copies)
        return taken

    def boxes(self, image: int, attribute: int) -> np.ndarray:
        """True regions (R, 4) of an image as `take` shows it, x0, y0, x1, y1; R may be 0."""
        stored = self.dataset.boxes(image, attribute)
        if not len(stored):
            return stored.astype(float)
        upright = decode_image(self.dataset.paths[image])
        return fit_boxes(stored, upright.width, upright.height, self.size, self.fit)


def build_cache(dataset: PreparedDataset, size: int, fit: Fit) -> Path:
    """The cache file of pixels, uint8 (N, 3, size, size); see `cached_array`."""

    def pixels(part: slice) -> np.ndarray:
        return _read_all(dataset.paths[part], size, fit)

    shape = (len(dataset.paths), 3, size, size)
    return cached_array(dataset, f"{size}-{fit}", shape, np.uint8, pixels, f"cache {size} px")


def cached_array(
    dataset: PreparedDataset,
    what: str,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    make: Callable[[slice], np.ndarray],
    title: str,
) -> Path:
    """A file in NumPy's format with a row for each image, made when it is not there.

    It belongs to the photos' names, sizes and times, which its own name has a digest of: when one
    changes, it is made anew. A build that is broken off goes on where it was. Of several processes
    one builds, and the others wait for it.

    Args:
        what: the first part of the file's name, different for everything that is kept.
        shape: of the array; its first axis is that of the images.
        make: a slice of images -> their rows.
        title: of the progress bar.
    """
    folder = dataset.folder / "cache"
    stem = folder / f"{what}-{_fingerprint(dataset)[:16]}"
    file = stem.with_name(f"{stem.name}.npy")
    if file.exists():
        return file
    folder.mkdir(exist_ok=True)
    with FileLock(folder / f".{what}.lock"):
        if not file.exists():  # nobody has made it while this process waited
            partial = stem.with_name(f"{stem.name}.partial")
            log = stem.with_name(f"{stem.name}.log")
            _fill_all(partial, log, what, shape, dtype, make, title)
            log.unlink()  # first: beside the cache, nobody would miss it
            os.replace(partial, file)
    return file


def _fill_all(
    partial: Path,
    log: Path,
    what: str,
    shape: tuple[int, ...],
    dtype: type[np.generic],
    make: Callable[[slice], np.ndarray],
    title: str,
) -> None:
    """Write all rows to a file that is not the cache yet; a log says which chunks it holds."""
    finished: set[int] = set()
    if partial.exists() and log.exists():
        lines = log.read_text().split("\n")[:-1]  # what follows the last line's end is no number
        finished = {int(line) for line in lines if line.isdigit()}
    else:
        for old in partial.parent.glob(f"{what}-*"):  # made for photos that have changed since
            old.unlink()
        np.lib.format.open_memmap(partial, mode="w+", dtype=dtype, shape=shape)
    write_whole(log, "".join(f"{start}\n" for start in sorted(finished)).encode())
    starts = [i for i in range(0, shape[0], CHUNK) if i not in finished]
    with open(log, "a") as file:
        for start in bar(starts, title, unit="chunk"):
            _fill(partial, start, make(slice(start, start + CHUNK)))
            file.write(f"{start}\n")
            file.flush()


def _fill(partial: Path, start: int, rows: np.ndarray) -> None:
    """Write rows (n, …) to their place, on the disk before this returns."""
    # Plain writes: a disk that fills up is an error here, and a crash in a memory map.
    with open(partial, "r+b") as file:
        file.seek(np.load(partial, mmap_mode="r").offset + start * rows[0].nbytes)
        file.write(rows.tobytes())
        file.flush()
        os.fsync(file.fileno())


def _fingerprint(dataset: PreparedDataset) -> str:
    digest = hashlib.sha256()
    for name, path in zip(dataset.images["path"], dataset.paths, strict=True):
        stat = os.stat(path)
        digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()
