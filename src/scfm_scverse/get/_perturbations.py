"""``get.perturbations``: the table of a screen, and what its plots read of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError
from .._record import ROOT, keys_written, read_record

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

VERB = "rank_perturbations"
SIGNIFICANT = 0.05  # false discovery rate
TESTED = "tested"
COLUMNS = ("perturbation", "kind", "dose", "group", "n_cells", "score", "null_mean", "null_sd", "fdr", "status")


def perturbations(adata: AnnData, *, key: str = "scfm") -> pd.DataFrame:
    """Pull out the table that :func:`scfm_scverse.tl.rank_perturbations` wrote.

    Parameters
    ----------
    adata
        Cells that were screened.
    key
        The ``key_added`` of the screen.

    Returns
    -------
    One row a perturbation, group and dose, tested or not, with the columns that
    :func:`scfm_scverse.tl.rank_perturbations` describes. A copy.

    Raises
    ------
    MissingKeyError
        Nothing was written under this key.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> table = scfm.tl.rank_perturbations(adata, ["CD74", "LYZ", "NKG7"], max_cells=50, n_null=30)
    >>> scfm.get.perturbations(adata).equals(table)
    True
    """
    screens = adata.uns.get(ROOT, {}).get(VERB, {})
    if "table" not in screens.get(key, {}):
        keys = keys_written(adata, VERB)
        msg = (
            f"adata.uns[{ROOT!r}][{VERB!r}][{key!r}] holds no table; expected what tl.rank_perturbations writes "
            f"(screens found: {keys}). Run scfm.tl.rank_perturbations(adata, key_added={key!r}) first, or pass key=."
        )
        raise MissingKeyError(msg)
    table: pd.DataFrame = screens[key]["table"]
    return table.copy()


def screen_rows(
    adata: AnnData | pd.DataFrame, *, key: str, group: str | Sequence[str] | None, with_null: bool
) -> pd.DataFrame:
    """Return the rows of a screen that were tested, of some groups or all, ready to be drawn.

    With ``with_null`` rows without a null are left out. Added are ``name``, the perturbation and, where there are
    several, its kind; ``excess``, the score less the mean of genes matched by expression; ``score_sd`` (NaN where the
    table does not tell) and ``baseline``, what the expression baseline says in place of the score. In ``attrs``:
    ``goal`` and ``start``, their names as far as they are known; ``start`` is ``None`` without one.
    """
    import pandas as pd

    table = adata.copy() if isinstance(adata, pd.DataFrame) else perturbations(adata, key=key)
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        msg = f"Found a table without {', '.join(map(repr, missing))}; expected what tl.rank_perturbations returns."
        raise InputError(msg)
    table = table.astype({"perturbation": str, "kind": str, "group": str, "status": str})
    table = _of_groups(table, group)
    status = table["status"].value_counts()
    table = table[table["status"] == TESTED].reset_index(drop=True)
    if table.empty:
        found = ", ".join(f"{n:,} {name!r}" for name, n in status.items()) or "none"
        msg = f"Found no tested perturbation (rows by status: {found}); expected one at least."
        raise InputError(msg)
    several = table["kind"].nunique() > 1
    table["name"] = table["perturbation"] + (" (" + table["kind"] + ")" if several else "")
    twice = table.duplicated(["name", "group", "dose"])
    if twice.any():
        msg = f"Found {table['name'][twice].iloc[0]!r} twice in a group at one dose; expected the table of one screen."
        raise InputError(msg)
    table["excess"] = table["score"] - table["null_mean"]
    if with_null:
        table = table[table["excess"].notna()].reset_index(drop=True)
        if table.empty:
            msg = "Found no perturbation with a null_mean; expected a screen of enough genes to match expression."
            raise InputError(msg)
    to_goal = has_goal(table)
    if "score_sd" not in table:
        table["score_sd"] = np.nan if to_goal else table.get("effect_sd", np.nan)
    table["baseline"] = table.get("baseline_shift" if to_goal else "baseline_effect", np.nan)
    made = {} if isinstance(adata, pd.DataFrame) else read_record(adata, VERB, key) or {}
    has_start = "shift_start" in table
    table.attrs = {
        "goal": made.get("goal") or "the goal",
        "start": (made.get("start") or "the start") if has_start else None,
    }
    return table


def has_goal(table: pd.DataFrame) -> bool:
    """Tell whether the score of a screen is a shift towards a goal, and not the effect."""
    return "shift_goal" in table and bool(table["shift_goal"].notna().any())


def excess_matrix(table: pd.DataFrame, value: str, n_top: int) -> pd.DataFrame:
    """Return a column of tested rows as a matrix: perturbations by group and dose, NaN where not tested.

    Kept are the ``n_top`` perturbations farthest from their null in any column, like beside like.
    """
    if n_top < 1:
        msg = f"Found n_top={n_top}; expected 1 at least."
        raise InputError(msg)
    excess = table.pivot(index="name", columns=["group", "dose"], values="excess")
    groups = table["group"].unique().tolist()
    columns = sorted(excess.columns, key=lambda at: (groups.index(at[0]), at[1]))
    farthest = excess.abs().max(axis=1).sort_values(ascending=False, kind="stable")
    excess = excess.loc[farthest.index[:n_top], columns]
    rows = excess.index[_like_beside_like(excess.to_numpy(float))]
    return table.pivot(index="name", columns=["group", "dose"], values=value).loc[rows, columns]


def _of_groups(table: pd.DataFrame, group: str | Sequence[str] | None) -> pd.DataFrame:
    if group is None:
        return table
    wanted = [group] if isinstance(group, str) else list(group)
    there = table["group"].unique().tolist()
    unknown = [name for name in wanted if name not in there]
    if unknown or not wanted:
        msg = f"Found group={group!r}; the groups of the screen are {', '.join(map(repr, there)) or 'none'}."
        raise InputError(msg)
    return table[table["group"].isin(wanted)]


def _like_beside_like(values: NDArray[np.floating]) -> NDArray[np.intp]:
    """Order rows by clustering, those that rise first; what was not tested counts as no excess."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    filled = np.nan_to_num(values)
    if len(filled) < 3:
        return np.argsort(-filled.mean(axis=1), kind="stable")
    order = leaves_list(linkage(filled, "average", optimal_ordering=True)).astype(np.intp)
    half = len(order) // 2
    rises = filled[order[:half]].mean() >= filled[order[half:]].mean()
    return order if rises else order[::-1]
