"""``pl.perturbation_volcano``: how far from its null a perturbation is, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..get._perturbations import SIGNIFICANT, screen_rows
from ._axes import FONT, PAD, add_axes, enclose, figure_of, hand_over, new_figure, plain_frame
from ._perturbation_names import DOWN_COLOR, NEITHER_COLOR, UP_COLOR, row_names, score_name
from ._point_names import name_points
from ._points import legend_dots, legend_style

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 2.8  # inches
MARGIN = 0.1  # of the span: room for names


def perturbation_volcano(
    adata: AnnData | pd.DataFrame,
    *,
    key: str = "scfm",
    group: str | Sequence[str] | None = None,
    n_labels: int = 15,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | None:
    """Draw a screen of :func:`scfm_scverse.tl.rank_perturbations` as a volcano.

    Across: score of a perturbation less the mean score of genes matched by expression, so 0 is what any gene of this
    expression does. Up: false discovery rate, on a log scale; the dashed line is 0.05. Triangles at the top have a rate
    of 0 to the computer's precision. Names go to the significant points farthest from the origin, where there is room.

    Parameters
    ----------
    adata
        Cells that were screened, or the table of a screen.
    key
        The ``key_added`` of the screen.
    group
        Groups to draw; ``None`` draws all.
    n_labels
        Names at most.
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
        No perturbation was tested, none has a null, or a group is not known.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> table = scfm.tl.rank_perturbations(adata, ["CD74", "LYZ", "NKG7"], max_cells=50, n_null=30)
    >>> ax = scfm.pl.perturbation_volcano(table, show=False)
    >>> ax.get_ylabel()
    '−log₁₀ FDR'
    """
    table = screen_rows(adata, key=key, group=group, with_null=True)
    given = ax is not None
    if ax is None:
        ax = add_axes(new_figure(SIDE + 2 * PAD, SIDE + 2 * PAD), PAD, PAD, SIDE, SIDE)
    xy, ceiling = _places(table)
    significant = table["fdr"].to_numpy(float) < SIGNIFICANT
    kinds = np.where(significant, np.where(xy[:, 0] > 0, UP_COLOR, DOWN_COLOR), NEITHER_COLOR)
    for at_top, marker in ((False, "o"), (True, "^")):
        chosen = (xy[:, 1] == ceiling) if at_top else (xy[:, 1] != ceiling)
        ax.scatter(
            xy[chosen, 0],
            xy[chosen, 1],
            c=kinds[chosen],
            s=11,
            marker=marker,
            lw=0,
            alpha=0.85,
            zorder=2,
            clip_on=False,
        )
    _frame(ax, xy)
    ax.set_xlabel(f"{score_name(table)}, less the matched null", fontsize=FONT)
    _explain(ax, kinds)
    far = np.linalg.norm(xy / np.maximum(np.abs(xy).max(axis=0), 1e-300), axis=1)
    named = [at for at in np.argsort(-far, kind="stable") if significant[at]][:n_labels]
    names = row_names(table, groups=True)
    name_points(ax, xy[named], [names[at] for at in named], [str(kinds[at]) for at in named], np.delete(xy, named, 0))
    fig = figure_of(ax)
    if not given:
        enclose(fig)
    return hand_over(fig, ax, show=False if given and show is None else show, return_fig=return_fig)


def _places(table: pd.DataFrame) -> tuple[NDArray[np.float64], float]:
    """Places of the points [p, 2], and the height of those whose rate is 0, above all others."""
    rate = table["fdr"].to_numpy(float)
    height = -np.log10(np.where(rate > 0, rate, np.nan))
    most = float(np.nanmax(height, initial=-np.log10(SIGNIFICANT)))
    ceiling = 1.08 * most
    xy = np.column_stack([table["excess"].to_numpy(float), np.where(rate > 0, height, ceiling)])
    return xy, ceiling


def _frame(ax: Axes, xy: NDArray[np.floating]) -> None:
    low, high = min(xy[:, 0].min(), 0), max(xy[:, 0].max(), 0)
    room = MARGIN * (high - low) or 1.0
    line = -np.log10(SIGNIFICANT)
    ax.set(xlim=(low - room, high + room), ylim=(0, (1 + MARGIN) * max(xy[:, 1].max(), line)))
    ax.axhline(line, color="0.5", lw=0.6, ls="--", zorder=1)
    ax.axvline(0, color="0.8", lw=0.6, zorder=0)
    plain_frame(ax)
    ax.locator_params(axis="x", nbins=5)
    ax.text(
        1, line, f"FDR {SIGNIFICANT}", transform=ax.get_yaxis_transform(), fontsize=FONT - 1, ha="right", va="bottom"
    )
    ax.set_ylabel("−log₁₀ FDR", fontsize=FONT)


def _explain(ax: Axes, kinds: NDArray[np.str_]) -> None:
    """Count the points of each colour above the axes."""
    said = {UP_COLOR: "above", DOWN_COLOR: "below", NEITHER_COLOR: "not significant"}
    counted = [f"{text} ({int((kinds == color).sum()):,})" for color, text in said.items()]
    style = legend_style() | {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 0.2, "borderpad": 0}
    style |= {"handlelength": 0.8, "columnspacing": 1.0}
    ax.legend(handles=legend_dots(counted, list(said)), ncols=3, **style)
