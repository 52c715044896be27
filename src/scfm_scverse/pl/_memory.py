"""``pl.memory``: what the memory of a training is made of, as stacked bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._errors import InputError
from ._axes import FONT, PAD, add_axes, enclose, figure_of, hand_over, new_figure, plain_frame
from ._labels import wrap_name
from ._palettes import PALETTE
from ._points import legend_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..training import MemoryEstimate

WIDTH, BAR = 3.6, 0.26  # inches; a bar and the gap above it
LETTERS = 34  # of a line of a name
MIB, GIB = 2**20, 2**30
LEAST_IN_GIB = 4 * GIB


def memory(
    estimates: MemoryEstimate | Sequence[MemoryEstimate],
    *,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | Axes | None:
    """Draw what the memory of trainings is made of when each holds most, the first one on top.

    Parameters
    ----------
    estimates
        One or several of :func:`scfm_scverse.training.estimate_memory`.
    ax
        Draw into these axes and show nothing unless ``show=True``.
    show
        ``None`` shows the figure where a screen or a notebook is there to show it.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``, the axes with ``show=False`` or with ``ax``, else ``None``.

    Raises
    ------
    InputError
        There is none.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> genes = scfm.genes.load_gene_table().symbol[:500].tolist()
    >>> model = scfm.models.create("scgpt", genes, dim=32, n_layers=2, n_heads=4)
    >>> told = [
    ...     scfm.training.estimate_memory(
    ...         model, batch_size=8, n_tokens=100, settings=scfm.training.TrainSettings(optimizer=name), name=name
    ...     )
    ...     for name in ("adamw", "galore")
    ... ]
    >>> ax = scfm.pl.memory(told, show=False)
    >>> [tick.get_text() for tick in ax.get_yticklabels()]
    ['adamw', 'galore']
    """
    told = list(estimates) if isinstance(estimates, Sequence) else [estimates]
    if not told:
        msg = "Found no estimate; expected one of scfm.training.estimate_memory at least."
        raise InputError(msg)
    given = ax is not None
    if ax is None:
        height = BAR * len(told)
        ax = add_axes(new_figure(WIDTH + 2 * PAD, height + 2 * PAD), PAD, PAD, WIDTH, height)
    most = max(one.peak for one in told)
    name, unit = ("GiB", GIB) if most >= LEAST_IN_GIB else ("MiB", MIB)
    left, at = np.zeros(len(told)), np.arange(len(told))
    for part, color in zip(told[0].parts, PALETTE, strict=False):
        sizes = np.array([one.parts[part] for one in told]) / unit
        ax.barh(at, sizes, left=left, height=0.8, color=color, edgecolor="white", linewidth=0.3, label=part)
        left += sizes
    digits = 1 if unit == GIB else 0
    for row, peak in enumerate(left):
        ax.annotate(f"{peak:,.{digits}f}", (peak, row), (2, 0), textcoords="offset points", va="center", fontsize=FONT)
    ax.set_yticks(at, [wrap_name(one.name, LETTERS) for one in told])
    ax.set(xlim=(0, most / unit * 1.12), ylim=(len(told) - 0.5, -0.5))
    plain_frame(ax)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"memory at its peak ({name})", fontsize=FONT)
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1), **legend_style() | {"borderaxespad": 0})
    fig = figure_of(ax)
    if not given:
        enclose(fig)
    return hand_over(fig, ax, show=False if given and show is None else show, return_fig=return_fig)
