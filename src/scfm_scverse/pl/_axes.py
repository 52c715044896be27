"""Take axes or make them, frame them, and hand back what the caller asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from matplotlib import get_backend
from matplotlib import pyplot as plt
from matplotlib.backends.registry import BackendFilter, backend_registry
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
FONT = 7.0  # points; figures are as wide as a page, so nothing is scaled in print
PAD = 0.06  # inches around a figure
MARGIN = 0.08  # of the span of the points: room for names

A = TypeVar("A")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, inches."""
    return plt.figure(figsize=(width, height), dpi=DPI, facecolor="white")


def add_axes(fig: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes at a place given in inches."""
    return fig.add_axes(_fractions(fig, left, bottom, width, height))


def frame_map(ax: Axes, xy: NDArray[np.floating], name: str, title: str = "") -> None:
    """Give a map the same scale on both axes, no ticks, two spines and small names."""
    seen = xy[np.isfinite(xy).all(axis=1)]
    low, high = (seen.min(axis=0), seen.max(axis=0)) if len(seen) else (np.zeros(2), np.zeros(2))
    half = float((high - low).max()) / 2 * (1 + 2 * MARGIN) or 1.0
    middle = (low + high) / 2
    ax.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    ax.set(xticks=[], yticks=[], aspect="equal")
    ax.apply_aspect()  # now and not when drawn: points and names are sized by the axes
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlabel(f"{name} 1", fontsize=FONT - 1, loc="left", labelpad=2)
    ax.set_ylabel(f"{name} 2", fontsize=FONT - 1, loc="bottom", labelpad=2)
    ax.set_title(title, fontsize=FONT + 1, loc="left", pad=4)


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure, also where the axes stand in a part of it."""
    return ax.figure.figure


def overhang(ax: Axes, side: Literal["left", "right"] = "right") -> float:
    """Return how far names, legends and colour bars reach beyond an edge of axes, inches."""
    inside = ax.get_window_extent()
    whole = ax.get_tightbbox()
    if whole is None:
        return 0.0
    beyond = whole.x1 - inside.x1 if side == "right" else inside.x0 - whole.x0
    return float(max(beyond, 0.0) / ax.figure.dpi)


def grow(fig: Figure, *, right: float = 0.0, down: float = 0.0) -> None:
    """Make a figure larger, inches; what is drawn keeps its size and place."""
    across, up = fig.get_size_inches()
    places = [ax.get_position(original=True).bounds for ax in fig.axes]
    fig.set_size_inches(across + right, up + down)
    for ax, (left, bottom, width, height) in zip(fig.axes, places, strict=True):
        inches = (left * across, bottom * up + down, width * across, height * up)
        ax.set_position(_fractions(fig, *inches))


def enclose(fig: Figure) -> None:
    """Make a figure as large as what is drawn, with a small margin; what is drawn keeps its size."""
    box = fig.get_tightbbox()  # inches
    across, up = fig.get_size_inches()
    places = [ax.get_position(original=True).bounds for ax in fig.axes]
    fig.set_size_inches(box.width + 2 * PAD, box.height + 2 * PAD)
    for ax, (left, bottom, width, height) in zip(fig.axes, places, strict=True):
        inches = (left * across - box.x0 + PAD, bottom * up - box.y0 + PAD, width * across, height * up)
        ax.set_position(_fractions(fig, *inches))


def shift(ax: Axes, *, right: float) -> None:
    """Move axes, inches."""
    fig = figure_of(ax)
    left, bottom, width, height = ax.get_position(original=True).bounds
    ax.set_position((left + right / fig.get_size_inches()[0], bottom, width, height))


def plain_frame(ax: Axes) -> None:
    """Give axes with numbers on them two thin spines and small ticks."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_linewidth(0.6)
    ax.tick_params(labelsize=FONT, length=2.5, width=0.6, pad=2)


def _fractions(
    fig: Figure, left: float, bottom: float, width: float, height: float
) -> tuple[float, float, float, float]:
    across, up = fig.get_size_inches()
    return left / across, bottom / up, width / across, height / up


def hand_over(fig: Figure, axes: A, *, show: bool | None, return_fig: bool) -> Figure | A | None:
    """Return the figure, or the axes when nothing is shown, or show it and return nothing."""
    if return_fig:
        return fig
    if show is False:
        return axes
    # Agg and its like can show nothing, and warn when told to.
    silent = backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE)  # type: ignore[no-untyped-call]
    if show or get_backend().lower() not in silent:
        plt.show()
    return None
