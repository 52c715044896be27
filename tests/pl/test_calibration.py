"""``pl.calibration``: bins with intervals, their cells, the error in the corner."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

import scfm_scverse as scfm
from support import annotated_by_hand


def draw() -> tuple[dict[str, Axes], object]:
    adata = annotated_by_hand()
    adata.obs["mine"] = np.where(np.arange(adata.n_obs) % 4 == 0, "neuron", adata.obs["mine"])
    axes = scfm.pl.calibration(adata, labels_key="mine", show=False)
    assert isinstance(axes, dict)
    return axes, scfm.get.calibration(adata, labels_key="mine")


def test_points_are_the_bins_that_hold_cells() -> None:
    axes, table = draw()
    full = table[table["n_cells"] > 0]
    (bars,) = axes["reliability"].containers
    points, _, (lines,) = bars.lines
    np.testing.assert_allclose(points.get_xydata(), full[["mean_confidence", "share_right"]])
    ends = np.array([segment[:, 1] for segment in lines.get_segments()])
    np.testing.assert_allclose(ends, full[["low", "high"]])
    diagonal = axes["reliability"].lines[0]
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]


def test_histogram_counts_the_cells_of_each_bin() -> None:
    axes, table = draw()
    (bars,) = axes["cells"].containers
    assert [bar.get_height() for bar in bars] == table["n_cells"].tolist()
    assert axes["cells"].get_xlim() == axes["reliability"].get_xlim() == (0, 1)


def test_error_and_number_of_cells_stand_in_the_corner() -> None:
    axes, table = draw()
    (note,) = axes["reliability"].texts
    assert note.get_text() == f"ECE {table.attrs['ece']:.3f}\n45 cells"


def test_answers_finer_than_their_label_are_told() -> None:
    adata = annotated_by_hand()
    adata.obs["mine"] = adata.obs["mine"].cat.rename_categories({"B cell": "lymphocyte"})
    axes = scfm.pl.calibration(adata, labels_key="mine", show=False)
    assert "15 finer than" in axes["reliability"].texts[0].get_text()
