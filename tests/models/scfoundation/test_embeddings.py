"""Cells in, vectors out: what the authors' script writes for every combination of its options."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import InputError

from .conftest import Golden

CLOSE = {"rtol": 0, "atol": 2e-5}
KEYS = {"ce": "cell", "rde": "rde"}

COUNTS = """
cell_F_t4_ce_all cell_F_t4.5_ce_all cell_F_f1_ce_all cell_F_f2_ce_all cell_F_f1.5_ce_all cell_F_a5_ce_all
cell_F_a1_ce_all cell_F_a0.5_ce_all cell_F_t4_rde_all cell_F_f1_rde_all cell_F_a5_rde_all cell_F_t4.5_rde_all
cell_F_t4_ce_max
""".split()
GENES = "gene_F_t4 gene_A_f1 gene_batch_F_t4 gene_batch_A_f1".split()
EXPRESSION = "gene_expression_F_t4 gene_expression_F_f1 gene_expression_F_f5 gene_expression_F_a1".split()
# Columns of these data are shuffled or foreign; the script takes them as they stand and is wrong.
MISALIGNED = "original_shuffled_same_number original_more_genes_than_list original_list_order_then_foreign".split()


def options_of(name: str) -> dict[str, str]:
    """Options of the script in the name of a ``cell_`` array."""
    _, pre_normalized, target_depth, key, _ = name.split("_")
    return {"key": KEYS[key], "target_depth": target_depth, "pre_normalized": pre_normalized}


def embedded(adata: AnnData, model: object, **arguments: object) -> np.ndarray:
    scfm.tl.embed(adata, model=model, dtype="float32", device="cpu", **arguments)
    return adata.obsm["X_scFoundation"]


@pytest.mark.parametrize("name", COUNTS)
def test_embedding_of_counts_is_the_authors(golden: Golden, name: str) -> None:
    model = golden.model(**options_of(name))
    expected = golden.arrays("embeddings")[name]
    found = embedded(golden.adata(golden.counts()), model, pooling=name.rsplit("_", maxsplit=1)[-1])
    np.testing.assert_allclose(found, expected, **CLOSE)


@pytest.mark.parametrize("name", ["cell_T_t4_ce_all", "cell_T_f2_ce_all"])
def test_embedding_of_log_values_is_the_authors(golden: Golden, name: str) -> None:
    model = golden.model(**options_of(name))
    found = embedded(golden.adata(golden.inputs["normalised"]), model, normalized=True)
    np.testing.assert_allclose(found, golden.arrays("embeddings")[name], **CLOSE)


@pytest.mark.parametrize("name", ["cell_A_f1_ce_all", "cell_A_t4_ce_all"])
def test_embedding_of_log_values_with_true_totals_is_the_authors(golden: Golden, name: str) -> None:
    model = golden.model(**options_of(name))
    tokens = golden.tokens(model, golden.inputs["normalised"], golden.inputs["totals"])
    found = golden.encode(model, tokens, "cell").cell
    np.testing.assert_allclose(found, golden.arrays("embeddings")[name], **CLOSE)


@pytest.mark.parametrize("name", GENES)
def test_vectors_of_genes_are_the_authors(golden: Golden, name: str) -> None:
    *kind, pre_normalized, target_depth = name.split("_")
    mode = "original" if "batch" in kind else "default"
    model = golden.model(key="gene", target_depth=target_depth, pre_normalized=pre_normalized, mode=mode)
    inputs = golden.inputs
    rows = [inputs["usable"].tolist().index(cell) for cell in inputs["gene_output_cells"]]
    given = pre_normalized == "A"
    values = inputs["normalised"][rows] if given else golden.counts()[rows]
    answer = golden.encode(model, golden.tokens(model, values, inputs["totals"][rows] if given else None), "gene").gene
    expected = golden.arrays("embeddings")[name]
    assert answer is not None
    np.testing.assert_allclose(answer.values, expected.reshape(-1, expected.shape[2]), **CLOSE)
    assert answer.cell.tolist() == np.repeat(np.arange(len(expected)), expected.shape[1]).tolist()
    assert answer.gene.tolist() == np.tile(np.arange(expected.shape[1]), len(expected)).tolist()


def test_contextual_vectors_are_the_mean_over_cells_of_the_authors_vectors(golden: Golden) -> None:
    adata = golden.adata(golden.counts(golden.inputs["gene_output_cells"]))
    scfm.tl.embed_genes(adata, model=golden.model(key="gene"), kind="contextual", key_added="X_genes", dtype="float32")
    expected = golden.arrays("embeddings")["gene_F_t4"].mean(axis=0)
    np.testing.assert_allclose(adata.varm["X_genes"], expected, **CLOSE)


@pytest.mark.parametrize("name", EXPRESSION)
def test_expression_is_the_authors(golden: Golden, name: str) -> None:
    model = golden.model(key="gene", target_depth=name.rsplit("_", maxsplit=1)[-1])
    answer = golden.encode(model, golden.tokens(model, golden.counts()), "expression").expression
    assert answer is not None
    np.testing.assert_allclose(answer.values, golden.arrays("embeddings")[name].ravel(), **CLOSE)


@pytest.mark.parametrize("name", ["bulk_F_ce_all", "bulk_F_ce_max", "bulk_F_gene_expression"])
def test_bulk_samples_scaled_to_the_median_of_their_table_are_the_authors(golden: Golden, name: str) -> None:
    bulk = golden.inputs["bulk"]
    median = float(np.median(bulk.sum(axis=1)))
    key = "gene" if "gene" in name else "cell"
    model = golden.model(key=key, input_type="bulk", target_sum=median)
    expected = golden.arrays("embeddings")[name]
    if key == "gene":
        answer = golden.encode(model, golden.tokens(model, bulk), "expression").expression
        assert answer is not None
        found = answer.values.reshape(expected.shape).numpy()
    else:
        found = embedded(golden.adata(bulk), model, normalized=False, pooling=name.rsplit("_", maxsplit=1)[-1])
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_normalised_bulk_samples_are_the_authors(golden: Golden) -> None:
    model = golden.model(input_type="bulk", pre_normalized="T")
    found = embedded(golden.adata(golden.inputs["bulk_normalised"]), model, normalized=True, pooling="max")
    np.testing.assert_allclose(found, golden.arrays("embeddings")["bulk_T_ce_max"], **CLOSE)


@pytest.mark.parametrize("name", MISALIGNED)
def test_columns_are_found_by_name_where_the_original_takes_them_as_they_stand(golden: Golden, name: str) -> None:
    inputs, stored = golden.inputs, golden.arrays("embeddings")
    cells = inputs["panel_more_cells"]
    panel, columns = inputs["panel_more"], inputs["panel_more_columns"]
    if name == "original_shuffled_same_number":
        order = inputs["shuffle_order"]
        panel, columns = golden.counts(cells)[:, order], inputs["genes"][order]
    elif name == "original_list_order_then_foreign":
        foreign = ~np.isin(columns, inputs["genes"])
        panel = np.hstack([golden.counts(cells), panel[:, foreign]])
        columns = np.concatenate([inputs["genes"], columns[foreign]])
    rows = [inputs["usable"].tolist().index(cell) for cell in cells]
    right = stored["cell_F_t4_ce_all"][rows]
    assert np.abs(stored[name] - right).max() > 0.1
    np.testing.assert_allclose(embedded(golden.adata(panel, columns), golden.model()), right, **CLOSE)


def test_genes_that_the_data_lack_are_zero(golden: Golden) -> None:
    inputs = golden.inputs
    adata = golden.adata(inputs["panel_fewer"], inputs["panel_fewer_columns"])
    found = embedded(adata, golden.model())
    np.testing.assert_allclose(found, golden.arrays("embeddings")["original_panel_fewer"], **CLOSE)
    aligned = golden.adata(inputs["panel_fewer_aligned"])
    np.testing.assert_allclose(found, embedded(aligned, golden.model()), **CLOSE)


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_of_two_columns_of_a_gene_the_original_takes_the_first_and_we_the_sum(golden: Golden) -> None:
    inputs = golden.inputs
    panel, columns = inputs["panel_duplicates"], inputs["panel_duplicates_columns"]
    original = embedded(golden.adata(panel, columns), golden.model(mode="original"))
    np.testing.assert_allclose(original, golden.arrays("embeddings")["original_panel_duplicates"], **CLOSE)
    genes, which = np.unique(columns, return_inverse=True)
    summed = np.stack([panel[:, which == one].sum(axis=1) for one in range(len(genes))], axis=1)
    assert len(genes) < len(columns)
    found = embedded(golden.adata(panel, columns), golden.model())
    np.testing.assert_allclose(found, embedded(golden.adata(summed, genes), golden.model()), **CLOSE)


def test_depth_not_above_zero_is_dropped_by_the_original_and_kept_by_us(golden: Golden) -> None:
    values = golden.inputs["tiny_sum_T"]
    original = golden.model(pre_normalized="T", mode="original")
    tokens = golden.tokens(original, values)
    assert (tokens.extra["S"] <= 0).all()
    expected = golden.arrays("embeddings")["original_pre_T_tiny_sum"]
    np.testing.assert_allclose(golden.encode(original, tokens, "cell").cell, expected, **CLOSE)
    ours = golden.model(pre_normalized="T")
    vectors = golden.encode(ours, tokens, "cell").cell
    assert vectors is not None
    width = vectors.shape[1] // 4
    for part, pooling in enumerate(("S", "T")):
        one = golden.encode(ours, tokens, "cell", pooling=pooling).cell
        np.testing.assert_allclose(vectors[:, part * width : (part + 1) * width], one, **CLOSE)
    assert np.abs(vectors.numpy() - expected).max() > 0.1


def test_cells_that_stop_the_original_keep_their_place(golden: Golden) -> None:
    inputs = golden.inputs
    found = embedded(golden.adata(inputs["counts"]), golden.model())
    usable = golden.rows(inputs["usable"])
    np.testing.assert_allclose(found[usable], golden.arrays("embeddings")["cell_F_t4_ce_all"], **CLOSE)
    names = inputs["cells"].tolist()
    assert np.isnan(found[names.index("empty")]).all()
    assert np.isfinite(found[names.index("total_one")]).all()


def test_log_values_need_to_be_announced(toy: Golden) -> None:
    tokenize = toy.model(pre_normalized="T")
    with pytest.raises(InputError, match="pre_normalized='F' for counts"):
        embedded(toy.adata(toy.counts()), tokenize)
    with pytest.raises(InputError, match="needs counts"):
        embedded(toy.adata(toy.inputs["normalised"]), toy.model(), normalized=True)
