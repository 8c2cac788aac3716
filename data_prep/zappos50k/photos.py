"""The photos of UT-Zappos50K: ``ut-zap50k-images.zip`` or the folder it unpacks to.

They lie in ``Category/SubCategory/Brand/<ProductID>.<ColorID>.jpg``. Some brand folders end in a
dot, which Windows cannot keep, others have letters outside ASCII, which old zip programs spell
differently. Photos are therefore found by their path without such dots, and else by their file name
where only one photo has it.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from agman_lib.base.errors import AgmanError
from data_prep.common.archives import extract, open_zip

SOURCE = "vision.cs.utexas.edu/projects/finegrained/utzap50k"
CATEGORIES = ("Boots", "Sandals", "Shoes", "Slippers")
DOWNLOAD = f"get ut-zap50k-images.zip from {SOURCE}"

PHOTO = re.compile(rf"(?:.*?/)??((?:{'|'.join(CATEGORIES)})/.*[^/]\.(?i:jpe?g))")


def plain(path: str) -> str:
    """A photo's path from its category on, as it is compared: no dots at the ends of folders.

    >>> plain("ut-zap50k-images/Boots/Ankle/Rush%2E/7.1.jpg"), plain("Boots/Ankle/Rush./7.1.jpg")
    ('Boots/Ankle/Rush/7.1.jpg', 'Boots/Ankle/Rush/7.1.jpg')
    """
    path = unicodedata.normalize("NFC", path.strip().replace("\\", "/"))
    if match := PHOTO.fullmatch(path):
        path = match[1]
    *folders, name = path.split("/")
    return "/".join([*(unquote(folder).rstrip(". ") for folder in folders), name])


def portable(path: str) -> str:
    """A path that every system can keep; ``urllib.parse.unquote`` gives the original back.

    Dots and spaces at the end of a folder and the characters ``<>"|?*`` are written as %XX.

    >>> portable("Boots/Ankle/Rush Inc./7.1.jpg")
    'Boots/Ankle/Rush Inc%2E/7.1.jpg'
    """
    *folders, name = path.split("/")
    ended = [re.sub(r"[. ]+$", lambda m: _percent(m[0]), folder) for folder in folders]
    return re.sub(r'[<>"|?*]', lambda m: _percent(m[0]), "/".join([*ended, name]))


def _percent(characters: str) -> str:
    return "".join(f"%{ord(c):02X}" for c in characters)


@dataclass(frozen=True)
class Photos:
    """The photos of a download.

    Attributes:
        source: the zip archive, or the folder that holds the category folders.
        files: image id -> path in ``source``. The id is the file name without ending, which is
            the CID with a dot; where several photos have that name, the whole plain path.
        by_path: plain path -> image id.
        by_name: file name without ending -> the image ids that have it.
        repeated: paths left out because another photo has the same plain path.
    """

    source: Path
    files: dict[str, str]
    by_path: dict[str, str]
    by_name: dict[str, list[str]]
    repeated: list[str]

    def find(self, path: str) -> str | None:
        """The id of a listed path, or None."""
        if (image := self.by_path.get(plain(path))) is not None:
            return image
        same = self.by_name.get(_stem(plain(path)), [])
        return same[0] if len(same) == 1 else None

    def find_cid(self, cid: str, folder: str) -> str | None:
        """The id of a CID, the category folder deciding where several photos have it, or None."""
        same = self.by_name.get(cid.replace("-", "."), [])
        if len(same) > 1:
            same = [image for image in same if image.startswith(plain(f"{folder}/-")[:-1])]
        return same[0] if len(same) == 1 else None

    def place(self, images: list[str], staged: Path, progress: bool) -> dict[str, str]:
        """Image id -> path under the image root; photos of a zip are unpacked to ``staged``."""
        if self.source.is_dir():
            return {image: self.files[image] for image in images}
        targets = {image: portable(_inside(self.files[image])) for image in images}
        with open_zip(self.source) as archive:
            members = {self.files[image]: targets[image] for image in images}
            extract(archive, members, staged / "images", progress)
        return targets


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _inside(member: str) -> str:
    match = PHOTO.fullmatch(member.replace("\\", "/"))
    assert match is not None  # only such members are listed
    return match[1]


def read_photos(source: Path) -> Photos:
    """List the photos of the zip archive or of its unpacked folder.

    Raises:
        AgmanError: the source is missing, damaged, hostile, or holds no category folder.
    """
    if not source.exists():
        raise AgmanError(f"{source}: no such file or folder; {DOWNLOAD}")
    if source.is_dir():
        root = next(filter(_has_categories, [source, *sorted(source.iterdir())]), source)
        paths = _walk(root)
    else:
        root = source
        with open_zip(source) as archive:
            names = [m.filename for m in archive.infolist()]
            paths = [n for n in names if PHOTO.fullmatch(n.replace("\\", "/"))]
    paths = sorted(p for p in paths if not _is_litter(p))
    if not paths:
        raise AgmanError(
            f"{source}: holds no photos below {', '.join(CATEGORIES)}; {DOWNLOAD}, or name the "
            "folder ut-zap50k-images that it unpacks to"
        )
    first: dict[str, str] = {}
    repeated = [p for p in paths if first.setdefault(plain(p), p) != p]
    count = Counter(map(_stem, first))
    by_path = {key: _stem(key) if count[_stem(key)] == 1 else key for key in first}
    by_name: dict[str, list[str]] = {}
    for key, image in by_path.items():
        by_name.setdefault(_stem(key), []).append(image)
    files = {by_path[key]: path for key, path in first.items()}
    return Photos(root, files, by_path, by_name, repeated)


def _has_categories(folder: Path) -> bool:
    return any((folder / category).is_dir() for category in CATEGORIES)


def _walk(root: Path) -> list[str]:
    """Photos below the category folders, relative to ``root``, with forward slashes."""
    found = []
    for category in CATEGORIES:
        for folder, _, names in os.walk(root / category):
            below = Path(folder).relative_to(root).as_posix()
            found += [f"{below}/{n}" for n in names if n.lower().endswith((".jpg", ".jpeg"))]
    return found


def _is_litter(path: str) -> bool:
    """What macOS leaves in zips and on foreign disks."""
    return "__MACOSX/" in path or path.rsplit("/", 1)[-1].startswith("._")
