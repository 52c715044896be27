"""``pl.prediction_sets``: how large the sets are, and which labels stay together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import get
from ._axes import FONT, PAD, add_axes, enclose, hand_over, new_figure, overhang, plain_frame, shift
from ._palettes import ONE_COLOR

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZES = 8  # bars; the last one holds all larger sets
PAIRS = 10
LETTERS = 50  # of a line of two names
HEIGHT, LEFT, GAP, RIGHT = 2.6, 2.2, 0.3, 1.6  # inches: panels, and the gap before the names of the second


def prediction_sets(
    adata: AnnData, *, key: str = "scfm", show: bool | None = None, return_fig: bool = False
) -> Figure | dict[str, Axes] | None:
    """Draw the prediction sets of :func:`scfm_scverse.tl.annotate`: their sizes, and the pairs that stay together most.

    The numbers are :func:`scfm_scverse.get.prediction_sets`.

    Parameters
    ----------
    adata
        Annotated cells.
    key
        The ``key_added`` of the annotation.
    show
        ``None`` shows the figure where a screen or a notebook is there to show it.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``; with ``show=False`` its axes, named ``"sizes"`` and ``"pairs"``; else ``None``.

    Raises
    ------
    MissingKeyError
        There is no annotation under ``key``, or no sets.
    InputError
        No cell has a set.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> axes = scfm.pl.prediction_sets(adata, show=False)
    >>> list(axes)
    ['sizes', 'pairs']
    """
    sizes = get.prediction_sets(adata, key=key, by="size")
    pairs = get.prediction_sets(adata, key=key, by="pair").head(PAIRS)
    fig = new_figure(LEFT + GAP + RIGHT, HEIGHT + 2 * PAD)
    axes = {
        "sizes": add_axes(fig, 0, PAD, LEFT, HEIGHT),
        "pairs": add_axes(fig, LEFT + GAP, PAD, RIGHT, HEIGHT * max(len(pairs), 1) / PAIRS),
    }
    for ax, title in zip(axes.values(), ("Classes in a set", "Classes that stay together"), strict=True):
        plain_frame(ax)
        ax.set_title(title, fontsize=FONT + 1, loc="left", pad=4)
    _draw_sizes(axes["sizes"], sizes)
    _draw_pairs(axes["pairs"], pairs)
    shift(axes["pairs"], right=overhang(axes["pairs"], "left"))
    enclose(fig)
    return hand_over(fig, axes, show=show, return_fig=return_fig)


def _draw_sizes(ax: Axes, sizes: pd.DataFrame) -> None:
    share = sizes["share"].groupby(sizes.index.to_numpy().clip(max=SIZES)).sum()
    bars = ax.bar(share.index, 100 * share, color=ONE_COLOR, width=0.8)
    ax.bar_label(
        bars, [f"{100 * value:.0f}" if value >= 0.005 else "<1" for value in share], fontsize=FONT - 1, padding=1
    )
    ticks = np.arange(1, share.index.max() + 1)
    ax.set_xticks(ticks, [f"{n}+" if n == SIZES and sizes.index.max() > SIZES else str(n) for n in ticks])
    ax.set_ylabel("cells (%)", fontsize=FONT)
    facts = sizes.attrs
    mean = (sizes.index * sizes["share"]).sum()
    note = [f"{mean:.2f} classes on average"]
    if facts["alpha"] is not None:
        note.append(f"stated error rate {facts['alpha']:.0%}")
    if facts["share_forced"] is not None:
        note.append(f"top class forced in: {facts['share_forced']:.1%}")
    ax.set_xlabel("\n".join(["classes", *note]), fontsize=FONT, linespacing=1.4)


def _draw_pairs(ax: Axes, pairs: pd.DataFrame) -> None:
    names = [_together(one, other) for one, other in zip(pairs["label"], pairs["other"], strict=True)]
    bars = ax.barh(np.arange(len(pairs)), 100 * pairs["share"], color=ONE_COLOR, height=0.7)
    ax.bar_label(bars, [f"{n:,}" for n in pairs["n_cells"]], fontsize=FONT - 1, padding=2)
    ax.set_yticks(np.arange(len(pairs)), names)
    ax.set_ylim(max(len(pairs), 1) - 0.5, -0.5)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("cells with both in their set (%)", fontsize=FONT)


def _together(one: str, other: str) -> str:
    """Two names in one line, or in two."""
    return f"{one} + {other}" if len(one) + len(other) + 3 <= LETTERS else f"{one} +\n{other}"
