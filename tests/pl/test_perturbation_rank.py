"""``pl.perturbation_rank``: the strongest perturbations with their nulls, and the baseline on an axis of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from support import screen_table


def draw(table: AnnData | pd.DataFrame, **how: object) -> dict[str, Axes]:
    axes = scfm.pl.perturbation_rank(table, show=False, **how)
    assert isinstance(axes, dict)
    return axes


def names_of(ax: Axes) -> list[str]:
    return [tick.get_text() for tick in ax.get_yticklabels()]


def strongest(table: pd.DataFrame, group: str, n: int) -> pd.DataFrame:
    rows = table[(table["group"] == group) & (table["status"] == "tested")]
    return rows.assign(excess=rows["score"] - rows["null_mean"]).nlargest(n, "excess")


def test_rows_are_those_farthest_above_their_null() -> None:
    table = screen_table()
    axes = draw(table, n_top=7)
    assert list(axes) == ["T cell", "T cell baseline", "B cell", "B cell baseline"]
    for group in ("T cell", "B cell"):
        assert names_of(axes[group]) == strongest(table, group, 7)["perturbation"].tolist()
        assert axes[group].yaxis_inverted()


def test_dots_nulls_intervals_and_baselines_are_the_numbers_of_the_table() -> None:
    table = screen_table()
    axes = draw(table, n_top=7)
    rows = strongest(table, "T cell", 7)
    ax = axes["T cell"]
    null, interval, dots = ax.collections
    np.testing.assert_allclose(dots.get_offsets()[:, 0], rows["score"])
    ends = np.array([segment[:, 0] for segment in interval.get_segments()])
    np.testing.assert_allclose(ends.mean(axis=1), rows["score"])
    half = 1.96 * rows["score_sd"] / np.sqrt(rows["n_cells"])
    np.testing.assert_allclose(np.diff(ends)[:, 0] / 2, half)
    np.testing.assert_allclose([segment[0, 0] for segment in null.get_segments()], rows["null_mean"])
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], 2 * rows["null_sd"])
    np.testing.assert_allclose(axes["T cell baseline"].collections[0].get_offsets()[:, 0], rows["baseline_shift"])


def screened(table: pd.DataFrame, **states: str) -> AnnData:
    adata = AnnData(np.ones((2, 2), np.float32))
    adata.uns["scfm"] = {"rank_perturbations": {"scfm": states | {"table": table}}}
    return adata


def test_axis_names_start_and_goal_where_they_are_known() -> None:
    to_goal = screen_table()
    with_start = to_goal.assign(shift_start=-to_goal["score"] / 2)
    assert draw(to_goal)["T cell"].get_xlabel() == "shift towards the goal"
    assert draw(with_start)["T cell"].get_xlabel() == "shift from the start\ntowards the goal"
    axes = draw(screened(to_goal, goal="control"))
    assert axes["T cell"].get_xlabel() == "shift towards control"
    axes = draw(screened(with_start, start="treated", goal="control"))
    assert axes["T cell"].get_xlabel() == "shift from treated\ntowards control"
    of_effect = screen_table().drop(columns="shift_goal")
    assert draw(of_effect)["T cell"].get_xlabel() == "effect (1 − cosine)"


def test_only_significant_dots_are_filled() -> None:
    axes = draw(screen_table(), n_top=5)
    fills = axes["B cell"].collections[-1].get_facecolors()
    white = [tuple(fill) == to_rgba("white") for fill in fills]
    assert white == [False, True, True, True, True]


def test_groups_have_one_scale_and_at_most_four_are_drawn() -> None:
    table = screen_table({f"type {i}": 20 for i in range(6)})
    axes = draw(table)
    assert list(axes)[::2] == ["type 0", "type 1", "type 2", "type 3"]
    assert len({ax.get_xlim() for ax in list(axes.values())[::2]}) == 1
    assert list(draw(table, group=["type 5", "type 2"]))[::2] == ["type 2", "type 5"]
    with pytest.raises(InputError, match="Found 5 groups; expected 4 at most"):
        draw(table, group=[f"type {i}" for i in range(5)])


def test_doses_stand_with_the_names_where_there_are_several() -> None:
    table = pd.concat([screen_table().assign(dose=dose) for dose in (0.5, 1.0)])
    assert {"ACTB × 0.5", "ACTB × 1"} <= set(names_of(draw(table)["T cell"]))


def test_table_without_baseline_or_spread_is_drawn() -> None:
    table = screen_table().drop(columns=["baseline_shift", "score_sd"])
    assert list(draw(table)) == ["T cell", "B cell"]


@pytest.mark.parametrize("groups", [{"all": 30}, {"a": 30, "b": 30}, {"a" * 30: 9, "b": 30, "c": 30}])
def test_figure_fits_a_page_and_holds_all_that_is_drawn(groups: dict[str, int]) -> None:
    fig = scfm.pl.perturbation_rank(screen_table(groups), return_fig=True)
    assert isinstance(fig, Figure)
    width, height = fig.get_size_inches()
    box = fig.get_tightbbox()
    assert 0 <= box.x0 < box.x1 <= width <= (3.5 if len(groups) == 1 else 7.2)
    assert 0 <= box.y0 < box.y1 <= height


def test_numbers_below_axes_do_not_overlap() -> None:
    fig = scfm.pl.perturbation_rank(screen_table(), return_fig=True)
    assert isinstance(fig, Figure)
    fig.canvas.draw()
    boxes = [tick.get_window_extent() for ax in fig.axes for tick in ax.get_xticklabels() if _seen(ax, tick)]
    assert len(boxes) >= 8
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


def _seen(ax: Axes, tick: object) -> bool:
    low, high = ax.get_xlim()
    return low <= tick.get_position()[0] <= high  # type: ignore[attr-defined]
