"""Dead links and other hosts in a built site: read from its files, with no network."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# The attributes whose file a browser loads at once.
LOADED = ("src", "srcset", "poster", "data", "xlink:href")
CSS_LOADED = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s;]+)""")


class Page(HTMLParser):
    """What one page links to, what it loads, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sort one element's attributes."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if "href" in given and given.get("rel") != "canonical":
            (self.loaded if tag == "link" else self.links).append(given["href"])
        for name in LOADED:
            if name in given and tag != "meta":
                pieces = given[name].split(",") if name == "srcset" else [given[name]]
                self.loaded += [piece.split()[0] for piece in pieces if piece.strip()]
        self.loaded += CSS_LOADED.findall(given.get("style", ""))


def problems(site: Path) -> list[str]:
    """One line for each dead link, dead anchor, and resource that is loaded from another host.

    Links to other hosts are not followed. The theme's own files in ``_static`` are not pages, but
    its style sheets are read.
    """
    files = [p for p in sorted(site.rglob("*.html")) if "_static" not in p.relative_to(site).parts]
    pages = {path.resolve(): Page(path) for path in files}
    found = [] if pages else [f"{site}: no page"]
    for path, page in pages.items():
        name = path.relative_to(site.resolve()).as_posix()
        for target in page.loaded:
            found += [f"{name}: loads {target}"] if _elsewhere(target) else []
        for target in dict.fromkeys(page.links + page.loaded):
            if why := _dead(target, path, pages, site.resolve()):
                found.append(f"{name}: {target}: {why}")
    for path in sorted(site.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        found += [f"{path.relative_to(site)}: loads {url}" for url in CSS_LOADED.findall(text)]
    return found


def _elsewhere(target: str) -> bool:
    return bool(urlsplit(target).netloc)


def _dead(target: str, path: Path, pages: dict[Path, Page], site: Path) -> str:
    """Why a link leads nowhere; an empty text if it leads somewhere, or to another host."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return ""
    to = path.parent.joinpath(unquote(parts.path)).resolve() if parts.path else path
    if not to.is_relative_to(site):
        return "outside the site"  # so is "/": the site may lie in a folder of its host
    to = to / "index.html" if to.is_dir() else to
    if not to.is_file():
        return "no such file"
    if parts.fragment and to in pages and unquote(parts.fragment) not in pages[to].anchors:
        return "no such anchor"
    return ""
