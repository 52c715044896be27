"""The layout: computed once, kept beside the embedding, never over what the user has."""

from __future__ import annotations

import logging
from pathlib import Path
from unittest.mock import Mock

import anndata
import numpy as np
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError
from scfm_scverse._record import read_record, record
from scfm_scverse.pl import _umap
from scfm_scverse.pl._umap import map_of

SLOT = "X_umap_scfm"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Stand in for UMAP where a test asks only whether it runs."""
    rng = np.random.default_rng(0)
    stand_in = Mock(side_effect=lambda values: rng.random((len(values), 2)).astype(np.float32))
    monkeypatch.setattr(_umap, "_place", stand_in)
    return stand_in


def mixed_neighbors(xy: np.ndarray, group: np.ndarray) -> int:
    """Count the cells whose next cell on the map is of another group."""
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    return int((group[distance.argmin(axis=1)] != group).sum())


def check_layout(cells: AnnData) -> None:
    xy = cells.obsm[SLOT]
    assert xy.dtype == np.float32
    assert xy.shape == (cells.n_obs, 2)
    assert np.isnan(xy[-2:]).all()
    assert mixed_neighbors(xy[:-2], cells.obs["scfm_cell_type"].astype(str).to_numpy()[:-2]) == 0


def test_umap_keeps_groups_apart_is_repeatable_and_spares_the_user(cells: AnnData) -> None:
    again = cells.copy()
    mine = np.arange(2.0 * cells.n_obs).reshape(-1, 2)
    cells.obsm["X_umap"] = mine.copy()
    xy, name = map_of(cells, "X_scfm")
    assert name == "UMAP"
    np.testing.assert_array_equal(cells.obsm["X_umap"], mine)
    np.testing.assert_array_equal(cells.obsm[SLOT], xy)
    check_layout(cells)
    np.testing.assert_array_equal(map_of(again, "scfm")[0], xy)


@pytest.mark.slow
def test_umap_of_many_cells_searches_neighbors_approximately(cells: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_umap, "EXACT_BELOW", 10)
    map_of(cells, "X_scfm")
    check_layout(cells)


@pytest.mark.parametrize("n", [0, 1, 2, 4, 5, 16])
def test_few_cells_have_a_place_too(cells: AnnData, n: int) -> None:
    xy, _ = map_of(cells[::7][:n].copy(), "X_scfm")
    assert xy.shape == (n, 2)
    assert np.isfinite(xy).all()
    assert len(np.unique(xy, axis=0)) == n


def test_principal_plane_keeps_distances_of_few_cells() -> None:
    values = np.zeros((3, 6), np.float32)
    values[1, 2], values[2, 4] = 3, 4
    xy = _umap._place(values)
    np.testing.assert_allclose(np.linalg.norm(xy[:, None] - xy, axis=2)[[0, 0, 1], [1, 2, 2]], [3, 4, 5], rtol=1e-5)


def test_layout_is_computed_once(cells: AnnData, place: Mock) -> None:
    first, _ = map_of(cells, "X_scfm")
    second, _ = map_of(cells, "X_scfm")
    np.testing.assert_array_equal(first, second)
    place.assert_called_once()


def test_layout_survives_a_file(cells: AnnData, place: Mock, tmp_path: Path) -> None:
    first, _ = map_of(cells, "X_scfm")
    cells.write_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(map_of(anndata.read_h5ad(tmp_path / "cells.h5ad"), "X_scfm")[0], first)
    place.assert_called_once()


def test_layout_is_computed_anew_for_other_values_model_or_more_cells(cells: AnnData, place: Mock) -> None:
    map_of(cells, "X_scfm")
    cells.obsm["X_scfm"][3, 3] += 1
    map_of(cells, "X_scfm")
    assert place.call_count == 2
    record(cells, "embed", "X_scfm", {"model_id": "toy:2"})
    map_of(cells, "X_scfm")
    assert place.call_count == 3
    assert read_record(cells, "umap", SLOT)["model_id"] == "toy:2"
    twice = anndata.concat([cells, cells], index_unique="-", uns_merge="same")
    map_of(twice, "X_scfm")
    assert place.call_count == 4
    assert read_record(twice, "umap", SLOT)["n_cells"] == twice.n_obs


def test_subset_and_other_order_keep_their_places(cells: AnnData, place: Mock) -> None:
    whole, _ = map_of(cells, "X_scfm")
    np.testing.assert_array_equal(map_of(cells[10:40].copy(), "X_scfm")[0], whole[10:40])
    np.testing.assert_array_equal(map_of(cells[::-1].copy(), "X_scfm")[0], whole[::-1])
    place.assert_called_once()


def test_view_is_drawn_and_stays_a_view(cells: AnnData, place: Mock, caplog: pytest.LogCaptureFixture) -> None:
    view = cells[:20]
    with caplog.at_level(logging.INFO, "scfm"):
        assert map_of(view, "X_scfm")[0].shape == (20, 2)
    assert "drawn and not kept" in caplog.text
    assert view.is_view
    assert SLOT not in cells.obsm


def test_layout_that_nobody_recorded_is_neither_used_nor_overwritten(cells: AnnData, place: Mock) -> None:
    cells.obsm[SLOT] = np.ones((cells.n_obs, 2), np.float32)
    with pytest.raises(InputError, match=rf"{SLOT}.*without a record.*basis='{SLOT}'"):
        map_of(cells, "X_scfm")
    assert map_of(cells, SLOT)[0].max() == 1
    place.assert_not_called()


def test_two_columns_are_a_map_already(cells: AnnData, place: Mock) -> None:
    xy, name = map_of(cells, "flat")
    np.testing.assert_array_equal(xy, cells.obsm["X_flat"])
    assert name == "flat"
    cells.obsm["X_umap"] = cells.obsm["X_flat"]
    assert map_of(cells, "umap")[1] == "UMAP"
    place.assert_not_called()


def test_missing_embedding_names_what_is_there_and_what_to_run(cells: AnnData) -> None:
    with pytest.raises(MissingKeyError, match=r"'X_other'.*'X_scfm', 'X_flat'.*scfm\.tl\.embed\(adata\)"):
        scfm.pl.embedding(cells, basis="X_other")


def test_one_column_is_no_map(cells: AnnData) -> None:
    cells.obsm["thin"] = np.ones((cells.n_obs, 1))
    with pytest.raises(InputError, match="has 1 column"):
        scfm.pl.embedding(cells, basis="thin")
