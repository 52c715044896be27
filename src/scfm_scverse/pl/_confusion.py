"""``pl.confusion``: the user's own labels against ours, as a heatmap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from .. import get
from ..get._confusion import agreeing
from ._axes import FONT, PAD, add_axes, enclose, figure_of, hand_over, new_figure
from ._labels import wrap_name

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = 0.24  # inches
MIN_SHARE = 0.02  # of a row, for a column of its own
WRITTEN = 0.005  # share of a row that is written
LIGHT_ABOVE = 0.55  # share of a row from which letters are white
LETTERS = 34  # of a line of a name
OTHERS = "other types"


def confusion(
    adata: AnnData,
    *,
    labels_key: str,
    key: str = "scfm",
    ontology_key: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | None:
    """Draw how labels of your own meet those that :func:`scfm_scverse.tl.annotate` gave.

    Each row is one label of yours with its number of cells, and says in per cent which labels they got. Frames mark
    pairs of one type, or of a type and one below it in the Cell Ontology. Labels of ours that stay rare in every row
    are drawn together. The counts are :func:`scfm_scverse.get.confusion`.

    Parameters
    ----------
    adata
        Annotated cells.
    labels_key
        Column of ``adata.obs`` with labels of your own: names, or clusters.
    key
        The ``key_added`` of the annotation.
    ontology_key
        Column of ``adata.obs`` with the Cell Ontology ids of your labels; without it they are looked up by name.
    ax
        Draw into these axes and show nothing unless ``show=True``.
    show
        ``None`` shows the figure where a screen or a notebook is there to show it.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``, the axes with ``show=False`` or with ``ax``, else ``None``.

    Raises
    ------
    MissingKeyError
        There is no annotation under ``key``, or no such column.
    InputError
        No cell has both labels.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> ax = scfm.pl.confusion(adata, labels_key="bulk_labels", show=False)
    >>> ax.get_ylabel()
    'bulk_labels (cells)'
    """
    counts = get.confusion(adata, labels_key=labels_key, key=key)
    agree = agreeing(adata, counts, key=key, ontology_key=ontology_key)
    share, framed = _without_rare(counts.div(counts.sum(axis=1), axis=0), agree)
    given = ax is not None
    if ax is None:
        height, width = CELL * share.shape[0], CELL * share.shape[1]
        ax = add_axes(new_figure(width + 2 * PAD, height + 2 * PAD), PAD, PAD, width, height)
    ax.pcolormesh(share, cmap="Blues", vmin=0, vmax=1, edgecolors="0.92", linewidth=0.5)
    ax.invert_yaxis()
    _write_shares(ax, share.to_numpy(), framed.to_numpy())
    rows = [f"{wrap_name(str(name), LETTERS)} ({n:,})" for name, n in counts.sum(axis=1).items()]
    ax.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=FONT)
    names = [wrap_name(str(name), LETTERS) for name in share]
    ax.set_xticks(np.arange(len(names)) + 0.5, names, fontsize=FONT, rotation=90, linespacing=1.0, ma="right")
    ax.tick_params(length=0, pad=2)
    ax.spines[:].set_visible(False)
    ax.set_ylabel(f"{labels_key} (cells)", fontsize=FONT)
    ax.set_xlabel(f"{key}_cell_type (% of a row)", fontsize=FONT)
    fig = figure_of(ax)
    if not given:
        enclose(fig)
    return hand_over(fig, ax, show=False if given and show is None else show, return_fig=return_fig)


def _write_shares(ax: Axes, share: NDArray[np.floating], framed: NDArray[np.bool_]) -> None:
    frame: dict[str, Any] = {"fill": False, "edgecolor": "black", "linewidth": 0.8, "clip_on": False, "zorder": 3}
    for i, j in np.argwhere(share > WRITTEN).tolist():
        ink = "white" if share[i, j] > LIGHT_ABOVE else "black"
        ax.text(j + 0.5, i + 0.5, f"{100 * share[i, j]:.0f}", ha="center", va="center", fontsize=FONT - 1, color=ink)
        if framed[i, j]:
            ax.add_patch(Rectangle((j, i), 1, 1, **frame))


def _without_rare(share: pd.DataFrame, agree: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Add up the columns that are rare in every row; a single one stays as it is."""
    rare = share.columns[share.max(axis=0) < MIN_SHARE]
    if len(rare) < 2:
        return share, agree
    kept = share.columns.difference(rare, sort=False)
    name = f"{len(rare)} {OTHERS}"
    return share[kept].assign(**{name: share[rare].sum(axis=1)}), agree[kept].assign(**{name: False})
