"""Names on a map: on their group or right beside it, where they cover few cells and no other name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._axes import FONT
from ._palettes import readable

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

LINE = 20  # letters
GRID = 40  # squares across the map on which density is measured
FINE = 150  # squares across the map on which covered cells are counted
WAY = 16  # points on the line from a name to its group
FARTHEST = 0.14  # of the map, from a group's centre to its name
TOUCHING = 0.01  # of the map, between a name and the next cell of its group
GAP = 3.0  # points (1/72 inch) between two names
# What a place costs: cells of others or of the group itself under all of the name, the centre of another group under
# it, distance of a whole map.
COVER_OTHERS, COVER_OWN, COVER_CENTER, DISTANCE = 1.0, 0.3, 0.5, 4.0


def wrap_name(name: str, width: int = LINE) -> str:
    """Break a long name into as few lines as fit, of about equal length, between words only."""
    n_lines = len(_wrap(name, width))
    for narrower in range(1, width):
        lines = _wrap(name, narrower)
        if len(lines) <= n_lines and max(map(len, lines), default=0) <= width:
            return "\n".join(lines)
    return "\n".join(_wrap(name, width))


def _wrap(name: str, width: int) -> list[str]:
    return wrap(name, width, break_long_words=False, break_on_hyphens=False)


def dense_center(xy: NDArray[np.floating], low: NDArray[np.floating], span: float) -> NDArray[np.floating]:
    """Return the middle of the densest part of a group, [2], on a map of ``span`` from ``low``."""
    square = _squares(xy, low, span, GRID)
    counts = np.zeros((GRID + 2, GRID + 2), int)
    np.add.at(counts, (square[:, 0] + 1, square[:, 1] + 1), 1)
    around = np.sum([counts[i : i + GRID, j : j + GRID] for i in range(3) for j in range(3)], axis=0)
    peak = np.array(np.unravel_index(np.argmax(around), around.shape))
    near = (np.abs(square - peak) <= 1).all(axis=1)
    center: NDArray[np.floating] = np.median(xy[near], axis=0)
    return center


def find_places(
    groups: Sequence[NDArray[np.floating]], sizes: NDArray[np.floating], low: NDArray[np.floating], span: float
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Find a place for the name of each group, the first group choosing first.

    Names are boxes of ``sizes`` [k, 2]; they stay on the square map and overlap neither each other nor the way from
    another one to its group. Returns the dense centres of the groups and the middles of the names, [k, 2] each, NaN
    where there is no room.
    """
    centers = np.array([dense_center(xy, low, span) for xy in groups]).reshape(-1, 2)
    filled = np.zeros((len(groups), FINE, FINE), bool)
    for i, xy in enumerate(groups):
        filled[i, *_squares(xy, low, span, FINE).T] = True
    how_many = filled.sum(axis=0)
    middles = np.full((len(groups), 2), np.nan)
    ways = np.full((len(groups), WAY, 2), np.nan)
    for i, (center, size) in enumerate(zip(centers, sizes, strict=True)):
        places = _places_around(center, size, low, span)
        taken = _over(places[:, None], middles[:i], size + sizes[:i]).any(axis=1)
        over_names = _over(_way(center, places, size)[:, :, None], middles[:i], sizes[:i]).any(axis=(1, 2))
        over_ways = _over(ways[:i].reshape(-1, 1, 2), places, size).any(axis=0)
        places = places[~(taken | over_names | over_ways)]
        if len(places):
            own = _share(filled[i], places, size, low, span)
            others = _share(how_many > filled[i], places, size, low, span)
            away = np.linalg.norm(np.maximum(np.abs(places - center) - size / 2, 0), axis=1) / span
            n_centers = _over(np.delete(centers, i, axis=0)[:, None], places, size).sum(axis=0)
            cost = COVER_OTHERS * others + COVER_OWN * own + COVER_CENTER * n_centers
            middles[i] = places[np.argmin(cost + DISTANCE * away)]
            ways[i] = _way(centers[i : i + 1], middles[i : i + 1], sizes[i : i + 1])[0]
    return centers, middles


def write_names(ax: Axes, groups: Mapping[str, NDArray[np.floating]], colors: Mapping[str, str]) -> list[str]:
    """Write the name of each group on a map, the most important group first, and return the names without room.

    A name has the colour of its group, dark enough to be read. The axes must have their final size.
    """
    from matplotlib import patheffects

    low, high = np.array([ax.get_xlim(), ax.get_ylim()]).T
    halo = [patheffects.withStroke(linewidth=2.2, foreground="white", alpha=0.9)]
    style: dict[str, Any] = {"fontsize": FONT - 0.5, "ha": "center", "va": "center", "path_effects": halo}
    inks = [readable(colors[name]) for name in groups]
    texts = [
        ax.text(low[0], low[1], wrap_name(name), color=ink, linespacing=1.0, zorder=5, in_layout=False, **style)
        for name, ink in zip(groups, inks, strict=True)
    ]
    gap = GAP * ax.figure.dpi / 72
    sizes = np.array([_size(text) + gap for text in texts]).reshape(-1, 2) / _size(ax) * (high - low)
    centers, middles = find_places(list(groups.values()), sizes, low, float((high - low).max()))
    for text, ink, xy, center, middle, size in zip(texts, inks, groups.values(), centers, middles, sizes, strict=True):
        if np.isnan(middle).any():
            text.remove()
            continue
        text.set_position(middle)
        nearest = _nearest_core(xy, center, middle, size)
        away = np.abs(nearest - middle) - size / 2
        # A name that all but touches its group needs no line to it.
        if (away > TOUCHING * (high - low)).any():
            start = np.clip(nearest, middle - size / 2, middle + size / 2)
            ax.plot(*np.array([start, nearest]).T, color=ink, lw=0.7, path_effects=halo, zorder=4)
    return [name for name, middle in zip(groups, middles, strict=True) if np.isnan(middle).any()]


def _size(artist: Artist) -> NDArray[np.floating]:
    """Width and height in pixels."""
    box = artist.get_window_extent()
    return np.array([box.width, box.height])


def _places_around(
    center: NDArray[np.floating], size: NDArray[np.floating], low: NDArray[np.floating], span: float
) -> NDArray[np.floating]:
    """Return middles of a name on and around its centre that keep it on the map, [m, 2]."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    away = np.linspace(0, FARTHEST * span, 24)
    rings = (ring[None] * (size / 2 + away[:, None, None])).reshape(-1, 2)
    places = np.concatenate([[center], center + ring * size / 4, center + rings])
    return places[((places - size / 2 >= low) & (places + size / 2 <= low + span)).all(axis=1)]


def _nearest_core(
    xy: NDArray[np.floating], center: NDArray[np.floating], middle: NDArray[np.floating], size: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return the cell next to a name, among the half of the group that lies nearest to its centre."""
    from_center = np.linalg.norm(xy - center, axis=1)
    core = xy[from_center <= np.median(from_center)]
    from_name = np.linalg.norm(np.maximum(np.abs(core - middle) - size / 2, 0), axis=1)
    nearest: NDArray[np.floating] = core[np.argmin(from_name)]
    return nearest


def _way(
    centers: NDArray[np.floating], middles: NDArray[np.floating], sizes: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return points on the lines from names to the centres of their groups, [k, WAY, 2]."""
    starts = np.clip(centers, middles - sizes / 2, middles + sizes / 2)
    points: NDArray[np.floating] = starts[:, None] + np.linspace(0, 1, WAY)[:, None] * (centers - starts)[:, None]
    return points


def _over(
    points: NDArray[np.floating], middles: NDArray[np.floating], sizes: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Tell whether points lie under names; the two are broadcast against each other."""
    return np.asarray((np.abs(points - middles) < sizes / 2).all(axis=-1))


def _share(
    filled: NDArray[np.bool_],
    places: NDArray[np.floating],
    size: NDArray[np.floating],
    low: NDArray[np.floating],
    span: float,
) -> NDArray[np.floating]:
    """Return the share of each box that lies on filled squares, from sums over all squares to the lower left."""
    sums = np.zeros((FINE + 1, FINE + 1))
    sums[1:, 1:] = filled.cumsum(axis=0).cumsum(axis=1)
    x0, y0 = _squares(places - size / 2, low, span, FINE).T
    x1, y1 = _squares(places + size / 2, low, span, FINE).T + 1
    share: NDArray[np.floating] = (sums[x1, y1] - sums[x0, y1] - sums[x1, y0] + sums[x0, y0]) / ((x1 - x0) * (y1 - y0))
    return share


def _squares(xy: NDArray[np.floating], low: NDArray[np.floating], span: float, n: int) -> NDArray[np.intp]:
    return np.clip(((xy - low) / span * n).astype(np.intp), 0, n - 1)
