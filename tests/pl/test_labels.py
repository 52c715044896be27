"""Names on a map: wrapped, placed at dense parts, never over one another."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes

from scfm_scverse.pl._labels import LINE, dense_center, find_places, wrap_name, write_names

LONG = "CD4-positive, CD25-positive, alpha-beta regulatory T cell"
CORNER = np.zeros(2)


@pytest.fixture
def ax() -> Axes:
    ax = plt.figure(figsize=(4, 4)).add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return ax


@given(st.lists(st.text("abc-,", min_size=1, max_size=30), min_size=1, max_size=8).map(" ".join))
def test_wrapping_keeps_every_word_whole(name: str) -> None:
    lines = wrap_name(name).split("\n")
    assert " ".join(lines) == name
    assert all(len(line) <= LINE or " " not in line for line in lines)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("B cell", ["B cell"]),
        ("monocyte, macrophage or dendritic cell", ["monocyte, macrophage", "or dendritic cell"]),
        (LONG, ["CD4-positive,", "CD25-positive,", "alpha-beta", "regulatory T cell"]),
        ("", [""]),
    ],
)
def test_lines_are_few_and_of_about_equal_length(name: str, lines: list[str]) -> None:
    assert wrap_name(name).split("\n") == lines


def test_centre_lies_in_the_dense_part() -> None:
    rng = np.random.default_rng(0)
    xy = np.concatenate([rng.normal([0.8, 0.2], 0.01, (60, 2)), rng.uniform(0, 1, (100, 2))])
    np.testing.assert_allclose(dense_center(xy, CORNER, 1.0), [0.8, 0.2], atol=0.02)


def way(center: np.ndarray, middle: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Points on the line from a name to the centre of its group."""
    start = np.clip(center, middle - size / 2, middle + size / 2)
    return np.linspace(start, center, 16)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 2, *[st.floats(0.02, 0.4)] * 2), min_size=1, max_size=20))
def test_names_stay_on_the_map_off_each_other_and_off_lines(drawn: list[tuple[float, float, float, float]]) -> None:
    table = np.array(drawn)
    sizes = table[:, 2:]
    centers, middles = find_places([row[None, :2] for row in table], sizes, CORNER, 1.0)
    np.testing.assert_allclose(centers, table[:, :2])
    placed = np.flatnonzero(~np.isnan(middles[:, 0]))
    assert 0 in placed
    assert (middles - sizes / 2)[placed].min() >= 0
    assert (middles + sizes / 2)[placed].max() <= 1
    for i in placed:
        for j in placed[placed != i]:
            assert (np.abs(middles[i] - middles[j]) >= (sizes[i] + sizes[j]) / 2 - 1e-9).any()
            on_way = np.abs(way(centers[i], middles[i], sizes[i]) - middles[j]) < sizes[j] / 2 - 1e-9
            assert not on_way.all(axis=1).any()


def test_name_without_room_is_left_out_and_the_first_ones_stay() -> None:
    here = np.array([[0.5, 0.5]])
    _, middles = find_places([here] * 3, np.full((3, 2), [0.6, 0.55]), CORNER, 1.0)
    assert list(np.isnan(middles[:, 0])) == [False, True, True]


def test_name_covers_no_cells_where_there_is_free_room_beside() -> None:
    rng = np.random.default_rng(0)
    blob = rng.uniform(0.3, 0.5, (2000, 2))
    spot = np.array([[0.4, 0.5]])
    _, middles = find_places([blob, spot], np.full((2, 2), 0.1), CORNER, 1.0)
    covered = (np.abs(blob - middles[1]) < 0.04).all(axis=1)
    assert not covered.any()


def test_written_names_do_not_overlap_on_paper(ax: Axes) -> None:
    rng = np.random.default_rng(0)
    groups = {f"alpha-beta T cell of kind {i}": rng.normal(rng.uniform(0.2, 0.8, 2), 0.02, (20, 2)) for i in range(25)}
    missing = write_names(ax, groups, dict.fromkeys(groups, "#0072b2"))
    assert len(ax.texts) + len(missing) == 25
    assert len(ax.texts) >= 20
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    whole = ax.get_window_extent()
    assert all(whole.x0 <= box.x0 and box.x1 <= whole.x1 for box in boxes)
    assert {text.get_text().replace("\n", " ") for text in ax.texts} | set(missing) == set(groups)


def test_line_leads_to_a_group_that_its_name_does_not_touch(ax: Axes) -> None:
    crowd = np.random.default_rng(0).uniform(0.3, 0.7, (5000, 2))
    middle = np.array([[0.5, 0.5]])
    write_names(ax, {"crowd": crowd, "one cell": middle}, {"crowd": "#e69f00", "one cell": "#0072b2"})
    ends = [line.get_xydata()[1] for line in ax.lines]
    assert len(ends) <= 1
    touching = (np.abs(np.array(ax.texts[1].get_position()) - 0.5) < 0.15).all()
    assert touching != bool(ends)


def test_no_groups_need_no_names(ax: Axes) -> None:
    assert write_names(ax, {}, {}) == []
    assert not ax.texts
