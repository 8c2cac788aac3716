"""Every student's variant: another answer, graded by its own tests."""

from __future__ import annotations

import json
import sys
from collections import Counter

import pytest
from conftest import ROOT

pytest.importorskip("otter")
sys.path.insert(0, str(ROOT / "notebooks" / "assignments"))
import assignments
import variants
from test_assignments import solved

SOURCES = assignments.sources()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_every_text_that_is_exchanged_is_there(source, tmp_path):
    known = variants.variants(source)
    assert len(known) >= 4
    for variant in known:
        variants.write_variant(source, variant, tmp_path / str(variant))
    choice = variants.choices(source)[0]
    (source_copy := tmp_path / "copy").mkdir()
    for file in source.parent.iterdir():
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            if file.name != "variants.toml":
                text = text.replace(choice["source"][-1], "something else")
            (source_copy / file.name).write_text(text, encoding="utf-8")
    with pytest.raises(RuntimeError, match="is not in"):
        variants.write_variant(source_copy / source.name, known[-1], tmp_path / "last")


def test_names_are_spread_over_variants_and_another_seed_spreads_them_anew():
    source = SOURCES[0]
    names = [f"student {k}" for k in range(600)]
    first, again, other = (
        [variants.variant_of(source, name, seed) for name in names] for seed in ("a", "a", "b")
    )
    assert first == again
    counts = Counter(first)
    assert set(counts) == set(variants.variants(source))
    assert min(counts.values()) > 0.6 * 600 / len(counts)
    assert 0.6 < sum(a != b for a, b in zip(first, other, strict=True)) / 600 < 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [pytest.param(s, marks=[pytest.mark.full] * (s != SOURCES[0])) for s in SOURCES],
    ids=lambda source: source.stem,
)
def test_a_variant_pays_its_own_answers_and_not_a_neighbours(source, tmp_path, monkeypatch):
    """Two students get the variant that differs from the public one in every choice.

    One hands in answers to it, the other what a neighbour with the public one has written.

    `assignments.make` stops unless a variant's solutions pass its tests.
    """
    every = tuple(len(c["instead"]) for c in variants.choices(source))
    names = (f"student {k}" for k in range(1000))
    alma, bert = sorted([n for n in names if variants.variant_of(source, n, "s") == every][:2])
    own = variants.write_variant(source, every, tmp_path / "own")
    (tmp_path / "names.txt").write_text(f"{alma}\n{bert}\n")
    monkeypatch.setattr(assignments, "sources", lambda: [source])
    assignments.hand_out(tmp_path / "names.txt", tmp_path / "out", "s")
    (tmp_path / "handed-in").mkdir()
    for name, answers in ((alma, own), (bert, source)):
        student = tmp_path / "out" / name / source.name
        public = assignments.HERE / source.name
        assert student.read_text(encoding="utf-8") != public.read_text(encoding="utf-8")
        notebook = json.dumps(solved(answers, student))
        (tmp_path / "handed-in" / f"{name}.ipynb").write_text(notebook)
    her, his = assignments.grade(source, tmp_path / "handed-in", seed="s")
    asked = assignments.questions(source)
    assert her["points"] == her["of"]
    lost = {q for q, p in asked.items() if p and his[q] < p}
    changed = {c["what"].split(":")[0].replace("question ", "q") for c in variants.choices(source)}
    assert lost == changed
