"""``pl.composition``: the types of each sample, as stacked bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.patches import Patch

from .. import get
from ._axes import FONT, PAD, add_axes, enclose, figure_of, hand_over, new_figure, plain_frame
from ._labels import wrap_name
from ._palettes import MISSING_COLOR, category_colors
from ._points import legend_style

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, BAR = 3.6, 0.24  # inches; a bar and the gap above it
MIN_SHARE = 0.01  # of one group at least, for a colour of its own
MAX_TYPES = 20
LETTERS = 34  # of a line of a name
ROWS, FEW_ROWS = 14, 6  # of a column of the legend, beside many bars and beside few


def composition(
    adata: AnnData,
    *,
    groupby: str,
    key: str = "scfm",
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | None:
    """Draw which types each sample, donor, condition or cluster is made of.

    Colours are those of :func:`scfm_scverse.pl.annotation`. Types that are rare in every group are drawn together. The
    numbers are :func:`scfm_scverse.get.composition`.

    Parameters
    ----------
    adata
        Annotated cells.
    groupby
        Column of ``adata.obs`` that tells the groups apart.
    key
        The ``key_added`` of the annotation.
    ax
        Draw into these axes and show nothing unless ``show=True``.
    show
        ``None`` shows the figure where a screen or a notebook is there to show it.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``, the axes with ``show=False`` or with ``ax``, else ``None``. Colours are written
    as :func:`scfm_scverse.pl.embedding` does.

    Raises
    ------
    MissingKeyError
        There is no annotation under ``key``, or ``groupby`` is not in ``adata.obs``.
    InputError
        No cell has a group.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> ax = scfm.pl.composition(adata, groupby="phase", show=False)
    >>> [tick.get_text().split()[0] for tick in ax.get_yticklabels()]
    ['G1', 'G2M', 'S']
    """
    cells = get.composition(adata, groupby=groupby, key=key)
    share = cells.pivot(index="group", columns="cell_type", values="share")
    share = share.loc[cells["group"].unique(), cells["cell_type"].unique()]
    n_cells = cells.groupby("group")["n_cells"].sum().reindex(share.index)
    values = pd.Categorical(adata.obs[f"{key}_cell_type"])
    colors = category_colors(adata, f"{key}_cell_type", values)
    given = ax is not None
    if ax is None:
        height = BAR * len(share)
        ax = add_axes(new_figure(WIDTH + 2 * PAD, height + 2 * PAD), PAD, PAD, WIDTH, height)
    handles = _draw_bars(ax, share, colors)
    groups = [f"{wrap_name(str(name), LETTERS)} ({n:,})" for name, n in n_cells.items()]
    ax.set_yticks(np.arange(len(share)), groups)
    ax.set(xlim=(0, 1), ylim=(len(share) - 0.5, -0.5))
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    plain_frame(ax)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("cells (%)", fontsize=FONT)
    ax.set_ylabel(groupby, fontsize=FONT)
    n_columns = -(-len(handles) // (ROWS if len(share) > FEW_ROWS else FEW_ROWS))
    style = legend_style() | {"ncols": n_columns, "borderaxespad": 0}
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1), **style)
    fig = figure_of(ax)
    if not given:
        enclose(fig)
    return hand_over(fig, ax, show=False if given and show is None else show, return_fig=return_fig)


def _draw_bars(ax: Axes, share: pd.DataFrame, colors: Mapping[str, str]) -> list[Patch]:
    """Draw one bar a row, rare types together, and return what explains the colours."""
    shown, others = _frequent(share)
    left, at = np.zeros(len(share)), np.arange(len(share))
    handles = []
    for name in shown:
        color = colors.get(name, MISSING_COLOR)
        ax.barh(at, share[name], left=left, height=0.8, color=color, edgecolor="white", linewidth=0.3)
        left += share[name].to_numpy()
        handles.append(Patch(color=color, label=wrap_name(name, LETTERS)))
    if others:
        hatched: dict[str, Any] = {"facecolor": "white", "edgecolor": "0.6", "linewidth": 0.4, "hatch": "/////"}
        ax.barh(at, 1 - left, left=left, height=0.8, **hatched)
        handles.append(Patch(label=f"{len(others)} other types", **hatched))
    return handles


def _frequent(share: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Split labels into those with a colour of their own and the others, at least two of them."""
    mean = share.mean(axis=0)[share.max(axis=0) >= MIN_SHARE]
    frequent = set(mean.sort_values(ascending=False, kind="stable").index[:MAX_TYPES])
    names = [str(name) for name in share]
    others = [name for name in names if name not in frequent]
    if len(others) < 2:
        return names, []
    return [name for name in names if name in frequent], others
