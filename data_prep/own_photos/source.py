"""Reading a person's own photos: a table that names them, or folders that sort them.

Both give the same `Listing`. What is done with it: `data_prep.own_photos.convert`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agman_lib.base.errors import AgmanError, unknown
from data_prep.common.ledger import Ledger

NEEDED = ("path", "attribute", "value")
OPTIONAL = ("split", "role")
SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
ROLES = ("train", "query", "candidate")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
EXAMPLE = "sleeve_length/short/photo1.jpg"


@dataclass(frozen=True)
class Entry:
    """One label: ``where`` it was read, the photo relative to the root, and what it says."""

    where: str
    image: str
    attribute: str
    value: str
    split: str = ""
    role: str = ""


@dataclass
class Listing:
    """All labels of a source; ``left_out`` and ``notes`` name, by reason, what was special."""

    root: Path
    entries: list[Entry] = field(default_factory=list)
    left_out: Ledger = field(default_factory=partial(Ledger, word="names"))
    notes: Ledger = field(default_factory=partial(Ledger, word="names"))


def read_source(source: Path, root: Path | None = None) -> Listing:
    """Read a CSV table or a folder tree ``<attribute>/<value>/<photo>``.

    Left out, with their line or path: empty cells, labels that stand there already, photos that
    are missing. Copies of a photo, byte for byte, become one image with the labels of all.

    Args:
        source: the table or the folder.
        root: what the table's paths are relative to; by default the table's folder.

    Raises:
        AgmanError: the source cannot be read as either, a line makes no sense, or nothing is left.
    """
    if not source.exists():
        raise AgmanError(f"{source}: no such file or folder; check the spelling")
    if source.is_dir():
        if root is not None:
            raise AgmanError(f"{source}: a root is only for a CSV table; leave --root out")
        listing = _read_folders(source)
    else:
        folder = source.parent if root is None else root
        if not folder.is_dir():
            raise AgmanError(f"{folder}: no such folder; --root names the one with the photos")
        listing = _read_table(source, folder)
    _merge_copies(listing)
    _drop_repeated(listing)
    return listing


# --------------------------------------------------------------------------- folders


def _read_folders(source: Path) -> Listing:
    listing = Listing(source.resolve())
    for attribute in _visible(source):
        for value in _visible(attribute):
            for photo in _visible(value):
                _take_photo(listing, source, attribute, value, photo)
            if value.is_file():
                listing.notes.add("file in no value's folder (ignored)", _below(source, value))
        if attribute.is_file():
            listing.notes.add("file in no value's folder (ignored)", attribute.name)
    if not listing.entries:
        tables = sorted(p.name for p in source.glob("*.csv"))
        hint = f"; or name the table {tables[0]} itself" if tables else ""
        raise AgmanError(
            f"{source}: no photos in folders of attributes and values; sort them as {EXAMPLE}{hint}"
        )
    return listing


def _take_photo(listing: Listing, source: Path, attribute: Path, value: Path, photo: Path) -> None:
    path = _below(source, photo)
    if photo.is_dir():
        listing.notes.add("folder inside a value's folder (ignored)", path)
    elif photo.suffix.lower() in SUFFIXES:
        listing.entries.append(Entry(path, path, attribute.name.strip(), value.name.strip()))
    else:
        listing.notes.add(f"not {', '.join(s[1:] for s in SUFFIXES)} (save it as jpg)", path)


def _visible(folder: Path) -> list[Path]:
    """What a person put there, sorted; nothing for a file."""
    if not folder.is_dir():
        return []
    litter = ("__macosx", "thumbs.db", "desktop.ini")
    inside = (p for p in folder.iterdir() if not p.name.startswith((".", "@")))
    return sorted((p for p in inside if p.name.lower() not in litter), key=lambda p: p.name)


def _below(source: Path, path: Path) -> str:
    return path.relative_to(source).as_posix()


# --------------------------------------------------------------------------- a table


def _read_table(file: Path, folder: Path) -> Listing:
    listing = Listing(folder.resolve())
    lines = _decode(file).splitlines(keepends=True)
    skipped = 0
    if lines and lines[0].lower().startswith("sep="):  # written by Excel, meant for Excel
        skipped = 1
    header_line = lines[skipped] if len(lines) > skipped else ""
    comma = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO("".join(lines[skipped:]), newline=""), delimiter=comma)
    header = [name.strip().lower() for name in next(reader, [])]
    _check_header(file, skipped + 1, header)
    for column in header:
        if column and column not in NEEDED + OPTIONAL:
            listing.notes.add("column not used", column)
    try:
        for cells in reader:
            number = skipped + reader.line_num
            if any(cell.strip() for cell in cells):
                _take_line(listing, file, number, header, cells)
    except csv.Error as error:
        raise AgmanError(
            f"{file}, line {skipped + reader.line_num}: not a readable table ({error}); check the "
            "double quotes around this line"
        ) from None
    if not listing.entries:
        missing = listing.left_out.report().get("photo missing")
        first = f" (first: {missing['names'][0]})" if missing else ""
        raise AgmanError(
            f"{file}: no line has a label and a photo that is there{first}; paths are looked for "
            f"in {listing.root}, and --root names another folder"
        )
    return listing


def _decode(file: Path) -> str:
    """The text of a table as Excel, LibreOffice and editors save it."""
    content = file.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise AgmanError(
            f"{file}, line {line}: not UTF-8 text; if this is a table, save it in Excel as "
            '"CSV UTF-8 (Comma delimited)"'
        ) from None


def _check_header(file: Path, line: int, header: list[str]) -> None:
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise AgmanError(
            f"{file}, line {line}: lacks the column {' and '.join(missing)}; the first line must "
            f"name the columns path, attribute, value, and it says {', '.join(header)[:80]!r}"
        )
    twice = [name for name in NEEDED + OPTIONAL if header.count(name) > 1]
    if twice:
        raise AgmanError(f"{file}, line {line}: the column {twice[0]} is there twice; keep one")
    if "role" in header and "split" not in header:
        raise AgmanError(
            f"{file}, line {line}: the column role needs a column split (train, valid or test); "
            "add it, or remove role"
        )


def _take_line(
    listing: Listing, file: Path, number: int, header: list[str], cells: list[str]
) -> None:
    where = f"line {number}"
    if any(cell.strip() for cell in cells[len(header) :]):
        raise AgmanError(
            f"{file}, {where}: more cells than columns ({len(cells)} for {len(header)}); put text "
            "that holds a comma or semicolon between double quotes"
        )
    if any("\n" in cell for cell in cells):
        raise AgmanError(f"{file}, {where}: a double quote opens before this line; close it there")
    row = dict(zip(header, (cell.strip() for cell in cells), strict=False))
    empty = [name for name in NEEDED if not row.get(name)]
    if empty:
        listing.left_out.add("empty cell", f"{where} ({', '.join(empty)})")
        return
    split, role = row.get("split", "").lower(), row.get("role", "").lower()
    if split and split not in SPLITS:
        raise unknown("split", row["split"], ("train", "valid", "test"), f"{file}, {where}")
    if role and role not in ROLES:
        raise unknown("role", row["role"], ROLES, f"{file}, {where}")
    image = _locate(listing.root, row["path"], f"{file}, {where}")
    if image is None:
        listing.left_out.add("photo missing", f"{where} ({row['path']})")
        return
    split = SPLITS.get(split, "")
    listing.entries.append(Entry(where, image, row["attribute"], row["value"], split, role))


def _locate(root: Path, path: str, where: str) -> str | None:
    """The photo's path below the root, or None where there is no such file."""
    written = path.replace("\\", "/")
    for form in (written, *(unicodedata.normalize(f, written) for f in ("NFC", "NFD"))):
        # the path is tidied, but links are not followed: a linked photo belongs where it is named
        full = Path(os.path.normpath(root / form))
        if not full.is_relative_to(root):
            raise AgmanError(
                f"{where}: the photo {path} lies outside of {root}; name a folder that holds all "
                "photos with --root, and write the paths relative to it"
            )
        if full.is_file():
            return full.relative_to(root).as_posix()
    return None


# --------------------------------------------------------------------------- the same photo twice


def _merge_copies(listing: Listing) -> None:
    """Let copies of a photo be one image, so that no test photo is also a training photo."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for image in sorted({entry.image for entry in listing.entries}):
        by_size[(listing.root / image).stat().st_size].append(image)
    first: dict[bytes, str] = {}
    same: dict[str, str] = {}
    for images in by_size.values():
        for image in images if len(images) > 1 else []:
            content = (listing.root / image).read_bytes()
            original = first.setdefault(hashlib.sha256(content).digest(), image)
            if original != image:
                same[image] = original
    copies = [f"{copy} = {original}" for copy, original in sorted(same.items())]
    listing.notes.add("copy of another photo (both are one image)", *copies)
    listing.entries = [
        Entry(e.where, same.get(e.image, e.image), e.attribute, e.value, e.split, e.role)
        for e in listing.entries
    ]


def _drop_repeated(listing: Listing) -> None:
    first: dict[tuple[str, str, str], Entry] = {}
    kept = []
    for entry in listing.entries:
        earlier = first.setdefault((entry.image, entry.attribute, entry.value), entry)
        if earlier is entry:
            kept.append(entry)
        else:
            listing.left_out.add("label repeated", f"{entry.where}, as {earlier.where}")
            if (entry.split, entry.role) != (earlier.split, earlier.role):
                kept.append(entry)  # a contradiction, which is refused with its lines later on
    listing.entries = kept
