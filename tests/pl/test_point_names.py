"""Names of points: near their point, over nothing else."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm_scverse.pl._point_names import DOT, WAY, find_free, name_points

INSIDE = np.array([[0.0, 0.0], [200.0, 200.0]])


def covered(point: np.ndarray, middle: np.ndarray, size: np.ndarray) -> bool:
    return bool((np.abs(point - middle) < size / 2).all())


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 12), m=st.integers(0, 200))
def test_names_cover_no_point_no_name_and_no_line(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    dots, others = rng.uniform(10, 190, (n, 2)), rng.uniform(0, 200, (m, 2))
    sizes = np.column_stack([rng.uniform(10, 60, n), np.full(n, 7.0)])
    middles = find_free(dots, sizes, np.vstack([dots, others]), INSIDE)
    shown = np.flatnonzero(np.isfinite(middles).all(axis=1))
    for i in shown:
        assert (middles[i] - sizes[i] / 2 >= INSIDE[0]).all()
        assert (middles[i] + sizes[i] / 2 <= INSIDE[1]).all()
        assert not any(covered(point, middles[i], sizes[i] + 2 * DOT) for point in np.vstack([dots, others]))
        start = np.clip(dots[i], middles[i] - sizes[i] / 2, middles[i] + sizes[i] / 2)
        line = start + np.linspace(0, 1, WAY)[:, None] * (dots[i] - start)
        for j in shown[shown != i]:
            assert not covered(middles[i], middles[j], sizes[i] + sizes[j])
            assert not any(covered(point, middles[j], sizes[j]) for point in line)


def test_name_of_a_lonely_point_stands_right_beside_it() -> None:
    dots = np.array([[100.0, 100.0]])
    size = np.array([[30.0, 7.0]])
    middle = find_free(dots, size, dots, INSIDE)[0]
    assert abs(middle[0] - 100) - 15 < 4
    assert middle[1] == 100


def test_name_without_room_is_left_out_and_told() -> None:
    dots = np.array([[100.0, 100.0]])
    crowd = np.stack(np.meshgrid(np.arange(0, 200, 4), np.arange(0, 200, 4)), axis=-1).reshape(-1, 2)
    assert np.isnan(find_free(dots, np.array([[30.0, 7.0]]), crowd, INSIDE)).all()
    fig, ax = plt.subplots(figsize=(2, 2))
    ax.set(xlim=(0, 200), ylim=(0, 200))
    names = name_points(ax, dots, ["STAT1"], ["#000000"], crowd.astype(float))
    assert names == ["STAT1"]
    assert not ax.texts
    plt.close(fig)


def test_names_are_dark_enough_to_be_read_and_no_points_are_no_names() -> None:
    fig, ax = plt.subplots()
    assert name_points(ax, np.array([[0.5, 0.5]]), ["STAT1"], ["#ffff00"], np.zeros((0, 2))) == []
    assert ax.texts[0].get_color() != "#ffff00"
    assert name_points(ax, np.zeros((0, 2)), [], [], np.zeros((5, 2))) == []
    plt.close(fig)
