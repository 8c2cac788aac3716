"""Nothing has become slow, whatever the machine: ratios of times taken side by side."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from agman_lib.base.errors import AgmanError
from agman_lib.benchmark import SECTIONS, Report, Row, Setting, run_benchmark, side_by_side
from agman_lib.benchmark.straightforward import PublishedSampler
from agman_lib.benchmark.timing import compared, on_cores, peak_of_arrays, peak_of_tensors
from agman_lib.cli.benchmark import Section
from agman_lib.cli.commands import main
from agman_lib.data.dataset import Labels

QUICK = Setting(quick=True)


def ratios(section: str, size: int | None = None) -> dict[tuple[str, str], float]:
    """What a section measures, by its first words and what it is beside."""
    rows = SECTIONS[section][0](QUICK)
    chosen = [r for r in rows if r.faster is not None and size in (None, r.size)]
    return {(r.what, r.beside): r.faster for r in chosen}


@pytest.fixture(autouse=True)
def one_core():
    """As the command measures; with more, what runs beside the tests would slow one side alone."""
    with on_cores(1):
        yield


def test_one_pass_serves_all_attributes():
    plain, passes = ratios("embedding").values()
    assert plain > 1 / 1.5
    assert passes > 4


def test_the_loss_lists_no_triplets():
    listed, _ = ratios("loss", size=192).values()
    assert listed > 5


def test_the_cache_saves_decoding():
    found = ratios("input")
    assert found["pixels, from the cache", "pixels, published"] > 5
    assert found["input, from the cache", "input, published"] > 5
    assert found["input, each decoded", "input, published"] > 0.5


def test_a_search_costs_little_more_than_its_product():
    (found,) = ratios("search", size=50_000).values()
    assert found > 1 / 2.5


def test_triplets_and_rankings_are_made_without_loops():
    (sampled,) = ratios("sampling").values()
    assert sampled > 10
    for (what, beside), found in ratios("map").items():
        assert found > (1.5 if beside == "the published loop" else 0.4), what
    triplets, _ = ratios("bootstrap").values()
    assert triplets > 5


@pytest.fixture
def refused(capsys):
    """Run a command that must be refused; returns its one line."""

    def run(*args: str) -> str:
        assert main(list(args)) == 2
        return capsys.readouterr().err

    return run


# --------------------------------------------------------------------------- how it is measured


def test_a_ratio_is_that_of_times_taken_together():
    times = {"ours": np.array([1.0, 2.0, 4.0]), "theirs": np.array([4.0, 6.0, 8.0])}
    row = compared("loss", QUICK, times, "ours", "theirs", size=7)
    assert (row.seconds, row.beside_seconds) == (2.0, 6.0)
    assert (row.low, row.faster, row.high) == (2.5, 3.0, 3.5)
    assert (row.repetitions, row.size) == (3, 7)


def test_calls_are_timed_in_turn_and_the_order_is_reversed(monkeypatch):
    from agman_lib.benchmark import timing

    monkeypatch.setattr(timing, "SHORTEST", 0)
    called: list[str] = []
    times = side_by_side({name: lambda name=name: called.append(name) for name in "abc"}, QUICK)
    assert "".join(called) == "aabbcc" + "cba" + "abc" + "cba" + "abc" + "cba"
    assert all(len(of) == 5 and (of > 0).all() for of in times.values())


def test_memory_is_the_peak_beyond_what_was_there():
    import torch

    one = 1_000_000
    there = torch.zeros(one), np.zeros(one, np.float32)
    peak = peak_of_tensors(lambda: (there[0] + 1) + 1, "cpu")
    assert peak == pytest.approx(2 * 4 * one, rel=0.01)
    found = peak_of_arrays(lambda: (there[1] + np.float32(1)).reshape(2, -1) * np.float32(2))
    assert found == pytest.approx(2 * 4 * one, rel=0.01)


def test_the_published_sampler_draws_triplets():
    rng = np.random.default_rng(0)
    labels = Labels(np.arange(60), np.arange(60) % 2, rng.integers(3, size=60))
    for a, n, p, c in PublishedSampler(labels).sample(200):
        assert a != p
        assert {labels.attribute[i] for i in (a, n, p)} == {c}
        assert labels.value[a] == labels.value[p] != labels.value[n]


# --------------------------------------------------------------------------- the report


def numbers(text: str) -> list[float]:
    return [float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?", text)]


def test_the_markdown_and_the_json_agree(tmp_path):
    rows = [
        Row("loss", "cpu", "ours", "theirs", 0.5, 1.25, 2.5, 2.25, 2.75, 7, 96, 1_500_000, "a|b"),
        Row("loss", "cpu", "alone", "", 3e-5, repetitions=5, size=4096),
        Row("startup", "cpu", "`agman`", "a bare Python", 0.002, 0.001, 0.5, 0.4, 0.6, 3),
    ]
    Report({"date": "today", "cores": 2}, rows).write(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"benchmark.json", "benchmark.md", "cost.png"}
    held = json.loads((tmp_path / "benchmark.json").read_text())
    text = (tmp_path / "benchmark.md").read_text(encoding="utf-8")
    assert held["machine"] == {"date": "today", "cores": 2}
    assert "- date: today\n- cores: 2\n" in text
    parts = re.split(r"\n## (\w+)\n", text)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert list(sections) == ["loss", "startup"]
    printed = [
        (name, [cell.strip() for cell in line.strip("|").split("|")])
        for name, part in sections.items()
        for line in part.splitlines()
        if line.startswith("| ") and not line.startswith(("| what", "| ---"))
    ]
    scale = {"s": 1, "ms": 1e-3, "µs": 1e-6}
    for (section, cells), row in zip(printed, held["rows"], strict=True):
        what, beside, device, size, time, other, faster, spread, slower, n, memory, note = cells
        assert (section, what, beside, device) == tuple(
            row[k] for k in ("section", "what", "beside", "device")
        )
        assert numbers(size) == ([] if row["size"] is None else [row["size"]])
        for cell, key in ((time, "seconds"), (other, "beside_seconds")):
            value = sum(float(cell.split()[0]) * scale[cell.split()[1]] for _ in [0] if cell)
            assert value == pytest.approx(row[key] or 0, rel=0.005)
        assert numbers(faster) == pytest.approx([row["faster"]] if faster else [], rel=0.005)
        assert numbers(spread) == pytest.approx([row["low"], row["high"]] if spread else [])
        assert numbers(slower) == pytest.approx([1 / row["faster"]] if faster else [], rel=0.005)
        assert bool(faster) == (row["faster"] is not None)
        assert int(n) == row["repetitions"]
        assert numbers(memory) == ([] if row["memory"] is None else [row["memory"] / 1e6])
        assert note == row["note"].replace("|", "/")


def test_the_command(tmp_path, capsys):
    out = tmp_path / "cost"
    assert main(["benchmark", "--quick", "--sections", "loss", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    rows = json.loads((out / "benchmark.json").read_text())["rows"]
    assert {row["section"] for row in rows} == {"loss"}
    assert {row["size"] for row in rows} == {96, 192}
    assert {row["repetitions"] for row in rows} == {5}
    assert (out / "benchmark.md").read_text(encoding="utf-8") in said
    assert said.endswith(f"{out}: benchmark.md, benchmark.json and cost.png\n")


def test_what_is_asked_for_must_be_there(refused, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    for words, said in (
        ("--device gpu", "PyTorch finds no GPU here"),
        ("--threads 0", "--threads must be 1 to "),
        ("--sections los", "invalid choice 'los'"),
    ):
        assert said in refused("benchmark", *words.split())
    with pytest.raises(AgmanError, match="unknown section 'los'; did you mean 'loss'"):
        run_benchmark(["los"])
    assert list(Path().iterdir()) == []


def test_every_section_can_be_asked_for():
    assert list(Section.__args__) == list(SECTIONS)
