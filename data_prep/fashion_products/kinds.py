"""Attributes that belong to kinds of products, as FashionAI's do: made from the shop's table.

In the table every photo has every attribute. FashionAI asks a skirt for its length and a shirt for
its collar; so here a shoe is asked for its type and colour, and a bag for its type alone. Only then
can a network tell from a photo which attributes it may be labelled for, which is what AG-MAN's
same-attribute classification learns.
"""

from __future__ import annotations

import pandas as pd

KIND_OF = {
    "Topwear": "top",
    "Bottomwear": "bottom",
    "Shoes": "shoe",
    "Sandal": "shoe",
    "Flip Flops": "shoe",
    "Bags": "bag",
}
"""Of a subCategory; other products of the masterCategory Accessories are an "accessory"."""
OWNED = {
    "top_type": ("top", "articleType"),
    "top_pattern": ("top", "pattern"),
    "top_colour": ("top", "baseColour"),
    "top_for": ("top", "gender"),
    "bottom_type": ("bottom", "articleType"),
    "shoe_type": ("shoe", "articleType"),
    "shoe_colour": ("shoe", "baseColour"),
    "shoe_for": ("shoe", "gender"),
    "bag_type": ("bag", "articleType"),
    "accessory_type": ("accessory", "articleType"),
}
"""Each attribute's kind, and the column that it is read from. For whom a product is sold (``for``)
is the shop's word about the product, and says nothing about a person."""
PATTERNS = {
    "printed": r"\bprint(?:ed|s)?\b",
    "striped": r"\bstrip(?:ed?|es)\b",
    "check": r"\bcheck(?:s|ed|ered)?\b",
    "solid": r"\bsolid\b",
}
"""What a product's name must say. These labels are weak: of 100 photos looked at, 25 of each, 76
were plainly right and 6 plainly wrong (a white polo shirt sold as striped); for 18 the photo's 60 x
80 pixels could not tell (a fine stripe, a fine check)."""


def add_kinds(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the columns ``kind`` and `OWNED`; "" where a product has no such thing."""
    kind = rows["subCategory"].map(KIND_OF)
    accessory = rows["masterCategory"].eq("Accessories")
    kind = kind.fillna(accessory.map({True: "accessory", False: ""}))
    rows = rows.assign(kind=kind, pattern=_patterns(rows["productDisplayName"]))
    owned = {name: rows[column].where(kind.eq(of), "") for name, (of, column) in OWNED.items()}
    return rows.assign(**owned)


def _patterns(names: pd.Series) -> pd.Series:
    """The one pattern that each name speaks of; "" for none, or for several."""
    said = pd.DataFrame({p: names.str.contains(e, case=False) for p, e in PATTERNS.items()})
    return said.idxmax(axis=1).where(said.sum(axis=1).eq(1), "")
