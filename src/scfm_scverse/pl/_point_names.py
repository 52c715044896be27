"""Names of points in a plot: beside their point, over no other point and no other name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ._axes import FONT
from ._palettes import readable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOT, GAP = 2.2, 1.2  # points (1/72 inch): half the width of a point, and what is left free around it
FARTHEST, STEPS, ANGLES = 34.0, 12, 24  # points; distances and directions that are tried
WAY = 12  # points on the line from a name to its point


def name_points(
    ax: Axes, xy: NDArray[np.floating], names: Sequence[str], colors: Sequence[str], others: NDArray[np.floating]
) -> list[str]:
    """Write names beside points, the first choosing first, and return those without room.

    The axes must have their final size and limits.

    Parameters
    ----------
    ax
        Where the points are drawn.
    xy, names, colors
        Points that get a name, [k, 2], and the colours of their names.
    others
        Points that get none, [m, 2].
    """
    texts = [
        ax.text(0, 0, name, color=readable(color), fontsize=FONT - 1, ha="center", va="center")
        for name, color in zip(names, colors, strict=True)
    ]
    to_points = 72 / ax.figure.dpi
    dots, obstacles = (to_points * ax.transData.transform(np.reshape(points, (-1, 2))) for points in (xy, others))
    sizes = to_points * np.array([text.get_window_extent().size for text in texts]).reshape(-1, 2)
    inside = to_points * ax.get_window_extent().get_points()
    middles = find_free(dots, sizes, np.vstack([dots, obstacles]), inside)
    back = ax.transData.inverted()
    for text, dot, middle, size in zip(texts, dots, middles, sizes, strict=True):
        if np.isnan(middle).any():
            text.remove()
            continue
        x, y = back.transform(middle / to_points)
        text.set_position((x, y))
        start = np.clip(dot, middle - size / 2, middle + size / 2)
        if np.linalg.norm(dot - start) > 2 * (DOT + GAP):
            line = back.transform(np.array([start, dot]) / to_points)
            ax.plot(*line.T, color=text.get_color(), lw=0.4, zorder=1)
    return [name for name, middle in zip(names, middles, strict=True) if np.isnan(middle).any()]


def find_free(
    dots: NDArray[np.floating],
    sizes: NDArray[np.floating],
    obstacles: NDArray[np.floating],
    inside: NDArray[np.floating],
) -> NDArray[np.floating]:
    """Return the middle of the name of each dot, [k, 2], as near as is free; NaN where nothing is.

    Names are boxes of ``sizes``; they stay between the corners ``inside`` [2, 2], cover no obstacle, no other name and
    no line between another name and its dot, and their own line crosses no name and no obstacle.
    """
    middles = np.full((len(dots), 2), np.nan)
    ways = np.full((len(dots), WAY, 2), np.nan)
    for i, (dot, size) in enumerate(zip(dots, sizes, strict=True)):
        near = obstacles[(np.abs(obstacles - dot) < FARTHEST + size + DOT + GAP).all(axis=1)]
        places = _around(dot, size)
        places = places[((places - size / 2 >= inside[0]) & (places + size / 2 <= inside[1])).all(axis=1)]
        covers = _over(near, places, size + 2 * (DOT + GAP) - 0.1) | _over(middles[:i], places, size + sizes[:i])
        places = places[~(covers | _over(ways[:i].reshape(-1, 2), places, size + GAP))]
        lines = _way(dot, places, size)
        crosses = (np.abs(lines[:, :, None] - middles[:i]) < sizes[:i] / 2).all(axis=-1).any(axis=(1, 2))
        others = near[np.linalg.norm(near - dot, axis=1) > 2 * DOT]
        crosses |= (np.linalg.norm(lines[:, :, None] - others, axis=-1) < DOT + GAP).any(axis=(1, 2))
        free = np.flatnonzero(~crosses)
        if len(free):
            middles[i], ways[i] = places[free[0]], lines[free[0]]
    return middles


def _around(dot: NDArray[np.floating], size: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return middles of a box around a dot, the nearest first, right and left of it before others."""
    angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)
    angle = angle[np.argsort(np.abs(np.sin(angle)), kind="stable")]
    direction = np.column_stack([np.cos(angle), np.sin(angle)])
    # The box touches a circle around the dot: beyond it by half its own size.
    away = np.linspace(DOT + GAP, FARTHEST, STEPS)[:, None, None] * direction
    beyond = np.sign(np.round(direction, 6)) * size / 2
    out: NDArray[np.floating] = (dot + away + beyond).reshape(-1, 2)
    return out


def _over(points: NDArray[np.floating], places: NDArray[np.floating], size: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Tell of each place whether any point lies in a box of that size around it; there may be a size a point."""
    inside = np.asarray((np.abs(places[:, None] - points) < size / 2).all(axis=-1))
    return np.asarray(inside.any(axis=1))


def _way(dot: NDArray[np.floating], places: NDArray[np.floating], size: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return points on the lines from boxes to their dot, [places, WAY, 2]."""
    starts = np.clip(dot, places - size / 2, places + size / 2)
    points: NDArray[np.floating] = starts[:, None] + np.linspace(0, 1, WAY)[:, None] * (dot - starts)[:, None]
    return points
