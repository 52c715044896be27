"""``scfm models``: what there is to choose from."""

from __future__ import annotations


def models() -> None:
    """List the models to choose from."""
    from .. import models as registry
    from ._table import table

    found = registry.available()
    numbers = ["genes", "dim"]
    columns = ["version", *numbers, "organism", "licence", "description"]
    rows = [
        [str(name), *(f"{row[column]:,}" if column in numbers else str(row[column]) for column in columns)]
        for name, row in found.iterrows()
    ]
    print(table(["model", *columns], rows, right=numbers))
