"""``pl.annotation``: three panels of what ``tl.annotate`` wrote."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import scfm_scverse as scfm
from scfm_scverse._errors import MissingKeyError
from scfm_scverse.pl._palettes import UNKNOWN_COLOR


def draw(cells: AnnData) -> tuple[Figure, dict[str, Axes]]:
    panels = scfm.pl.annotation(cells, basis="flat", show=False)
    assert isinstance(panels, dict)
    fig = panels["cell_type"].figure
    assert isinstance(fig, Figure)
    fig.canvas.draw()
    return fig, panels


def listed(fig: Figure) -> list[str]:
    return [text.get_text() for legend in fig.legends for text in legend.get_texts()]


def named(panels: dict[str, Axes]) -> set[str]:
    return {text.get_text().replace("\n", " ") for text in panels["cell_type"].texts}


def relabel(cells: AnnData, labels: list[str]) -> None:
    cells.obs["scfm_cell_type"] = pd.Categorical(np.array(labels, object))


def test_panels_show_types_confidence_and_unknown_score(cells: AnnData) -> None:
    fig, panels = draw(cells)
    assert [ax.get_title(loc="left") for ax in panels.values()] == ["Cell type", "Confidence", "Unknown score"]
    assert named(panels) == set(cells.obs["scfm_cell_type"])
    assert listed(fig) == []
    for name in ("confidence", "unknown_score"):
        points = panels[name].collections[0]
        assert points.get_clim() == (0, 1)
        values = np.ma.filled(points.get_array().astype(float), np.nan)
        expected = cells.obs[f"scfm_{name}"].to_numpy(float)
        np.testing.assert_array_equal(np.sort(values[np.isfinite(values)]), np.sort(expected[:-2]))
        assert (np.diff(values[np.isfinite(values)]) >= 0).all()


def test_unknown_cells_are_grey_and_counted_with_those_that_have_no_place(cells: AnnData) -> None:
    _, panels = draw(cells)
    grey = np.isclose(panels["cell_type"].collections[0].get_facecolors()[:, :3], to_rgb(UNKNOWN_COLOR)).all(axis=1)
    assert grey.sum() == 30
    assert panels["cell_type"].get_title(loc="right") == "120 cells, 30 unknown, 2 without counts not shown"


def test_limit_of_the_unknown_score_is_marked_on_its_bar(cells: AnnData) -> None:
    _, panels = draw(cells)
    (bar,) = panels["unknown_score"].child_axes
    assert [line.get_ydata()[0] for line in bar.lines if line.get_marker() == ">"] == [0.8]
    assert bar.get_ylim() == (0, 1)
    del cells.uns["scfm"]["annotate"]
    _, panels = draw(cells)
    assert not panels["unknown_score"].child_axes[0].lines


def test_rare_types_are_listed_below_with_their_numbers(many: Callable[[int], AnnData]) -> None:
    big = many(1000)
    relabel(big, ["B cell"] * 993 + ["basophil"] * 4 + ["mast cell"] * 3)
    fig, panels = draw(big)
    assert named(panels) == {"B cell"}
    assert listed(fig) == ["basophil (4)", "mast cell (3)"]
    (legend,) = fig.legends
    colors = dict(zip(big.obs["scfm_cell_type"].cat.categories, big.uns["scfm_cell_type_colors"], strict=True))
    assert [handle.get_color() for handle in legend.legend_handles] == [colors["basophil"], colors["mast cell"]]
    box, lowest = legend.get_window_extent(), panels["cell_type"].get_tightbbox()
    assert 0 <= box.y0 < box.y1 <= lowest.y0
    assert box.x1 <= fig.bbox.x1


def test_long_list_of_rare_types_is_cut_and_summed(many: Callable[[int], AnnData]) -> None:
    names = [f"a rather long name of type {i:02d}" for i in range(60)]
    big = many(2000)
    relabel(big, ["B cell"] * 1940 + names)
    fig, _ = draw(big)
    assert len(listed(fig)) == 18
    assert listed(fig)[-1] == "43 more types (43)"
    assert fig.legends[0].get_window_extent().x1 <= fig.bbox.x1


@pytest.mark.parametrize("label", ["unknown", "B cell"])
def test_one_label_for_all_is_drawn(cells: AnnData, label: str) -> None:
    relabel(cells, [label] * cells.n_obs)
    fig, panels = draw(cells)
    assert named(panels) == {label}
    assert listed(fig) == []


def test_one_cell_is_drawn(cells: AnnData) -> None:
    _, panels = draw(cells[:1].copy())
    assert panels["cell_type"].get_title(loc="right") == "1 cell, 0 unknown"
    assert named(panels) == {"B cell"}


def test_cells_without_any_place_are_counted(cells: AnnData) -> None:
    _, panels = draw(cells[-2:].copy())
    assert panels["cell_type"].get_title(loc="right") == "2 cells, 2 unknown, 2 without counts not shown"
    assert named(panels) == set()


def test_other_keys_are_read_and_coloured_apart(cells: AnnData) -> None:
    for name in [column for column in cells.obs if column.startswith("scfm_")]:
        cells.obs[name.replace("scfm", "mine")] = cells.obs[name]
        del cells.obs[name]
    panels = scfm.pl.annotation(cells, key="mine", basis="flat", show=False)
    assert isinstance(panels, dict)
    assert "mine_cell_type_colors" in cells.uns
    with pytest.raises(MissingKeyError, match=r"Run scfm\.tl\.annotate"):
        scfm.pl.annotation(cells, basis="flat")


def test_figure_can_be_saved_as_pdf_and_png(cells: AnnData) -> None:
    fig = scfm.pl.annotation(cells, basis="flat", return_fig=True)
    assert isinstance(fig, Figure)
    for kind in ("pdf", "png"):
        file = io.BytesIO()
        fig.savefig(file, format=kind)
        assert len(file.getvalue()) > 5000
