"""Cells as points, coloured by category or by number, and the legend of categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import ListedColormap, to_rgba_array
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ._axes import FONT, figure_of
from ._palettes import MISSING_COLOR

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.colors import Colormap

COVER = 0.3  # area of all points over the area of the axes
SMALLEST, LARGEST = 0.5, 14.0  # points squared
PALEST = 0.12  # where a sequential map begins, so that its lowest values still stand out from white paper


def draw_categories(
    ax: Axes, xy: NDArray[np.floating], values: pd.Categorical, colors: Mapping[str, str], *, size: float | None
) -> PathCollection:
    """Draw cells in the colours of their categories: those without one below, the rest mixed."""
    names = [str(name) for name in values.categories]
    palette = to_rgba_array([*(colors[name] for name in names), MISSING_COLOR])
    codes = np.asarray(values.codes)
    # Mixed, because a category drawn last would hide those that it overlaps.
    order = np.lexsort((np.random.default_rng(0).random(len(xy)), codes >= 0))
    return _scatter(ax, xy[order], c=palette[codes[order]], size=size)


def draw_numbers(
    ax: Axes,
    xy: NDArray[np.floating],
    values: NDArray[np.floating],
    cmap: Colormap,
    *,
    limits: tuple[float, float],
    size: float | None,
) -> PathCollection:
    """Draw cells in the colours of their values: high values on top, missing ones in grey below."""
    order = np.argsort(np.where(np.isnan(values), -np.inf, values), kind="stable")
    return _scatter(
        ax,
        xy[order],
        c=values[order],
        size=size,
        cmap=cmap.with_extremes(bad=MISSING_COLOR),
        vmin=limits[0],
        vmax=limits[1],
        plotnonfinite=True,
    )


def draw_plain(ax: Axes, xy: NDArray[np.floating], color: str, *, size: float | None) -> PathCollection:
    """Draw all cells in one colour."""
    return _scatter(ax, xy, c=color, size=size)


def as_categories(values: pd.Series) -> pd.Categorical:
    """Return a column of any kind as categories with names."""
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype):
        return pd.Categorical(values).rename_categories(str)
    return pd.Categorical(values.astype("string").astype(object))


def groups_of(xy: NDArray[np.floating], values: pd.Categorical) -> dict[str, NDArray[np.floating]]:
    """Return the places of the cells of each category that has any on the map, the most numerous first."""
    seen = np.isfinite(xy).all(axis=1)
    codes = np.asarray(values.codes)
    groups = {str(name): xy[seen & (codes == code)] for code, name in enumerate(values.categories)}
    return {name: groups[name] for name in sorted(groups, key=lambda name: -len(groups[name])) if len(groups[name])}


def color_bar(ax: Axes, points: PathCollection) -> Axes:
    """Put a small colour bar beside a map, which keeps its size."""
    bar = ax.inset_axes((1.03, 0.25, 0.035, 0.5))
    figure_of(ax).colorbar(points, cax=bar)
    bar.tick_params(labelsize=FONT - 1, length=2, width=0.5, pad=2)
    bar.spines["outline"].set_visible(False)
    return bar


def sequential(name: str) -> ListedColormap:
    """Return a colour map of matplotlib without its palest part."""
    from matplotlib import colormaps

    return ListedColormap(colormaps[name](np.linspace(PALEST, 1, 256)), name=name)


def legend_dots(names: Sequence[str], colors: Sequence[str]) -> list[Line2D]:
    """Return one dot a name, for a legend."""
    style: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 4.5, "markeredgewidth": 0}
    return [Line2D([], [], color=color, label=name, **style) for name, color in zip(names, colors, strict=True)]


def legend_style() -> dict[str, Any]:
    """Return how every legend of ours looks."""
    return {"frameon": False, "fontsize": FONT, "handletextpad": 0.3, "columnspacing": 1.2, "labelspacing": 0.35}


def _scatter(ax: Axes, xy: NDArray[np.floating], *, size: float | None, **colors: Any) -> PathCollection:
    seen = int(np.isfinite(xy).all(axis=1).sum())
    if size is None:
        box = ax.get_window_extent()
        area = box.width * box.height * (72 / ax.figure.dpi) ** 2
        size = float(np.clip(COVER * area / max(seen, 1), SMALLEST, LARGEST))
    # Points become pixels even inside a PDF, which many thousand circles would make slow to open.
    return ax.scatter(xy[:, 0], xy[:, 1], s=size, linewidths=0, rasterized=True, **colors)
