"""``tl.score_copy_number``: what it writes, whom it compares, and what it refuses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import GeneMatchError, InputError, MissingKeyError
from scfm_scverse._record import record
from scfm_scverse.tl._copy_number import find_malignant
from support import simulated_tumour, small_counts

BY_KIND = {"reference_key": "kind", "reference_cat": "normal"}
READING = {"layer": None, "use_raw": False, "normalized": None}
NAMES = {"gene_symbols": None, "organism": None}


@pytest.fixture(scope="module")
def _simulated() -> AnnData:
    return simulated_tumour(50)


@pytest.fixture
def tumour(_simulated: AnnData) -> AnnData:
    return _simulated.copy()


def with_annotation(adata: AnnData) -> AnnData:
    """An annotation by hand: T cells (normal), epithelial cells, and one class without a term."""
    kinds = adata.obs["kind"].to_numpy(str)
    probabilities = np.full((adata.n_obs, 3), 0.05, np.float32)
    probabilities[np.arange(adata.n_obs), np.where(kinds == "normal", 0, 1)] = 0.9
    adata.obsm["scfm_probabilities"] = probabilities
    adata.obs["scfm_cell_type"] = np.where(kinds == "normal", "T cell", "epithelial cell")
    adata.obs["scfm_unknown_score"] = np.float32(0.2)
    record(adata, "annotate", "scfm", {"labels_ontology": ["CL:0000084", "CL:0000066", ""]})
    return adata


def test_score_windows_and_record_are_written(tumour: AnnData) -> None:
    assert scfm.tl.score_copy_number(tumour, **BY_KIND) is None
    score = tumour.obs["scfm_copy_number"]
    windows = tumour.obsm["X_scfm_copy_number"]
    assert score.dtype == windows.dtype == np.float32
    assert score[tumour.obs["kind"] == "tumour"].min() > score[tumour.obs["kind"] == "normal"].max()
    written = tumour.uns["scfm"]["copy_number"]["scfm"]
    assert len(written["window_chromosome"]) == len(written["window_start"]) == windows.shape[1]
    assert set(written["window_chromosome"]) <= set(range(1, 23))
    assert written["window_genes"] == 51
    assert (written["donors"], written["donor_normals"], written["donor_candidates"]) == (["all cells"], [50], [100])
    assert written["donor_evidence"][0] > 0.9


def test_donors_are_compared_with_their_own_normal_cells(caplog: pytest.LogCaptureFixture) -> None:
    two = simulated_tumour(40, donors=2)
    # Another lab's depth and genes: without donors, its normal cells would look changed.
    two.obs.loc[(two.obs["donor"] == "d1") & (two.obs["kind"] == "normal"), "kind"] = ["normal"] * 5 + ["other"] * 35
    with caplog.at_level(logging.INFO, logger="scfm"):
        scfm.tl.score_copy_number(two, donor_key="donor", **BY_KIND)
    written = two.uns["scfm"]["copy_number"]["scfm"]
    assert written["donors"] == ["d0", "d1"]
    assert written["donor_borrowed"] == [False, True]
    assert "1 of 2 donors have few normal cells" in caplog.text


def test_annotation_tells_normal_cells_and_malignant_ones_are_found(tumour: AnnData) -> None:
    with_annotation(tumour)
    score, called = find_malignant(tumour, donor_key=None, key_added="scfm", reading=READING, names=NAMES)
    kinds = tumour.obs["kind"]
    assert called[kinds == "tumour"].mean() > 0.9
    assert not called[kinds != "tumour"].any()
    assert score[kinds == "tumour"].min() > score[kinds == "normal"].max()
    assert ((score >= 0) & (score <= 1)).all()
    assert tumour.uns["scfm"]["copy_number"]["scfm"]["donor_normals"] == [50]


def test_cells_called_unknown_are_never_taken_as_normal(tumour: AnnData) -> None:
    with_annotation(tumour)
    tumour.obs.loc[tumour.obs_names[:20], "scfm_cell_type"] = "unknown"
    scfm.tl.score_copy_number(tumour)
    assert tumour.uns["scfm"]["copy_number"]["scfm"]["donor_normals"] == [30]


def test_cells_are_annotated_first_where_nobody_did() -> None:
    import scanpy as sc

    blood = sc.datasets.pbmc68k_reduced()
    with pytest.raises(GeneMatchError, match=r"Found \d+ genes of chromosomes 1 to 22"):
        scfm.tl.score_copy_number(blood)
    assert "scfm_cell_type" in blood.obs


def test_blood_has_no_cells_that_may_be_malignant(tumour: AnnData, caplog: pytest.LogCaptureFixture) -> None:
    with_annotation(tumour)
    blood = tumour[tumour.obs["kind"] == "normal"].copy()
    with caplog.at_level(logging.WARNING, logger="scfm"):
        _, called = find_malignant(blood, donor_key=None, key_added="scfm", reading=READING, names=NAMES)
    assert not called.any()
    assert blood.obs["scfm_copy_number"].isna().all()
    assert "50 cells have no copy-number score" in caplog.text


def test_log_values_and_ensembl_ids_give_the_same_score(tumour: AnnData) -> None:
    import scanpy as sc

    from scfm_scverse.genes import load_gene_table

    table = load_gene_table()
    other = tumour[:, ::-1].copy()
    sc.pp.normalize_total(other, target_sum=5000)
    sc.pp.log1p(other)
    other.var_names = [table.ensembl[table.row_of_symbol[name]] for name in other.var_names]
    scfm.tl.score_copy_number(tumour, **BY_KIND)
    scfm.tl.score_copy_number(other, **BY_KIND)
    np.testing.assert_allclose(other.obs["scfm_copy_number"], tumour.obs["scfm_copy_number"], atol=0.02)


def test_result_survives_files_and_a_second_run(tumour: AnnData, tmp_path: Path) -> None:
    scfm.tl.score_copy_number(tumour, **BY_KIND)
    first = tumour.obs["scfm_copy_number"].copy()
    tumour.write_h5ad(tmp_path / "tumour.h5ad")
    read = anndata.read_h5ad(tmp_path / "tumour.h5ad")
    scfm.tl.score_copy_number(read, **BY_KIND)
    np.testing.assert_array_equal(read.obs["scfm_copy_number"], first)


def test_copy_and_key_leave_the_rest_alone(tumour: AnnData) -> None:
    before = set(tumour.obs)
    out = scfm.tl.score_copy_number(tumour, key_added="cnv", copy=True, **BY_KIND)
    assert out is not None
    assert set(tumour.obs) == before
    assert {"cnv_copy_number"} == set(out.obs) - before
    assert "X_cnv_copy_number" in out.obsm


def test_what_others_wrote_is_not_overwritten(tumour: AnnData) -> None:
    tumour.obs["scfm_copy_number"] = 1.0
    with pytest.raises(InputError, match="did not write"):
        scfm.tl.score_copy_number(tumour, **BY_KIND)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"reference_key": "nope", "reference_cat": "normal"}, MissingKeyError, r"reference_key='nope' is not in"),
        ({"reference_key": "kind", "reference_cat": "nope"}, MissingKeyError, r"reference_cat='nope'.*'normal'"),
        ({"reference_key": "kind"}, MissingKeyError, r"reference_cat=none; expected values"),
        ({"reference_cat": "normal"}, InputError, r"pass reference_key="),
        ({**BY_KIND, "donor_key": "nope"}, MissingKeyError, r"donor_key='nope' is not in"),
    ],
)
def test_wrong_columns_are_named(tumour: AnnData, how: dict[str, str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        scfm.tl.score_copy_number(tumour, **how)
    assert "scfm_copy_number" not in tumour.obs


def test_cells_without_a_donor_are_counted(tumour: AnnData) -> None:
    tumour.obs.loc[tumour.obs_names[:3], "donor"] = None
    with pytest.raises(InputError, match="Found 3 cells without a donor"):
        scfm.tl.score_copy_number(tumour, donor_key="donor", **BY_KIND)


def test_mouse_genes_are_refused_by_name(tumour: AnnData) -> None:
    tumour.var_names = [name.capitalize() for name in tumour.var_names]
    with pytest.raises(InputError, match="Found genes of mouse; expected human"):
        scfm.tl.score_copy_number(tumour, organism="mouse", **BY_KIND)


def test_few_genes_are_refused() -> None:
    small = small_counts(60)
    small.obs["kind"] = ["normal"] * 30 + ["tumour"] * 30
    with pytest.raises(GeneMatchError, match="expected 1,000 at least"):
        scfm.tl.score_copy_number(small, **BY_KIND)


def test_probabilities_without_their_record_are_refused(tumour: AnnData) -> None:
    with_annotation(tumour)
    del tumour.uns["scfm"]
    with pytest.raises(MissingKeyError, match="without the record"):
        scfm.tl.score_copy_number(tumour)


@pytest.mark.parametrize("name", ["copykat_tnbc302", "oligodendroglioma184"])
def test_real_tumours_are_found(read_cells: Callable[[str], AnnData], name: str) -> None:
    adata = read_cells(name)
    label = adata.obs["cell_type"].astype(str)
    malignant = label.str.contains("malignant_|aneuploid")
    normal = label.str.contains("acrophage|diploid")
    adata.obs["who"] = np.where(normal, "normal", "other")
    scfm.tl.score_copy_number(adata, reference_key="who", reference_cat="normal")
    score = adata.obs["scfm_copy_number"]
    assert score[malignant].quantile(0.05) > score[normal].quantile(0.95)
    assert adata.uns["scfm"]["copy_number"]["scfm"]["donor_evidence"][0] > 0.9
