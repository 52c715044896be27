"""``pl.copy_number``: gains and losses along the chromosomes, as a heatmap of cells."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import get
from ._axes import FONT, add_axes, enclose, hand_over, new_figure
from ._labels import wrap_name

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Inches: a figure across a page.
WIDTH, HEIGHT, SIDE, GAP = 4.5, 3.2, 0.4, 0.06
BAR_WIDTH, BAR_HEIGHT = 0.09, 1.0
LEFT, BOTTOM = 1.4, 0.5
ROW = 0.13  # for a line of a name beside a group
BRIGHTEST = 0.99  # quantile of absolute values that the strongest colour stands for
FLOOR = 0.2  # the strongest colour of a sample without gains and losses: noise stays pale
LETTERS = 28
NARROW = 0.022  # of the width, below which a chromosome's number is left out


def copy_number(
    adata: AnnData,
    *,
    groupby: str | None = None,
    max_rows: int = 400,
    key: str = "scfm",
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | dict[str, Axes] | None:
    """Draw what :func:`scfm_scverse.tl.score_copy_number` wrote: cells by chromosomes, gains red and losses blue.

    Rows are cells, or means of neighbouring cells where there are many, by group and falling score; the score of each
    row is drawn beside it. The rows are :func:`scfm_scverse.get.copy_number`. To save:
    ``scfm.pl.copy_number(adata, return_fig=True).savefig("copy_number.pdf")``.

    Parameters
    ----------
    adata
        Cells with copy number.
    groupby, max_rows
        As in :func:`scfm_scverse.get.copy_number`.
    key
        The ``key_added`` of the scores.
    show
        ``None`` shows the figure where a screen or a notebook is there to show it.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``; with ``show=False`` its axes, named ``"windows"`` and ``"score"``; else
    ``None``.

    Raises
    ------
    MissingKeyError
        Nothing was written under ``key``, or ``groupby`` is not in ``adata.obs``.
    InputError
        No cell has windows and a group.

    Examples
    --------
    >>> import anndata, numpy as np, scfm_scverse as scfm
    >>> from scfm_scverse.genes import load_gene_table
    >>> table = load_gene_table()
    >>> genes = table.symbol[table.canonical & (table.biotype == "protein_coding")][:3000]
    >>> counts = np.random.default_rng(0).poisson(1.0, (120, 3000)).astype(np.float32)
    >>> adata = anndata.AnnData(counts)
    >>> adata.var_names = genes
    >>> adata.obs["type"] = ["normal"] * 80 + ["tumour"] * 40
    >>> scfm.tl.score_copy_number(adata, reference_key="type", reference_cat="normal")
    >>> axes = scfm.pl.copy_number(adata, groupby="type", show=False)
    >>> sorted(axes)
    ['score', 'windows']
    """
    table = get.copy_number(adata, groupby=groupby, key=key, max_rows=max_rows)
    names, first = _starts(table.index.get_level_values("group"))
    height = max(HEIGHT, 2 * ROW * len(names))
    fig = new_figure(WIDTH + 2, height + 1)
    axes = {
        "windows": add_axes(fig, LEFT, BOTTOM, WIDTH, height),
        "score": add_axes(fig, LEFT + WIDTH + GAP, BOTTOM, SIDE, height),
    }
    image = _draw_windows(axes["windows"], table)
    _mark_chromosomes(axes["windows"], table.columns.get_level_values("chromosome"))
    _mark_groups(axes, table, names, first)
    _draw_score(axes["score"], table.index.get_level_values("score").to_numpy(float))
    _draw_scale(fig, image, LEFT + WIDTH + SIDE + 3 * GAP, BOTTOM + height - BAR_HEIGHT)
    enclose(fig)
    return hand_over(fig, axes, show=show, return_fig=return_fig)


def _starts(values: pd.Index[Any]) -> tuple[list[str], list[int]]:
    """Names of consecutive equal values, and where each begins, with the end added."""
    names = values.to_numpy().astype(str)
    first = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist()]
    return [str(names[at]) for at in first], [*first, len(names)]


def _draw_windows(ax: Axes, table: pd.DataFrame) -> AxesImage:
    values = table.to_numpy(float)
    limit = max(float(np.quantile(np.abs(values), BRIGHTEST)), FLOOR)
    style: dict[str, Any] = {"cmap": "RdBu_r", "aspect": "auto", "interpolation": "nearest"}
    image = ax.imshow(values, vmin=-limit, vmax=limit, **style)
    ax.spines[:].set_linewidth(0.5)
    ax.tick_params(length=0, labelsize=FONT, pad=3)
    return image


def _mark_chromosomes(ax: Axes, chromosome: pd.Index[Any]) -> None:
    names, first = _starts(chromosome)
    for at in first[1:-1]:
        ax.axvline(at - 0.5, color="0.25", linewidth=0.4)
    middle = [(low + high - 1) / 2 for low, high in pairwise(first)]
    wide = [high - low >= NARROW * len(chromosome) for low, high in pairwise(first)]
    shown = [(at, name) for at, name, room in zip(middle, names, wide, strict=True) if room]
    ax.set_xticks([at for at, _ in shown], [name for _, name in shown])
    ax.set_xlabel("chromosome", fontsize=FONT, labelpad=2)


def _mark_groups(axes: dict[str, Axes], table: pd.DataFrame, names: list[str], first: list[int]) -> None:
    """Lines between groups, and names with numbers of cells, pushed apart where groups are thin."""
    ax = axes["windows"]
    n_cells = table.index.get_level_values("n_cells").to_numpy(int)
    for at in first[1:-1]:
        for one in axes.values():
            one.axhline(at - 0.5, color="0.25", linewidth=0.6)
    labels = [
        wrap_name(f"{name} ({n_cells[low:high].sum():,})", LETTERS)
        for name, (low, high) in zip(names, pairwise(first), strict=True)
    ]
    rows = len(table)
    line = ROW / (ax.get_window_extent().height / ax.figure.dpi) * rows
    room = np.array([line * (label.count("\n") + 1) for label in labels])
    middle = np.array([(low + high - 1) / 2 for low, high in pairwise(first)])
    place = _apart(middle, room, rows)
    ax.set_yticks([])
    across = ax.get_yaxis_transform()
    for at, name_at, label in zip(middle, place, labels, strict=True):
        ax.plot([0, -0.012, -0.025], [at, at, name_at], color="0.5", linewidth=0.5, transform=across, clip_on=False)
        ax.text(-0.03, name_at, label, ha="right", va="center", fontsize=FONT, linespacing=1.0, transform=across)


def _apart(middle: np.ndarray, room: np.ndarray, rows: int) -> np.ndarray:
    """Places of names in order, each with its room, inside the rows and near its group where that is free."""
    place = middle.astype(float)
    end = -0.5
    for i in range(len(place)):
        place[i] = max(place[i], end + room[i] / 2)
        end = place[i] + room[i] / 2
    end = rows - 0.5
    for i in reversed(range(len(place))):
        place[i] = min(place[i], end - room[i] / 2)
        end = place[i] - room[i] / 2
    return place


def _draw_score(ax: Axes, score: np.ndarray) -> None:
    rows = np.arange(len(score))
    ax.fill_betweenx(rows, np.nan_to_num(score), 0, step="mid", color="0.45", linewidth=0)
    ax.axvline(0, color="0.25", linewidth=0.4)
    ax.set(ylim=(len(score) - 0.5, -0.5), yticks=[])
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_linewidth(0.5)
    ax.locator_params(axis="x", nbins=3)
    ax.tick_params(labelsize=FONT, length=2, width=0.5, pad=2)
    ax.set_xlabel("score", fontsize=FONT, labelpad=2)


def _draw_scale(fig: Figure, image: AxesImage, left: float, bottom: float) -> None:
    bar = add_axes(fig, left, bottom, BAR_WIDTH, BAR_HEIGHT)
    fig.colorbar(image, cax=bar)
    bar.tick_params(labelsize=FONT - 1, length=2, width=0.5, pad=2)
    bar.locator_params(axis="y", nbins=5)
    bar.spines["outline"].set_visible(False)
    bar.set_ylabel("loss      gain", fontsize=FONT - 1, labelpad=1)
