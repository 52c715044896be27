"""``pl.perturbation_heatmap``: which perturbations do more, or less, than their null, by group and dose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Patch, Rectangle

from ..get._perturbations import SIGNIFICANT, excess_matrix, screen_rows
from ._axes import FONT, PAD, add_axes, enclose, figure_of, hand_over, new_figure
from ._labels import wrap_name
from ._palettes import MISSING_COLOR
from ._perturbation_names import score_name
from ._points import legend_dots, legend_style

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

WIDE, HIGH = 0.28, 0.125  # inches of an entry
LETTERS = 22
BAR_WIDTH, BAR_HEIGHT = 0.09, 1.0  # inches
BRIGHTEST = 0.98  # quantile of the entries that has the strongest colour
LIGHT_ABOVE = 0.7  # of the strongest colour: dots are white


def perturbation_heatmap(
    adata: AnnData | pd.DataFrame,
    *,
    key: str = "scfm",
    group: str | Sequence[str] | None = None,
    n_top: int = 30,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | None:
    """Draw a screen of :func:`scfm_scverse.tl.rank_perturbations` by group and dose.

    Colours: score of a perturbation less the mean score of genes matched by expression. Dots: false discovery rate
    below 0.05. Hatched: not tested, mostly because too few cells express the gene. Numbers of cells that were tested
    stand with the groups. Like perturbations stand side by side.

    Parameters
    ----------
    adata
        Cells that were screened, or the table of a screen.
    key
        The ``key_added`` of the screen.
    group
        Groups to draw; ``None`` draws all.
    n_top
        Perturbations at most: those farthest from their null in any group.
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
        There is no screen under ``key``.
    InputError
        No perturbation was tested, none has a null, a group is not known, or ``n_top`` is below 1.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> genes = ["CD74", "LYZ", "NKG7"]
    >>> table = scfm.tl.rank_perturbations(adata, genes, groupby="phase", max_cells=50, n_null=30)
    >>> ax = scfm.pl.perturbation_heatmap(table, show=False)
    >>> len(ax.get_yticks()), len(ax.get_xticks())
    (3, 3)
    """
    table = screen_rows(adata, key=key, group=group, with_null=True)
    excess = excess_matrix(table, "excess", n_top)
    given = ax is not None
    if ax is None:
        width, height = WIDE * excess.shape[1], HIGH * excess.shape[0]
        ax = add_axes(new_figure(width + 2 * PAD, height + 2 * PAD), PAD, PAD, width, height)
    limit = float(np.nanquantile(excess.abs(), BRIGHTEST)) or 1.0
    hatched: dict[str, Any] = {"facecolor": MISSING_COLOR, "edgecolor": "0.7", "hatch": "//////", "linewidth": 0}
    ax.add_patch(Rectangle((0, 0), excess.shape[1], excess.shape[0], zorder=0, **hatched))
    mesh = ax.pcolormesh(
        np.ma.masked_invalid(excess), cmap="RdBu_r", vmin=-limit, vmax=limit, edgecolors="white", lw=0.4
    )
    ax.invert_yaxis()
    _dot(ax, excess, excess_matrix(table, "fdr", n_top), limit)
    ax.set_yticks(np.arange(len(excess)) + 0.5, excess.index, fontsize=FONT - 0.5)
    names = _column_names(table, excess.columns)
    ax.set_xticks(np.arange(len(names)) + 0.5, names, fontsize=FONT - 0.5, rotation=90, linespacing=1.0, ma="right")
    ax.tick_params(length=0, pad=2)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("(cells tested)", fontsize=FONT - 0.5)
    beyond = bool((excess.abs() > limit).to_numpy().any())
    _draw_scale(ax, mesh, f"{score_name(table)},\nless the matched null", extend="both" if beyond else "neither")
    _explain(ax, hatched if excess.isna().to_numpy().any() else {})
    fig = figure_of(ax)
    if not given:
        enclose(fig)
    return hand_over(fig, ax, show=False if given and show is None else show, return_fig=return_fig)


def _dot(ax: Axes, excess: pd.DataFrame, rate: pd.DataFrame, limit: float) -> None:
    rows, columns = np.nonzero(rate.to_numpy(float) < SIGNIFICANT)
    strong = np.abs(excess.to_numpy(float)[rows, columns]) > LIGHT_ABOVE * limit
    ax.scatter(columns + 0.5, rows + 0.5, s=5, lw=0, c=np.where(strong, "white", "black"), zorder=3)


def _column_names(table: pd.DataFrame, columns: pd.Index[Any]) -> list[str]:
    """Say group and dose, as far as there are several, and how many cells were tested."""
    n_cells = table.groupby(["group", "dose"])["n_cells"].agg(["min", "max"])
    groups, doses = table["group"].nunique() > 1, table["dose"].nunique() > 1
    names = []
    for group, dose in columns:
        low, high = n_cells.loc[(group, dose)]
        cells = f"({low:,}–{high:,})" if low < high else f"({high:,})"
        said = [wrap_name(str(group), LETTERS)] * (groups or not doses) + [f"dose {dose:g}"] * doses
        names.append(f"{', '.join(said)} {cells}")
    return names


def _draw_scale(ax: Axes, mesh: QuadMesh, label: str, *, extend: str) -> None:
    """Put a colour bar of fixed size beside the rows."""
    window, dpi = ax.get_window_extent(), ax.figure.dpi
    across, up = dpi / window.width, dpi / window.height
    bar = ax.inset_axes((1 + 0.15 * across, 1 - BAR_HEIGHT * up, BAR_WIDTH * across, BAR_HEIGHT * up))
    figure_of(ax).colorbar(mesh, cax=bar, extend=extend)
    bar.tick_params(labelsize=FONT - 1, length=2, width=0.5, pad=2)
    bar.locator_params(axis="y", nbins=5)
    bar.spines["outline"].set_visible(False)
    bar.set_ylabel(label, fontsize=FONT - 1, labelpad=3)


def _explain(ax: Axes, hatched: Mapping[str, Any]) -> None:
    """Put what dots and hatching mean below the colour bar."""
    window, dpi = ax.get_window_extent(), ax.figure.dpi
    place = (1 + 0.12 * dpi / window.width, 1 - (BAR_HEIGHT + 0.15) * dpi / window.height)
    handles: list[Line2D | Patch] = [*legend_dots([f"FDR < {SIGNIFICANT}"], ["black"])]
    handles[0].set_markersize(2.5)  # type: ignore[union-attr]
    if hatched:
        handles.append(Patch(label="not tested", **hatched))
    style = legend_style() | {"handlelength": 1.0, "borderaxespad": 0, "borderpad": 0, "fontsize": FONT - 1}
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=place, **style)
