"""``get.perturbed_cells``: two rows a cell, labelled as pertpy and GEARS label them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError
from scfm_scverse._record import read_record, record
from scfm_scverse.io.files import read_adata, write_adata
from scfm_scverse.perturbation.names import parse_perturbation, perturbations_of
from support import small_counts

N, D = 30, 4
EMPTY, UNCHANGED = [0, 7], [1, 2, 3]


def perturbed_by_hand(genes: tuple[str, ...] = ("CD74",), key: str = "scfm") -> AnnData:
    """Thirty cells: two without an embedding (before; after), three that do not change."""
    rng = np.random.default_rng(0)
    adata = small_counts(N)
    adata.obs["kind"] = pd.Categorical(["a", "b"] * (N // 2))
    before = rng.normal(size=(N, D)).astype(np.float32)
    after = before + rng.normal(size=(N, D)).astype(np.float32)
    after[UNCHANGED] = before[UNCHANGED]
    before[EMPTY[0]], after[EMPTY[0]], after[EMPTY[1]] = np.nan, np.nan, np.nan
    adata.obsm.update({"X_mini": before, f"X_{key}_perturbed": after, "X_umap": before[:, :2]})
    adata.obs[f"{key}_effect"] = rng.random(N).astype(np.float32)
    record(adata, "perturb", key, {"genes": genes, "kind": "delete", "dose": 1.0, "embedding_key": "X_mini"})
    return adata


def test_cells_stand_before_and_after_the_perturbation() -> None:
    adata = perturbed_by_hand()
    cells = scfm.get.perturbed_cells(adata)
    kept = np.setdiff1d(np.arange(N), EMPTY)
    assert cells.obs["perturbation"].tolist() == ["control"] * len(kept) + ["CD74"] * len(kept)
    assert cells.obs["condition"].tolist() == ["ctrl"] * len(kept) + ["CD74+ctrl"] * len(kept)
    assert cells.obs_names.tolist() == [f"cell{i}-control" for i in kept] + [f"cell{i}-CD74" for i in kept]
    np.testing.assert_array_equal(cells.obsm["X_mini"][: len(kept)], adata.obsm["X_mini"][kept])
    np.testing.assert_array_equal(cells.obsm["X_mini"][len(kept) :], adata.obsm["X_scfm_perturbed"][kept])
    assert cells.obs["kind"].tolist() == adata.obs["kind"].iloc[kept].tolist() * 2
    effect = cells.obs["scfm_effect"].to_numpy()
    np.testing.assert_array_equal(effect, [*np.zeros(len(kept)), *adata.obs["scfm_effect"].iloc[kept]])
    assert effect.dtype == np.float32


def test_no_expression_is_made_up() -> None:
    cells = scfm.get.perturbed_cells(perturbed_by_hand())
    assert cells.X is None
    assert (cells.n_vars, list(cells.layers), list(cells.obsm)) == (0, [], ["X_mini"])


@pytest.mark.parametrize("stored", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, np.asarray])
def test_predicted_change_is_offered_where_there_is_one(stored: type) -> None:
    adata = perturbed_by_hand()
    change = sp.random(N, adata.n_vars, 0.1, random_state=0, dtype=np.float32).toarray()
    adata.layers["scfm_delta"] = stored(change)
    cells = scfm.get.perturbed_cells(adata)
    kept = np.setdiff1d(np.arange(N), EMPTY)
    assert cells.X is None
    assert cells.var_names.equals(adata.var_names)
    np.testing.assert_array_equal(cells.layers["scfm_delta"].toarray(), np.vstack([0 * change[kept], change[kept]]))


def test_cells_that_do_not_change_are_left_out_on_request() -> None:
    cells = scfm.get.perturbed_cells(perturbed_by_hand(), only_changed=True)
    kept = np.setdiff1d(np.arange(N), EMPTY + UNCHANGED)
    assert cells.obs_names.tolist() == [f"cell{i}-control" for i in kept] + [f"cell{i}-CD74" for i in kept]


def test_names_are_those_that_are_read_again() -> None:
    cells = scfm.get.perturbed_cells(perturbed_by_hand(("CD74", "HLA-DRA")), control="NT")
    for column, control in (("perturbation", "NT"), ("condition", "ctrl")):
        assert perturbations_of(cells.obs[column], control)[0] == [("CD74", "HLA-DRA")]
    assert {parse_perturbation(one) for one in cells.obs["condition"]} == {("CD74", "HLA-DRA"), ()}


def test_data_of_the_user_stay_as_they_are() -> None:
    adata = perturbed_by_hand()
    adata.obs["perturbation"] = ["measured"] * N
    adata.obs["condition"] = pd.Categorical(["ctrl", "stim"] * (N // 2))
    before = adata.copy()
    cells = scfm.get.perturbed_cells(adata)
    cells.obsm["X_mini"][:] = 0
    cells.obs["kind"] = "changed"
    cells.uns["scfm"]["perturb"]["scfm"]["genes"] = []
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    np.testing.assert_array_equal(adata.obsm["X_mini"], before.obsm["X_mini"])
    assert read_record(adata, "perturb", "scfm") == read_record(before, "perturb", "scfm")
    assert set(cells.obs["measured_perturbation"]) == {"measured"}
    assert set(cells.obs["measured_condition"]) == {"ctrl", "stim"}


def test_cells_have_names_of_their_own() -> None:
    adata = perturbed_by_hand(("HLA-A",))
    adata.obs_names = ["a", "a-HLA"] * (N // 2)
    cells = scfm.get.perturbed_cells(adata, control="A")
    assert cells.obs_names.is_unique


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_cells_survive_a_file(tmp_path: Path, suffix: str) -> None:
    adata = perturbed_by_hand()
    adata.layers["scfm_delta"] = sp.random(N, adata.n_vars, 0.1, "csr", random_state=0, dtype=np.float32)
    cells = scfm.get.perturbed_cells(adata)
    path = tmp_path / f"cells.{suffix}"
    write_adata(cells, path)
    again = read_adata(path)
    pd.testing.assert_frame_equal(again.obs, cells.obs)
    assert again.X is None
    assert read_record(again, "perturb", "scfm") == read_record(cells, "perturb", "scfm")


@pytest.mark.parametrize("attr", ["uns", "obsm", "obs"])
def test_missing_part_is_told(attr: str) -> None:
    adata = perturbed_by_hand()
    gone = {"uns": "scfm", "obsm": "X_mini", "obs": "scfm_effect"}[attr]
    del getattr(adata, attr)[gone]
    with pytest.raises(MissingKeyError, match=rf"adata\.{attr}\['{gone}'\] is missing.*tl\.perturb"):
        scfm.get.perturbed_cells(adata)


def test_other_key_is_asked_for_by_those_there_are() -> None:
    with pytest.raises(MissingKeyError, match=r"perturbations found: 'mine'.*pass key="):
        scfm.get.perturbed_cells(perturbed_by_hand(key="mine"))


def test_control_is_not_the_perturbation() -> None:
    with pytest.raises(InputError, match="control='CD74'"):
        scfm.get.perturbed_cells(perturbed_by_hand(), control="CD74")


def test_cells_without_any_change_are_told() -> None:
    adata = perturbed_by_hand()
    adata.obsm["X_scfm_perturbed"] = adata.obsm["X_mini"].copy()
    with pytest.raises(InputError, match="after CD74 that changes"):
        scfm.get.perturbed_cells(adata, only_changed=True)


def test_what_the_verb_wrote_is_laid_out() -> None:
    adata = small_counts(40)
    scfm.tl.perturb(adata, ("CD74", "B2M"), genes_out=5)
    cells = scfm.get.perturbed_cells(adata, only_changed=True)
    n = cells.n_obs // 2
    assert 0 < n <= 40
    before, after = np.split(cells.obsm["X_scfm"].astype(np.float64), 2)
    cosine = (before * after).sum(1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    np.testing.assert_allclose(cells.obs["scfm_effect"].to_numpy()[n:], 1 - cosine, atol=1e-5)
    assert cells.layers["scfm_delta"][:n].nnz == 0 < cells.layers["scfm_delta"][n:].nnz
