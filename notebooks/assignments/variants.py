"""Variants of the assignments, so that students cannot copy each other's answers.

A variant exchanges a few texts of an instructor's notebook and of its grading file, all of which
`instructor/variants.toml` lists: another level of an interval, another order of channels. The
description, the solution and the hidden tests change together. Which variant a student gets follows
from the student's name and a secret seed.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import tomllib
from pathlib import Path

Variant = tuple[int, ...]
"""For each entry of variants.toml, which text is used: 0 for the source's own."""


def choices(source: Path) -> list[dict]:
    """The entries of ``variants.toml`` that belong to an instructor's notebook."""
    with (source.parent / "variants.toml").open("rb") as file:
        return tomllib.load(file).get(source.stem, [])


def variants(source: Path) -> list[Variant]:
    """Every variant of an instructor's notebook."""
    return list(itertools.product(*(range(len(c["instead"]) + 1) for c in choices(source))))


def variant_of(source: Path, student: str, seed: str) -> Variant:
    """The variant of a student: the same for the same name and seed, and any of them alike."""
    known = variants(source)
    digest = hashlib.sha256(json.dumps([seed, source.stem, student]).encode()).digest()
    return known[int.from_bytes(digest, "big") % len(known)]


def write_variant(source: Path, variant: Variant, folder: Path) -> Path:
    """Copy an instructor's notebook and the grading files into a folder, as the variant has them.

    Raises:
        RuntimeError: a text of ``variants.toml`` is neither in the notebook nor in a grading file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    exchange = {}
    for choice, which in zip(choices(source), variant, strict=True):
        if which:
            exchange |= dict(zip(choice["source"], choice["instead"][which - 1], strict=True))
    left = set(exchange)

    def exchanged(text: str) -> str:
        for old, new in exchange.items():
            left.difference_update([old] if old in text else [])
            text = text.replace(old, new)
        return text

    for file in source.parent.glob("grading_*.py"):
        shutil.copy(file, folder / file.name)
    grading = folder / f"grading_{source.name[0]}.py"
    grading.write_text(exchanged(grading.read_text(encoding="utf-8")), encoding="utf-8")
    notebook = json.loads(source.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = exchanged("".join(cell["source"])).splitlines(keepends=True)
    made = folder / source.name
    made.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")
    if left:
        raise RuntimeError(f"variants.toml: {sorted(left)[0]!r} is not in {source.name}")
    return made
