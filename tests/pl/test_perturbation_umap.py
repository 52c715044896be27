"""``pl.perturbation_umap``: arrows where cells move, none where they stay, and how long they are."""

from __future__ import annotations

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver

import scfm_scverse as scfm
from scfm_scverse._errors import MissingKeyError
from scfm_scverse._record import record
from scfm_scverse.get._perturbation_shifts import shifts_on_map
from scfm_scverse.pl import _umap


@pytest.fixture
def perturbed(cells: AnnData) -> AnnData:
    """The monocytes become like B cells, each by its own part of the way."""
    part = np.linspace(0.1, 0.4, cells.n_obs, dtype=np.float32)[:, None]
    before = cells.obsm["X_scfm"]
    monocytes = (cells.obs["scfm_cell_type"] == "monocyte").to_numpy()
    after = np.where(monocytes[:, None], (1 - part) * before + part * before[:30].mean(axis=0), before)
    cells.obsm["X_scfm_perturbed"] = after.astype(np.float32)
    cells.obs["scfm_effect"] = np.where(monocytes, part[:, 0], np.float32(0))
    done = {"genes": ["SPI1"], "kind": "delete", "dose": 1.0, "model_id": "toy:1", "embedding_key": "X_scfm"}
    record(cells, "perturb", "scfm", done)
    return cells


def draw(cells: AnnData, **how: object) -> Axes:
    ax = scfm.pl.perturbation_umap(cells, basis="flat", show=False, **how)
    assert isinstance(ax, Axes)
    ax.figure.canvas.draw()
    return ax


def arrows_of(ax: Axes) -> Quiver:
    return next(artist for artist in ax.collections if isinstance(artist, Quiver))


def again(cells: AnnData, n: int) -> AnnData:
    """The first 60 cells, and the 30 that move as often as gives ``n`` cells."""
    rows = np.concatenate([np.arange(60), np.resize(np.arange(60, 90), n)])
    obs = cells.obs.iloc[rows].set_axis([f"cell{i}" for i in range(len(rows))])
    adata = AnnData(obs=obs, obsm={key: cells.obsm[key][rows] for key in cells.obsm}, uns=cells.uns)
    noise = np.random.default_rng(1).normal(0, 0.3, adata.obsm["X_scfm"].shape).astype(np.float32)
    moves = (adata.obsm["X_scfm"] != adata.obsm["X_scfm_perturbed"]).any(axis=1)
    adata.obsm["X_scfm"] += noise
    adata.obsm["X_scfm_perturbed"] = np.where(
        moves[:, None], adata.obsm["X_scfm_perturbed"] + noise, adata.obsm["X_scfm"]
    )
    return adata


def factor_of(ax: Axes) -> tuple[float, float]:
    """Length that the arrow below the map stands for, and how much longer it is drawn."""
    found = re.search(r"shift of (\S+) on the map .*drawn × (\S+)", "\n".join(text.get_text() for text in ax.texts))
    assert found
    return float(found[1]), float(found[2])


def test_every_cell_that_moves_has_an_arrow_of_its_shift(perturbed: AnnData) -> None:
    ax = draw(perturbed)
    shift = shifts_on_map(perturbed, perturbed.obsm["X_flat"], key="scfm")
    moved = np.flatnonzero((shift != 0).any(axis=1) & np.isfinite(shift).all(axis=1))
    assert set(perturbed.obs["scfm_cell_type"].iloc[moved]) == {"monocyte"}
    arrows = arrows_of(ax)
    np.testing.assert_allclose(np.column_stack([arrows.U, arrows.V]), shift[moved])
    np.testing.assert_allclose(arrows.get_offsets(), perturbed.obsm["X_flat"][moved])
    assert f"{len(moved)} of 120 cells moved" in [text.get_text() for text in ax.texts]


def test_length_of_arrows_is_explained_by_one_drawn_the_same_way(perturbed: AnnData) -> None:
    ax = draw(perturbed)
    shown, key = [artist for artist in ax.collections if isinstance(artist, Quiver)]
    length, factor = factor_of(ax)
    assert shown.scale == key.scale == pytest.approx(1 / factor)
    np.testing.assert_allclose(key.U, length)
    assert key.V == 0
    longest = factor * np.hypot(shown.U, shown.V).max() / np.ptp(ax.get_xlim())
    assert 0.02 < longest <= 0.3


def test_many_cells_share_arrows_that_are_means_of_squares(perturbed: AnnData) -> None:
    many = again(perturbed, 3000)
    many.obsm["X_flat"] += np.random.default_rng(0).normal(0, 0.5, (many.n_obs, 2)).astype(np.float32)
    arrows = arrows_of(draw(many))
    shift = shifts_on_map(many, many.obsm["X_flat"], key="scfm")
    moved = (shift != 0).any(axis=1)
    assert moved.sum() == 3000
    assert 5 < len(arrows.U) < 400
    mean = np.column_stack([arrows.U, arrows.V])
    assert (mean >= shift[moved].min(axis=0)).all()
    assert (mean <= shift[moved].max(axis=0)).all()
    places = arrows.get_offsets()
    nearest = np.linalg.norm(many.obsm["X_flat"][moved][:, None] - places, axis=-1).min(axis=0)
    assert (nearest < 0.5).all()


def test_squares_with_few_cells_have_no_arrow(perturbed: AnnData) -> None:
    many = again(perturbed, 600)
    many.obsm["X_flat"][60] = (40, 40)
    places = arrows_of(draw(many)).get_offsets()
    assert len(places)
    assert places.max() < 20


def test_perturbation_that_changes_no_cell_draws_no_arrow(perturbed: AnnData) -> None:
    perturbed.obsm["X_scfm_perturbed"] = perturbed.obsm["X_scfm"].copy()
    ax = draw(perturbed)
    assert not any(isinstance(artist, Quiver) for artist in ax.collections)
    assert "0 of 120 cells moved" in [text.get_text() for text in ax.texts]


@pytest.mark.parametrize(
    ("change", "title"),
    [
        ({}, "SPI1 deleted"),
        ({"genes": ["STAT1", "JAK2"], "kind": "inhibit", "dose": 0.5}, "STAT1 + JAK2 inhibited (dose 0.5)"),
        ({"genes": list("ABCDEF"), "kind": "overexpress"}, "A + B + C + D + 2 more overexpressed"),
        ({"kind": "activate", "dose": 2.0}, "SPI1 activated (dose 2)"),
    ],
)
def test_title_says_what_was_done(perturbed: AnnData, change: dict, title: str) -> None:
    record(perturbed, "perturb", "scfm", perturbed.uns["scfm"]["perturb"]["scfm"] | change)
    assert draw(perturbed).get_title(loc="left") == title


def test_colours_are_the_effect_or_a_column(perturbed: AnnData) -> None:
    ax = draw(perturbed)
    np.testing.assert_allclose(np.sort(ax.collections[0].get_array()), np.sort(perturbed.obs["scfm_effect"]))
    assert ax.child_axes[0].get_title(loc="left") == "effect"
    assert draw(perturbed, color="scfm_cell_type").get_legend() is not None
    with pytest.raises(MissingKeyError, match="color='louvain'"):
        draw(perturbed, color="louvain")


def test_map_is_that_of_the_unperturbed_cells(perturbed: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_umap, "_umap", _umap._principal_plane)  # as good here, and made at once
    fig = scfm.pl.perturbation_umap(perturbed, return_fig=True)
    assert isinstance(fig, Figure)
    xy = perturbed.obsm["X_umap_scfm"]
    scfm.pl.embedding(perturbed, show=False)
    np.testing.assert_array_equal(perturbed.obsm["X_umap_scfm"], xy)
    box, (width, height) = fig.get_tightbbox(), fig.get_size_inches()
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


def test_given_axes_are_drawn_into(perturbed: AnnData) -> None:
    _, ax = plt.subplots()
    assert scfm.pl.perturbation_umap(perturbed, basis="flat", ax=ax) is ax
    assert arrows_of(ax) is not None


def test_cells_that_were_not_perturbed_are_an_error(cells: AnnData) -> None:
    with pytest.raises(MissingKeyError, match=r"scfm\.tl\.perturb\(adata"):
        scfm.pl.perturbation_umap(cells)
