"""``pl.perturbation_rank``: the strongest perturbations of a screen, with their nulls and a simple baseline beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .._errors import InputError
from .._logging import say
from ..get._perturbations import SIGNIFICANT, screen_rows
from ._axes import FONT, add_axes, enclose, hand_over, new_figure, overhang, plain_frame, shift
from ._labels import wrap_name
from ._palettes import ONE_COLOR
from ._perturbation_names import row_names, score_name
from ._points import legend_style

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_GROUPS = 4
SIDE_BY_SIDE = 2  # groups
WIDE, GAP, NARROW, BETWEEN = 1.45, 0.22, 0.7, 0.25  # inches: scores, and beside them the baseline
ROW, ABOVE, BELOW = 0.135, 0.25, 0.6  # inches: a perturbation, a title, an axis with its name
LETTERS = 34
Z = 1.96  # for 95 of 100
NULL_COLOR, NULL_MEAN_COLOR, BASELINE_COLOR = "#dcdcdc", "#8c8c8c", "#b06f00"


def perturbation_rank(
    adata: AnnData | pd.DataFrame,
    *,
    key: str = "scfm",
    group: str | Sequence[str] | None = None,
    n_top: int = 20,
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | dict[str, Axes] | None:
    """Draw the strongest perturbations of a screen of :func:`scfm_scverse.tl.rank_perturbations`.

    Those come first whose score is farthest above that of genes matched by expression. Dots are mean scores, filled
    where the false discovery rate is below 0.05, with 95 % intervals over cells (cells of one donor are not
    independent, so that these are narrow). Grey: mean and one standard deviation of the matched genes. Beside, on an
    axis of its own since it is measured in another space: what removing the gene's value does in the space of
    principal components, without any model.

    Parameters
    ----------
    adata
        Cells that were screened, or the table of a screen.
    key
        The ``key_added`` of the screen.
    group
        Groups to draw, four at most; ``None`` draws all, or the four with most tested perturbations.
    n_top
        Perturbations of each group at most.
    show
        ``None`` shows the figure where a screen or a notebook is there to show it.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``; with ``show=False`` its axes, named by the groups, and ``"<group> baseline"``
    where the table has a baseline; else ``None``.

    Raises
    ------
    MissingKeyError
        There is no screen under ``key``.
    InputError
        No perturbation was tested, a group is not known, or there are too many.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> table = scfm.tl.rank_perturbations(adata, ["CD74", "LYZ", "NKG7"], max_cells=50, n_null=30)
    >>> axes = scfm.pl.perturbation_rank(table, show=False)
    >>> list(axes)
    ['all', 'all baseline']
    """
    table = screen_rows(adata, key=key, group=group, with_null=False)
    parts = _parts(table, n_top, given=group is not None)
    has_baseline = bool(np.isfinite(table["baseline"]).any())
    height = ROW * max(map(len, parts.values()))
    n_rows = -(-len(parts) // SIDE_BY_SIDE)
    fig = new_figure(7, n_rows * (ABOVE + height + BELOW))
    axes: dict[str, Axes] = {}
    for at, (name, part) in enumerate(parts.items()):
        top = (n_rows - at // SIDE_BY_SIDE) * (ABOVE + height + BELOW) - ABOVE
        own = ROW * len(part)
        axes[name] = add_axes(fig, 0, top - own, WIDE, own)
        _draw_scores(axes[name], part, score_name(table))
        if has_baseline:
            axes[f"{name} baseline"] = add_axes(fig, WIDE + GAP, top - own, NARROW, own)
            _draw_baseline(axes[f"{name} baseline"], part)
        if len(parts) > 1 or name != "all":
            axes[name].set_title(wrap_name(name, LETTERS), fontsize=FONT + 1, loc="left", pad=4)
    _align(axes, list(parts))
    _explain(axes[list(parts)[(n_rows - 1) * SIDE_BY_SIDE]], baseline=has_baseline)
    enclose(fig)
    return hand_over(fig, axes, show=show, return_fig=return_fig)


def _parts(table: pd.DataFrame, n_top: int, *, given: bool) -> dict[str, pd.DataFrame]:
    """Rows of each group to draw, those farthest above their null first; rows without a null go by their score."""
    sizes = table["group"].value_counts(sort=True)
    if given and len(sizes) > MAX_GROUPS:
        msg = f"Found {len(sizes)} groups; expected {MAX_GROUPS} at most. Draw the others in a figure of their own."
        raise InputError(msg)
    kept = set(sizes.index[:MAX_GROUPS])
    if len(sizes) > MAX_GROUPS:
        say(f"drawing the {MAX_GROUPS} of {len(sizes)} groups with most tested perturbations; choose others by group=")
    ordered = table.sort_values(["excess", "score"], ascending=False, kind="stable")
    names = [name for name in table["group"].unique() if name in kept]
    return {name: ordered[ordered["group"] == name].head(n_top) for name in names}


def _draw_scores(ax: Axes, part: pd.DataFrame, score_is: str) -> None:
    at = np.arange(len(part))
    null, spread = part["null_mean"].to_numpy(float), part["null_sd"].to_numpy(float)
    ax.barh(at, 2 * spread, left=null - spread, height=0.7, color=NULL_COLOR, lw=0, zorder=0.7)
    ax.vlines(null, at - 0.35, at + 0.35, color=NULL_MEAN_COLOR, lw=0.8, zorder=1)
    score = part["score"].to_numpy(float)
    half = Z * part["score_sd"].to_numpy(float) / np.sqrt(part["n_cells"].to_numpy(float))
    filled = part["fdr"].to_numpy(float) < SIGNIFICANT
    ax.hlines(at, score - half, score + half, color=ONE_COLOR, lw=0.9, zorder=2)
    inside = np.where(filled, ONE_COLOR, "white")
    ax.scatter(score, at, s=13, c=inside, edgecolors=ONE_COLOR, linewidths=0.8, zorder=3)
    _frame(ax, len(part), score_is)
    ax.set_yticks(at, row_names(part, groups=False))


def _draw_baseline(ax: Axes, part: pd.DataFrame) -> None:
    at = np.arange(len(part))
    ax.scatter(part["baseline"], at, s=11, marker="D", c=BASELINE_COLOR, lw=0, zorder=3)
    _frame(ax, len(part), "baseline (PCA)")
    ax.set_yticks(at, [])


def _frame(ax: Axes, n_rows: int, name: str) -> None:
    ax.use_sticky_edges = False
    ax.set_ylim(n_rows - 0.4, -0.6)
    plain_frame(ax)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.axvline(0, color="0.7", lw=0.6, zorder=0.6)
    ax.grid(axis="y", color="0.93", lw=0.5)
    ax.set_axisbelow(True)
    ax.set_xlabel(name, fontsize=FONT, labelpad=2)


def _align(axes: dict[str, Axes], names: list[str]) -> None:
    """Give axes of one kind one scale, and put the groups beside each other with room for their names."""
    scores = [axes[name] for name in names]
    baselines = [axes[f"{name} baseline"] for name in names if f"{name} baseline" in axes]
    for kind, n_ticks in ((scores, 4), (baselines, 2)):
        limits = np.array([ax.get_xlim() for ax in kind]).reshape(-1, 2)
        for ax in kind:
            ax.set_xlim(limits[:, 0].min(), limits[:, 1].max())
            ax.locator_params(axis="x", nbins=n_ticks)
            ax.xaxis.set_major_formatter("{x:g}")
    right = 0.0
    for column in range(min(SIDE_BY_SIDE, len(names))):
        right += max(overhang(ax, "left") for ax in scores[column::SIDE_BY_SIDE])
        for ax in [*scores[column::SIDE_BY_SIDE], *baselines[column::SIDE_BY_SIDE]]:
            shift(ax, right=right)
        right += WIDE + BETWEEN + (GAP + NARROW if baselines else 0)


def _explain(ax: Axes, *, baseline: bool) -> None:
    """Put a legend below the last group of the first column."""
    dot: dict[str, Any] = {
        "marker": "o",
        "linestyle": "",
        "markersize": 3.8,
        "color": ONE_COLOR,
        "markeredgewidth": 0.8,
    }
    handles: list[Line2D | Patch] = [
        Line2D([], [], label=f"FDR < {SIGNIFICANT}", **dot),
        Line2D([], [], label="not significant", markerfacecolor="white", **dot),
        Patch(color=NULL_COLOR, lw=0, label="genes of like expression (mean ± SD)"),
    ]
    if baseline:
        diamond = dot | {"marker": "D", "color": BASELINE_COLOR, "markeredgewidth": 0}
        handles.append(Line2D([], [], label="without a model", **diamond))
    down = -BELOW / (ax.get_window_extent().height / ax.figure.dpi)
    style = legend_style() | {"ncols": 2, "borderaxespad": 0, "borderpad": 0}
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(-0.3, down), **style)
