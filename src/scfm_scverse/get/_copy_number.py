"""``get.copy_number``: windows along the chromosomes, cells in order, neighbours averaged where there are many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError
from .._record import read_record
from ._labels import names_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

LEAST_ROWS = 4  # of a group that has as many cells
MAX_GROUPS = 14
OTHERS = "other types"


def copy_number(adata: AnnData, *, groupby: str | None = None, max_rows: int = 400, key: str = "scfm") -> pd.DataFrame:
    """Pull out what :func:`scfm_scverse.tl.score_copy_number` wrote, as rows to draw.

    Cells stand by group and, inside it, by falling score; groups by falling median score. Where there are more cells
    than rows, cells that follow each other are averaged.

    Parameters
    ----------
    adata
        Cells with copy number.
    groupby
        Column of ``adata.obs`` that tells groups apart; ``None`` takes the types of the annotation under ``key``, or
        one group where there is none. Of more than 14 groups the smallest are joined as "other types".
    max_rows
        Rows at most, about.
    key
        The ``key_added`` of the scores.

    Returns
    -------
    One row for each cell or run of cells, one column a window. The index holds ``group``, ``n_cells`` and ``score``
    (mean), the columns hold ``chromosome`` and ``start`` (first base). Cells without windows are left out.

    Raises
    ------
    MissingKeyError
        Nothing was written under ``key``, or ``groupby`` is not in ``adata.obs``.
    InputError
        No cell has windows and a group, or ``max_rows`` is below 1.

    Examples
    --------
    >>> import anndata, numpy as np, scfm_scverse as scfm
    >>> from scfm_scverse.genes import load_gene_table
    >>> table = load_gene_table()
    >>> genes = table.symbol[table.canonical & (table.biotype == "protein_coding")][:3000]
    >>> counts = np.random.default_rng(0).poisson(1.0, (120, 3000)).astype(np.float32)
    >>> adata = anndata.AnnData(counts)
    >>> adata.var_names = genes
    >>> adata.obs["type"] = ["normal"] * 80 + ["tumour"] * 40
    >>> scfm.tl.score_copy_number(adata, reference_key="type", reference_cat="normal")
    >>> rows = scfm.get.copy_number(adata, groupby="type", max_rows=60)
    >>> rows.groupby("group").size().to_dict()
    {'normal': 40, 'tumour': 20}
    """
    import pandas as pd

    slot = f"X_{key}_copy_number"
    written = read_record(adata, "copy_number", key)
    if slot not in adata.obsm or written is None:
        msg = (
            f"adata.obsm[{slot!r}] or its record is missing; expected what tl.score_copy_number writes. "
            f"Run scfm.tl.score_copy_number(adata, key_added={key!r}) first, or pass key=."
        )
        raise MissingKeyError(msg)
    if max_rows < 1:
        msg = f"Found max_rows={max_rows}; expected 1 at least."
        raise InputError(msg)
    windows = np.asarray(adata.obsm[slot])
    score = adata.obs[f"{key}_copy_number"].to_numpy(float)
    group = _groups(adata, groupby, key)
    cells = np.flatnonzero(np.isfinite(windows[:, 0]) & (group != ""))
    if not len(cells):
        msg = f"Found no cell with windows in adata.obsm[{slot!r}] and a group; expected one at least."
        raise InputError(msg)
    runs = _runs(group[cells], score[cells], max_rows)
    index = pd.MultiIndex.from_tuples(
        [(str(group[cells[run[0]]]), len(run), _mean(score[cells[run]])) for run in runs],
        names=["group", "n_cells", "score"],
    )
    places = [written["window_chromosome"], written["window_start"]]
    columns = pd.MultiIndex.from_arrays(places, names=["chromosome", "start"])
    means = np.stack([windows[cells[run]].mean(axis=0) for run in runs])
    return pd.DataFrame(means, index=index, columns=columns)


def _groups(adata: AnnData, groupby: str | None, key: str) -> NDArray[np.str_]:
    """Group of each cell, '' for none."""
    if groupby is None and f"{key}_cell_type" not in adata.obs:
        return np.full(adata.n_obs, "all cells")
    values = names_of(adata, "groupby", groupby or f"{key}_cell_type").astype(object)
    names = np.array([value if isinstance(value, str) else "" for value in values])
    known, counts = np.unique(names[names != ""], return_counts=True)
    if len(known) <= MAX_GROUPS:
        return names
    frequent = known[np.argsort(-counts, kind="stable")[: MAX_GROUPS - 1]]
    return np.where(np.isin(names, [*frequent, ""]), names, OTHERS)


def _runs(group: NDArray[np.str_], score: NDArray[np.floating], max_rows: int) -> list[NDArray[np.intp]]:
    """Cells of each row to draw: groups by falling median score, cells by falling score, those without one last."""
    names = np.unique(group)
    height = {name: _mean(score[group == name], median=True) for name in names}
    runs = []
    for name in sorted(names, key=lambda one: (np.isnan(height[one]), -height[one], one)):
        cells = np.flatnonzero(group == name)
        cells = cells[np.argsort(-score[cells], kind="stable")]
        n_rows = min(len(cells), max(round(max_rows * len(cells) / max(len(group), max_rows)), LEAST_ROWS))
        runs += np.array_split(cells, n_rows)
    return runs


def _mean(values: NDArray[np.floating], *, median: bool = False) -> float:
    """Mean or median of those that are there, NaN where none is."""
    there = values[np.isfinite(values)]
    if not len(there):
        return float("nan")
    return float(np.median(there) if median else there.mean())
