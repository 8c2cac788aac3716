"""What came out of UT-Zappos50K, in numbers and in words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from data_prep.common.ledger import Ledger
from data_prep.zappos50k.lists import COLUMNS, SPLITS
from data_prep.zappos50k.triplets import Values

CAPS = {"train": 200_000, "valid": 80_000, "test": 160_000}
N_IMAGES = 50_025
HEELS = ("Flat", "Under 1in")  # lowest first; the other ranges begin with their inches
UNKNOWN = "not recorded"  # dataset.json wants a value of each attribute; no label has this one


def ordered(values: set[str]) -> tuple[str, ...]:
    """Values in alphabetical order, but heels from flat to high."""
    rank = {value: i for i, value in enumerate(HEELS)}
    return tuple(sorted(values, key=lambda v: (rank.get(v, len(rank)), v))) or (UNKNOWN,)


def account(
    n_photos: int,
    split: np.ndarray,
    of_images: Values,
    drawn: pd.DataFrame,
    notes: Ledger,
) -> dict[str, Any]:
    """Counts of photos, triplets and values by split, and what was left out or is odd."""
    n_triplets = Counter(zip(drawn["split"], drawn["attribute"], strict=True))
    n_values = Counter(
        (attribute, value, name)
        for values, name in zip(of_images, split, strict=True)
        for attribute in COLUMNS
        for value in values.get(attribute, ())
    )
    images = {s: int((split == s).sum()) for s in SPLITS}
    unused = notes.count("photo unreadable", "photo not listed", "image in no triplet")
    what = "photos in the download = in the splits + left out"
    notes.agree(what, n_photos, sum(images.values()) + unused)
    totals = {s: sum(n_triplets[s, a] for a in COLUMNS) for s in SPLITS}
    return {
        "images": images,
        "triplets": {s: {a: n_triplets[s, a] for a in COLUMNS} for s in SPLITS},
        "values": {
            a: {
                v: {s: n_values[a, v, s] for s in SPLITS}
                for v in ordered({value for b, value, _ in n_values if b == a})
                if v != UNKNOWN
            }
            for a in COLUMNS
        },
        "compared": [
            _compare("photos in the download", n_photos, N_IMAGES),
            *(_compare(f"{s} triplets", totals[s], CAPS[s]) for s in SPLITS),
        ],
        "notes": notes.report(),
        "sums": notes.sums,
    }


def _compare(what: str, found: int, published: int) -> str:
    if found == published:
        return f"{found:,} {what}, as many as published"
    more = "more" if found > published else "fewer"
    return f"{found:,} {what}: {abs(found - published):,} {more} than the published {published:,}"


def summary(report: dict[str, Any]) -> str:
    """The report in a few lines for the terminal."""
    lines = [*report["compared"], f"triplets from {report['triplets_from']}"]
    for split, table in report["triplets"].items():
        each = ", ".join(f"{attribute} {n:,}" for attribute, n in table.items())
        lines.append(f"{split}: {report['images'][split]:,} images; triplets: {each}")
        lines += [f"{split}: no triplet for {a}" for a, n in table.items() if n == 0]
    for attribute, share in report["agreement_with_metadata"].items():
        lines.append(f"{attribute}: meta-data.csv bears out {share} % of the listed triplets")
    if not any(report["values"].values()):
        lines.append("labels.csv is empty: no meta-data.csv was found (ut-zap50k-data.zip)")
    return "\n".join([*lines, *Ledger.lines(report["notes"], between="; ")])
