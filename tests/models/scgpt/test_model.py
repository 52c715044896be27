"""scGPT through the package's corridor: embeddings, what else it gives, and the traps of the original."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.genes import resolve_genes
from scfm_scverse.models import Attention, Columns, Wanted
from scfm_scverse.models.scgpt.model import Scgpt
from scfm_scverse.tokens import Tokens

OUTPUT = {"rtol": 1e-4, "atol": 2e-5}
CPU: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}


@pytest.fixture
def adata(folder: Path) -> AnnData:
    return anndata.read_h5ad(folder / "input.h5ad")


@pytest.fixture
def load(folder: Path) -> Callable[..., Scgpt]:
    def load_(**options: Any) -> Scgpt:
        return scfm.models.load(folder / "model", **options)

    return load_


def embedding(adata: AnnData, model: Any, **arguments: Any) -> np.ndarray:
    scfm.tl.embed(adata, model=model, key_added="X_test", dtype="float32", **arguments)
    return np.asarray(adata.obsm.pop("X_test"))


def tokenised(adata: AnnData, model: Scgpt) -> Tokens:
    match = resolve_genes(adata.var_names.tolist(), organism="human")
    columns = Columns(model.positions(match, None), np.ones(adata.n_vars, bool), 0.0)
    return model.tokenizer(columns)(sp.csr_matrix(adata.X))


@pytest.mark.parametrize("mode", ["default", "original"])
@pytest.mark.parametrize(("ties", "name"), [("middle", "X_scGPT_half"), ("high", "X_scGPT_high")])
def test_embeddings_are_the_authors(adata: AnnData, load: Any, folder: Path, mode: str, ties: str, name: str) -> None:
    expected = np.load(folder / "embed.npz")
    if mode == "default":  # which finds a gene more, by its Ensembl id
        adata = adata[:, expected["kept_genes"]].copy()
    found = embedding(adata, load(ties=ties, mode=mode))
    np.testing.assert_allclose(found[expected["cells"]], expected[name], **OUTPUT)
    others = np.setdiff1d(np.arange(adata.n_obs), expected["cells"])
    assert np.isnan(found[others]).all()


def test_original_finds_names_only_as_they_are_written(adata: AnnData, load: Any, folder: Path) -> None:
    kept = np.load(folder / "embed.npz")["kept_genes"]
    match = resolve_genes(adata.var_names.tolist(), organism="human")
    exact = load(mode="original").positions(match, None)
    assert adata.var_names[exact >= 0].tolist() == kept.tolist()
    ours = load().positions(match, None)
    assert (ours[exact >= 0] == exact[exact >= 0]).all()
    assert (ours >= 0).sum() > (exact >= 0).sum()


def test_original_draws_cell_after_cell_from_numpys_stream(adata: AnnData, load: Any, folder: Path) -> None:
    binning = np.load(folder / "binning.npz")
    tokens = tokenised(adata, load(mode="original"))
    bins = binning["bins_seed0"]
    assert tokens.lengths.tolist() == [n + (n > 0) for n in (bins > 0).sum(axis=1)]
    model = load()
    is_gene = tokens.ids != model.cls
    np.testing.assert_array_equal(tokens.values[is_gene], bins[bins > 0])
    rows = np.broadcast_to(binning["gene_ids"], bins.shape)[bins > 0]
    np.testing.assert_array_equal(tokens.ids[is_gene], rows)


def test_original_takes_the_genes_of_long_cells_from_torchs_stream(adata: AnnData, load: Any, folder: Path) -> None:
    stored, kept = np.load(folder / "collator.npz"), np.load(folder / "embed.npz")["kept_genes"]
    cells = adata[stored["cells"], kept].copy()
    length = next(int(name[5:7]) for name in stored if name.startswith("trunc"))
    tokens = tokenised(cells, load(mode="original", ties="middle", max_length=length))
    ids, values = stored[f"sample{length}_seed0_gene"], stored[f"sample{length}_seed0_expr"]
    real = np.arange(length) < tokens.lengths[:, None]
    np.testing.assert_array_equal(tokens.ids, ids[real])
    np.testing.assert_array_equal(tokens.values, values[real])


def test_gene_vectors(load: Any, folder: Path) -> None:
    expected = np.load(folder / "forward.npz")["gene_embedding_table"]
    np.testing.assert_allclose(load().gene_vectors(), expected, **OUTPUT)


def minibatch_of(cells: Any, name: str, n_genes: int) -> Tokens:
    indptr = np.concatenate([[0], np.cumsum(cells.spans.lengths)])
    ids, values = cells.ids.numpy().astype(np.int32), cells.values(name).float().numpy()
    return Tokens(indptr, ids, values, np.ones(n_genes, bool))


def test_pools_of_real_genes_and_those_of_the_authors(cells: Any, load: Any, folder: Path) -> None:
    forward = np.load(folder / "forward.npz")
    model = load()
    minibatch = minibatch_of(cells, "value_masked", len(model.spec.genes))
    mean = model.encode(minibatch, Wanted(pooling="mean"), **CPU).cell
    np.testing.assert_allclose(mean, forward["cell_emb_avg_pool_nopad_nocls"], **OUTPUT)
    hidden = cells.rows(forward[f"hidden_{model.spec.n_layers - 1}"])
    weighted = model.encode(minibatch, Wanted(pooling="weighted"), **CPU).cell
    rows = hidden * cells.values("value_masked")[:, None] * (cells.ids != model.cls)[:, None]
    total = torch.stack([one.sum(0) for one in rows.split(cells.spans.lengths)])
    np.testing.assert_allclose(weighted, torch.nn.functional.normalize(total, dim=1), **OUTPUT)
    original = load(mode="original")
    for pooling, name in (("mean", "avg"), ("weighted", "w")):
        found = original.encode(minibatch, Wanted(pooling=pooling), **CPU).cell
        np.testing.assert_allclose(found, forward[f"cell_emb_{name}_pool_original"], **OUTPUT)


def test_vectors_expression_and_attention_of_genes(cells: Any, load: Any, folder: Path) -> None:
    forward = np.load(folder / "forward.npz")
    model = load()
    minibatch = minibatch_of(cells, "value_masked", len(model.spec.genes))
    is_gene = cells.ids != model.cls
    gene = int(cells.ids[3])
    want = Wanted(
        frozenset({"cell", "gene", "expression", "attention"}), layer=-2, attention=Attention((gene,), heads=(1,))
    )
    found = model.encode(minibatch, want, **CPU)
    last = model.spec.n_layers - 1
    np.testing.assert_allclose(found.gene.values, cells.rows(forward[f"hidden_{last - 1}"])[is_gene], **OUTPUT)
    np.testing.assert_allclose(found.expression.values, cells.rows(forward["mlm_output"])[is_gene], **OUTPUT)
    assert found.gene.gene.tolist() == cells.ids[is_gene].tolist()
    assert found.gene.cell.tolist() == cells.spans.cells[is_gene].tolist()
    cell = forward[f"hidden_{last - 1}"][:, 0]
    np.testing.assert_allclose(found.cell, cell / np.linalg.norm(cell, axis=1, keepdims=True), **OUTPUT)
    rows = found.attention
    assert set(rows.query.tolist()) == {gene}
    assert rows.weights.shape == (len(rows.key), 1)
    for cell in rows.cell.unique():
        assert rows.weights[rows.cell == cell].sum() == pytest.approx(1, abs=1e-5)
        assert rows.key[rows.cell == cell].tolist() == cells.ids[cells.spans.cells == cell].tolist()


def test_attention_of_all_heads_is_the_softmax_of_the_authors_scores(load: Any, shared: Path, folder: Path) -> None:
    if folder.name == "second":
        pytest.skip("has no such arrays")
    arrays = np.load(folder / "attention_grn.npz")
    model = load()
    n, length = arrays["gene"].shape
    tokens = Tokens(
        np.arange(n + 1) * length,
        arrays["gene"].ravel().astype(np.int32),
        arrays["value"].ravel().astype(np.float32),
        np.ones(len(model.spec.genes), bool),
    )
    asked = 5
    want = Wanted(frozenset({"attention"}), attention=Attention((int(arrays["gene"][0, asked]),)))
    rows = model.encode(tokens, want, **CPU).attention
    found = rows.weights.reshape(n, length, -1).permute(0, 2, 1)
    np.testing.assert_allclose(found, arrays["attention_softmax"][:, :, asked], **OUTPUT)


@pytest.mark.parametrize("asked", [Attention((1,), layer=-9), Attention((1,), heads=(9,))])
def test_a_layer_or_head_that_does_not_exist_is_an_error(cells: Any, load: Any, asked: Attention) -> None:
    model = load()
    with pytest.raises(InputError, match=r"layer=-9|heads=\(9,\)"):
        model.encode(
            minibatch_of(cells, "target", len(model.spec.genes)),
            Wanted(frozenset({"attention"}), attention=asked),
            **CPU,
        )


def test_every_layer_can_be_read(adata: AnnData, load: Any) -> None:
    model = load()
    n_layers = model.spec.n_layers
    found = [embedding(adata, model, output_layer=layer) for layer in range(-1 - n_layers, 0)]
    assert all(np.nanmax(abs(one - other)) > 1e-3 for one, other in pairwise(found[1:]))
    # Before the first layer <cls> is the same in every cell.
    np.testing.assert_allclose(np.nanmax(found[0], axis=0), np.nanmin(found[0], axis=0), atol=1e-6)
    np.testing.assert_array_equal(found[-1], embedding(adata, model))


@pytest.mark.parametrize("pooling", ["cls", "mean", "weighted"])
def test_a_cell_does_not_depend_on_its_neighbours(adata: AnnData, load: Any, pooling: str) -> None:
    model = load(max_length=60)
    expected = embedding(adata, model, pooling=pooling)
    order = np.random.default_rng(0).permutation(adata.n_obs)
    np.testing.assert_allclose(embedding(adata[order].copy(), model, pooling=pooling), expected[order], atol=1e-6)
    genes = np.random.default_rng(1).permutation(adata.n_vars)
    np.testing.assert_allclose(embedding(adata[:, genes].copy(), model, pooling=pooling), expected, atol=1e-6)
    for batch_size in (1, 5):
        found = embedding(adata, model, pooling=pooling, batch_size=batch_size)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    with scfm.settings.override(block_size=3):
        np.testing.assert_allclose(embedding(adata, model, pooling=pooling), expected, atol=1e-6)


def test_every_way_of_storing_gives_the_same_tokens(adata: AnnData, load: Any, tmp_path: Path) -> None:
    model = load(max_length=60)
    expected = embedding(adata, model)
    dense = AnnData(adata.X.toarray(), obs=adata.obs, var=adata.var)
    np.testing.assert_array_equal(embedding(dense, model), expected)
    np.testing.assert_array_equal(embedding(AnnData(adata.X.tocsc(), adata.obs, adata.var), model), expected)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(embedding(anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r"), model), expected)


def test_log_values_give_the_same_embedding(adata: AnnData, load: Any) -> None:
    model = load()
    counts = adata.X.toarray()
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    logs = AnnData(sp.csr_matrix(np.log1p(1e4 * counts / totals)), adata.obs, adata.var)
    np.testing.assert_array_equal(embedding(logs, model), embedding(adata, model))


def test_columns_of_one_gene_are_one_token_and_two_in_the_original(adata: AnnData, load: Any, folder: Path) -> None:
    kept = np.load(folder / "embed.npz")["kept_genes"]
    once = adata[:, kept].copy()
    counts = once.X.toarray()
    first = np.floor(counts[:, :30] / 2)
    twice = AnnData(sp.csr_matrix(np.hstack([first, counts[:, 30:], counts[:, :30] - first])), obs=adata.obs)
    twice.var_names = [*kept, *kept[:30]]
    assert cell_sets(tokenised(twice, load())) == cell_sets(tokenised(once, load()))
    original = tokenised(twice, load(mode="original"))
    nonzero = (twice.X.toarray() != 0).sum(axis=1)
    assert original.lengths.tolist() == (nonzero + (nonzero > 0)).tolist()


def cell_sets(tokens: Tokens) -> list[list[tuple[int, float]]]:
    pairs = list(zip(tokens.ids.tolist(), tokens.values.tolist(), strict=True))
    return [sorted(pairs[start:stop]) for start, stop in zip(tokens.indptr[:-1], tokens.indptr[1:], strict=True)]


def test_bfloat16_stays_near(adata: AnnData, load: Any) -> None:
    model = load()
    exact = embedding(adata, model)
    scfm.tl.embed(adata, model=model, key_added="X_half", dtype="bfloat16")
    cosine = (exact * adata.obsm["X_half"]).sum(axis=1)
    assert np.nanmin(cosine) > 0.999


def test_a_model_that_tells_batches_apart_asks_which(cells: Any, make_network: Callable[..., Any], load: Any) -> None:
    plain = load()
    minibatch = minibatch_of(cells, "target", len(plain.spec.genes))
    network = make_network("integration").float()

    def model(batch: int | None) -> Scgpt:
        return Scgpt(network, plain.spec, replace(plain.options, batch=batch), plain.report(), plain.pad_value)

    for batch in (None, 3):
        with pytest.raises(InputError, match=f"batch={batch}.* tells 3 batches apart"):
            model(batch).encode(minibatch, Wanted(), **CPU)
    answers = model(1).encode(minibatch, Wanted(frozenset({"cell", "expression"})), **CPU)
    ones = torch.ones(len(minibatch), dtype=torch.int64)
    with torch.inference_mode():
        _, hidden = network(cells.ids, cells.values("target").float(), cells.spans, ones)
        expression = network.expression(hidden, cells.spans, ones).value
    np.testing.assert_allclose(answers.expression.values, expression[cells.ids != plain.cls], **OUTPUT)


@pytest.mark.parametrize(
    "options",
    [
        {"ties": "low"},
        {"sampling": "first"},
        {"mode": "authors"},
        {"max_length": 1},
        {"random_state": -1},
        {"batch": -1},
        {"max_length": "1200"},
        {"max_length": 1200.0},
        {"max_length": True},
        {"random_state": 1.5},
        {"random_state": "0"},
        {"random_state": None},
        {"batch": False},
        {"batch": 1.0},
        {"cls_value": "0"},
        {"cls_value": True},
        {"cls_value": float("nan")},
        {"cls_value": float("inf")},
        {"cls_value": 10**400},
    ],
)
def test_an_option_without_such_a_value_is_an_error(load: Any, options: dict[str, Any]) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(InputError, match=f"{name}={value!r}; expected"):
        load(**options)


def test_a_batch_for_a_model_that_tells_none_apart_is_an_error(load: Any) -> None:
    with pytest.raises(InputError, match=r"Found batch=0 .* no batches apart; expected batch=None"):
        load(batch=0)


def test_original_draws_the_genes_that_it_keeps(load: Any) -> None:
    with pytest.raises(InputError, match="sampling='top' with mode='original'"):
        load(mode="original", sampling="top")


def test_the_value_of_cls_may_be_that_of_fine_tuning(cells: Any, load: Any, adata: AnnData) -> None:
    tokens = tokenised(adata, load(cls_value=0))
    model = load()
    assert set(tokens.values[tokens.ids == model.cls]) == {0}
    assert set(tokenised(adata, model).values[tokens.ids == model.cls]) == {-2}


def test_vectors_of_genes_are_the_callers_own(load: Any) -> None:
    model = load()
    before = model.gene_vectors()
    state = [one.numpy() for one in model.network.state_dict().values()]
    assert not any(np.shares_memory(before, one) for one in state)
    model.gene_vectors()[:] = 0
    np.testing.assert_array_equal(model.gene_vectors(), before)
