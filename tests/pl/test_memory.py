"""``pl.memory``: bars of what the memory of a training is made of."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.training import MemoryEstimate

MIB = 2**20
FULL = MemoryEstimate("full", 200 * MIB, 400 * MIB, 50 * MIB, 900 * MIB, 100 * MIB)
LOW = MemoryEstimate("a very long name of a way that takes less memory", 200 * MIB, 24 * MIB, 0, 150 * MIB, 60 * MIB)


def test_bars_are_the_parts_and_end_at_the_peak() -> None:
    ax = scfm.pl.memory([FULL, LOW], show=False)
    assert isinstance(ax, Axes)
    for row, one in enumerate((FULL, LOW)):
        bars = [bars[row] for bars in ax.containers]
        assert [bar.get_width() * MIB for bar in bars] == list(one.parts.values())
        assert bars[-1].get_x() + bars[-1].get_width() == one.peak / MIB
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(FULL.parts)
    assert [text.get_text() for text in ax.texts] == ["1,650", "434"]
    assert ax.get_yticklabels()[1].get_text().replace("\n", " ") == LOW.name
    assert ax.yaxis_inverted()


def test_large_numbers_are_in_gib() -> None:
    ax = scfm.pl.memory(MemoryEstimate("large", 5 * 2**30, 0, 0, 0, 2**29), show=False)
    assert isinstance(ax, Axes)
    assert ax.get_xlabel() == "memory at its peak (GiB)"
    assert [text.get_text() for text in ax.texts] == ["5.5"]


def test_figure_is_returned_and_axes_are_taken() -> None:
    assert isinstance(scfm.pl.memory(FULL, show=False, return_fig=True), Figure)
    ax = plt.figure().add_subplot()
    assert scfm.pl.memory(FULL, ax=ax) is ax


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(InputError, match="estimate_memory"):
        scfm.pl.memory([])
