"""The notebooks: their form, and that they run for someone who has only installed the package."""

from __future__ import annotations

import html
import importlib
import json
import pkgutil
import re
import resource
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from conftest import ROOT

from agman_lib.course import checks
from agman_lib.course.checks import all_checks
from agman_lib.course.sliders import TRY
from agman_lib.training.config import TrainConfig

nbformat = pytest.importorskip("nbformat")
sys.path.insert(0, str(ROOT / "notebooks"))
import manage  # noqa: E402

NOTEBOOKS = manage.notebooks()
SOLUTIONS = manage.notebooks(folder="solutions")
CHECKS = all_checks()
MODULES = [module.name for module in pkgutil.iter_modules(checks.__path__)]
SETUP = """\
# On Colab and other fresh machines: install the course
# (the torch, numpy and pandas that are there stay).
import importlib.util

if importlib.util.find_spec("agman_lib") is None:
    %pip install -q "git+{address}\""""
KEY_NUMBER = re.compile(r"key number: (.+) = (-?[\d.]+) \(elsewhere within ([\d.e-]+)\)")
ABSOLUTE = re.compile(r"(?<![\w.~])/(?:home|root|tmp|work|Users|usr|content)/|[A-Z]:\\\\")


def named(path: Path) -> str:
    return "solutions-" * (path in SOLUTIONS) + path.stem


@pytest.fixture(params=[*NOTEBOOKS, *SOLUTIONS], ids=named)
def notebook(request):
    return request.param, nbformat.read(request.param, as_version=4)


def sources(nb, kind: str) -> list[str]:
    return [c.source for c in nb.cells if c.cell_type == kind]


def key_numbers(nb) -> dict[str, tuple[float, float]]:
    text = "".join(o.get("text", "") for c in nb.cells for o in c.get("outputs", []))
    found = {name: (float(value), float(by)) for name, value, by in KEY_NUMBER.findall(text)}
    return found


def test_all_are_there():
    numbers = [p.name.split("_")[0] for p in NOTEBOOKS]
    assert len(numbers) == len(set(numbers))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    start = NOTEBOOKS[0].read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        assert f"notebooks/{path.name}" in readme
        minutes = re.search(r"\*\*Takes\*\* about (\d+) minutes", path.read_text(encoding="utf-8"))
        for text in (readme, "" if path == NOTEBOOKS[0] else start):
            row = re.search(rf"{re.escape(path.name)}\) \|[^|]+\| (\d+) min", text)
            assert not text or row[1] == minutes[1], path.name


def test_the_template(notebook):
    path, nb = notebook
    first, text = nb.cells[0].source, "\n".join(sources(nb, "markdown"))
    assert first.startswith(manage.badge(path, manage.address()))
    number = path.name.split("_")[0]
    if path in SOLUTIONS:
        _has_all_solutions(path, text)
        return
    assert re.search(rf"^# {number} \w", first, re.M)
    assert "**You will**" in first
    assert re.search(r"\*\*Takes\*\* about \d+ minutes", first)
    assert sources(nb, "code")[0] == SETUP.format(address=manage.address())
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings[-3:] == ["Takeaways", "Exercises", "References"]


def _has_all_solutions(path: Path, text: str) -> None:
    """A heading for each exercise of the notebook that a notebook of solutions belongs to."""
    exercises = "\n".join(sources(nbformat.read(manage.HERE / path.name, 4), "markdown"))
    exercises = exercises.split("## Exercises")[1].split("## References")[0]
    numbers = re.findall(r"^(\d+)\. ", exercises, re.M)
    assert numbers
    assert re.findall(r"^## Exercise (\d+)", text, re.M) == numbers
    assert f"(solutions/{path.name})" in exercises


def module_of(path: Path) -> str | None:
    """The checks of a notebook; None for one that has no blanks yet."""
    number = path.name.split("_")[0].lower()
    return next((m for m in MODULES if m.split("_")[0] == f"n{number}"), None)


WITH_BLANKS = [path for path in NOTEBOOKS if module_of(path)]


def test_what_has_blanks_has_solutions():
    assert len(WITH_BLANKS) == len(MODULES) > 0
    assert [p.name for p in SOLUTIONS] == [p.name for p in WITH_BLANKS]


@pytest.mark.parametrize("path", WITH_BLANKS, ids=named)
def test_every_blank_has_a_check_and_a_solution_of_its_own(path):
    nb = nbformat.read(path, as_version=4)
    blanks = [c.source for c in nb.cells if manage.CHECK.search(c.source)]
    names = [re.search(r'course\.check\("([^"]+)"', source)[1] for source in blanks]
    of_module = importlib.import_module(f"agman_lib.course.checks.{module_of(path)}").CHECKS
    assert sorted(names) == sorted(of_module)
    assert len(names) >= 3
    for blank, solved in zip(
        blanks, [c.source for c in manage.filled(nb).cells if manage.CHECK.search(c.source)],
        strict=True,
    ):  # fmt: skip
        assert "..." in blank
        assert solved != blank


def test_committed_outputs_are_clean(notebook):
    path, nb = notebook
    assert path.stat().st_size < 1.5e6
    assert not ABSOLUTE.search(path.read_text(encoding="utf-8"))
    assert set(nb.metadata) == {"kernelspec", "language_info"}  # no widgets without their state
    code = [c for c in nb.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    for output in (o for c in code for o in c.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        data = output.get("data", {})
        assert "image/png" not in data  # course.show, which describes the figure, was not used
        for alt in re.findall(r'<img alt="([^"]*)"', data.get("text/html", "")):
            assert alt.strip()
            assert data["text/plain"] == html.unescape(alt)
    assert key_numbers(nb) or path in SOLUTIONS


def test_by_hand_versions_are_asserted_equal():
    for path in NOTEBOOKS:
        if path.name[:2] in ("02", "03", "04", "05", "06"):
            code = "\n".join(sources(nbformat.read(path, as_version=4), "code"))
            assert "assert_close" in code or "assert_allclose" in code, path.name


def test_a_fork_writes_its_address_everywhere(tmp_path, monkeypatch):
    for path in [manage.PROJECT, *NOTEBOOKS]:
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    old = manage.address()
    monkeypatch.setattr(manage, "HERE", tmp_path)
    monkeypatch.setattr(manage, "PROJECT", tmp_path / "pyproject.toml")
    manage.set_address("https://github.com/ann/fashion.git")
    assert manage.address() == "https://github.com/ann/fashion"
    for path in manage.notebooks():
        text = path.read_text(encoding="utf-8")
        assert old not in text
        assert old.removeprefix("https://github.com") not in text
        nb = nbformat.reads(text, as_version=4)
        assert nb.cells[0].source.startswith(manage.badge(path, "https://github.com/ann/fashion"))
    with pytest.raises(SystemExit, match="give it as"):
        manage.set_address("ann/fashion")


# --------------------------------------------------------------------------- running them


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """A Python as on Colab: torch, numpy, pandas and Jupyter are there; this project is installed
    from its git repository, and must leave them as they are."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    (Path(site) / "there_already.pth").write_text(sysconfig.get_path("purelib") + "\n")
    dirty = subprocess.run(
        ["git", "-C", ROOT, "status", "--porcelain", "agman_lib", "data_prep", "pyproject.toml"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    source = str(ROOT) if dirty else f"git+{ROOT.as_uri()}"
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", source]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    installed = said[said.index("Successfully installed") :]
    for package in ("torch", "numpy", "pandas", "torchvision"):
        assert f" {package}-" not in installed
    where = subprocess.run(
        [python, "-c", "import agman_lib; print(agman_lib.__file__)"],
        capture_output=True, text=True, check=True, cwd=folder,
    ).stdout  # fmt: skip
    assert where.startswith(site)  # not the checkout
    kernel = folder / "kernels" / "fresh"
    kernel.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "fresh", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    return folder


@pytest.fixture
def course_of_its_own(fresh, monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", str(fresh))
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv(TRY, "yes")
    monkeypatch.delenv("AGMAN_PROFILE", raising=False)
    monkeypatch.delenv("AGMAN_WORK", raising=False)


def said(nb) -> str:
    return "".join(o.get("text", "") for c in nb.cells for o in c.get("outputs", []))


@pytest.mark.notebooks
@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_it_runs_from_an_empty_folder(path, fresh, course_of_its_own, tmp_path):
    """As it is, with every blank left; then with every solution, using what the first run made."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = manage.execute(path, tmp_path, "fresh")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = sum(after[:2]) - sum(before[:2])
    print(f"{path.name}: {seconds:.0f} s of CPU time")
    assert seconds < 360  # three minutes of two cores
    committed, now = key_numbers(nbformat.read(path, as_version=4)), key_numbers(ran)
    assert list(now) == list(committed)
    for name, (value, tolerance) in committed.items():
        assert now[name][0] == pytest.approx(value, abs=tolerance), name
    text, source = said(ran), "\n".join(sources(ran, "code"))
    blanks = source.count("course.check(")
    assert (text.count("○ "), text.count("✓ "), text.count("✗ ")) == (blanks, 0, 0)
    assert ("moved " in text) == ("course.move(" in source)
    if blanks:
        text = said(manage.execute(path, tmp_path, "fresh", manage.filled))
        assert (text.count("○ "), text.count("✓ "), text.count("✗ ")) == (0, blanks, 0)
    if path.name.startswith("05"):
        _same_from_the_command_line(tmp_path, fresh)
    if path.name.startswith("06"):
        _same_table_from_the_command_line(tmp_path, fresh)


@pytest.mark.notebooks
@pytest.mark.parametrize("path", SOLUTIONS, ids=named)
def test_solutions_run_from_an_empty_folder(path, course_of_its_own, tmp_path):
    manage.execute(path, tmp_path, "fresh")


def _agman(fresh: Path, folder: Path, *words: str) -> None:
    command = [fresh / "bin" / "agman", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def _same_from_the_command_line(folder: Path, fresh: Path) -> None:
    """The run that notebook 05 made, made again by `agman train`: same bytes."""
    run = folder / "agman-work" / "run"
    config = TrainConfig.load(run / "config.json").changed(out="shell")
    _agman(fresh, folder, "train", *config.words)
    for name in ("best", "last"):
        one, other = ((f / f"{name}.safetensors").read_bytes() for f in (run, folder / "shell"))
        assert one == other
    one, other = (json.loads((f / "report.json").read_text()) for f in (run, folder / "shell"))
    assert one["metrics"] == other["metrics"]


def _same_table_from_the_command_line(folder: Path, fresh: Path) -> None:
    """The report that notebook 06 made, made again by `agman evaluate`: same metrics."""
    work = folder / "agman-work"
    data = next(work.glob("garments-*"))
    report = json.loads((work / "evaluation.json").read_text())
    _agman(fresh, folder, "evaluate", str(work / "garments.safetensors"), "--data", str(data),
           "--out", "shell.json")  # fmt: skip
    assert json.loads((folder / "shell.json").read_text())["metrics"] == report["metrics"]
