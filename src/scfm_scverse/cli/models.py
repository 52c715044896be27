"""``scfm models``: what there is to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def models() -> None:
    """List the models to choose from, and the published ones that can be obtained."""
    from .. import models as registry
    from ._table import table

    found = registry.available()
    numbers = ["genes", "dim"]
    columns = ["version", *numbers, "organism", "licence", "description"]
    rows = [
        [str(name), *(f"{row[column]:,}" if column in numbers else str(row[column]) for column in columns)]
        for name, row in found.iterrows()
    ]
    print("Models at hand, by name:\n")
    print(table(["model", *columns], rows, right=numbers))
    published = registry.catalogue()
    published = published[published["source"] != "this package"]
    print("\nPublished models, by the path of their files, which do not come with this package:\n")
    header = ["model", "file", "MB", "SHA-256", "about"]
    print(table(header, [_release(row) for _, row in published.iterrows()], right=["MB"]))
    for family, row in published.drop_duplicates("family").set_index("family").iterrows():
        print(f"\n{family}: {row['files']}")
        print("\n".join(f"  {name:<9} {row[name]}" for name in ("obtain", "licence", "allows", "citation")))


def _release(row: pd.Series) -> list[str]:
    size = "" if row.isna()["bytes"] else f"{row['bytes'] / 1e6:,.0f}"
    return [row["release"], row["file"] or "", size, (row["sha256"] or "")[:12], row["about"]]
