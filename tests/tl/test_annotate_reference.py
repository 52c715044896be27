"""``tl.annotate`` with a reference of one's own: labelled cells, a built reference, what is refused."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError, ReferenceMismatchError
from scfm_scverse._record import read_record
from scfm_scverse.ontology import load_ontology
from scfm_scverse.reference import Reference, load_default_reference
from scfm_scverse.tl import _embed
from support import embedded_again, small_counts, two_types

Embedded = Callable[[str], AnnData]


@pytest.mark.parametrize("batch_key", [None, "batch"])
def test_labels_of_an_anndata_are_found_in_other_cells(batch_key: str | None) -> None:
    reference, query = two_types(), two_types(seed=1)
    scfm.tl.annotate(query, reference=reference, labels_key="kind", batch_key=batch_key)
    assert (query.obs["scfm_cell_type_fine"] == query.obs["kind"]).all()
    record = read_record(query, "annotate", "scfm")
    assert record is not None
    assert record["labels"] == ["B cell", "T/NK cell"]
    assert record["labels_ontology"] == ["CL:0000236", ""]
    assert record["labels_key"] == "kind"
    assert record["batch_key"] == batch_key
    np.testing.assert_allclose(query.obsm["scfm_probabilities"].sum(axis=1), 1, atol=1e-5)


def test_reference_is_embedded_in_place_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, query = two_types(), two_types(seed=1)
    scfm.tl.annotate(query, reference=reference, labels_key="kind")
    assert list(reference.obsm) == ["X_scfm"]
    assert set(reference.obs) == {"kind", "batch"}
    monkeypatch.setattr(_embed, "embed", embedded_again)
    scfm.tl.annotate(query, reference=reference, labels_key="kind")


def test_arguments_about_reading_are_about_the_query_alone() -> None:
    reference, query = two_types(), two_types(seed=1)
    query.layers["here"] = query.X
    query.X = -query.X
    scfm.tl.annotate(query, reference=reference, labels_key="kind", layer="here")
    assert (query.obs["scfm_cell_type_fine"] == query.obs["kind"]).all()
    assert read_record(reference, "embed", "X_scfm")["layer"] is None


def test_ontology_ids_are_read_from_a_column() -> None:
    reference, query = two_types(), two_types(seed=1)
    reference.obs["term"] = np.where(reference.obs["kind"] == "B cell", "CL:0000236", "unknown")
    scfm.tl.annotate(query, reference=reference, labels_key="kind", ontology_key="term")
    assert read_record(query, "annotate", "scfm")["labels_ontology"] == ["CL:0000236", ""]


def test_cells_of_the_reference_without_label_or_counts_are_left_out_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reference, query = two_types(), two_types(seed=1)
    reference.obs["kind"] = reference.obs["kind"].astype("category")
    reference.obs.loc[reference.obs_names[:3], "kind"] = np.nan
    reference.X[5] = 0
    with caplog.at_level(logging.INFO, logger="scfm"):
        scfm.tl.annotate(query, reference=reference, labels_key="kind")
    assert any(record.message.startswith("4 cells of the reference") for record in caplog.records)
    record = read_record(query, "annotate", "scfm")
    assert record is not None
    assert record["labels"] == ["B cell", "T/NK cell"]
    assert "56 cells" in record["reference"]


@pytest.mark.parametrize("values", [[3, 7], [0.5, 1.5], [True, False]])
def test_labels_may_be_numbers(values: list[object]) -> None:
    reference, query = two_types(), two_types(seed=1)
    reference.obs["cluster"] = np.array(values)[(reference.obs["kind"] == "B cell").astype(int)]
    scfm.tl.annotate(query, reference=reference, labels_key="cluster")
    expected = np.array(values)[(query.obs["kind"] == "B cell").astype(int)].astype(str)
    assert query.obs["scfm_cell_type_fine"].tolist() == expected.tolist()


def test_labels_without_meaning_get_no_confidence() -> None:
    reference, query = small_counts(60), small_counts(60, seed=1)
    reference.obs["coin"] = np.random.default_rng(0).choice(["head", "tail"], 60)
    scfm.tl.annotate(query, reference=reference, labels_key="coin")
    assert query.obs["scfm_confidence"].mean() < 0.8


@pytest.mark.parametrize("argument", ["labels_key", "ontology_key", "batch_key"])
def test_missing_column_of_the_reference_is_an_error_before_any_work(argument: str) -> None:
    reference, query = two_types(), two_types(seed=1)
    with pytest.raises(MissingKeyError, match=rf"{argument}='absent' is not in the obs.*'kind', 'batch'"):
        scfm.tl.annotate(query, reference=reference, **{"labels_key": "kind", argument: "absent"})
    assert not reference.obsm
    assert not query.obsm


def test_reference_needs_two_labels() -> None:
    reference, query = two_types(), two_types(seed=1)
    with pytest.raises(InputError, match="labels_key"):
        scfm.tl.annotate(query, reference=reference)
    reference.obs["kind"] = "B cell"
    with pytest.raises(InputError, match=r"1 label \(B cell\); expected two"):
        scfm.tl.annotate(query, reference=reference, labels_key="kind")
    reference.obs["kind"] = np.nan
    with pytest.raises(InputError, match="0 label"):
        scfm.tl.annotate(query, reference=reference, labels_key="kind")
    assert not query.obs.columns.str.startswith("scfm").any()


@pytest.mark.parametrize("argument", ["labels_key", "ontology_key", "batch_key"])
def test_columns_without_an_anndata_to_find_them_in_are_an_error(argument: str) -> None:
    with pytest.raises(InputError, match=rf"{argument}='kind'.*reference="):
        scfm.tl.annotate(two_types(), **{argument: "kind"})


@pytest.mark.parametrize("reference", ["atlas", None, 3])
def test_unknown_reference_is_an_error(reference: object) -> None:
    with pytest.raises(InputError, match="expected 'default', an AnnData with labels, or a Reference"):
        scfm.tl.annotate(two_types(), reference=reference)  # type: ignore[arg-type]


@pytest.fixture
def foreign() -> Reference:
    return replace(load_default_reference(), model_id="other-1:0123456789abcdef")


def test_reference_of_another_model_is_refused_before_any_work(foreign: Reference) -> None:
    adata = two_types()
    with pytest.raises(ReferenceMismatchError, match="other-1:0123456789abcdef"):
        scfm.tl.annotate(adata, reference=foreign)
    assert not adata.obsm


def test_built_reference_gives_what_the_default_gives() -> None:
    first, second = small_counts(), small_counts()
    scfm.tl.annotate(first)
    scfm.tl.annotate(second, reference=load_default_reference())
    pd.testing.assert_frame_equal(first.obs, second.obs)


LINEAGES = {"T or NK": "CL:0000542", "B": "CL:0000236", "myeloid": "CL:0000763", "platelet": "CL:0000233"}


def lineage(term: str) -> str:
    """The lineage of a term; B cells are lymphocytes too and come first."""
    cl = load_ontology()
    for name in ("B", "T or NK", "platelet", "myeloid"):
        if term in cl.name and cl.is_a(term, LINEAGES[name]):
            return name
    return "other"


@pytest.mark.parametrize(
    ("reference", "batch_key", "query", "least"),
    [("zheng_sorted_pbmc", None, "kang_ifnb_pbmc", 0.7), ("kang_ifnb_pbmc", "donor", "pbmc3k_10x", 0.93)],
)
def test_lineages_carry_over_from_one_study_to_another(
    embedded: Embedded, reference: str, batch_key: str | None, query: str, least: float
) -> None:
    known, cells = embedded(reference), embedded(query)
    scfm.tl.annotate(
        cells, reference=known, labels_key="cell_type", ontology_key="cell_type_ontology", batch_key=batch_key
    )
    told = np.array([lineage(term) for term in cells.obs["cell_type_ontology"]])
    terms = dict(zip(known.obs["cell_type"], known.obs["cell_type_ontology"], strict=True))
    found = np.array([lineage(terms[label]) for label in cells.obs["scfm_cell_type_fine"]])
    there = np.isin(told, [lineage(term) for term in terms.values()]) & (told != "other")
    assert there.mean() > 0.8
    assert (found == told)[there].mean() > least
    np.testing.assert_allclose(cells.obsm["scfm_probabilities"].sum(axis=1), 1, atol=1e-5)


def test_cells_of_another_study_are_named_and_not_refused(read_cells: Callable[[str], AnnData]) -> None:
    """Sorted blood cells name stimulated ones of eight patients; one study knows nothing of the shift between them."""
    reference, query = read_cells("zheng_sorted_pbmc"), read_cells("kang_ifnb_pbmc")
    shared = ["B cell", "NK cell", "T cell", "monocyte"]
    query = query[query.obs["cell_type_coarse"].isin(shared)].copy()
    reference = reference[reference.obs["cell_type_coarse"].isin(shared)].copy()
    scfm.tl.annotate(query, reference=reference, labels_key="cell_type_coarse")
    assert (query.obs["scfm_cell_type_fine"].astype(str) == query.obs["cell_type_coarse"].astype(str)).mean() > 0.9
    assert (query.obs["scfm_cell_type"] == "unknown").mean() < 0.05
