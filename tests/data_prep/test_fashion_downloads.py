"""Reading styles.csv: rows with unquoted commas are repaired, never dropped."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.fashion_products.downloads import COLUMNS, parse_styles

HEADER = ",".join(COLUMNS)
ROW = ["1", "Men", "Apparel", "Topwear", "Shirts", "Red", "Fall", "2012", "Casual"]

plain = st.text(st.characters(codec="utf-8", exclude_characters=',"\r\n'), max_size=8)
ids = plain.filter(bool)
last_on_a_line = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=30)
any_last = st.text(st.characters(codec="utf-8") | st.sampled_from(',,""\r\n'), max_size=30)


@given(st.lists(st.tuples(ids, st.lists(plain, min_size=8, max_size=8), last_on_a_line)))
def test_unquoted_rows_survive(rows: list[tuple[str, list[str], str]]) -> None:
    """Any last field without line breaks, unless it reads as a quoted one."""
    made = [[i, *eight, last] for i, eight, last in rows if not re.fullmatch('".*"', last)]
    parsed = parse_styles("\n".join([HEADER, *map(",".join, made)]).encode(), "styles.csv")
    assert parsed.good == made
    assert parsed.unreadable == []
    assert parsed.repaired == [fields[0] for fields in made if "," in fields[9]]


@given(st.lists(st.tuples(ids, st.lists(plain, min_size=8, max_size=8), any_last)))
def test_quoted_rows_survive(rows: list[tuple[str, list[str], str]]) -> None:
    """Any last field at all, line breaks too, where a CSV writer has quoted it."""
    made = [[i, *eight, last] for i, eight, last in rows]
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([COLUMNS, *made])
    parsed = parse_styles(text.getvalue().encode(), "styles.csv")
    assert parsed.good == made
    assert parsed.repaired == []


@pytest.mark.parametrize(
    ("line", "name", "repaired"),
    [
        ("Shirt, red", "Shirt, red", True),
        ("Shirt,,", "Shirt,,", True),
        ('"Shirt, red"', "Shirt, red", False),
        ('"3.5"" Shirt"', '3.5" Shirt', False),
        ('3.5" Shirt', '3.5" Shirt', False),
        ('"Nice" Shirt, red', '"Nice" Shirt, red', True),
        ('"never closed', '"never closed', False),
        ("", "", False),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_last_fields(line: str, name: str, repaired: bool, end: str) -> None:
    start = ",".join(ROW)
    after = f'{start},stray quote"'
    parsed = parse_styles(end.join([HEADER, f"{start},{line}", after, ""]).encode(), "styles.csv")
    assert [r[9] for r in parsed.good] == [name, 'stray quote"']
    assert parsed.repaired == ["1"] * repaired
    assert parsed.unreadable == []


def test_quoted_earlier_fields_and_odd_lines() -> None:
    text = f'\ufeff{HEADER}\r\n\r\n1,"a, ""b""",,,,,,,,name\r\n2,short\r\n,,,,,,,,,no id'
    parsed = parse_styles(text.encode(), "styles.csv")
    assert parsed.good == [["1", 'a, "b"', *[""] * 7, "name"]]
    assert parsed.unreadable == ["line 4", "line 5"]
