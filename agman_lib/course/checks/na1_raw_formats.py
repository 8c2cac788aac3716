"""Appendix A1: a label of letters, a line split from the right, a triplet list, many commas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agman_lib.course.answers import compared


def letters_to_value(letters: str, n: int) -> int:
    """The number of the value that n letters y, n and m say; -1 where they do not say one."""
    fits = len(letters) == n and not set(letters) - set("ynm") and letters.count("y") == 1
    return letters.index("y") if fits else -1


def name_and_type(line: str) -> tuple[str, int]:
    """The name and the type of a line of list_attr_cloth.txt."""
    name, number = line.rsplit(None, 1)
    return name, int(number)


def triplet(line: str, photos: list[str]) -> dict[str, str]:
    """The photos of a line of CSN's triplet list."""
    anchor, negative, positive = (photos[int(number)] for number in line.split())
    return {"anchor": anchor, "positive": positive, "negative": negative}


def fields(line: str) -> list[str] | None:
    """The ten fields of a line of styles.csv; None where it has fewer."""
    found = line.split(",", 9)
    return found if len(found) == 10 else None


def _letters(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    """One y anywhere, beside an m too; none, two, another letter, too few letters."""
    cases: list[tuple[Any, ...]] = [
        ("nnynnn", 6), ("nnnymn", 6), ("myn", 3), ("nnnmnn", 6), ("nyyn", 4), ("nny", 6),
        ("nynn?n", 6), ("nnyn", 3), ("nnmm", 4),
    ]  # fmt: skip
    for n in rng.integers(3, 9, 4):
        at = int(rng.integers(n))
        cases.append(("".join("y" if i == at else "n" for i in range(n)), int(n)))
    return cases


def _lines(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    words = ["abstract print", "lace", "a-line", "v-neck", "lace up front", "90s print"]
    some = [f"{w}{' ' * int(rng.integers(1, 9))}{int(rng.integers(1, 6))}" for w in words]
    return [(line,) for line in some] + [("crochet lace trim   3  ",)]


def _triplets(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    photos = [f"Shoes/Oxfords/brand/{100 + i}.{i}.jpg" for i in range(8)]
    return [
        (" ".join(str(i) for i in rng.choice(7, 3, replace=False) + k % 2), photos)
        for k in range(5)
    ]


def _styles(rng: np.random.Generator) -> Sequence[tuple[Any, ...]]:
    middle = "Apparel,Topwear,Tops,Red,Fall,2011,Party"
    plain = f"{int(rng.integers(1000, 9999))},Women,{middle},Knit Top"
    return [(plain,), (f"{plain}, red, size M",), ("9004,Men,Apparel",), (f"{plain}, {middle}",)]


def _first_y(letters: str, n: int) -> int:
    return letters.index("y") if "y" in letters else -1


def _of_order(line: str, photos: list[str], order: Sequence[int], shift: int = 0) -> dict[str, str]:
    found = [photos[int(number) - shift] for number in line.split()]
    names = ("anchor", "positive", "negative")
    return dict(zip(names, (found[i] for i in order), strict=True))


CHECKS = {
    "letters to a value": compared(
        letters_to_value,
        _letters,
        {
            "it does not look at the length, at a second y, and at other letters": _first_y,
            "an m beside a y does no harm": lambda s, n: (
                letters_to_value(s, n) if "m" not in s else -1
            ),
            "an m is no y": lambda s, n: letters_to_value(
                s.replace("m", "y", 1) if "y" not in s else s, n
            ),
            "values are counted from 0": lambda s, n: letters_to_value(s, n) + 1,
            "with a missing letter nobody knows what it said": lambda s, n: (
                _first_y(s, n) if s.count("y") == 1 and not set(s) - set("ynm") else -1
            ),
        },
        tolerance=0,
    ),
    "split a line": compared(
        name_and_type,
        _lines,
        {
            "a name may hold spaces, so count from the other end": lambda line: (
                line.split()[0],
                int(line.split()[-1]),
            ),
            "the type is a number": lambda line: tuple(line.rsplit(None, 1)),
            "the name has spaces at its end": lambda line: (
                line.rstrip()[:-1],
                int(line.rstrip()[-1]),
            ),
            "name first, then type": lambda line: name_and_type(line)[::-1],
            "spaces belong to the name": lambda line: (
                "".join(line.split()[:-1]),
                int(line.split()[-1]),
            ),
        },
        tolerance=0,
    ),
    "triplet list": compared(
        triplet,
        _triplets,
        {
            "the order of a line is anchor, far, close": lambda line, photos: _of_order(
                line, photos, (0, 1, 2)
            ),
            "lines are counted from 0": lambda line, photos: _of_order(line, photos, (0, 2, 1), 1),
            "the anchor comes first": lambda line, photos: _of_order(line, photos, (1, 2, 0)),
            "photos are asked for, and these are numbers": lambda line, photos: dict(
                zip(("anchor", "negative", "positive"), map(int, line.split()), strict=True)
            ),
        },
    ),
    "a comma too many": compared(
        fields,
        _styles,
        {
            "only the last field can hold a comma: split nine times": lambda line: (
                line.split(",") if line.count(",") >= 9 else None
            ),
            "a good line is thrown away with the broken one": lambda line: (
                line.split(",") if line.count(",") == 9 else None
            ),
            "the name is cut at its comma": lambda line: (
                line.split(",")[:10] if line.count(",") >= 9 else None
            ),
            "a line with too few fields is broken": lambda line: (line.split(",", 9) + [""] * 10)[
                :10
            ],
            "it counts from the wrong end": lambda line: (
                line.rsplit(",", 9) if line.count(",") >= 9 else None
            ),
        },
    ),
}
