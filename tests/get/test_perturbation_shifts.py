"""Where perturbed cells lie on a map: nowhere else without an effect, among their new neighbours with one."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData

from scfm_scverse._errors import InputError, MissingKeyError, ModelMismatchError
from scfm_scverse._record import record
from scfm_scverse.get._perturbation_shifts import FARTHEST_WEIGHT, N_NEIGHBORS, shifts_on_map


def perturbed(n: int = 90, seed: int = 0) -> AnnData:
    """Cells of three directions in 8 dimensions, far apart on the map ``X_flat``; nothing is changed yet."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) % 3
    adata = AnnData(np.ones((n, 2), np.float32))
    adata.obsm["X_scfm"] = (3 * np.eye(8)[group] + rng.normal(0, 0.3, (n, 8))).astype(np.float32)
    adata.obsm["X_flat"] = (np.array([[0, 0], [10, 0], [0, 10]])[group] + rng.normal(0, 0.5, (n, 2))).astype(np.float32)
    adata.obsm["X_scfm_perturbed"] = adata.obsm["X_scfm"].copy()
    adata.obs["scfm_effect"] = np.float32(0)
    adata.obs["group"] = group
    record(adata, "embed", "X_scfm", {"model_id": "toy:1"})
    done = {"genes": ["STAT1"], "kind": "delete", "dose": 1.0, "model_id": "toy:1", "embedding_key": "X_scfm"}
    record(adata, "perturb", "scfm", done)
    return adata


def naive(adata: AnnData) -> np.ndarray:
    """Cell by cell."""
    before, after, xy = (adata.obsm[key].astype(float) for key in ("X_scfm", "X_scfm_perturbed", "X_flat"))

    def place(vector: np.ndarray, own: int) -> np.ndarray:
        cosine = before @ vector / np.linalg.norm(before, axis=1) / np.linalg.norm(vector)
        others = [j for j in np.argsort(-cosine) if j != own][: N_NEIGHBORS + 1]
        distance = 1 - cosine[others]
        weight = 1 - distance / distance[-1] + FARTHEST_WEIGHT
        return weight @ xy[others] / weight.sum()

    return np.array([place(after[i], i) - place(before[i], i) for i in range(len(xy))])


def test_shift_is_that_of_the_mean_place_of_the_neighbours() -> None:
    adata = perturbed()
    rng = np.random.default_rng(1)
    adata.obsm["X_scfm_perturbed"] += rng.normal(0, 0.5, (90, 8)).astype(np.float32)
    found = shifts_on_map(adata, adata.obsm["X_flat"], key="scfm")
    np.testing.assert_allclose(found, naive(adata), atol=2e-4)
    assert np.linalg.norm(found, axis=1).min() > 0


def test_cells_that_stay_as_they_are_stay_in_place_exactly() -> None:
    adata = perturbed()
    adata.obsm["X_scfm_perturbed"][:5] *= np.float32(1.2) * np.arange(1, 9, dtype=np.float32)
    found = shifts_on_map(adata, adata.obsm["X_flat"], key="scfm")
    assert (found[5:] == 0).all()
    assert (found[:5] != 0).all()


def test_cells_that_become_like_others_move_to_them() -> None:
    adata = perturbed()
    first = adata.obs["group"].to_numpy() == 0
    adata.obsm["X_scfm_perturbed"][first] = adata.obsm["X_scfm"][adata.obs["group"] == 1]
    found = shifts_on_map(adata, adata.obsm["X_flat"], key="scfm")
    np.testing.assert_allclose(found[first], [[10, 0]] * 30, atol=1)


def test_small_changes_move_cells_a_little() -> None:
    adata = perturbed()
    adata.obsm["X_scfm_perturbed"] += np.float32(1e-4)
    moved = np.linalg.norm(shifts_on_map(adata, adata.obsm["X_flat"], key="scfm"), axis=1)
    assert 0 < moved.max() < 0.01


def test_cells_without_a_place_or_without_what_they_became_have_no_shift() -> None:
    adata = perturbed()
    adata.obsm["X_scfm"][3] = np.nan
    adata.obsm["X_scfm_perturbed"][[3, 4]] = np.nan
    xy = adata.obsm["X_flat"].copy()
    xy[5] = np.nan
    found = shifts_on_map(adata, xy, key="scfm")
    assert np.flatnonzero(np.isnan(found).any(axis=1)).tolist() == [3, 4, 5]


def test_a_part_of_the_cells_has_shifts_too() -> None:
    adata = perturbed()[:4].copy()
    adata.obsm["X_scfm_perturbed"] = adata.obsm["X_scfm"][::-1].copy()
    assert np.isfinite(shifts_on_map(adata, adata.obsm["X_flat"], key="scfm")).all()
    with pytest.raises(InputError, match="2 cells with an embedding; expected three"):
        shifts_on_map(adata[:2].copy(), adata.obsm["X_flat"][:2], key="scfm")


def test_identical_cells_give_no_nan() -> None:
    adata = perturbed(40)
    adata.obsm["X_scfm"][:] = 1
    found = shifts_on_map(adata, adata.obsm["X_flat"], key="scfm")
    assert np.isfinite(found).all()


def test_missing_perturbation_and_another_model_are_errors() -> None:
    adata = perturbed()
    with pytest.raises(MissingKeyError, match=r"perturbations found: 'scfm'.*tl\.perturb"):
        shifts_on_map(adata, adata.obsm["X_flat"], key="other")
    record(adata, "embed", "X_scfm", {"model_id": "toy:2"})
    with pytest.raises(ModelMismatchError, match="toy:2 and the perturbed cells with toy:1"):
        shifts_on_map(adata, adata.obsm["X_flat"], key="scfm")
