"""How the plots of perturbations name things: what was done, what the score is, which row it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..get._perturbations import has_goal

if TYPE_CHECKING:
    import pandas as pd

DONE = {"delete": "deleted", "overexpress": "overexpressed", "inhibit": "inhibited", "activate": "activated"}
MAX_GENES = 4  # in a title
UP_COLOR, DOWN_COLOR, NEITHER_COLOR = "#d55e00", "#0072b2", "#b4b4b4"


def title_of(record: Mapping[str, Any]) -> str:
    """Say what was done to the cells: "STAT1 + JAK2 deleted"."""
    genes = list(record["genes"])
    listed = " + ".join(genes[:MAX_GENES])
    if len(genes) > MAX_GENES:
        listed += f" + {len(genes) - MAX_GENES} more"
    dose = f" (dose {record['dose']:g})" if record["kind"] in ("inhibit", "activate") else ""
    return f"{listed} {DONE[record['kind']]}{dose}"


def score_name(table: pd.DataFrame) -> str:
    """Return what the score of a screen is."""
    if not has_goal(table):
        return "effect (1 − cosine)"
    start, goal = table.attrs["start"], table.attrs["goal"]
    return f"shift towards {goal}" if start is None else f"shift from {start}\ntowards {goal}"


def row_names(table: pd.DataFrame, *, groups: bool) -> pd.Series[str]:
    """Return a name for each row, with the dose, and the group on request, where there are several."""
    names = table["name"]
    if table["dose"].nunique() > 1:
        names = names + " × " + table["dose"].map("{:g}".format)
    if groups and table["group"].nunique() > 1:
        names = names + ", " + table["group"]
    return names
