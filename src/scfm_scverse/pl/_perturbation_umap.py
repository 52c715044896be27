"""``pl.perturbation_umap``: where a perturbation moves cells on the map of the unperturbed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from .._record import check_column
from ..get._perturbation_shifts import perturbation_of, shifts_on_map
from ._axes import FONT, add_axes, enclose, figure_of, hand_over, new_figure
from ._embedding import embedding
from ._perturbation_names import title_of
from ._umap import map_of

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 3.0  # inches
MAX_ARROWS = 120  # one a cell; above, one a square
FEWEST = 5  # moved cells of a square
SQUARES = range(26, 5, -1)  # across the map: as fine as leaves most of the cells that moved in squares with enough
MOST = 0.8
LENGTH, LONGEST = 0.04, 0.25  # of the map: an arrow longer than half of them, and all at most
BELOW = 0.075  # of the map: the arrow that explains the others
ARROW_COLOR = "#1a1a1a"


def perturbation_umap(
    adata: AnnData,
    *,
    key: str = "scfm",
    color: str | None = None,
    basis: str | None = None,
    size: float | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | None:
    """Draw where :func:`scfm_scverse.tl.perturb` moves cells on their map.

    The map is that of the unperturbed cells. An arrow points from a cell to where it lies when perturbed: both ends
    are mean places of the nearest unperturbed cells, weighted by nearness, and their difference starts at the cell. Of
    many cells, those in a square share one arrow: the mean of the cells that moved, five at least. Arrows of one plot
    are comparable; they are drawn longer than they are, by the factor below the map. A map of two dimensions shows
    directions in the embedding only roughly: the effect itself is in the colours and in ``adata.obs``.

    Parameters
    ----------
    adata
        Cells that were perturbed.
    key
        The ``key_added`` of the perturbation.
    color
        Column of ``adata.obs``; ``None`` takes the effect.
    basis
        As in :func:`scfm_scverse.pl.embedding`; ``None`` takes the embedding that the cells had before.
    size
        Area of a point in points squared; ``None`` goes by the number of cells.
    ax
        Draw into these axes and show nothing unless ``show=True``.
    show
        ``None`` shows the figure where a screen or a notebook is there to show it.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``, the axes with ``show=False`` or with ``ax``, else ``None``. Layout and colours
    are written as :func:`scfm_scverse.pl.embedding` does.

    Raises
    ------
    MissingKeyError
        Nothing was written under ``key``; ``color`` is not in ``adata.obs``, or ``basis`` not in ``adata.obsm``.
    ModelMismatchError
        The embedding was written anew with another model.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.perturb(adata, "CST3")
    >>> ax = scfm.pl.perturbation_umap(adata, show=False)
    >>> ax.get_title(loc="left")
    'CST3 deleted'
    """
    written = perturbation_of(adata, key)
    check_column(adata, "color", color)
    basis = basis or str(written["embedding_key"])
    xy, _ = map_of(adata, basis)
    shift = shifts_on_map(adata, xy, key=key)
    given = ax is not None
    if ax is None:
        ax = add_axes(new_figure(SIDE + 1, SIDE + 1), 0.5, 0.5, SIDE, SIDE)
    column = color or f"{key}_effect"
    embedding(adata, basis=basis, color=column, size=size, title="", ax=ax, show=False)
    for bar in ax.child_axes:
        cast("Axes", bar).set_title("effect" if color is None else color, fontsize=FONT - 1, loc="left", pad=3)
    moved = (shift != 0).any(axis=1) & np.isfinite(shift).all(axis=1)
    _draw_arrows(ax, xy[moved], shift[moved])
    ax.set_title(title_of(written), fontsize=FONT + 1, loc="left", pad=FONT + 7)
    note = f"{moved.sum():,} of {adata.n_obs:,} cells moved"
    ax.annotate(note, (0, 1), (0, 4), xycoords="axes fraction", textcoords="offset points", fontsize=FONT, color="0.35")
    fig = figure_of(ax)
    if not given:
        enclose(fig)
    return hand_over(fig, ax, show=False if given and show is None else show, return_fig=return_fig)


def _draw_arrows(ax: Axes, xy: NDArray[np.floating], shift: NDArray[np.floating]) -> None:
    """Draw one arrow a cell or a square of cells, and below the map how long they are."""
    low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
    span = float(high[0] - low[0])
    together = len(xy) > MAX_ARROWS
    if together:
        xy, shift = _by_square(xy, shift, low, span)
    if not len(xy):
        return
    median, most = np.quantile(np.linalg.norm(shift, axis=1), [0.5, 1])
    factor = _round(span * min(LENGTH / median, LONGEST / most))
    unit = _round(LENGTH * span / factor)
    key = np.array([[high[0] - factor * unit, low[1] - BELOW * span]])
    style: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1 / factor, "units": "inches"}
    style |= {"width": 0.016, "headwidth": 4, "headlength": 4.2, "headaxislength": 3.8, "minlength": 0.5}
    style |= {"facecolor": ARROW_COLOR, "edgecolor": "white", "linewidth": 0.35, "zorder": 4}
    ax.quiver(*xy.T, *shift.T, **style)
    ax.quiver(*key.T, unit, 0, clip_on=False, **style)
    each = "mean of cells in a square" if together else "one cell"
    text = f"shift of {unit:g} on the map ({each}), drawn × {factor:g}"
    ax.text(key[0, 0] - 0.015 * span, key[0, 1], text, fontsize=FONT - 1, ha="right", va="center")


def _by_square(
    xy: NDArray[np.floating], shift: NDArray[np.floating], low: NDArray[np.floating], span: float
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Mean places and shifts of the cells of each square of the map that has enough."""
    of = n = np.zeros(0, np.intp)
    for across in SQUARES:
        square = np.clip((xy - low) / span * across, 0, across - 1).astype(np.intp)
        _, of, n = np.unique(square @ (across, 1), return_inverse=True, return_counts=True)
        if n[n >= FEWEST].sum() >= MOST * len(xy):
            break
    means = [np.bincount(of, weights=values) / n for values in (*xy.T, *shift.T)]
    kept = np.stack(means, axis=1)[n >= FEWEST]
    return kept[:, :2], kept[:, 2:]


def _round(number: float) -> float:
    """Round down to one digit."""
    power = 10.0 ** np.floor(np.log10(number))
    return float(f"{np.floor(number / power * (1 + 1e-9)) * power:.1g}")
