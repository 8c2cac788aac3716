"""What a comparison found: its numbers, its tables, its files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agman_lib.base.folders import write_json, write_whole
from agman_lib.base.pictures import save_picture
from agman_lib.comparison.chart import comparison_chart
from agman_lib.comparison.published_scores import PublishedScore
from agman_lib.data.dataset import PreparedDataset
from agman_lib.evaluation.statistics import bootstrap_interval, seed_interval, sign_flip_p
from agman_lib.training.config import TrainConfig


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Attributes:
        scores: for each entry (S, Q): S seeds, Q queries, in percent.
        attribute: (Q,) index of each query's attribute.
        table: one row an entry, see `compare`.
        by_attribute: MAP of each entry (rows) under each attribute, mean over the seeds.
        random: what a random ranking scores, by attribute and ``mean``.
        published: published rows, where data set and protocol are the published ones.
        why_not_published: where there are none, why.
        effects: of the factors, where the entries are a factorial: as `factor_effects`.
    """

    scores: dict[str, np.ndarray]
    attribute: np.ndarray
    table: pd.DataFrame
    by_attribute: pd.DataFrame
    random: dict[str, float]
    published: Sequence[PublishedScore] = ()
    why_not_published: str = ""
    effects: pd.DataFrame | None = None


# --------------------------------------------------------------------------- statistics


def comparison_table(
    scores: dict[str, np.ndarray],
    attribute: np.ndarray,
    reports: dict[str, list[dict[str, Any]]],
    baseline: str,
) -> pd.DataFrame:
    """The columns that `agman_lib.comparison.study.compare` describes, one row an entry.

    Args:
        scores: of each entry (S, Q), percent.
        attribute: (Q,) index of each query's attribute.
        reports: of each entry, the reports of its runs.
        baseline: the entry that the others are tested against.
    """
    reference = scores[baseline].mean(0)
    rows = {}
    for name, s in scores.items():
        mean = s.mean(0)
        low, high = bootstrap_interval(mean, attribute)
        once = len(s) > 1 and bool((s == s[0]).all())  # no seed in it: a baseline without training
        over_seeds = np.nan if once else seed_interval(s.mean(1))
        row = {"MAP": mean.mean(), "seeds ±": over_seeds, "low": low, "high": high}
        difference = mean - reference
        low, high = bootstrap_interval(difference, attribute)
        row |= {"difference": difference.mean(), "diff low": low, "diff high": high}
        by_seed = s.mean(1) - scores[baseline].mean(1)
        row["diff seeds ±"] = seed_interval(by_seed) if name != baseline else np.nan
        row["p"] = sign_flip_p(difference) if name != baseline else np.nan
        row["parameters"] = reports[name][0]["parameters"]
        row["images seen"] = reports[name][0]["images_seen"]
        row["seconds"] = float(np.mean([r["seconds"] for r in reports[name]]))
        rows[name] = row
    return pd.DataFrame.from_dict(rows, orient="index")


# --------------------------------------------------------------------------- writing


def comparison_text(comparison: Comparison, baseline: str) -> str:
    """The tables as Markdown."""
    t, lines = comparison.table, []
    head = ["network", "MAP ± seeds", "95 % over queries", f"difference to {baseline}"]
    head += ["± over seeds", "p"]
    head += ["parameters (M)", "images seen", "seconds", *comparison.by_attribute.columns]
    for name, row in t.iterrows():
        same = name == baseline
        over = f"{row['difference']:+.1f} [{row['diff low']:+.1f}, {row['diff high']:+.1f}]"
        cells = [
            str(name),
            f"{row['MAP']:.1f}" + ("" if np.isnan(row["seeds ±"]) else f" ± {row['seeds ±']:.1f}"),
            f"[{row['low']:.1f}, {row['high']:.1f}]",
            "" if same else over,
            "" if np.isnan(row["diff seeds ±"]) else f"± {row['diff seeds ±']:.1f}",
            "" if same else f"{row['p']:.4f}",
            f"{row['parameters'] / 1e6:.1f}",
            f"{int(row['images seen']):,}",
            f"{row['seconds']:.0f}",
            *(f"{v:.1f}" for v in comparison.by_attribute.loc[name]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    r = comparison.random
    by_chance = [f"{r[a]:.1f}" for a in comparison.by_attribute.columns]
    chance = ["random ranking (expected)", f"{r['mean']:.1f}", *[""] * 7, *by_chance]
    lines.insert(0, "| " + " | ".join(chance) + " |")
    for row in comparison.published:
        known = [f"{v:.1f}" for v in row.by_attribute] or [""] * len(by_chance)
        cells = [f"{row.method} (published, {row.source})", f"{row.score:.2f}", *[""] * 7, *known]
        lines.append("| " + " | ".join(cells) + " |")
    rule = "|" + "---|" + "---:|" * (len(head) - 1)
    text = "\n".join(["| " + " | ".join(head) + " |", rule, *lines]) + "\n"
    if comparison.effects is not None:
        text += "\n| effect on MAP | mean over seeds | ± over seeds | each seed |\n"
        text += "|---|---:|---:|---|\n"
        for name, row in comparison.effects.iterrows():
            each = ", ".join(f"{v:+.1f}" for v in row["of seeds"])
            text += f"| {name} | {row['effect']:+.1f} | ± {row['±']:.1f} | {each} |\n"
    why = comparison.why_not_published
    return text + (f"\nNo published rows: {why}.\n" if why else "")


def table_rows(table: pd.DataFrame) -> dict[str, dict[str, float | None]]:
    """A table as JSON: NaN, which JSON lacks, becomes null."""
    return {
        str(name): {str(k): None if pd.isna(v) else float(v) for k, v in row.items()}
        for name, row in table.iterrows()
    }


def write_comparison(
    comparison: Comparison,
    out: Path,
    dataset: PreparedDataset,
    config: TrainConfig,
    seeds: Sequence[int],
    baseline: str,
    split: str,
) -> None:
    """Write ``comparison.csv``, ``.md``, ``.png`` and ``.json``, and ``scores.npz``, into a folder.

    The last holds ``attribute`` (Q,), and under each entry's name its scores (S, Q), in percent.
    """
    everything = comparison.table.join(comparison.by_attribute).assign(source="measured")
    for row in comparison.published:
        known = zip(comparison.by_attribute.columns, row.by_attribute, strict=False)
        values = {"MAP": row.score, "source": row.source, **dict(known)}
        everything.loc[f"{row.method} (published)", list(values)] = list(values.values())
    csv = everything.to_csv(index_label="network", lineterminator="\n")
    write_whole(out / "comparison.csv", csv.encode())
    write_whole(out / "comparison.md", comparison_text(comparison, baseline).encode())
    ours = {k: v for k, v in config.result_options.items() if k not in ("seed", "model")}
    of_seeds = {k: s.mean(1).tolist() for k, s in comparison.scores.items()}
    chart = comparison_chart(of_seeds, comparison.random["mean"], baseline)
    save_picture(chart, out / "comparison.png", dpi=130)
    about = {
        "dataset": dataset.title,
        "fingerprint": dataset.fingerprint,
        "split": split,
        "queries": len(comparison.attribute),
        "seeds": list(seeds),
        "baseline": baseline,
        "table": table_rows(comparison.table),
        "by attribute": table_rows(comparison.by_attribute),
        "random": comparison.random,
        "MAP of each seed": of_seeds,
        "config": ours,
    }
    if comparison.effects is not None:
        about["effects"] = comparison.effects.to_dict("index")
    write_json(out / "comparison.json", about)
    whole = io.BytesIO()
    arrays: dict[str, Any] = {k: s.astype(np.float32) for k, s in comparison.scores.items()}
    np.savez_compressed(whole, attribute=comparison.attribute.astype(np.int16), **arrays)
    write_whole(out / "scores.npz", whole.getvalue())
