"""``pl.confusion``: shares of each row, frames where labels agree, rare columns together."""

from __future__ import annotations

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError
from support import annotated_by_hand


def draw(adata: AnnData, **arguments: object) -> Axes:
    ax = scfm.pl.confusion(adata, labels_key="mine", show=False, **arguments)
    assert isinstance(ax, Axes)
    return ax


def ticks(axis: object) -> list[str]:
    return [label.get_text().replace("\n", " ") for label in axis.get_ticklabels()]


def written(ax: Axes) -> dict[tuple[int, int], str]:
    """Per cents by row and column."""
    return {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in ax.texts}


def test_rows_are_labels_with_their_cells_and_entries_are_per_cent_of_a_row() -> None:
    adata = annotated_by_hand()
    ax = draw(adata)
    table = scfm.get.confusion(adata, labels_key="mine")
    assert ticks(ax.yaxis) == [f"{name} ({n})" for name, n in table.sum(axis=1).items()]
    assert ticks(ax.xaxis) == list(table.columns)
    share = 100 * table.div(table.sum(axis=1), axis=0).to_numpy()
    assert written(ax) == {(i, j): f"{share[i, j]:.0f}" for i, j in np.argwhere(share > 0).tolist()}
    drawn = np.asarray(ax.collections[0].get_array()).reshape(share.shape)
    np.testing.assert_allclose(100 * drawn, share)
    assert ax.yaxis_inverted()


def test_frames_stand_where_labels_agree() -> None:
    adata = annotated_by_hand()
    ax = draw(adata)
    rows, columns = ticks(ax.yaxis), ticks(ax.xaxis)
    framed = {
        (rows[int(p.get_y())].rpartition(" (")[0], columns[int(p.get_x())])
        for p in ax.patches
        if isinstance(p, Rectangle)
    }
    assert framed == {(name, name) for name in columns if name != "unknown"}


def test_labels_of_no_known_type_have_no_frames() -> None:
    adata = annotated_by_hand()
    adata.obs["mine"] = [f"c/{i % 2}" for i in range(adata.n_obs)]
    assert not draw(adata).patches


def test_types_that_are_rare_in_every_row_are_drawn_together() -> None:
    adata = annotated_by_hand({f"type {i:02d}": "unknown" for i in range(40)}, per_label=5)
    adata.obs["mine"] = "all"
    adata.obs["scfm_cell_type"] = pd.Categorical(["type 39"] * 196 + [f"type {i:02d}" for i in range(4)])
    assert ticks(draw(adata).xaxis) == ["type 39", "4 other types"]
    assert list(written(draw(adata)).values()) == ["98", "2"]


def test_figure_holds_all_names_and_can_be_saved() -> None:
    adata = annotated_by_hand()
    adata.obs["mine"] = adata.obs["mine"].cat.rename_categories({"B cell": "a B/plasma cell with a long name " * 2})
    fig = scfm.pl.confusion(adata, labels_key="mine", return_fig=True)
    assert isinstance(fig, Figure)
    box, (width, height) = fig.get_tightbbox(), fig.get_size_inches()
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height
    for kind in ("pdf", "png"):
        file = io.BytesIO()
        fig.savefig(file, format=kind)
        assert len(file.getvalue()) > 3000


def test_axes_of_the_user_are_drawn_into() -> None:
    fig, mine = plt.subplots(figsize=(3, 3))
    assert scfm.pl.confusion(annotated_by_hand(), labels_key="mine", ax=mine) is mine
    assert fig.get_size_inches().tolist() == [3, 3]


@pytest.mark.parametrize(
    ("label", "error", "match"), [(None, InputError, "no value in"), ("x", MissingKeyError, "labels_key='x'")]
)
def test_labels_that_are_missing_are_an_error(label: str | None, error: type[Exception], match: str) -> None:
    adata = annotated_by_hand()
    adata.obs["mine"] = np.nan
    with pytest.raises(error, match=match):
        scfm.pl.confusion(adata, labels_key=label or "mine")
    assert not plt.get_fignums()
