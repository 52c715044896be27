"""``pl.annotation``: cell types, confidence and unknown score side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .. import get
from .._record import read_record
from ..get._tables import MALIGNANT, UNKNOWN
from ._axes import FONT, add_axes, figure_of, frame_map, grow, hand_over, new_figure
from ._labels import write_names
from ._palettes import category_colors
from ._points import (
    color_bar,
    draw_categories,
    draw_numbers,
    groups_of,
    legend_dots,
    legend_style,
    sequential,
)
from ._umap import map_of

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D

# Inches: a figure across a page, one large map and two small ones.
WIDTH, HEIGHT, LARGE, SMALL = 7.2, 4.85, 4.3, 1.9
LEFT, BOTTOM, GAP = 0.25, 0.25, 0.3
MAX_LABELS = 24  # names on the map
MIN_SHARE, MIN_CELLS = 0.005, 5  # for a name on the map
MAX_LISTED = 18  # lines of the legend
MAX_COLUMNS = 4
LEGEND_TITLE = "Other types (cells)"
LEGEND_PAD = 0.08  # inches


def annotation(
    adata: AnnData,
    *,
    key: str = "scfm",
    basis: str = "X_scfm",
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | dict[str, Axes] | None:
    """Draw what :func:`scfm_scverse.tl.annotate` wrote: cell types, confidence and unknown score on one map.

    Names stand on the map where there is room; other types, mostly rare ones, are listed below with their numbers of
    cells. Unknown cells are grey, malignant ones black. A mark beside the second colour bar shows the unknown score
    above which a cell is called "unknown". To save:
    ``scfm.pl.annotation(adata, return_fig=True).savefig("annotation.pdf")``.

    Parameters
    ----------
    adata
        Annotated cells.
    key
        The ``key_added`` of the annotation.
    basis
        As in :func:`scfm_scverse.pl.embedding`.
    show
        ``None`` shows the figure where a screen or a notebook is there to show it.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``; with ``show=False`` its axes, named ``"cell_type"``, ``"confidence"`` and
    ``"unknown_score"``; else ``None``. Layout and colours are written as :func:`scfm_scverse.pl.embedding` does.

    Raises
    ------
    MissingKeyError
        There is no annotation under ``key``, or no embedding under ``basis``.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> fig = scfm.pl.annotation(adata, return_fig=True)
    >>> [ax.get_title(loc="left") for ax in fig.axes]
    ['Cell type', 'Confidence', 'Unknown score']
    """
    table = get.annotation(adata, key=key)
    xy, name = map_of(adata, basis)
    fig = new_figure(WIDTH, HEIGHT)
    across = LEFT + LARGE + GAP
    axes = {
        "cell_type": add_axes(fig, LEFT, BOTTOM, LARGE, LARGE),
        "confidence": add_axes(fig, across, BOTTOM + LARGE - SMALL, SMALL, SMALL),
        "unknown_score": add_axes(fig, across, BOTTOM, SMALL, SMALL),
    }
    for panel, title in zip(axes, ("Cell type", "Confidence", "Unknown score"), strict=True):
        frame_map(axes[panel], xy, name, title)
    _draw_scores(axes, xy, table, refuse_above=(read_record(adata, "annotate", key) or {}).get("refuse_above"))
    values = pd.Categorical(table["cell_type"])
    _draw_cell_types(axes["cell_type"], xy, values, category_colors(adata, f"{key}_cell_type", values))
    axes["cell_type"].set_title(_summary(table, xy), fontsize=FONT, loc="right", color="0.35", pad=4)
    return hand_over(fig, axes, show=show, return_fig=return_fig)


def _draw_scores(
    axes: dict[str, Axes], xy: NDArray[np.floating], table: pd.DataFrame, *, refuse_above: float | None
) -> None:
    for panel, cmap in (("confidence", "YlGnBu"), ("unknown_score", "YlOrRd")):
        numbers = table[panel].to_numpy(dtype=float)
        points = draw_numbers(axes[panel], xy, numbers, sequential(cmap), limits=(0.0, 1.0), size=None)
        bar = color_bar(axes[panel], points)
        bar.set_yticks([0, 0.5, 1])
        if panel == "unknown_score" and refuse_above is not None:
            place = bar.get_yaxis_transform()
            bar.plot(0, refuse_above, marker=">", markersize=3.5, color="black", transform=place, clip_on=False)


def _draw_cell_types(ax: Axes, xy: NDArray[np.floating], values: pd.Categorical, colors: dict[str, str]) -> None:
    """Draw types with the names of the frequent ones on the map and the others below."""
    draw_categories(ax, xy, values, colors, size=None)
    groups = groups_of(xy, values)
    n_seen = sum(map(len, groups.values()))
    enough = max(MIN_SHARE * n_seen, min(MIN_CELLS, n_seen))
    frequent = [name for name in groups if len(groups[name]) >= enough][:MAX_LABELS]
    no_room = write_names(ax, {name: groups[name] for name in frequent}, colors)
    rare = [name for name in groups if name not in frequent or name in no_room]
    if not rare:
        return
    n_listed = len(rare) if len(rare) <= MAX_LISTED else MAX_LISTED - 1
    listed, dropped = rare[:n_listed], rare[n_listed:]
    dots = legend_dots([f"{name} ({len(groups[name]):,})" for name in listed], [colors[name] for name in listed])
    if dropped:
        n_cells = sum(len(groups[name]) for name in dropped)
        dots += legend_dots([f"{len(dropped)} more types ({n_cells:,})"], ["none"])
    _list_below(ax, dots)


def _list_below(ax: Axes, dots: list[Line2D]) -> None:
    """Put a legend under the figure, in as many columns as fit across it."""
    fig = figure_of(ax)
    n_columns = MAX_COLUMNS
    legend = _legend(fig, dots, n_columns)
    while n_columns > 1 and legend.get_window_extent().width > (WIDTH - LEFT) * fig.dpi:
        n_columns -= 1
        legend.remove()
        legend = _legend(fig, dots, n_columns)
    height = legend.get_window_extent().height / fig.dpi
    grow(fig, down=height + 2 * LEGEND_PAD)
    legend.set_bbox_to_anchor((LEFT / WIDTH, (height + LEGEND_PAD) / fig.get_size_inches()[1]))


def _legend(fig: Figure, dots: list[Line2D], n_columns: int) -> Legend:
    style: dict[str, Any] = {
        "borderaxespad": 0,
        "borderpad": 0,
        "title": LEGEND_TITLE,
        "title_fontsize": FONT,
        "alignment": "left",
    }
    style |= {"loc": "upper left", "bbox_to_anchor": (LEFT / WIDTH, 0), "ncols": n_columns}
    return fig.legend(handles=dots, **style, **legend_style())


def _summary(table: pd.DataFrame, xy: NDArray[np.floating]) -> str:
    """Count cells, and those that are unknown, malignant or have no place on the map."""
    n_unknown, n_malignant = (int((table["cell_type"] == label).sum()) for label in (UNKNOWN, MALIGNANT))
    n_hidden = int((~np.isfinite(xy).all(axis=1)).sum())
    parts = [f"{len(table):,} cell{'s' * (len(table) != 1)}", f"{n_unknown:,} unknown"]
    parts += [f"{n_malignant:,} malignant"] * (n_malignant > 0)
    return ", ".join(parts + [f"{n_hidden:,} without counts not shown"] * (n_hidden > 0))
