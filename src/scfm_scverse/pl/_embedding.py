"""``pl.embedding``: cells on the UMAP of an embedding, coloured by what ``obs`` says about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError
from ._axes import add_axes, figure_of, frame_map, grow, hand_over, new_figure, overhang
from ._labels import write_names
from ._palettes import ONE_COLOR, category_colors
from ._points import (
    as_categories,
    color_bar,
    draw_categories,
    draw_numbers,
    draw_plain,
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

SIDE = 3.4  # inches
ROWS = 20  # of a column of the legend
LEGEND_PLACES = ("right margin", "on data")


def embedding(
    adata: AnnData,
    *,
    basis: str = "X_scfm",
    color: str | None = None,
    legend_loc: Literal["right margin", "on data"] = "right margin",
    size: float | None = None,
    title: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | None:
    """Draw cells on the UMAP of an embedding.

    The UMAP is computed on first use, with a fixed random state, and kept beside the embedding; your
    ``adata.obsm["X_umap"]`` is never touched. It is computed anew where the embedding changed or cells were added; a
    subset keeps its place on the map of the whole (delete the layout to give it a map of its own). To save:
    ``scfm.pl.embedding(adata, return_fig=True).savefig("map.pdf")``.

    Parameters
    ----------
    adata
        Cells with an embedding, as :func:`scfm_scverse.tl.embed` writes it.
    basis
        Key of ``adata.obsm``; the ``X_`` may be left out. One with two columns is drawn as it is.
    color
        Column of ``adata.obs``: categories, strings, flags or numbers.
    legend_loc
        Names of categories beside the map or on it.
    size
        Area of a point in points squared; ``None`` goes by the number of cells.
    title
        ``None`` takes the name of the column.
    ax
        Draw into these axes and show nothing unless ``show=True``.
    show
        ``None`` shows the figure where a screen or a notebook is there to show it.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``, the axes with ``show=False`` or with ``ax``, else ``None``. Written, where
    absent:

    ``adata.obsm["X_umap_scfm"]`` : float32 [n, 2]
        The layout (here of ``"X_scfm"``); NaN for cells without an embedding, which are not drawn.
    ``adata.uns["scfm"]["umap"]["X_umap_scfm"]``
        What the layout shows.
    ``adata.uns["<color>_colors"]``
        One colour a category.

    Raises
    ------
    MissingKeyError
        ``basis`` is not in ``adata.obsm``, or ``color`` not in ``adata.obs``.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> ax = scfm.pl.embedding(adata, basis="X_pca", color="bulk_labels", show=False)
    >>> adata.obsm["X_umap_pca"].shape
    (700, 2)
    """
    if legend_loc not in LEGEND_PLACES:
        msg = f"legend_loc={legend_loc!r} is not known; expected one of {', '.join(map(repr, LEGEND_PLACES))}."
        raise InputError(msg)
    if color is not None and color not in adata.obs:
        there = ", ".join(map(repr, adata.obs.columns)) or "none"
        msg = f"color={color!r} is not in adata.obs; its columns are {there}."
        raise MissingKeyError(msg)
    xy, name = map_of(adata, basis)
    given = ax is not None
    if ax is None:
        ax = add_axes(new_figure(SIDE + 0.5, SIDE + 0.6), 0.25, 0.25, SIDE, SIDE)
    frame_map(ax, xy, name, title if title is not None else color or "")
    if color is None:
        draw_plain(ax, xy, ONE_COLOR, size=size)
    else:
        _draw_column(ax, xy, adata, color, size=size, on_data=legend_loc == "on data")
    fig = figure_of(ax)
    if not given:
        grow(fig, right=overhang(ax))
    return hand_over(fig, ax, show=False if given and show is None else show, return_fig=return_fig)


def _draw_column(
    ax: Axes, xy: NDArray[np.floating], adata: AnnData, column: str, *, size: float | None, on_data: bool
) -> None:
    """Draw points and what explains their colours."""
    import pandas as pd

    values = adata.obs[column]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        numbers = values.to_numpy(dtype=float, na_value=np.nan)
        seen = numbers[np.isfinite(numbers)]
        limits = (seen.min(), seen.max()) if len(seen) else (0.0, 1.0)
        color_bar(ax, draw_numbers(ax, xy, numbers, sequential("viridis_r"), limits=limits, size=size))
        return
    categories = as_categories(values)
    colors = category_colors(adata, column, categories)
    draw_categories(ax, xy, categories, colors, size=size)
    groups = groups_of(xy, categories)
    beside = write_names(ax, groups, colors) if on_data else groups
    names = [name for name in colors if name in beside]
    if names:
        dots = legend_dots(names, [colors[name] for name in names])
        n_columns = -(-len(names) // ROWS)
        ax.legend(handles=dots, loc="center left", bbox_to_anchor=(1.02, 0.5), ncols=n_columns, **legend_style())
