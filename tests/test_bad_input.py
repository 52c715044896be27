"""Bad input: each kind gives one clear error before anything is written, or a warning that counts."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import CountsError, GeneMatchError, InputError, ModelMismatchError
from scfm_scverse._record import read_record
from scfm_scverse.genes import load_gene_table
from scfm_scverse.io.files import read_adata, write_adata
from support import small_counts

Verb = Callable[[AnnData], object]

VERBS: dict[str, Verb] = {"embed": scfm.tl.embed, "annotate": scfm.tl.annotate}
both_verbs = pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))


def with_values(values: np.ndarray) -> AnnData:
    """The genes of ``small_counts`` around other values."""
    adata = small_counts(len(values))
    adata.X = sp.csr_matrix(values)
    return adata


def dense_counts(n_cells: int = 30) -> np.ndarray:
    return np.asarray(small_counts(n_cells).X.toarray())


def embedding(adata: AnnData) -> np.ndarray:
    scfm.tl.embed(adata)
    return np.asarray(adata.obsm["X_scfm"])


def expect_error(verb: Verb, adata: AnnData, kind: type[Exception], match: str) -> None:
    """The verb raises the error, and the AnnData is as it was."""
    slots = ("obs", "obsm", "uns", "layers")
    before = {slot: list(getattr(adata, slot).keys()) for slot in slots}
    is_view = adata.is_view
    with pytest.raises(kind, match=match):
        verb(adata)
    assert {slot: list(getattr(adata, slot).keys()) for slot in slots} == before
    assert adata.is_view == is_view


@both_verbs
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_value_that_is_not_finite_is_an_error_that_names_cell_and_gene(verb: Verb, bad: float) -> None:
    values = dense_counts()
    values[3, 4] = bad
    match = r"(cell 3 \(cell3\), gene column 4 \(CCR7\)|negative values)"
    expect_error(verb, with_values(values), CountsError, match)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_bad_value_outside_of_the_first_look_is_found(bad: float) -> None:
    values = dense_counts(9000)
    # Values are first looked at in a sample; search for a cell that is not in it.
    for cell in (4517, 4518, 7001):
        values[cell, 4] = bad
    expect_error(scfm.tl.embed, with_values(values), CountsError, r"CCR7|negative values")


@both_verbs
def test_scaled_values_alone_are_an_error_that_lists_what_there_is(verb: Verb) -> None:
    values = dense_counts()
    scaled = (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-3)
    adata = small_counts()
    adata.X = scaled
    adata.layers["smoothed"] = scaled / 2
    expect_error(verb, adata, CountsError, r'(?s)no counts and no log-normalised values in X;.*layers\["smoothed"\]')


@both_verbs
def test_log_values_are_refused_by_a_model_of_counts(verb: Verb) -> None:
    mini = scfm.models.load("scfm-mini")
    model = type(mini)(mini.weights, replace(mini.spec, needs_counts=True))  # type: ignore[call-arg, attr-defined]
    values = dense_counts()
    logs = with_values(np.log1p(values / values.sum(axis=1, keepdims=True) * 1e4))

    def with_that_model(data: AnnData) -> None:
        verb(data, model=model)  # type: ignore[call-arg]

    expect_error(
        with_that_model, logs, CountsError, r"X holds log-normalised values and scfm-mini needs counts.*layer="
    )


@both_verbs
def test_cells_without_counts_are_counted_and_stay_in_place(verb: Verb, caplog: pytest.LogCaptureFixture) -> None:
    values = dense_counts()
    values[[3, 9]] = 0
    adata = with_values(values)
    with caplog.at_level(logging.WARNING, logger="scfm"):
        verb(adata)
    assert any(re.match("2 cells have no counts", record.message) for record in caplog.records)
    assert np.flatnonzero(np.isnan(adata.obsm["X_scfm"]).all(axis=1)).tolist() == [3, 9]
    record = read_record(adata, "embed", "X_scfm")
    assert record is not None
    assert record["n_empty_cells"] == 2


def test_cells_without_counts_are_unknown() -> None:
    values = dense_counts()
    values[[3, 9]] = 0
    adata = with_values(values)
    scfm.tl.annotate(adata)
    expected = [3, 9]
    for column in ("cell_type", "cell_type_fine", "cell_type_ontology"):
        assert (adata.obs[f"scfm_{column}"].iloc[expected] == "unknown").all()
    for column in ("confidence", "unknown_score"):
        assert np.flatnonzero(adata.obs[f"scfm_{column}"].isna()).tolist() == expected
    assert np.flatnonzero(np.isnan(adata.obsm["scfm_probabilities"]).all(axis=1)).tolist() == expected


def test_data_of_empty_cells_alone_is_all_unknown(caplog: pytest.LogCaptureFixture) -> None:
    adata = with_values(dense_counts() * 0)
    with caplog.at_level(logging.WARNING, logger="scfm"):
        scfm.tl.annotate(adata)
    assert (adata.obs["scfm_cell_type"] == "unknown").all()
    assert any("30 cells have no counts" in record.message for record in caplog.records)


@both_verbs
def test_no_known_genes_are_an_error_that_shows_their_names(verb: Verb) -> None:
    adata = small_counts()
    adata.var_names = [f"AT1G{i:05d}" for i in range(adata.n_vars)]
    expect_error(verb, adata, GeneMatchError, r"0 of 90 genes .*'AT1G00000'.*organism=.*gene_symbols=")


@both_verbs
def test_too_few_genes_of_the_model_are_an_error(verb: Verb) -> None:
    expect_error(verb, small_counts()[:, :10].copy(), GeneMatchError, r"genes of scfm-mini among the 10 of the data")


@both_verbs
def test_little_known_data_is_a_warning_at_the_users_line(verb: Verb) -> None:
    adata = small_counts()
    totals = np.asarray(adata.X.sum(axis=0)).ravel()
    known = np.argsort(totals)[-45:]
    names = np.array([f"contig{i}" for i in range(adata.n_vars)], dtype=object)
    names[known] = adata.var_names[known]
    adata.var_names = names
    counts = adata.X.toarray()
    counts[:, np.setdiff1d(np.arange(adata.n_vars), known)] *= 30
    adata.X = sp.csr_matrix(counts)
    with pytest.warns(UserWarning, match="Only 45 of 90 genes") as caught:
        verb(adata)
    assert Path(caught[0].filename).name == Path(__file__).name


def _mouse_names(adata: AnnData) -> list[str]:
    table = load_gene_table()
    of_human: dict[int, str] = {}
    for name, row in table.human_row_of_mouse.items():
        of_human.setdefault(row, name)
    return [of_human.get(table.row_of_symbol[name], name.capitalize()) for name in adata.var_names]


def test_mouse_symbols_are_read_as_their_human_orthologs(caplog: pytest.LogCaptureFixture) -> None:
    human, mouse = small_counts(), small_counts()
    mouse.var_names = _mouse_names(human)
    expected = embedding(human)
    with caplog.at_level(logging.INFO, logger="scfm"):
        found = embedding(mouse)
    record = read_record(mouse, "embed", "X_scfm")
    assert record is not None
    assert record["organism"] == "mouse"
    assert any("mouse" in entry.message for entry in caplog.records)
    # Genes without a one-to-one ortholog are lost, so vectors are near and not equal.
    assert (found * expected).sum(axis=1).min() > 0.5


def test_mouse_ids_with_the_wrong_organism_are_an_error_that_names_the_argument() -> None:
    adata = small_counts()
    table = load_gene_table()
    numbers = {int(row): int(number) for row, number in zip(table.mouse_human_row, table.mouse_ensembl, strict=True)}
    rows = [table.row_of_symbol[name] for name in adata.var_names]
    adata.var_names = [f"ENSMUSG{numbers.get(row, row):011d}" for row in rows]

    def as_human(data: AnnData) -> None:
        scfm.tl.embed(data, organism="human")

    expect_error(as_human, adata, GeneMatchError, r"'ENSMUSG\d{11}'.*organism='mouse'")
    scfm.tl.embed(adata)
    assert read_record(adata, "embed", "X_scfm")["organism"] == "mouse"


def test_duplicate_names_give_the_embedding_of_their_sum() -> None:
    adata = small_counts()
    expected = embedding(adata)
    values = adata.X.toarray()
    parts = np.random.default_rng(0).binomial(values.astype(int), 0.5)
    split = AnnData(sp.csr_matrix(np.hstack([parts, values - parts]).astype(np.float32)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata says that names are not unique
        split.var_names = [*adata.var_names, *adata.var_names]
    np.testing.assert_allclose(embedding(split), expected, rtol=0, atol=1e-6)


def test_symbol_and_ensembl_id_of_one_gene_are_summed() -> None:
    adata = small_counts()
    expected = embedding(adata)
    table = load_gene_table()
    values = adata.X.toarray()
    parts = np.random.default_rng(0).binomial(values.astype(int), 0.5)
    split = AnnData(sp.csr_matrix(np.hstack([parts, values - parts]).astype(np.float32)))
    ids = [f"{table.ensembl[table.row_of_symbol[name]]}.7" for name in adata.var_names]
    split.var_names = [*adata.var_names, *ids]
    np.testing.assert_allclose(embedding(split), expected, rtol=0, atol=1e-6)


def test_float_counts_give_the_embedding_of_the_counts() -> None:
    values = dense_counts()
    expected = embedding(with_values(values))
    for factor in (1.0, 7.31):  # whole numbers, and linear values that are none
        np.testing.assert_allclose(embedding(with_values(values.astype(float) * factor)), expected, rtol=0, atol=1e-6)
    small = with_values(values * 0.11)
    scfm.tl.embed(small, normalized=False)
    np.testing.assert_allclose(small.obsm["X_scfm"], expected, rtol=0, atol=1e-6)


def test_csr_with_unsorted_double_and_zero_entries_is_read_as_what_it_means() -> None:
    values = dense_counts()
    halves = sp.csr_matrix(values - np.minimum(values, 1)), sp.csr_matrix(np.minimum(values, 1))
    rows = []
    for row in range(len(values)):
        parts = [half[row] for half in halves]
        columns = np.concatenate([*(part.indices for part in parts), [0]])[::-1]
        rows.append((columns, np.concatenate([*(part.data for part in parts), [0]])[::-1]))
    indptr = np.concatenate([[0], np.cumsum([len(columns) for columns, _ in rows])])
    messy = sp.csr_matrix(
        (np.concatenate([data for _, data in rows]), np.concatenate([columns for columns, _ in rows]), indptr),
        shape=values.shape,
    )
    adata = small_counts()
    adata.X = messy
    assert not adata.X.has_sorted_indices
    np.testing.assert_allclose(embedding(adata), embedding(with_values(values)), rtol=0, atol=1e-6)
    assert adata.X.nnz == messy.nnz


@both_verbs
def test_no_cells_or_no_genes_are_an_error(verb: Verb) -> None:
    expect_error(verb, small_counts()[:0].copy(), InputError, "0 cells and 90 genes")
    expect_error(verb, small_counts()[:, :0].copy(), InputError, "30 cells and 0 genes")


@both_verbs
def test_one_cell_is_enough(verb: Verb) -> None:
    many, one = small_counts(), small_counts()[[7]].copy()
    scfm.tl.annotate(many)
    verb(one)
    np.testing.assert_allclose(one.obsm["X_scfm"], many.obsm["X_scfm"][[7]], rtol=0, atol=1e-6)


@both_verbs
@pytest.mark.parametrize("embedded", [False, True])
def test_view_becomes_an_object_and_its_parent_stays(
    verb: Verb, embedded: bool, caplog: pytest.LogCaptureFixture
) -> None:
    parent, expected = small_counts(), small_counts()
    scfm.tl.annotate(expected)
    if embedded:
        scfm.tl.embed(parent)
    slots = list(parent.obs), list(parent.obsm), list(parent.uns)
    view = parent[20:5:-3]
    with caplog.at_level(logging.INFO, logger="scfm"):
        verb(view)
    assert not view.is_view
    assert sum("is a view" in record.message for record in caplog.records) == 1
    assert (list(parent.obs), list(parent.obsm), list(parent.uns)) == slots
    for key in view.obsm:
        np.testing.assert_allclose(view.obsm[key], expected.obsm[key][20:5:-3], rtol=0, atol=1e-6)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_adata(small_counts(), tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


@both_verbs
@pytest.mark.parametrize("how", ["anndata", "ours"])
def test_backed_file_is_read_and_not_changed(verb: Verb, how: str, file: Path) -> None:
    before = file.read_bytes()
    adata = anndata.read_h5ad(file, backed="r") if how == "anndata" else read_adata(file, backed=True)
    verb(adata)
    np.testing.assert_allclose(adata.obsm["X_scfm"], embedding(small_counts()), rtol=0, atol=1e-6)
    assert file.read_bytes() == before


@both_verbs
def test_view_and_copy_of_a_backed_file_are_refused_before_any_work(
    verb: Verb, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_nothing(*_: object, **__: object) -> None:
        pytest.fail("values were read")

    monkeypatch.setattr("scfm_scverse._query.find_values", read_nothing)
    backed = anndata.read_h5ad(file, backed="r")
    expect_error(verb, backed[:5], InputError, r"a view of a backed AnnData.*to_memory\(\)")
    for adata in (backed, read_adata(file, backed=True)):
        with pytest.raises(InputError, match=r"copy=True with a backed AnnData.*to_memory\(\)"):
            verb(adata, copy=True)  # type: ignore[call-arg]


@both_verbs
def test_copy_leaves_the_original_alone(verb: Verb) -> None:
    adata = small_counts()
    copied = verb(adata, copy=True)  # type: ignore[call-arg]
    assert isinstance(copied, AnnData)
    assert "X_scfm" in copied.obsm
    assert not adata.obsm
    assert not adata.uns


@both_verbs
def test_embedding_of_the_user_is_not_overwritten(verb: Verb) -> None:
    adata = small_counts()
    adata.obsm["X_scfm"] = np.ones((adata.n_obs, 2))
    expect_error(verb, adata, InputError, r'obsm\["X_scfm"\].*did not write')
    assert (adata.obsm["X_scfm"] == 1).all()


@both_verbs
def test_embedding_of_another_model_is_not_overwritten(verb: Verb) -> None:
    adata = small_counts()
    scfm.tl.embed(adata)
    adata.uns["scfm"]["embed"]["X_scfm"]["model_id"] = "other-1:0123456789abcdef"
    match = r'obsm\["X_scfm"\] written with model other-1:0123456789abcdef; expected scfm-mini-'
    expect_error(verb, adata, ModelMismatchError, match)


@pytest.mark.parametrize("column", ["cell_type", "cell_type_fine", "cell_type_ontology", "confidence", "unknown_score"])
def test_columns_of_the_user_are_not_overwritten(column: str) -> None:
    adata = small_counts()
    adata.obs[f"mine_{column}"] = "kept"

    def under_that_name(data: AnnData) -> None:
        scfm.tl.annotate(data, key_added="mine")

    expect_error(under_that_name, adata, InputError, rf'obs\["mine_{column}"\].*key_added=')
    assert (adata.obs[f"mine_{column}"] == "kept").all()


def test_probabilities_of_the_user_are_not_overwritten() -> None:
    adata = small_counts()
    adata.obsm["scfm_probabilities"] = np.ones((adata.n_obs, 2))
    expect_error(scfm.tl.annotate, adata, InputError, r'obsm\["scfm_probabilities"\]')


@both_verbs
@pytest.mark.parametrize("thing", [None, "cells.h5ad", Path("cells.h5ad"), np.ones((3, 3))])
def test_what_is_no_anndata_is_an_error_that_says_how_to_read_one(verb: Verb, thing: object) -> None:
    with pytest.raises(InputError, match=f"Found {type(thing).__name__}; expected an AnnData"):
        verb(thing)  # type: ignore[arg-type]


@both_verbs
def test_name_that_no_file_can_hold_is_refused(verb: Verb) -> None:
    with pytest.raises(InputError, match="expected a name without '/'"):
        verb(small_counts(), key_added="B/NK")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"model": "scfm-maxi"}, "no model 'scfm-maxi'"),
        ({"model": "scGPT_human"}, "weights of scGPT do not come with this package"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"device": "gpu"}, "device='gpu'"),
        ({"dtype": "float8"}, "dtype='float8'"),
        ({"organism": "rat"}, "organism is 'rat'"),
        ({"gene_symbols": "names"}, "no column 'names'"),
        ({"layer": "spliced"}, "no layer 'spliced'"),
        ({"use_raw": True}, r"no adata\.raw"),
    ],
)
def test_argument_that_cannot_be_used_is_an_error(arguments: dict[str, object], match: str) -> None:
    adata = small_counts()
    with pytest.raises(scfm._errors.ScfmError, match=match):
        scfm.tl.embed(adata, **arguments)  # type: ignore[arg-type]
    assert not adata.obsm
