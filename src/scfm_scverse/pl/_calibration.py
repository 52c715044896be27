"""``pl.calibration``: the confidence against the share of right answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import get
from ._axes import FONT, PAD, add_axes, enclose, hand_over, new_figure, plain_frame
from ._palettes import ONE_COLOR

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE, LOW, GAP = 2.4, 0.55, 0.12  # inches: the diagram, the histogram below it, and between them


def calibration(
    adata: AnnData,
    *,
    labels_key: str,
    key: str = "scfm",
    ontology_key: str | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | dict[str, Axes] | None:
    """Draw whether the confidence of :func:`scfm_scverse.tl.annotate` holds.

    Points on the dashed line: of the answers given with a confidence of 80 %, 80 % are right. Above the line answers
    are better than they say, below it worse. Bars are 95 % intervals, which take cells for independent. The numbers,
    and what counts as right, are those of :func:`scfm_scverse.get.calibration`.

    Parameters
    ----------
    adata
        Annotated cells.
    labels_key
        Column of ``adata.obs`` with labels to trust.
    key
        The ``key_added`` of the annotation.
    ontology_key
        Column of ``adata.obs`` with the Cell Ontology ids of those labels; without it they are looked up by name.
    show
        ``None`` shows the figure where a screen or a notebook is there to show it.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``; with ``show=False`` its axes, named ``"reliability"`` and ``"cells"``; else
    ``None``.

    Raises
    ------
    MissingKeyError
        There is no annotation under ``key``, or no such column.
    InputError
        No cell can be judged.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> axes = scfm.pl.calibration(adata, labels_key="bulk_labels", show=False)
    >>> list(axes)
    ['reliability', 'cells']
    """
    table = get.calibration(adata, labels_key=labels_key, key=key, ontology_key=ontology_key)
    fig = new_figure(SIDE + 2 * PAD, SIDE + GAP + LOW + 2 * PAD)
    axes = {
        "reliability": add_axes(fig, PAD, PAD + LOW + GAP, SIDE, SIDE),
        "cells": add_axes(fig, PAD, PAD, SIDE, LOW),
    }
    _draw_reliability(axes["reliability"], table[table["n_cells"] > 0])
    low, high = (table.index.get_level_values(name) for name in ("from", "to"))
    axes["cells"].bar(low, table["n_cells"], width=high - low, align="edge", color=ONE_COLOR, ec="white", lw=0.5)
    facts = table.attrs
    note = f"ECE {facts['ece']:.3f}\n{facts['n_judged']:,} cells"
    if facts["n_finer"]:
        note += f",\n{facts['n_finer']:,} finer than\ntheir label"
    axes["reliability"].text(0.97, 0.04, note, fontsize=FONT, ha="right", va="bottom")
    for ax in axes.values():
        plain_frame(ax)
        ax.set(xlim=(0, 1), xticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    axes["reliability"].tick_params(labelbottom=False)
    axes["cells"].set_xlabel("confidence", fontsize=FONT)
    axes["cells"].set_ylabel("cells", fontsize=FONT)
    axes["reliability"].set_ylabel("share of right answers", fontsize=FONT)
    fig.align_ylabels()
    enclose(fig)
    return hand_over(fig, axes, show=show, return_fig=return_fig)


def _draw_reliability(ax: Axes, bins: pd.DataFrame) -> None:
    ax.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=0.8, zorder=1)
    middle, height = bins["mean_confidence"], bins["share_right"]
    interval = [height - bins["low"], bins["high"] - height]
    ax.errorbar(middle, height, interval, fmt="o-", color=ONE_COLOR, markersize=3.5, linewidth=1, elinewidth=0.8)
    ax.set(ylim=(0, 1.02), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
