"""``pl.copy_number``: the rows of the table as a heatmap, chromosomes and groups marked."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.figure import Figure

import scfm_scverse as scfm
from scfm_scverse._errors import MissingKeyError
from scfm_scverse._record import record


def scored(n_cells: int, groups: list[str], seed: int = 0) -> AnnData:
    rng = np.random.default_rng(seed)
    adata = AnnData(np.ones((n_cells, 2), np.float32))
    chromosome = np.repeat(np.arange(1, 23), 12)
    adata.obs["kind"] = pd.Categorical(np.resize(np.array(groups, object), n_cells))
    adata.obs["scfm_copy_number"] = rng.normal(0, 3, n_cells).astype(np.float32)
    windows = rng.normal(0, 0.1, (n_cells, len(chromosome))).astype(np.float32)
    windows[adata.obs["kind"] == groups[0], :12] += 1
    adata.obsm["X_scfm_copy_number"] = windows
    places = {"window_chromosome": chromosome, "window_start": np.arange(len(chromosome))}
    record(adata, "copy_number", "scfm", places)
    return adata


def draw(adata: AnnData, **how: object) -> dict:
    axes = scfm.pl.copy_number(adata, groupby="kind", show=False, **how)
    assert isinstance(axes, dict)
    return axes


def names_of(axes: dict) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in axes["windows"].texts]


def test_heatmap_shows_the_rows_of_the_table() -> None:
    adata = scored(50, ["tumour", "normal"])
    axes = draw(adata)
    (image,) = axes["windows"].images
    np.testing.assert_allclose(image.get_array(), scfm.get.copy_number(adata, groupby="kind"))
    low, high = image.get_clim()
    assert low == -high
    assert sorted(names_of(axes)) == ["normal (25)", "tumour (25)"]


def test_noise_stays_pale() -> None:
    adata = scored(50, ["a", "b"])
    adata.obsm["X_scfm_copy_number"] *= 1e-3
    assert draw(adata)["windows"].images[0].get_clim() == (-0.2, 0.2)


def test_chromosomes_are_marked_where_they_begin() -> None:
    axes = draw(scored(20, ["a"]))
    assert [tick.get_text() for tick in axes["windows"].get_xticklabels()] == [str(i) for i in range(1, 23)]
    lines = {line.get_xdata()[0] for line in axes["windows"].lines if len(line.get_xdata()) == 2}
    assert {12 * i - 0.5 for i in range(1, 22)} <= lines


def test_names_of_thin_groups_stay_apart_and_inside() -> None:
    groups = [f"a rather long name of a cell type, number {i:02d}" for i in range(13)]
    adata = scored(2000, [groups[0]] * 100 + groups)
    axes = draw(adata)
    fig = axes["windows"].figure
    fig.canvas.draw()
    boxes = sorted((text.get_window_extent() for text in axes["windows"].texts), key=lambda box: box.y0)
    assert len(boxes) == 13
    assert all(above.y0 >= below.y1 - 1.5 for below, above in pairwise(boxes))
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.y1 <= fig.bbox.height for box in boxes)
    assert fig.get_size_inches()[0] <= 7.4


def test_many_cells_are_drawn_in_few_rows() -> None:
    axes = draw(scored(5000, ["a", "b"]), max_rows=100)
    assert axes["windows"].images[0].get_array().shape[0] == 100
    assert sorted(names_of(axes)) == ["a (2,500)", "b (2,500)"]


def test_one_cell_and_missing_scores_are_drawn() -> None:
    adata = scored(1, ["a"])
    adata.obs["scfm_copy_number"] = np.float32(np.nan)
    assert names_of(draw(adata)) == ["a (1)"]


def test_figure_can_be_saved_as_pdf_and_png() -> None:
    fig = scfm.pl.copy_number(scored(30, ["a", "b"]), groupby="kind", return_fig=True)
    assert isinstance(fig, Figure)
    for kind in ("pdf", "png"):
        file = io.BytesIO()
        fig.savefig(file, format=kind)
        assert len(file.getvalue()) > 5000


def test_missing_scores_name_what_to_run() -> None:
    with pytest.raises(MissingKeyError, match=r"Run scfm\.tl\.score_copy_number"):
        scfm.pl.copy_number(AnnData(np.ones((2, 2), np.float32)))
