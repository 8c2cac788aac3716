"""Run the notebooks and keep them tidy; write the project's address into them.

python notebooks/manage.py run             all of them, top to bottom, outputs kept in place
                                           (solutions/ too)
python notebooks/manage.py run 01 04       some of them
python notebooks/manage.py address URL     a fork's address: pyproject.toml, badges, setup cells
"""

from __future__ import annotations

import argparse
import copy
import itertools
import re
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbclient import NotebookClient

Change = Callable[[nbformat.NotebookNode], nbformat.NotebookNode]
HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent / "pyproject.toml"
VIEW = "application/vnd.jupyter.widget-view+json"
CHECK = re.compile(r"(?m)^\w+ = course\.check\(.*")
SOLUTION = re.compile(r"(?s)<details>.*?```python\n(.*?)```")
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"


def notebooks(numbers: list[str] | None = None, folder: str = ".") -> list[Path]:
    """The notebooks of a folder, all or those whose names begin with one of the numbers.

    The appendices, whose names begin with A, come last.
    """
    found = sorted((HERE / folder).glob("[0-9A][0-9]*_*.ipynb"))
    if numbers:
        found = [p for p in found if p.name.startswith(tuple(numbers))]
    return found


def execute(
    notebook: Path, folder: Path, kernel: str = "python3", change: Change = lambda nb: nb
) -> nbformat.NotebookNode:
    """A notebook, changed, run top to bottom in a folder; its first error is raised."""
    nb = change(nbformat.read(notebook, as_version=4))
    client = NotebookClient(
        nb, timeout=900, kernel_name=kernel, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return nb


def filled(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy in which every blank holds the solution that is folded beneath it.

    A blank is a code cell with a line ``name = course.check("…", name)``; the next cell is Markdown
    and has the solution as the first Python block of a ``<details>``. The solution takes the place
    of all that stands before that line.

    Raises:
        ValueError: a blank without a solution.
    """
    nb = copy.deepcopy(nb)
    for cell, following in itertools.pairwise(nb.cells):
        if cell.cell_type != "code" or not (asked := CHECK.search(cell.source)):
            continue
        solution = SOLUTION.search(following.source)
        if following.cell_type != "markdown" or not solution:
            raise ValueError(f"no solution is folded beneath {asked[0]}")
        cell.source = f"{solution[1].rstrip()}\n\n\n{cell.source[asked.start() :]}"
    return nb


def clean(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what differs from run to run and says nothing: times, kernels, progress bars."""
    nb.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in nb.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
            for output in cell.outputs:
                if VIEW in output.get("data", {}):  # worthless without its kernel
                    still = {k: v for k, v in output.data.items() if k != VIEW}
                    nothing = {"text/plain": "(interactive: run this cell)"}
                    output.data = still if "text/html" in still else nothing
                if output.output_type == "stream":  # a training epoch's seconds
                    output.text = re.sub(r"(?m)(\(random [\d.]+\)); \d+ s$", r"\1", output.text)
    return nb


def address() -> str:
    """The project's address, from pyproject.toml."""
    return tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["urls"]["Repository"]


def badge(notebook: Path, url: str) -> str:
    """The Markdown of a notebook's Colab badge."""
    place = notebook.relative_to(HERE).as_posix()
    link = f"https://colab.research.google.com{_in_badge(url)}blob/main/notebooks/{place}"
    return f"[![Open in Colab]({BADGE})]({link})"


def _in_badge(url: str) -> str:
    return url.replace("https://github.com/", "/github/") + "/"


def set_address(new: str) -> None:
    """Write another address into pyproject.toml, the badges and the setup cells."""
    new, old = new.rstrip("/").removesuffix(".git"), address()
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", new):
        raise SystemExit(f"{new}: give it as https://github.com/you/yours")
    assignments = sorted((HERE / "assignments").rglob("*.ipynb"))
    for path in [PROJECT, *notebooks(), *notebooks(folder="solutions"), *assignments]:
        text = path.read_text(encoding="utf-8")
        text = text.replace(old, new)
        path.write_text(text.replace(_in_badge(old), _in_badge(new)), encoding="utf-8")
    print(f"{old} -> {new}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run").add_argument("numbers", nargs="*")
    commands.add_parser("address").add_argument("url")
    options = parser.parse_args()
    if options.command == "address":
        set_address(options.url)
        return
    for path in [*notebooks(options.numbers), *notebooks(options.numbers, "solutions")]:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            nb = execute(path, Path(folder))
        nbformat.write(clean(nb), path)
        size = path.stat().st_size / 1e6
        print(f"{path.name}: {time.perf_counter() - began:.0f} s, {size:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
