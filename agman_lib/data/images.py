"""Photos: from a file to 8-bit RGB pixels."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from agman_lib.base.cores import usable_cores
from agman_lib.base.errors import AgmanError

T = TypeVar("T")

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
MAX_PIXELS = 89_000_000


def decode_image(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """Decode a photo of any common kind into an upright RGB image of 8 bits a channel.

    The EXIF rotation is applied, transparency is composited on white, 16-bit grey is scaled by
    1/257 (65535 becomes 255), and of an animation the first frame is taken.

    Args:
        source: a file, or a file's bytes.
        name: what error messages call it; by default the file's path.

    Returns:
        A PIL image of mode RGB, fully loaded (nothing stays open).

    Raises:
        AgmanError: naming the file, when it is missing, no image of a known format, truncated,
            larger than `MAX_PIXELS`, or of a pixel kind without a defined conversion.
    """
    if name is None:
        name = "image bytes" if isinstance(source, bytes) else str(source)
    try:
        with Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS
        ) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels")
            image.load()
            return upright_rgb(image)
    except FileNotFoundError:
        raise AgmanError(f"{name}: no such file; restore it or leave the image out") from None
    except UnidentifiedImageError:
        raise AgmanError(
            f"{name}: not an image of a known format ({', '.join(FORMATS)}); "
            "save it again as JPEG or PNG, or leave it out"
        ) from None
    except Image.DecompressionBombError as error:
        raise AgmanError(
            f"{name}: too large ({error}; at most {MAX_PIXELS:,} pixels); shrink it or leave it out"
        ) from None
    except Exception as error:  # a damaged file makes Pillow's decoders raise nearly anything
        raise AgmanError(
            f"{name}: cannot be decoded ({error}); restore the file or leave the image out"
        ) from None


def decode_each(
    paths: Sequence[Path], then: Callable[[Image.Image], T], threads: int | None = None
) -> Iterator[T | AgmanError]:
    """What ``then`` makes of each photo, in order; for a photo that cannot be decoded, the error.

    Several decode at once: decoding and resizing release Python's lock.

    Args:
        then: called with each `decode_image`; it should keep what is needed and not the photo.
        threads: by default one a core.
    """

    def one(path: Path) -> T | AgmanError:
        try:
            return then(decode_image(path))
        except AgmanError as error:
            return error

    threads = min(threads or usable_cores(), len(paths))
    if threads <= 1:
        yield from map(one, paths)
        return
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from pool.map(one, paths)
        finally:
            pool.shutdown(cancel_futures=True)


def upright_rgb(image: Image.Image) -> Image.Image:
    """A loaded image of any mode, turned as its EXIF asks, as RGB (see `decode_image`)."""
    return _to_rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation asks; a damaged EXIF block counts as none."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a camera's broken EXIF must not cost the photo
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image of any mode to RGB; the source image may be closed afterwards."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey16_to_rgb(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined white; save it as 8-bit")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _grey16_to_rgb(image: Image.Image) -> Image.Image:
    """16-bit grey, which Pillow would clip at 255 instead of scaling."""
    grey = np.asarray(image).astype(np.int64)
    if grey.size and (grey.min() < 0 or grey.max() > 65535):
        raise ValueError("grey values outside 0 to 65535; save it as 8-bit")
    scaled = np.round(grey / 257).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        scaled[grey == clear] = 255
    return Image.fromarray(scaled).convert("RGB")
