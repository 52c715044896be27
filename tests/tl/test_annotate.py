"""``tl.annotate``: slots, consistency, what is used again and what is made anew."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import GeneMatchError, InputError, MissingKeyError
from scfm_scverse._record import read_record
from scfm_scverse.ontology import load_ontology
from scfm_scverse.reference import load_default_reference
from scfm_scverse.reference.ladder import build_ladder
from scfm_scverse.tl import _embed
from support import embedded_again, small_counts, two_types

Embedded = Callable[[str], AnnData]

TEXTS = ("cell_type", "cell_type_fine", "cell_type_ontology")
NUMBERS = ("confidence", "unknown_score")


@pytest.fixture(scope="module")
def annotated(embedded: Embedded) -> AnnData:
    """pbmc3k with the labels of the default reference."""
    adata = embedded("pbmc3k_10x")
    scfm.tl.annotate(adata)
    return adata


def test_slots_have_the_types_that_the_docstring_says(annotated: AnnData) -> None:
    for name in TEXTS:
        column = annotated.obs[f"scfm_{name}"]
        assert isinstance(column.dtype, pd.CategoricalDtype)
        assert all(type(category) is str for category in column.cat.categories)
        assert not column.isna().any()
    for name in NUMBERS:
        column = annotated.obs[f"scfm_{name}"]
        assert column.dtype == np.float32
        assert column.between(0, 1).all()
    probabilities = annotated.obsm["scfm_probabilities"]
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert probabilities.min() >= 0


def test_record_names_the_columns_of_the_probabilities(annotated: AnnData) -> None:
    record = read_record(annotated, "annotate", "scfm")
    reference = load_default_reference()
    assert record is not None
    assert record["labels"] == reference.label.tolist()
    assert record["labels_ontology"] == reference.term.tolist()
    assert record["labels_from_profiles"] == reference.from_profiles.tolist()
    assert record["model_id"] == reference.model_id == scfm.models.load("scfm-mini").spec.id
    assert annotated.obsm["scfm_probabilities"].shape == (annotated.n_obs, len(record["labels"]))


def test_label_fine_label_and_term_do_not_contradict_each_other(annotated: AnnData) -> None:
    reference = load_default_reference()
    ladder = build_ladder(reference)
    probabilities = annotated.obsm["scfm_probabilities"].astype(float)
    column = {name: annotated.obs[f"scfm_{name}"].to_numpy(str) for name in TEXTS}
    known = column["cell_type"] != "unknown"
    assert known.any()
    fine = pd.Index(reference.label).get_indexer(column["cell_type_fine"])
    branches = np.stack([probabilities[:, reference.branch == b].sum(axis=1) for b in np.unique(reference.branch)])
    assert (reference.branch[fine] == branches.argmax(axis=0)).all()
    for label, term, best in zip(
        column["cell_type"][known], column["cell_type_ontology"][known], fine[known], strict=True
    ):
        rungs = np.flatnonzero((ladder.label == label) & ladder.members[best])
        assert term in set(ladder.term[rungs])
    refused = annotated.obs["scfm_unknown_score"] > reference.scales.unknown.refuse_above
    assert not (refused & known).any()


def test_prediction_sets_start_with_the_top_class_and_grow_as_alpha_falls(embedded: Embedded) -> None:
    adata = embedded("zilionis_nsclc")
    sizes = []
    for alpha in (0.3, 0.1, 0.01):
        scfm.tl.annotate(adata, alpha=alpha)
        sets = adata.obs["scfm_prediction_set"].astype(str).str.split("|")
        labels = np.array(read_record(adata, "annotate", "scfm")["labels"])
        assert (sets.str[0] == labels[adata.obsm["scfm_probabilities"].argmax(axis=1)]).all()
        sizes.append(sets.str.len().mean())
        assert read_record(adata, "annotate", "scfm")["mean_set_size"] == pytest.approx(sizes[-1])
        assert read_record(adata, "annotate", "scfm")["alpha"] == alpha
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 2, float("nan")])
def test_alpha_outside_of_0_and_1_is_an_error_before_any_work(alpha: float) -> None:
    adata = small_counts()
    with pytest.raises(InputError, match=r"alpha=.*between 0 and 1"):
        scfm.tl.annotate(adata, alpha=alpha)
    assert not adata.obsm


def test_groups_get_the_label_that_most_of_their_cells_agree_with(annotated: AnnData) -> None:
    adata = annotated.copy()
    adata.obs["cluster"] = adata.obs["cell_type_coarse"].astype(str).where(np.arange(adata.n_obs) % 50 != 0)
    scfm.tl.annotate(adata, groupby="cluster")
    label = adata.obs.groupby("cluster", observed=True)["scfm_group_cell_type"].nunique()
    assert (label == 1).all()
    share = adata.obs["scfm_group_share"]
    assert share[adata.obs["cluster"].notna()].between(0, 1).all()
    without = adata.obs["cluster"].isna()
    assert (adata.obs.loc[without, "scfm_group_cell_type"] == "unknown").all()
    assert share[without].isna().all()
    scfm.tl.annotate(adata)
    assert "scfm_group_cell_type" not in adata.obs


@pytest.mark.parametrize("arguments", [{"groupby": "absent"}, {"donor_key": "absent", "malignant": True}])
def test_missing_column_of_the_query_is_an_error_before_any_work(arguments: dict[str, object]) -> None:
    adata = small_counts()
    with pytest.raises(MissingKeyError, match=r"='absent' is not in adata.obs"):
        scfm.tl.annotate(adata, **arguments)  # type: ignore[arg-type]
    assert not adata.obsm


def test_donors_without_looking_for_malignant_cells_are_an_error() -> None:
    with pytest.raises(InputError, match="without malignant=True"):
        scfm.tl.annotate(two_types(), donor_key="batch")


def test_malignant_cells_of_a_tumour_are_called_and_normal_ones_are_not(read_cells: Callable[[str], AnnData]) -> None:
    adata = read_cells("copykat_tnbc302")
    scfm.tl.annotate(adata, malignant=True)
    called = adata.obs["scfm_cell_type"] == "malignant"
    truth = adata.obs["cell_type"].astype(str).str.contains("aneuploid|malignant|tumou?r", case=False)
    assert called[truth].mean() > 0.9
    assert called[~truth].mean() < 0.05
    assert (adata.obs.loc[called, "scfm_cell_type_ontology"] == "CL:0001064").all()
    assert adata.obs["scfm_malignant_score"].between(0, 1).all()
    assert {"scfm_copy_number"} <= set(adata.obs)


def test_markers_of_every_label_are_recorded(annotated: AnnData) -> None:
    markers = pd.DataFrame(read_record(annotated, "annotate", "scfm")["markers"])
    assert set(markers["label"]) == set(annotated.obs["scfm_cell_type"]) - {"unknown"}
    assert (markers["score"] > 0).all()


def test_cells_that_the_reference_was_made_from_are_told(
    read_cells: Callable[[str], AnnData], caplog: pytest.LogCaptureFixture
) -> None:
    adata = read_cells("zilionis_nsclc")
    with caplog.at_level(logging.WARNING, logger="scfm"):
        scfm.tl.annotate(adata)
    assert any("was made from (zilionis_nsclc)" in record.message for record in caplog.records)


def test_a_tissue_that_is_not_covered_is_told(caplog: pytest.LogCaptureFixture) -> None:
    reference, query = two_types(), small_counts(seed=3)
    scfm.tl.annotate(two_types(seed=1), reference=reference, labels_key="kind")
    query.X = query.X[:, np.random.default_rng(0).permutation(query.n_vars)]
    made = scfm.tl.build_reference(reference, labels_key="kind")
    unknown = replace(made.scales.unknown, quantiles=made.scales.unknown.quantiles - 1e4)
    with caplog.at_level(logging.WARNING, logger="scfm"):
        scfm.tl.annotate(query, reference=replace(made, scales=replace(made.scales, unknown=unknown)))
    assert any("seems not to cover" in record.message for record in caplog.records)


def test_real_cells_get_the_names_that_their_authors_gave(annotated: AnnData) -> None:
    cl = load_ontology()
    pairs = zip(annotated.obs["cell_type_ontology"], annotated.obs["scfm_cell_type_ontology"], strict=True)
    right = [found in cl.name and (cl.is_a(found, told) or cl.is_a(told, found)) for told, found in pairs]
    assert np.mean(right) > 0.7


def test_annotation_does_not_depend_on_the_other_cells(annotated: AnnData) -> None:
    order = np.random.default_rng(0).permutation(annotated.n_obs)[:100]
    part = AnnData(annotated.X[order], var=annotated.var)
    scfm.tl.annotate(part)
    for name in TEXTS:
        assert part.obs[f"scfm_{name}"].tolist() == annotated.obs[f"scfm_{name}"].iloc[order].tolist()
    for name in NUMBERS:
        np.testing.assert_allclose(part.obs[f"scfm_{name}"], annotated.obs[f"scfm_{name}"].iloc[order], atol=1e-6)
    np.testing.assert_allclose(
        part.obsm["scfm_probabilities"], annotated.obsm["scfm_probabilities"][order], rtol=0, atol=1e-6
    )


def test_annotation_does_not_depend_on_how_many_cells_are_compared_at_a_time(
    annotated: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scfm_scverse.reference.answer.BLOCK", 7)
    again = annotated.copy()
    scfm.tl.annotate(again)
    np.testing.assert_allclose(
        again.obsm["scfm_probabilities"], annotated.obsm["scfm_probabilities"], rtol=0, atol=1e-6
    )
    pd.testing.assert_frame_equal(again.obs, annotated.obs, atol=1e-6)


def test_annotation_is_overwritten_by_its_like_and_stands_beside_others() -> None:
    adata = small_counts()
    scfm.tl.annotate(adata)
    first = adata.obs.copy()
    scfm.tl.annotate(adata)
    pd.testing.assert_frame_equal(adata.obs, first)
    scfm.tl.annotate(adata, key_added="second")
    assert set(adata.obs) == {
        f"{key}_{name}" for key in ("scfm", "second") for name in (*TEXTS, *NUMBERS, "prediction_set")
    }
    assert set(adata.obsm) == {"X_scfm", "scfm_probabilities", "second_probabilities"}


def test_embedding_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    adata = small_counts()
    scfm.tl.embed(adata)
    monkeypatch.setattr(_embed, "embed", embedded_again)
    scfm.tl.annotate(adata)


@pytest.mark.parametrize("arguments", [{"layer": "other"}, {"normalized": False}, {"organism": "human"}])
def test_embedding_is_made_anew_when_the_caller_says_what_to_read(arguments: dict[str, object]) -> None:
    adata = small_counts()
    adata.layers["other"] = adata.X[::-1].copy()
    scfm.tl.embed(adata)
    adata.obsm["X_scfm"][:] = 1
    scfm.tl.annotate(adata, **arguments)  # type: ignore[arg-type]
    assert (adata.obsm["X_scfm"] != 1).any()
    record = read_record(adata, "embed", "X_scfm")
    assert record is not None
    assert record["layer"] == arguments.get("layer")


def test_colours_of_other_types_are_dropped() -> None:
    adata = two_types()
    scfm.tl.annotate(adata, reference=two_types(seed=1), labels_key="kind")
    adata.uns["scfm_cell_type_colors"] = ["#000000"] * adata.obs["scfm_cell_type"].nunique()
    scfm.tl.annotate(adata, reference=two_types(seed=1), labels_key="kind")
    assert "scfm_cell_type_colors" in adata.uns
    scfm.tl.annotate(adata)
    assert "scfm_cell_type_colors" not in adata.uns


def test_colours_of_other_groups_are_dropped() -> None:
    adata = two_types()
    adata.obs["group"] = pd.Categorical(np.repeat(["a", "b"], adata.n_obs // 2))
    reference = scfm.tl.build_reference(two_types(seed=1), labels_key="kind")
    scfm.tl.annotate(adata, reference=reference, groupby="group")
    adata.uns["scfm_group_cell_type_colors"] = ["#000000"] * 9
    scfm.tl.annotate(adata, reference=reference)
    assert "scfm_group_cell_type_colors" not in adata.uns


def test_groups_may_be_those_of_an_earlier_call() -> None:
    adata = two_types()
    adata.obs["group"] = adata.obs["kind"]
    scfm.tl.annotate(adata, groupby="group")
    before = adata.obs[["scfm_group_cell_type", "scfm_group_share"]].copy()
    assert before["scfm_group_cell_type"].nunique() == 2
    scfm.tl.annotate(adata, groupby="scfm_group_cell_type")
    pd.testing.assert_frame_equal(adata.obs[list(before)], before)


def test_columns_that_became_text_are_written_again() -> None:
    adata = two_types()
    scfm.tl.annotate(adata)
    before = adata.obs["scfm_cell_type"].copy()
    adata.obs["scfm_cell_type"] = before.astype(str)
    scfm.tl.annotate(adata)
    pd.testing.assert_series_equal(adata.obs["scfm_cell_type"], before)


def test_record_says_malignant_only_where_it_was_looked_for_with_success() -> None:
    adata = two_types()  # too few genes
    with pytest.raises(GeneMatchError, match="chromosomes"):
        scfm.tl.annotate(adata, malignant=True)
    record = read_record(adata, "annotate", "scfm")
    assert record is not None
    assert record["malignant"] is False
    assert "scfm_malignant_score" not in adata.obs


def test_names_of_references_may_end_in_capitals(tmp_path: Path) -> None:
    path = tmp_path / "mine.H5AD"
    scfm.tl.build_reference(two_types(seed=1), labels_key="kind").save(path)
    adata = two_types()
    scfm.tl.annotate(adata, reference=str(path))
    assert set(adata.obs["scfm_cell_type_fine"]) == set(two_types().obs["kind"])
