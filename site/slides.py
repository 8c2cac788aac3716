"""Slides for each week of the course, from the notebooks' committed figures.

A deck is ``slides/NAME.md``: slides with a line ``---`` between them. A line ``![](NOTEBOOK#N)``
stands for the N-th figure among the outputs of that notebook, with its description.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DECKS = HERE / "slides"
FIGURE = re.compile(r"^!\[\]\(([\w.]+\.ipynb)#(\d+)\)$", re.M)


def decks() -> list[Path]:
    """The decks' sources, in order."""
    return sorted(DECKS.glob("*.md"))


@cache
def figures(notebook: Path) -> list[str]:
    """The ``<img …>`` of each figure among a notebook's committed outputs, in order."""
    found = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            html = "".join(output.get("data", {}).get("text/html", ""))
            found += re.findall(r"<img [^>]*>", html)
    return found


def slides(deck: Path, root: Path = ROOT) -> list[str]:
    """The Markdown of each slide of a deck, with its figures.

    Raises:
        SystemExit: a notebook, or that figure of it, is missing.
    """

    def figure(match: re.Match[str]) -> str:
        notebook, number = root / "notebooks" / match[1], int(match[2])
        found = figures(notebook) if notebook.is_file() else []
        if not 1 <= number <= len(found):
            raise SystemExit(f"{deck.name}: {match[0]}: {notebook.name} has {len(found)} figures")
        return re.sub(r' style="[^"]*"', "", found[number - 1])

    text = FIGURE.sub(figure, deck.read_text(encoding="utf-8"))
    return [slide.strip() for slide in re.split(r"^---$", text, flags=re.M)]


def build(into: Path, root: Path = ROOT) -> None:
    """Write every deck as a page of reveal.js into a folder, with reveal.js itself beside them."""
    import nbformat
    from nbconvert import SlidesExporter
    from traitlets.config import Config

    spec = importlib.util.find_spec("sphinx_revealjs")
    if spec is None or spec.origin is None:
        raise SystemExit('sphinx-revealjs is missing: install the extra "site"')
    reveal = Path(spec.origin).parent / "_static" / "revealjs"
    into.mkdir(parents=True, exist_ok=True)
    for name in ("reset.css", "reveal.css", "reveal.js", "theme/white.css"):
        (into / "dist" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(reveal / "dist" / name, into / "dist" / name)
    fonts = "dist/theme/fonts/source-sans-pro"
    shutil.copytree(reveal / fonts, into / fonts, dirs_exist_ok=True)
    shutil.copy(reveal / "LICENSE", into / "dist" / "LICENSE")
    shutil.copy(DECKS / "slides.css", into / "slides.css")
    settings = {"reveal_url_prefix": ".", "reveal_theme": "white"}
    settings["template_file"] = str(DECKS / "slides.html.j2")
    exporter = SlidesExporter(config=Config({"SlidesExporter": settings}))
    for deck in decks():
        nb = nbformat.v4.new_notebook()
        for slide in slides(deck, root):
            cell = nbformat.v4.new_markdown_cell(slide)
            cell.metadata["slideshow"] = {"slide_type": "slide"}
            nb.cells.append(cell)
        title = nb.cells[0].source.splitlines()[0].removeprefix("# ")
        page, _ = exporter.from_notebook_node(nb, {"metadata": {"name": title}})
        (into / f"{deck.stem}.html").write_text(page, encoding="utf-8")
