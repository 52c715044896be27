"""Figures as text that stands inside a page."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from ..pl._axes import FONT, PAD, add_axes, enclose, new_figure, plain_frame
from ..pl._palettes import ONE_COLOR
from ._quality import Quality

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160  # of maps: sharp enough, and below 0.8 MB where 100,000 cells are noise
WIDTH, HEIGHT, GAP = 1.95, 1.1, 0.5  # inches: a histogram, and the room between two
BINS = 50
WIDE = 30  # from the lowest to the highest number of a histogram: more than that shows powers of ten alone


def as_uri(figure: Any, kind: Literal["svg", "png"], *, dpi: int = DPI) -> str:
    """Return what a plot returned as a data URI, and close it: lines and letters as svg, maps of many points as png."""
    options: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {"pil_kwargs": {"optimize": True}}
    file = io.BytesIO()
    # The same figure gives the same text, run after run.
    with plt.rc_context({"svg.hashsalt": "scfm"}):
        figure.savefig(file, format=kind, dpi=dpi, **options)
    plt.close(figure)
    return f"data:image/{'svg+xml' if kind == 'svg' else kind};base64,{b64encode(file.getvalue()).decode()}"


def draw_quality(quality: Quality) -> Figure:
    """Draw a histogram of each number of a cell, its median marked."""
    panels: dict[str, NDArray[Any]] = {} if quality.total is None else {"Counts": quality.total}
    panels["Genes"] = quality.n_genes
    if quality.mitochondrial is not None:
        panels["Mitochondrial (%)"] = 100 * quality.mitochondrial
    fig = new_figure(len(panels) * (WIDTH + GAP), HEIGHT + 2 * PAD)
    for i, (title, numbers) in enumerate(panels.items()):
        ax = add_axes(fig, i * (WIDTH + GAP), PAD, WIDTH, HEIGHT)
        plain_frame(ax)
        ax.set_title(title, fontsize=FONT + 1, loc="left", pad=3)
        logarithmic = not title.endswith("(%)")
        seen = numbers[np.isfinite(numbers) & ((numbers > 0) | (not logarithmic))]
        if len(seen):
            _draw_histogram(ax, seen, logarithmic=logarithmic)
    fig.axes[0].set_ylabel("cells", fontsize=FONT)
    enclose(fig)
    return fig


def _draw_histogram(ax: Axes, numbers: NDArray[Any], *, logarithmic: bool) -> None:
    low, high, median = float(numbers.min()), float(numbers.max()), float(np.median(numbers))
    if logarithmic:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < WIDE * low else (1,)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
        edges = np.geomspace(low / 1.01, high * 1.01, BINS)
    else:
        edges = np.linspace(0, max(high, 1.0), BINS)
    ax.hist(numbers, bins=edges.tolist(), color=ONE_COLOR)
    ax.axvline(median, color="black", linewidth=0.8, linestyle="--")
    text = f"median {median:,.0f}" if logarithmic else f"median {median:.1f}"
    ax.set_title(text, fontsize=FONT, loc="right", pad=3, color="0.35")
