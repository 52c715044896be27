"""``pl.training``: how the loss fell, on cells that were learnt from and on others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from .._errors import InputError
from ._axes import FONT, PAD, add_axes, enclose, hand_over, new_figure, plain_frame
from ._palettes import ONE_COLOR, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, HIGH, LOW, GAP = 3.4, 2.1, 0.55, 0.12  # inches: the losses, the learning rate below, and between them
VALIDATION_COLOR = PALETTE[4]
_PARTED = 20  # epochs from which on they are not parted by lines
_MARKED = 60  # validations above which they are a line without points


def training(
    history: pd.DataFrame | Any,
    *,
    smooth: int | None = None,
    show: bool | None = None,
    return_fig: bool = False,
) -> Figure | dict[str, Axes] | None:
    """Draw the losses of a training and its learning rate.

    The pale line is the loss of every step on the cells it was learnt from, the dark one its mean over ``smooth`` steps
    around; points are validations, on cells that were not learnt from, the ring the best of them. Dashed lines part
    epochs, up to twenty.

    Parameters
    ----------
    history
        What a training returned, the ``history.csv`` of a run as a table, or a :class:`scfm_scverse.FoundationModel`.
    smooth
        Steps whose mean is drawn; 1 draws no mean. ``None`` is a thirtieth of all steps.
    show
        ``None`` shows the figure where a screen or a notebook is there to show it.
    return_fig
        Return the figure.

    Returns
    -------
    The figure with ``return_fig=True``; with ``show=False`` its axes, named ``"loss"`` and ``"learning_rate"``; else
    ``None``.

    Raises
    ------
    InputError
        There is no history of a training.

    Examples
    --------
    >>> import pandas as pd, scfm_scverse as scfm
    >>> history = pd.DataFrame({"epoch": [0, 0, 1], "learning_rate": 1e-3, "train_loss": [2.0, 1.5, 1.2]}, [1, 2, 3])
    >>> axes = scfm.pl.training(history, show=False)
    >>> list(axes)
    ['loss', 'learning_rate']
    """
    table = _table(history)
    window = max(1, round(len(table) / 30)) if smooth is None else smooth
    if window < 1:
        msg = f"Found smooth={smooth}; expected a number of steps, 1 at least, or None."
        raise InputError(msg)
    fig = new_figure(WIDE + 2 * PAD, HIGH + GAP + LOW + 2 * PAD)
    axes = {
        "loss": add_axes(fig, PAD, PAD + LOW + GAP, WIDE, HIGH),
        "learning_rate": add_axes(fig, PAD, PAD, WIDE, LOW),
    }
    _draw_losses(axes["loss"], table, window)
    axes["learning_rate"].plot(table.index, table["learning_rate"], color="0.35", linewidth=1)
    peak = float(table["learning_rate"].max())
    axes["learning_rate"].set(ylim=(0, 1.15 * peak), yticks=[0, peak], yticklabels=["0", f"{peak:.2g}"])
    starts = table.index[np.flatnonzero(np.diff(table["epoch"])) + 1] - 0.5
    for ax in axes.values():
        plain_frame(ax)
        ax.set_xlim(table.index[0] - 0.5, table.index[-1] + 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        for start in starts if len(starts) < _PARTED else ():
            ax.axvline(start, color="0.88", linestyle="--", linewidth=0.6, zorder=0)
    axes["loss"].tick_params(labelbottom=False)
    axes["loss"].set_ylabel("loss", fontsize=FONT)
    axes["learning_rate"].set_ylabel("learning\nrate", fontsize=FONT)
    parted = 0 < len(starts) < _PARTED
    axes["learning_rate"].set_xlabel("step (dashed: a new epoch)" if parted else "step", fontsize=FONT)
    fig.align_ylabels()
    enclose(fig)
    return hand_over(fig, axes, show=show, return_fig=return_fig)


def _table(history: Any) -> pd.DataFrame:
    """Return the history of a table or a model, or stop where there is none."""
    table = history if isinstance(history, pd.DataFrame) else getattr(history, "history_table", None)
    wanted = {"epoch", "learning_rate", "train_loss"}
    if not isinstance(table, pd.DataFrame) or not len(table) or not wanted <= set(table):
        found = (
            f"a table of {', '.join(map(str, table))}" if isinstance(table, pd.DataFrame) else type(history).__name__
        )
        msg = (
            f"Found {found}; expected the history of a training, with {', '.join(sorted(wanted))}: a table, as a "
            "training returns it, or a FoundationModel that has been trained."
        )
        raise InputError(msg)
    return table.set_index("step") if "step" in table else table


def _draw_losses(ax: Axes, table: pd.DataFrame, window: int) -> None:
    steps, train = table.index.to_numpy(), table["train_loss"]
    ax.plot(steps, train, color=ONE_COLOR, linewidth=0.7, alpha=0.35 if window > 1 else 1.0, label="training")
    compared = [np.nanpercentile(train, [0.5, 99.5])]  # single wild steps may leave the axis
    if window > 1:
        mean = train.rolling(window, center=True, min_periods=1).mean()
        ax.plot(steps, mean, color=ONE_COLOR, linewidth=1.4, label=f"training, mean of {window:,} steps")
    if "validation_loss" in table and table["validation_loss"].notna().any():
        validation = table["validation_loss"].dropna()
        marker = "o" if len(validation) <= _MARKED else ""
        ax.plot(
            *(validation.index, validation),
            color=VALIDATION_COLOR,
            marker=marker,
            markersize=3,
            clip_on=False,
            label="validation",
        )
        at = int(validation.argmin())
        best, lowest = int(validation.index[at]), float(validation.iloc[at])
        label = f"best, {lowest:.4g} after step {best:,}"
        ax.plot(
            *([best], [lowest]),
            "o",
            mfc="none",
            mec=VALIDATION_COLOR,
            markersize=7,
            clip_on=False,
            label=label,
        )
        compared.append(validation.to_numpy())
    low, high = np.concatenate(compared).min(), np.concatenate(compared).max()
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    ax.set_ylim(low - margin, high + margin)
    ax.legend(fontsize=FONT - 0.5, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
