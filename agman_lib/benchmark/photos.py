"""Photos from disk to a tensor, on drawn JPEGs of about the size of a shop's photos."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.benchmark.straightforward import published_transform
from agman_lib.benchmark.timing import Row, Setting, compared, side_by_side
from agman_lib.data.dataset import Attribute, PreparedDataset, write_prepared
from agman_lib.data.pixels import Pixels, normalize

ATTRIBUTES = tuple(Attribute(f"attribute{a}", ("a", "b", "c", "d")) for a in range(8))


@contextmanager
def drawn_photos(n: int, side: int = 512) -> Iterator[PreparedDataset]:
    """A prepared data set of n training photos, JPEGs of side x side pixels, until the block ends.

    Clouds of colour with some grain: about 60 kB each at 512 pixels, as photos of garments have.
    """
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "images").mkdir()
        for i in range(n):
            clouds = Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8))
            pixels = np.asarray(clouds.resize((side, side), Image.Resampling.BICUBIC), float)
            pixels = (pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{i}.jpg", quality=90)
        names = [f"i{i}" for i in range(n)]
        images = pd.DataFrame({"image": names, "path": [f"{i}.jpg" for i in range(n)]})
        attribute = [ATTRIBUTES[i % 8].name for i in range(n)]
        value = ["abcd"[i // 8 % 4] for i in range(n)]
        labels = pd.DataFrame({"image": names, "attribute": attribute, "value": value})
        write_prepared(
            folder,
            name="drawn",
            title="Drawn photos",
            source="agman benchmark",
            licence="MIT",
            attributes=ATTRIBUTES,
            images=images.assign(split="train", role="train"),
            labels=labels.assign(evaluated=0),
        )
        yield PreparedDataset.load(folder)


def from_disk(setting: Setting) -> list[Row]:
    """A batch of photos by one core, to pixels (uint8) and to the network's input (float32)."""
    n, size = (16, 96) if setting.quick else (48, 224)
    with drawn_photos(n) as dataset:
        direct, cached, every = Pixels(dataset, size), Pixels(dataset, size, cache=True), range(n)

        def decoded() -> torch.Tensor:
            # One by one, since of several photos each core decodes some.
            return torch.cat([direct.take(np.array([i])) for i in every])

        def published(normalised: bool) -> torch.Tensor:
            transform = published_transform(size, normalised)
            return torch.stack([transform(path) for path in dataset.paths])

        def kept() -> torch.Tensor:
            return cached.take(np.array(every))

        calls = {
            "pixels, published": lambda: published(False),
            "pixels, each decoded": decoded,
            "pixels, from the cache": kept,
            "input, published": lambda: published(True),
            "input, each decoded": lambda: normalize(decoded()),
            "input, from the cache": lambda: normalize(kept()),
        }
        times = side_by_side(calls, setting)
        if not (torch.equal(kept(), decoded()) and torch.equal(kept(), published(False))):
            raise AgmanError("the cache's pixels are not those of the photos; please report this")
    rows = []
    for to in ("pixels", "input"):
        for how in ("each decoded", "from the cache"):
            what = f"{to}, {how}"
            rate = f"{n / np.median(times[what]):,.0f} photos a second; identical pixels"
            beside = f"{to}, published"
            rows.append(compared("input", setting, times, what, beside, size=n, note=rate))
    return rows
