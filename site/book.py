"""The course as a web site: the notebooks with their committed outputs, RESULTS.md, docs/, slides.

python site/book.py requirements     what has to be installed to build it: the extra "site"
python site/book.py build            builds build/site; a warning is an error
python site/book.py check            looks for dead links and for requests to other hosts
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import slides
from links import problems

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SOURCE = ROOT / "build" / "site-source"
SITE = ROOT / "build" / "site"
HOME = "README.md"
# In the order of the site's table of contents. A pattern that matches nothing is left out.
PARTS = {
    "The course": ["notebooks/[0-9]*.ipynb"],
    "Appendices": ["notebooks/[A-Z]*.ipynb"],
    "Assignments": ["notebooks/assignments/README.md", "notebooks/assignments/[0-9]*.ipynb"],
    "Solutions": ["notebooks/solutions/*.ipynb"],
    "Results and reference": ["RESULTS.md", "docs/*.md", "data_prep/README.md", "ERRATA.md"],
}
BADGES = re.compile(r"\A(\[!\[[^\]]*\]\(https?://[^)]*\)\]\([^)]*\)\s*)+")
LINK = re.compile(r"(\]\()([^()\s#]+)((?:#[^()\s]*)?\))")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)


def project(root: Path = ROOT) -> dict:
    """The table ``[project]`` of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def parts(root: Path = ROOT) -> dict[str, list[str]]:
    """The pages of each part of the site, as paths below the root; empty parts are left out."""
    found = {
        part: [p.relative_to(root).as_posix() for g in globs for p in sorted(root.glob(g))]
        for part, globs in PARTS.items()
    }
    return {part: pages for part, pages in found.items() if pages}


def contents(found: dict[str, list[str]]) -> str:
    """The text of ``_toc.yml``, Jupyter Book's table of contents, for what ``parts`` found."""
    lines = ["format: jb-book", f"root: {json.dumps(HOME)}", "parts:"]
    for part, pages in found.items():
        lines += [f"- caption: {json.dumps(part)}", "  chapters:"]
        lines += [f"  - file: {json.dumps(page)}" for page in pages]
    return "\n".join(lines) + "\n"


def at_home(text: str, page: str, pages: set[str], url: str, root: Path = ROOT) -> str:
    """A page's Markdown, with links to pages of the site and to files in the repository.

    A relative link to a file that is no page becomes a link into the repository at ``url``, and a
    link into the repository that means a page becomes a relative one. Pictures and fenced blocks
    stay as they are. So does a link to a missing file, which then is a warning of the build.
    """
    root = root.resolve()

    def link(match: re.Match[str]) -> str:
        opening, target, rest = match.groups()
        if (name := target.removeprefix(f"{url}/blob/main/")) in pages and name != target:
            return opening + os.path.relpath(name, Path(page).parent).replace(os.sep, "/") + rest
        path = (root / page).parent.joinpath(target).resolve()
        if re.match(r"[a-z]+:", target) or not (path.is_relative_to(root) and path.exists()):
            return match[0]
        name = path.relative_to(root).as_posix()
        if name in pages or path.suffix == ".png":
            return match[0]
        return f"{opening}{url}/{'tree' if path.is_dir() else 'blob'}/main/{name}{rest}"

    pieces, end = [], 0
    for fence in FENCE.finditer(text):
        pieces += [LINK.sub(link, text[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*pieces, LINK.sub(link, text[end:])])


def stage(root: Path = ROOT, into: Path = SOURCE) -> list[str]:
    """Write the site's source files into an empty folder, at the same paths; return the pages.

    Notebooks lose their badges, which are pictures from another host: the site has buttons.
    """
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    url, found = project(root)["urls"]["Repository"], parts(root)
    pages = [HOME, *(page for of_part in found.values() for page in of_part)]
    for page in pages:
        text = (root / page).read_text(encoding="utf-8")
        if page.endswith(".ipynb"):
            notebook = json.loads(text)
            for cell in notebook["cells"]:
                if cell["cell_type"] == "markdown":
                    source = BADGES.sub("", "".join(cell["source"]))
                    cell["source"] = at_home(source, page, set(pages), url, root)
            text = json.dumps(notebook)
        else:
            text = at_home(text, page, set(pages), url, root)
        (into / page).parent.mkdir(parents=True, exist_ok=True)
        (into / page).write_text(text, encoding="utf-8")
    shutil.copytree(root / "figures", into / "figures", ignore=lambda _, names: [
        name for name in names if not name.endswith(".png")
    ])  # fmt: skip
    (into / "assets").mkdir()
    for name in ("site.css", "favicon.svg"):
        shutil.copy(HERE / name, into / "assets")
    settings = (HERE / "_config.yml").read_text(encoding="utf-8")
    settings += f"\nrepository:\n  url: {url}\n  branch: main\n"
    (into / "_config.yml").write_text(settings, encoding="utf-8")
    (into / "_toc.yml").write_text(contents(found), encoding="utf-8")
    return pages


def copy_mathjax(into: Path) -> None:
    """MathJax and its fonts, from sphinx-mathjax-offline, without its other large bundles."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise SystemExit('sphinx-mathjax-offline is missing: install the extra "site"')
    mathjax = Path(spec.origin).parent / "static" / "mathjax"
    unused = ("mml-*.js", "tex-*-*.js", "tex-svg.js", "node-main.js", "latest.js")
    shutil.copytree(mathjax, into, ignore=shutil.ignore_patterns(*unused))


def build() -> None:
    """Build the site; a warning ends it with an error, and leaves a former site as it was."""
    pages = stage()
    copy_mathjax(SOURCE / "assets" / "mathjax")
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", str(SOURCE), "-W", "--keep-going", "-q"]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if ran.returncode:
        print(ran.stdout)
        raise SystemExit("the site has not been built: see the warnings above")
    shutil.rmtree(SITE, ignore_errors=True)
    (SOURCE / "_build" / "html").rename(SITE)
    slides.build(SITE / "slides")
    print(f"{len(pages)} pages in {SITE.relative_to(ROOT)}. To read them, with search:")
    print(f"python3 -m http.server --bind 127.0.0.1 --directory {SITE.relative_to(ROOT)}")


def main(words: list[str]) -> None:
    """The command line."""
    if words == ["requirements"]:
        print("\n".join(project()["optional-dependencies"]["site"]))
    elif words == ["build"]:
        build()
    elif words == ["check"]:
        found = problems(SITE)
        print("\n".join(found) or "No dead link, and nothing is loaded from another host.")
        raise SystemExit(bool(found))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
