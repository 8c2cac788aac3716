"""Plants small faults in the library, one at a time, and lists those that no fast test sees.

::

    pip install cosmic-ray
    OMP_NUM_THREADS=1 python tests/mutants.py --mutants 200 --seed 0

The faults are those of cosmic-ray: another operator, number or comparison, a loop that is not
entered, a decorator less. Places are drawn uniformly, then one of the faults that are possible
there; what changes a type annotation alone is no fault. No file is touched: each mutant is a fork
of a process that has imported what takes long, and finds the changed source in the module's place.
It runs the tests that belong to the module, until one fails.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import importlib.machinery
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FAST = "not slow and not browser and not notebooks"
LISTED = "training/test_train.py::test_listed_triplets_are_trained_and_scored"
TESTS = {  # quick ones first
    "training.losses": ["training/test_losses.py", "training/test_train_rules.py"],
    "data.triplets": ["data/test_triplets.py", "training/test_batches.py", LISTED],
    "training.batches": [
        "training/test_batches.py", "training/test_train_rules.py",
        "cli/test_cli.py::test_a_broken_image",
    ],
    "training.loop": ["training/test_train_rules.py", "training/test_train.py"],
    "evaluation.protocol": [
        "evaluation/test_evaluate.py", LISTED, "comparison/test_compare.py",
    ],
    "evaluation.ranking": ["evaluation/test_evaluate.py"],
    "networks.attention": ["networks/test_models.py", "networks/test_reference.py"],
}  # fmt: skip
# What these see is seen by quicker tests, too.
LEFT_OUT = (
    "test_the_same_config_gives_the_same_run_whatever_the_workers",
    "test_two_processes_train_and_evaluate",
    "test_notebook_05_shares_a_run_among_gpus_after_using_one",
)
SLOW_TO_IMPORT = (
    "accelerate", "hypothesis.extra.numpy", "matplotlib.figure", "pandas", "pydantic", "pytest",
    "safetensors.torch", "sklearn.metrics", "torch", "torchvision.transforms.v2", "tyro",
)  # fmt: skip
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Mutant:
    """A module with a fault."""

    module: str
    fault: str
    line: int
    before: str
    after: str

    @property
    def diff(self) -> str:
        """The fault as lines removed and added."""
        lines = difflib.unified_diff(
            self.before.splitlines(), self.after.splitlines(), lineterm="", n=1
        )
        return "\n".join(list(lines)[2:])


# --------------------------------------------------------------------------- making them


def sample(n: int, chance: random.Random, modules: list[str]) -> list[Mutant]:
    """n mutants, no two of the same place (fewer where there are fewer)."""
    places = [place for module in modules for place in sorted(_places(module).items())]
    chance.shuffle(places)
    made = (_plant(module, faults, chance) for (module, _), faults in places)
    return [mutant for mutant, _ in zip(filter(None, made), range(n), strict=False)]


def _places(module: str) -> dict[tuple[str, Any], list[tuple[str, int]]]:
    """(module, place) -> the faults possible there: an operator of cosmic-ray, which occurrence."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    tree, places = get_ast(_source(module)), defaultdict(list)
    for name in plugins.operator_names():
        if "core/Variable" in name:  # these need the name of a variable
            continue
        operator = plugins.get_operator(name)()
        found = [p for node in ast_nodes(tree) for p in operator.mutation_positions(node)]
        for occurrence, place in enumerate(found):
            places[module, place].append((name, occurrence))
    return places


def _plant(module: str, faults: list[tuple[str, int]], chance: random.Random) -> Mutant | None:
    """One of the faults; None where it changes nothing that runs."""
    from cosmic_ray import plugins
    from cosmic_ray.mutating import mutate_code

    name, occurrence = chance.choice(faults)
    before = _source(module)
    after = mutate_code(before, plugins.get_operator(name)(), occurrence)
    try:
        if after is None or _what_runs(after) == _what_runs(before):
            return None
    except SyntaxError:
        return None
    lines = zip(before.splitlines(), after.splitlines(), strict=False)
    line = next((k for k, (a, b) in enumerate(lines, 1) if a != b), 0)
    return Mutant(module, name.removeprefix("core/"), line, before, after)


def _what_runs(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for kind in ("annotation", "returns"):
            if getattr(node, kind, None) is not None:
                setattr(node, kind, ast.Constant(None))
    return ast.dump(tree)


def _source(module: str) -> str:
    return (ROOT / "agman_lib" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


# --------------------------------------------------------------------------- running them


class _Changed(importlib.machinery.SourceFileLoader):
    source = ""

    def get_code(self, fullname: str) -> Any:
        return compile(self.source, self.path, "exec")


class _Finder:
    """Gives one module of the library another source."""

    def __init__(self, module: str, source: str) -> None:
        self.name, self.source = f"agman_lib.{module}", source

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self.name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None
        assert spec.origin is not None
        spec.loader = _Changed(name, spec.origin)
        spec.loader.source = self.source
        return spec


def _test(module: str, source: str, said: Path, folder: Path) -> None:
    """In a process of its own: run the module's tests with this source, and exit as pytest does."""
    import hypothesis
    import pytest

    os.setsid()
    with open(said, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.meta_path.insert(0, _Finder(module, source))
    hypothesis.settings.register_profile("mutants", database=None, derandomize=True)
    hypothesis.settings.load_profile("mutants")
    tests = [str(ROOT / "tests" / name) for name in TESTS[module]]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", FAST, f"--basetemp={folder}"]
    options += [f"--deselect=tests/training/test_train.py::{name}" for name in LEFT_OUT]
    code = pytest.main([*options, f"--rootdir={ROOT}", *tests])
    sys.stdout.flush()
    os._exit(int(code))


@dataclass
class _Running:
    process: Any
    said: Path
    began: float
    until: float

    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def outcome(self) -> str:
        """Empty while it runs; else "survived", or by what it was caught."""
        if self.process.is_alive():
            if time.perf_counter() < self.until:
                return ""
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.join()
            return "caught: ran on and on"
        if self.process.exitcode == 0:
            return "survived"
        failed = re.search(r"^(?:FAILED|ERROR) \S*?(\w+\.py\S*)", self.said.read_text(), re.M)
        return f"caught by {failed[1]}" if failed else f"caught: exit code {self.process.exitcode}"


def _start(module: str, source: str, work: Path, number: int, limit: float) -> _Running:
    said, folder = work / f"{number}.txt", work / str(number)
    process = FORK.Process(target=_test, args=(module, source, said, folder))
    process.start()
    began = time.perf_counter()
    return _Running(process, said, began, began + limit)


def run_all(
    mutants: list[Mutant], limits: dict[str, float], jobs: int, work: Path
) -> Iterator[tuple[Mutant, str, float]]:
    """Each mutant with what became of it and the seconds it took, ``jobs`` at a time."""
    waiting, running = list(enumerate(mutants)), []
    while waiting or running:
        while waiting and len(running) < jobs:
            number, mutant = waiting.pop(0)
            limit = limits[mutant.module]
            running.append((mutant, _start(mutant.module, mutant.after, work, number, limit)))
        time.sleep(0.1)
        for mutant, test in list(running):
            if outcome := test.outcome():
                running.remove((mutant, test))
                shutil.rmtree(test.said.with_suffix(""), ignore_errors=True)  # gigabytes in all
                yield mutant, outcome, test.seconds()


def main() -> int:
    """Test the tests; print what each mutant was caught by, and the survivors with their faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="at a time")
    parser.add_argument("--modules", nargs="+", choices=TESTS, default=list(TESTS))
    options = parser.parse_args()
    mutants = sample(options.mutants, random.Random(options.seed), options.modules)
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = str(ROOT)
    os.chdir(ROOT)
    for name in SLOW_TO_IMPORT:
        importlib.import_module(name)
    assert not [name for name in sys.modules if name.startswith("agman_lib")]
    assert threading.active_count() == 1
    with tempfile.TemporaryDirectory() as work:
        whole = [Mutant(m, "none", 0, _source(m), _source(m)) for m in options.modules]
        limits = dict.fromkeys(TESTS, 3600.0)
        for mutant, outcome, seconds in run_all(whole, limits, 1, Path(work)):
            print(f"{mutant.module} without a fault: {seconds:.0f} s", flush=True)
            if outcome != "survived":
                print(f"its tests fail: {outcome}")
                return 1
            limits[mutant.module] = 60 + 5 * seconds
        results = []
        for mutant, outcome, seconds in run_all(mutants, limits, options.jobs, Path(work)):
            place = f"{mutant.module}.py:{mutant.line} {mutant.fault}"
            print(f"{place}: {outcome} ({seconds:.0f} s)", flush=True)
            results.append((mutant, outcome))
    survivors = [mutant for mutant, outcome in results if outcome == "survived"]
    for mutant in sorted(survivors, key=lambda m: (m.module, m.line)):
        print(f"\nSURVIVED {mutant.module}.py:{mutant.line} {mutant.fault}\n{mutant.diff}")
    of, alive = (Counter(m.module for m in some) for some in (mutants, survivors))
    print()
    for module, n in of.items():
        print(f"{module}: {n - alive[module]} of {n} caught")
    print(f"all: {len(mutants) - len(survivors)} of {len(mutants)} caught")
    return 0


if __name__ == "__main__":
    sys.exit(main())
