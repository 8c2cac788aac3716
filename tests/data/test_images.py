"""decode_image: every kind of file gives the RGB pixels a person would see, or one clear error."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agman_lib.base.errors import AgmanError
from agman_lib.data.images import MAX_PIXELS, decode_image


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def pixels(content: bytes) -> list[Any]:
    """Decoded pixels as nested lists (H, W, 3)."""
    image = decode_image(content)
    assert image.mode == "RGB"
    return np.asarray(image).tolist()


def grey_rows(*values: int) -> list[list[list[int]]]:
    return [[[v, v, v] for v in values]]


COLOURS = np.array(
    [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]], [[9, 8, 7], [0, 255, 255]]], np.uint8
)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_rgb_is_unchanged(format: str) -> None:
    assert pixels(encode(Image.fromarray(COLOURS), format)) == COLOURS.tolist()


def test_webp_is_unchanged_when_lossless() -> None:
    content = encode(Image.fromarray(COLOURS), "WEBP", lossless=True)
    assert pixels(content) == COLOURS.tolist()


def test_grey_and_black_and_white() -> None:
    assert pixels(encode(Image.fromarray(np.array([[0, 7, 255]], np.uint8)))) == grey_rows(
        0, 7, 255
    )
    assert pixels(encode(Image.fromarray(np.array([[False, True]])))) == grey_rows(0, 255)


def test_cmyk() -> None:
    ink = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 0, 0, 255], [0, 255, 255, 0]]], np.uint8)
    expected = [[255, 255, 255], [0, 255, 255], [0, 0, 0], [255, 0, 0]]
    assert pixels(encode(_cmyk(ink), "TIFF")) == [expected]


def _cmyk(ink: np.ndarray) -> Image.Image:
    return Image.frombytes("CMYK", (ink.shape[1], ink.shape[0]), ink.tobytes())


def test_cmyk_jpeg_is_not_inverted() -> None:
    ink = np.zeros((16, 16, 4), np.uint8)
    ink[..., 0] = 255
    seen = np.asarray(decode_image(encode(_cmyk(ink), "JPEG", quality=100)))
    assert np.abs(seen.astype(int) - [0, 255, 255]).max() <= 3


def test_palette() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert pixels(encode(image)) == [[[10, 20, 30], [200, 100, 50]]]
    clear = encode(image, transparency=0)
    assert pixels(clear) == [[[255, 255, 255], [200, 100, 50]]]
    assert pixels(encode(image, "GIF", transparency=1)) == [[[10, 20, 30], [255, 255, 255]]]
    half = pixels(encode(image, transparency=bytes([255, 0])))
    assert half == [[[10, 20, 30], [255, 255, 255]]]


def test_alpha_is_composited_on_white() -> None:
    rgba = np.array([[[100, 0, 0, 255], [100, 0, 0, 0], [0, 0, 0, 51]]], np.uint8)
    expected = [[[100, 0, 0], [255, 255, 255], [204, 204, 204]]]
    assert pixels(encode(Image.fromarray(rgba))) == expected
    grey = Image.frombytes("LA", (3, 1), bytes([100, 255, 100, 0, 0, 51]))
    assert pixels(encode(grey)) == grey_rows(100, 255, 204)


def test_one_transparent_colour() -> None:
    colour = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert pixels(encode(colour, transparency=(1, 2, 3))) == [[[255, 255, 255], [4, 5, 6]]]
    grey = Image.fromarray(np.array([[7, 8]], np.uint8))
    assert pixels(encode(grey, transparency=7)) == grey_rows(255, 8)


DEEP = np.array([[0, 257, 257 * 100, 40000, 65535]], np.uint16)


def test_16_bit_grey_is_scaled() -> None:
    expected = grey_rows(0, 1, 100, 156, 255)
    assert pixels(encode(Image.fromarray(DEEP))) == expected
    assert pixels(encode(Image.fromarray(DEEP), "TIFF")) == expected
    assert pixels(encode(Image.fromarray(DEEP.astype(np.int32)), "TIFF")) == expected


def test_16_bit_big_endian_grey_is_scaled() -> None:
    image = Image.frombytes("I;16B", (5, 1), DEEP.astype(">u2").tobytes())
    assert pixels(encode(image, "TIFF")) == grey_rows(0, 1, 100, 156, 255)


def test_16_bit_grey_with_a_transparent_value() -> None:
    content = encode(Image.fromarray(DEEP), transparency=40000)
    assert pixels(content) == grey_rows(0, 1, 100, 255, 255)


def test_16_bit_colour() -> None:
    row = b"\0" + struct.pack(">6H", 0, 257, 65535, 65535, 25700, 0)
    content = png(2, 1, zlib.compress(row), depth=16, colour=2)
    assert pixels(content) == [[[0, 1, 255], [255, 100, 0]]]


@pytest.mark.parametrize(
    "values", [np.array([[70000]], np.int32), np.array([[-1]], np.int32), np.ones((1, 1), "f4")]
)
def test_pixels_without_a_known_white_are_refused(values: np.ndarray) -> None:
    with pytest.raises(AgmanError, match=r"deep\.tif: .*8-bit"):
        decode_image(encode(Image.fromarray(values), "TIFF"), "deep.tif")


# stored pixels -> upright pixels, as the EXIF standard words it (where row 0 and column 0 are)
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


@pytest.mark.parametrize("orientation", sorted(UPRIGHT))
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_exif_orientation(orientation: int, format: str) -> None:
    content = encode(Image.fromarray(COLOURS), format, exif=exif(orientation))
    assert pixels(content) == UPRIGHT[orientation](COLOURS).tolist()


def test_exif_orientation_of_a_jpeg() -> None:
    """Orientation 6, a phone held upright: the stored left lower corner is the upper left one."""
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[8:, :8] = 255
    image = decode_image(encode(Image.fromarray(stored), "JPEG", quality=95, exif=exif(6)))
    assert image.size == (16, 32)
    assert min(image.getpixel((2, 2))) > 240
    assert max(image.getpixel((13, 2))) < 15
    assert max(image.getpixel((2, 29))) < 15


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_nonsense_orientation_or_exif_block_does_not_cost_the_photo() -> None:
    for block in (exif(99).tobytes(), b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0rubbish"):
        content = encode(Image.fromarray(COLOURS), exif=block)
        assert pixels(content) == COLOURS.tolist()


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (2, 1), colour) for colour in ("red", "blue")]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(content) == [[[255, 0, 0], [255, 0, 0]]]


def test_a_file_by_path_stays_usable_after_it_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(encode(Image.fromarray(COLOURS)))
    by_path, by_text = decode_image(file), decode_image(str(file))
    file.unlink()
    assert np.asarray(by_path).tolist() == np.asarray(by_text).tolist() == COLOURS.tolist()


# --------------------------------------------------------------------------- refusals


def png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG file made by hand, its header free to lie."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + end


def noise(format: str) -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return encode(Image.fromarray(values), format)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_truncated(tmp_path: Path, format: str, share: float) -> None:
    content = noise(format)
    file = tmp_path / "cut.jpg"
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(AgmanError, match=r"cut\.jpg: .*(restore|save it again)"):
        decode_image(file)


@pytest.mark.parametrize(
    "content", [b"", b"<html>please log in</html>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xff\xd8\xff"]
)
def test_no_image(content: bytes) -> None:
    with pytest.raises(AgmanError, match=r"^login\.jpg: .*leave (it|the image) out$") as e:
        decode_image(content, "login.jpg")
    assert "\n" not in str(e.value)
    assert "BytesIO" not in str(e.value)


def test_only_known_formats_are_tried() -> None:
    """Pillow reads many more, some by other programs; what is not a photo format is refused."""
    with pytest.raises(AgmanError, match=r"scan\.pcx: not an image of a known format \(JPEG, PNG"):
        decode_image(encode(Image.fromarray(COLOURS), "PCX"), "scan.pcx")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(AgmanError, match=r"gone\.jpg: no such file"):
        decode_image(tmp_path / "gone.jpg")
    with pytest.raises(AgmanError, match=str(tmp_path)):
        decode_image(tmp_path)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 60_000])
def test_too_large_is_refused_before_its_pixels_are_made(side: int) -> None:
    assert side * side > MAX_PIXELS
    with pytest.raises(AgmanError, match=r"bomb\.png: too large"):
        decode_image(png(side, side, zlib.compress(b"")), "bomb.png")


def test_the_default_name_of_bytes() -> None:
    with pytest.raises(AgmanError, match=r"^image bytes: "):
        decode_image(b"nothing")
