"""Reading the downloads of Fashion Product Images (Small): zip, folder or parquet files.

Gives the rows of styles.csv, those with unquoted commas in the product name repaired, and where
the photo of each row is. What is done with them: `data_prep.fashion_products.convert`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from agman_lib.base.errors import AgmanError
from data_prep.common.archives import (
    extract,
    open_zip,
    read_member,
    read_parquet,
    safe_name,
    write_file,
)

COLUMNS = [
    "id",
    "gender",
    "masterCategory",
    "subCategory",
    "articleType",
    "baseColour",
    "season",
    "year",
    "usage",
    "productDisplayName",
]
ATTRIBUTES = ("gender", "articleType", "baseColour", "season", "usage")
PLACEHOLDERS = ("", "NA")
SOURCE = "kaggle.com/datasets/paramaggarwal/fashion-product-images-small"
DOWNLOAD = (
    f"get archive.zip from {SOURCE} or the parquet files from "
    "huggingface.co/datasets/ashraq/fashion-product-images-small"
)
LICENCE = (
    "not settled: Kaggle's page says MIT (recalled), the Hugging Face copy's card names none, and "
    "the photos are a shop's; check before you publish or sell anything made of them "
    "(data_prep/README.md)"
)

_QUOTED = re.compile(r'"([^"\n]*(?:""[^"\n]*)*)"(?=,|\r?\n|\Z)')
_PLAIN = re.compile(r"[^,\r\n]*")
_QUOTED_LAST = re.compile(r'"([^"]*(?:""[^"]*)*)"(?=\r?\n|\Z)')


@dataclass
class Rows:
    """The rows of a download: ``good`` as ten texts each; ids and lines of the special ones."""

    good: list[list[str]] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Download:
    """Rows, and the photo's path of each id that has one, relative to ``root``.

    ``image_root`` is how the prepared folder refers to ``root``.
    """

    rows: Rows
    photos: dict[str, str]
    root: Path
    image_root: str


def read_download(source: Path, staged: Path, progress: bool = True) -> Download:
    """Read a zip, a folder, or parquet files.

    Args:
        source: Kaggle's archive.zip; its unpacked folder (``styles.csv`` beside ``images/``, there
            or one folder deeper); a parquet file or a folder of them.
        staged: the prepared folder in the making; photos from a zip or from parquet are written to
            ``staged/images``, photos in a folder stay where they are.
        progress: show progress bars.

    Raises:
        AgmanError: the source is missing, damaged, hostile, or something else.
    """
    if not source.exists():
        raise AgmanError(f"{source}: no such file or folder; {DOWNLOAD}")
    if not source.is_dir():
        if source.suffix.lower() == ".parquet":
            return _read_parquet([source], staged)
        return _read_zip(source, staged, progress)
    for folder in [source, *sorted(p for p in source.iterdir() if p.is_dir())]:
        if (folder / "styles.csv").is_file() and (folder / "images").is_dir():
            return _read_folder(folder)
    if files := sorted([*source.glob("*.parquet"), *source.glob("*/*.parquet")]):
        return _read_parquet(files, staged)
    raise AgmanError(
        f"{source}: has neither styles.csv beside images/ nor parquet files; {DOWNLOAD}"
    )


# --------------------------------------------------------------------------- styles.csv


def parse_record(text: str, start: int) -> tuple[list[str], int, bool]:
    """Read one row of styles.csv, which begins at ``start``.

    Nine fields end at their comma; the tenth is the rest of the line with whatever commas and
    quotes it holds, unless it is properly quoted as a whole (then it may span lines).

    Returns:
        The fields (ten, or fewer where the line is short), where the next row begins, and
        whether the last field had unquoted commas, which is the repair.
    """
    fields: list[str] = []
    at = start
    for _ in range(9):
        match = _QUOTED.match(text, at) or _PLAIN.match(text, at)
        assert match is not None  # _PLAIN matches the empty text too
        fields.append(match[0] if match.re is _PLAIN else match[1].replace('""', '"'))
        at = match.end()
        if not text.startswith(",", at):
            return fields, _next_line(text, at), False
        at += 1
    quoted = _QUOTED_LAST.match(text, at)
    # a stray quote must not swallow the rows down to the next stray quote
    if quoted and all(line.count(",") < 9 for line in quoted[1].split("\n")[1:]):
        return [*fields, quoted[1].replace('""', '"')], _next_line(text, quoted.end()), False
    end = _next_line(text, at)
    last = text[at:end].removesuffix("\n").removesuffix("\r")
    return [*fields, last], end, "," in last


def _next_line(text: str, at: int) -> int:
    newline = text.find("\n", at)
    return len(text) if newline < 0 else newline + 1


def parse_styles(content: bytes, where: str) -> Rows:
    """Parse styles.csv; empty lines are no rows. Raises AgmanError for another header."""
    text = content.decode("utf-8-sig", errors="replace")
    header, at, _ = parse_record(text, 0)
    if header != COLUMNS:
        raise AgmanError(f"{where}, line 1: the columns must be {','.join(COLUMNS)}; {DOWNLOAD}")
    rows, line = Rows(), 1 + text.count("\n", 0, at)
    while at < len(text):
        fields, end, repaired = parse_record(text, at)
        if len(fields) == len(COLUMNS) and fields[0]:
            rows.good.append(fields)
            rows.repaired += [fields[0]] * repaired
        elif fields != [""]:
            rows.unreadable.append(f"line {line}")
        line += text.count("\n", at, end)
        at = end
    return rows


# --------------------------------------------------------------------------- the sources


def _read_folder(folder: Path) -> Download:
    table, root = folder / "styles.csv", (folder / "images").resolve()
    rows = parse_styles(table.read_bytes(), str(table))
    photos = {p.stem: p.name for p in root.iterdir() if p.suffix == ".jpg"}
    return Download(rows, photos, root, str(root))


def _read_zip(source: Path, staged: Path, progress: bool) -> Download:
    with open_zip(source) as archive:
        members = {m.filename.replace("\\", "/"): m.filename for m in archive.infolist()}
        folder = _folder_in_zip(list(members), source)
        table = members[f"{folder}styles.csv"]
        rows = parse_styles(read_member(archive, table), f"{source}, {table}")
        photos = {row[0]: f"{row[0]}.jpg" for row in rows.good}
        photos = {i: name for i, name in photos.items() if f"{folder}images/{name}" in members}
        targets = {members[f"{folder}images/{name}"]: name for name in photos.values()}
        extract(archive, targets, staged / "images", progress)
    return Download(rows, photos, staged / "images", "images")


def _folder_in_zip(names: list[str], source: Path) -> str:
    """Where styles.csv stands beside images/: "" or "name/"; Kaggle's zip holds a second copy."""
    with_images = {n[: n.rindex("images/")] for n in names if re.fullmatch(r".*images/[^/]+", n)}
    tables = [n.removesuffix("styles.csv") for n in names if re.fullmatch(r"(.*/)?styles\.csv", n)]
    both = [folder for folder in tables if folder in with_images]
    if not both:
        raise AgmanError(f"{source}: no styles.csv beside images/ in this archive; {DOWNLOAD}")
    return min(both, key=lambda folder: (folder.count("/"), folder))


def _read_parquet(files: list[Path], staged: Path) -> Download:
    rows, photos = Rows(), {}
    for number, record in enumerate(read_parquet(files, [*COLUMNS, "image"]), 1):
        fields = [_text(record[column]) for column in COLUMNS]
        if not fields[0]:
            rows.unreadable.append(f"row {number}")
            continue
        rows.good.append(fields)
        image = record["image"]
        content = image.get("bytes") if isinstance(image, dict) else image
        if content and fields[0] not in photos:
            photos[fields[0]] = safe_name(f"{fields[0]}.jpg", str(files[0]))
            write_file(staged / "images" / photos[fields[0]], content)
    return Download(rows, photos, staged / "images", "images")


def _text(value: object) -> str:
    """A parquet cell as styles.csv spells it: nothing is "", and a year has no ".0"."""
    if value is None or value != value:  # NaN differs from itself
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
