"""``pl.training``: losses by step, their mean, validations and the learning rate."""

from __future__ import annotations

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import scfm_scverse as scfm
from scfm_scverse._errors import InputError


def history(n: int = 90, every: int = 30) -> pd.DataFrame:
    steps = np.arange(1, n + 1)
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"epoch": (steps - 1) // every, "learning_rate": 1e-3 / steps}, index=steps)
    table["train_loss"] = 1 / steps + rng.normal(0, 0.1, n)
    table["validation_loss"] = np.where(steps % every == 0, np.abs(steps - 60) / n, np.nan)
    return table.rename_axis("step")


def test_steps_their_mean_and_validations_are_drawn() -> None:
    table = history()
    axes = scfm.pl.training(table, show=False)
    lines = {line.get_label(): line for line in axes["loss"].lines}
    np.testing.assert_array_equal(lines["training"].get_xydata(), table["train_loss"].reset_index())
    mean = lines["training, mean of 3 steps"].get_ydata()
    np.testing.assert_allclose(mean[1:-1], np.convolve(table["train_loss"], np.ones(3) / 3, "valid"))
    np.testing.assert_array_equal(
        lines["validation"].get_xydata(), table["validation_loss"].dropna().reset_index().to_numpy()
    )
    assert lines["best, 0 after step 60"].get_xydata().tolist() == [[60, 0]]
    np.testing.assert_array_equal(axes["learning_rate"].lines[0].get_ydata(), table["learning_rate"])
    assert axes["learning_rate"].get_xlabel() == "step (dashed: a new epoch)"
    edges = [line.get_xdata()[0] for line in axes["loss"].lines if line.get_linestyle() == "--"]
    assert edges == [30.5, 60.5]


def test_short_or_unsmoothed_history_has_no_mean() -> None:
    for table, smooth in ((history(4, 4), None), (history(), 1)):
        axes = scfm.pl.training(table, smooth=smooth, show=False)
        assert not [line for line in axes["loss"].lines if "mean" in str(line.get_label())]


def test_history_may_be_a_file_or_a_model_or_without_validation() -> None:
    table = history()
    expected = scfm.pl.training(table, show=False)["loss"].lines[0].get_xydata()
    without = table.drop(columns="validation_loss")
    for given in (table.reset_index(), SimpleNamespace(history_table=table), without):
        axes = scfm.pl.training(given, show=False)
        np.testing.assert_array_equal(axes["loss"].lines[0].get_xydata(), expected)
    assert "validation" not in [line.get_label() for line in axes["loss"].lines]


def test_wild_steps_leave_the_axis_to_the_others() -> None:
    table = history(300, 100)
    table.loc[150, "train_loss"] = 1e6
    axes = scfm.pl.training(table, smooth=1, show=False)
    assert axes["loss"].get_ylim()[1] < 10


def test_legend_lies_inside_the_figure() -> None:
    fig = scfm.pl.training(history(), return_fig=True)
    box, (across, up) = fig.get_tightbbox(), fig.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= across
    assert box.y1 <= up
    plt.close(fig)


@pytest.mark.parametrize("given", [pd.DataFrame({"a": [1]}), history().iloc[:0], SimpleNamespace(history_table=None)])
def test_what_is_no_history_is_told(given: object) -> None:
    with pytest.raises(InputError, match="expected the history of a training"):
        scfm.pl.training(given)


def test_mean_of_no_steps_is_told() -> None:
    with pytest.raises(InputError, match="smooth=0"):
        scfm.pl.training(history(), smooth=0)
