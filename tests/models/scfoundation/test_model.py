"""The model as any other: what it gives, and on what that may depend."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, ScfmError
from scfm_scverse.models import Attention, Columns, Wanted
from scfm_scverse.models.panel import shipped_panel
from scfm_scverse.models.scfoundation.decoder import DecoderSizes
from scfm_scverse.models.scfoundation.files import name_in_file
from scfm_scverse.models.scfoundation.network import ScFoundationNetwork, Sizes

from .conftest import HERE, Golden

SAME = {"rtol": 0, "atol": 5e-6}


def test_spec_tells_sub_model_and_options(toy: Golden) -> None:
    model = toy.model(key="rde", target_depth="a5")
    assert model.spec.id == f"scFoundation-rde-a5:{model.spec.weights_hash}"
    assert model.spec.genes[:-2].tolist() == toy.inputs["genes"].tolist()
    assert model.spec.genes[-2:].tolist() == ["<T>", "<S>"]
    assert (model.spec.dim, model.spec.n_layers, model.spec.needs_counts) == (96, 2, True)
    ids = [toy.model(**options).spec.id for options in ({}, {"key": "rde"}, {"pre_normalized": "T"})]
    assert len(set(ids)) == 3


def test_gene_vectors_are_those_of_the_positions(toy: Golden) -> None:
    model = toy.model()
    assert model.gene_vectors().shape == (len(model.spec.genes), 24)
    assert (model.gene_rows[-2:] == -1).all()
    assert (model.gene_rows[:-2] >= 0).mean() > 0.9


@pytest.mark.parametrize("outputs", ["cell", "gene", "expression"])
def test_outputs_of_a_cell_do_not_depend_on_its_neighbours(toy: Golden, outputs: str) -> None:
    model = toy.model(key="gene")
    tokens = toy.tokens(model, toy.counts())
    together = getattr(toy.encode(model, tokens, outputs), outputs)
    together = together if outputs == "cell" else together.values.unflatten(0, (len(tokens), -1))
    for cell in (0, 7, len(tokens) - 1):
        alone = getattr(toy.encode(model, tokens.take(np.array([cell])), outputs), outputs)
        alone = alone[0] if outputs == "cell" else alone.values
        np.testing.assert_allclose(together[cell], alone, **SAME)


def test_several_outputs_at_once_are_those_asked_for_one_by_one(toy: Golden) -> None:
    model = toy.model(key="gene")
    tokens = toy.tokens(model, toy.counts()[:3])
    every = toy.encode(model, tokens, "cell", "gene", "expression")
    assert every.gene is not None
    assert every.expression is not None
    np.testing.assert_allclose(every.cell, toy.encode(model, tokens, "cell").cell, **SAME)
    for outputs in ("gene", "expression"):
        alone = getattr(toy.encode(model, tokens, outputs), outputs)
        np.testing.assert_allclose(getattr(every, outputs).values, alone.values, **SAME)
    assert toy.encode(model, tokens, "gene").cell is None


def test_decoder_is_not_run_for_cells(toy: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    model = toy.model(key="gene")
    monkeypatch.setattr(model, "_decoding", None)
    assert toy.encode(model, toy.tokens(model, toy.counts()), "cell").cell is not None


def test_sub_models_of_cells_have_no_decoder_and_say_so(toy: Golden) -> None:
    model = toy.model()
    assert model.network.decoder is None
    tokens = toy.tokens(model, toy.counts()[:1])
    with pytest.raises(InputError, match="asked for gene"):
        toy.encode(model, tokens, "gene")
    with pytest.raises(InputError, match="key='gene'"):
        model.decoder_attention(tokens, Attention((0,)), **HERE)


def test_parts_of_the_default_are_the_other_poolings(toy: Golden) -> None:
    model = toy.model()
    tokens = toy.tokens(model, toy.counts())
    parts = dict(
        zip(("S", "T", "max of genes", "mean"), toy.encode(model, tokens, "cell").cell.chunk(4, 1), strict=True)
    )
    for pooling in ("S", "T", "mean"):
        found = toy.encode(model, tokens, "cell", pooling=pooling).cell
        np.testing.assert_allclose(found, parts[pooling], **SAME)
    most = torch.stack([parts[one] for one in ("S", "T", "max of genes")]).amax(0)
    np.testing.assert_allclose(toy.encode(model, tokens, "cell", pooling="max").cell, most, **SAME)


def test_layers_are_counted_from_the_end(toy: Golden) -> None:
    model = toy.model()
    tokens = toy.tokens(model, toy.counts())
    by_layer = {layer: toy.encode(model, tokens, "cell", layer=layer).cell for layer in (None, -1, -2, -3)}
    np.testing.assert_allclose(by_layer[None], by_layer[-1], **SAME)
    for one, other in pairwise([-1, -2, -3]):
        assert not np.allclose(by_layer[one], by_layer[other], atol=1e-2)
    with pytest.raises(InputError, match="output_layer=-4"):
        toy.encode(model, tokens, "cell", layer=-4)


@pytest.mark.parametrize("outputs", [("gene",), ("expression",), ("cell", "gene")])
def test_decoder_reads_the_last_layer_only_and_says_so(toy: Golden, outputs: tuple[str, ...]) -> None:
    model = toy.model(key="gene")
    tokens = toy.tokens(model, toy.counts()[:1])
    for layer in (-1, -2):
        with pytest.raises(InputError, match=f"output_layer={layer}.*expected None"):
            toy.encode(model, tokens, *outputs, layer=layer)


def test_layer_of_contextual_vectors_is_refused(toy: Golden) -> None:
    adata = toy.adata(toy.counts())
    with pytest.raises(InputError, match="output_layer=-2"):
        scfm.tl.embed_genes(adata, model=toy.model(key="gene"), kind="contextual", output_layer=-2)
    assert not adata.varm


@pytest.mark.parametrize("option", ["F", "T", "A"])
def test_values_of_another_kind_than_announced_are_told_how_to_load_the_model(toy: Golden, option: str) -> None:
    base, found = (float(np.e), "log values") if option == "F" else (0.0, "counts")
    columns = Columns(np.arange(3, dtype=np.int32), np.ones(3, bool), base)
    with pytest.raises(InputError) as told:
        toy.model(pre_normalized=option).tokenizer(columns)
    for part in (f"Found {found}", f"loaded with pre_normalized='{option}'", "'F' for counts", "'A' with total_key="):
        assert part in str(told.value)


def test_cell_with_a_total_of_zero_is_an_error_and_no_row_of_nan(toy: Golden) -> None:
    adata = toy.adata(toy.counts())
    adata.obs["total"] = 0.0
    with pytest.raises(InputError, match="total_key="):
        scfm.tl.embed(adata, model=toy.model(), total_key="total")
    assert not adata.obsm


@pytest.mark.parametrize("pooling", ["S", "T"])
@pytest.mark.parametrize("layer", [-2, -3])
def test_one_row_of_a_layer_is_that_of_all_rows(toy: Golden, pooling: str, layer: int) -> None:
    model = toy.model()
    tokens = toy.tokens(model, toy.counts())
    whole = toy.encode(model, tokens, "cell", layer=layer).cell
    part = whole.chunk(4, 1)["ST".index(pooling)]
    np.testing.assert_allclose(toy.encode(model, tokens, "cell", layer=layer, pooling=pooling).cell, part, **SAME)


def test_attention_of_genes_goes_to_what_their_cell_expresses(toy: Golden) -> None:
    model = toy.model()
    tokens = toy.tokens(model, toy.counts()[:3])
    gene = int(tokens.ids[2])
    rows = toy.encode(model, tokens, "attention", attention=Attention((gene,), layer=-1, heads=(0, 2))).attention
    assert rows is not None
    assert set(rows.query.tolist()) == {gene}
    first = rows.cell == 0
    n_genes = model.n_genes
    assert rows.key[first].tolist() == [*tokens.ids[: tokens.indptr[1]].tolist(), n_genes, n_genes + 1]
    assert rows.weights.shape[1] == 2
    for cell in rows.cell.unique():
        np.testing.assert_allclose(rows.weights[rows.cell == cell].sum(0), 1, rtol=1e-5)


def test_attention_of_the_decoder_is_for_layers_and_heads_that_it_has(toy: Golden) -> None:
    model = toy.model(key="gene")
    tokens = toy.tokens(model, toy.counts()[:2])
    rows = model.decoder_attention(tokens, Attention((5, 3), heads=(1,)), **HERE)
    both = model.decoder_attention(tokens, Attention((5, 3)), **HERE)
    np.testing.assert_array_equal(rows.weights[:, 0], both.weights[:, 1])
    for wrong in (Attention((5,), layer=-3), Attention((5,), heads=(2,))):
        with pytest.raises(InputError, match="of the decoder"):
            model.decoder_attention(tokens, wrong, **HERE)


def test_cell_at_which_the_original_stops_is_nan_there_and_spoils_no_other(toy: Golden) -> None:
    counts = toy.counts()[:3]
    counts[1] = 0
    counts[1, 5] = 1
    original = toy.model(target_depth="t0", mode="original")
    found = toy.encode(original, toy.tokens(original, counts), "cell").cell
    assert torch.isnan(found[1]).all()
    assert torch.isfinite(found[[0, 2]]).all()
    ours = toy.model(target_depth="t0")
    assert torch.isfinite(toy.encode(ours, toy.tokens(ours, counts), "cell").cell).all()
    with pytest.raises(InputError, match="pooling='mean'"):
        toy.encode(original, toy.tokens(original, counts), "cell", pooling="mean")


@pytest.mark.parametrize("outputs", ["cell", "gene", "expression"])
def test_bfloat16_stays_near_float32(toy: Golden, outputs: str) -> None:
    model = toy.model(key="gene")
    tokens = toy.tokens(model, toy.counts())
    exact = getattr(toy.encode(model, tokens, outputs), outputs)
    rough = getattr(
        model.encode(tokens, Wanted(frozenset({outputs})), device=HERE["device"], dtype=torch.bfloat16), outputs
    )
    exact, rough = (one if outputs == "cell" else one.values.unflatten(0, (len(tokens), -1)) for one in (exact, rough))
    cosine = torch.cosine_similarity(exact.flatten(1).float(), rough.flatten(1).float())
    assert cosine.min() > 0.99


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("target_depth", "4"),
        ("target_depth", "f0"),
        ("input_type", "spatial"),
        ("pre_normalized", "X"),
        ("mode", "exact"),
        ("target_sum", 0.0),
        ("key", "genes"),
    ],
)
def test_wrong_options_are_answered_with_the_right_ones(toy: Golden, option: str, wrong: object) -> None:
    with pytest.raises(InputError, match=option):
        toy.model(**{option: wrong})


def test_bulk_samples_take_no_total(toy: Golden) -> None:
    with pytest.raises(InputError, match="bulk"):
        toy.model(input_type="bulk", pre_normalized="A")


def test_other_names_of_a_gene_are_found_and_left_out_by_the_original(toy: Golden) -> None:
    genes = toy.inputs["genes"].copy()
    lowered = np.array([name.lower() if i % 3 == 0 else name for i, name in enumerate(genes.tolist())])
    adata = toy.adata(toy.counts(), lowered)
    for mode, expected in (("default", 120), ("original", 80)):
        scfm.tl.embed(adata, model=toy.model(mode=mode), key_added=f"X_{mode}", dtype="float32")
        assert adata.uns["scfm"]["embed"][f"X_{mode}"]["n_genes_known"] == pytest.approx(expected, abs=4)


def test_shipped_genes_are_the_authors_list(shared_genes: list[str]) -> None:
    assert shipped_panel("scfm_scverse.models.scfoundation").tolist() == shared_genes
    assert len(shared_genes) == 19264
    assert {"MALAT1", "XIST"}.isdisjoint(shared_genes)
    assert sum(name.endswith("__chrM") for name in shared_genes) == 20


def test_network_of_the_published_size_has_the_published_parameters() -> None:
    sizes = Sizes(19266, 768, 12, 12, 100, 1.0, 102, 103, DecoderSizes(512, 6, 8, 64))
    with torch.device("meta"):
        network = ScFoundationNetwork(sizes)
    counted = {name_in_file(name): one.numel() for name, one in network.named_parameters()}
    assert sum(counted.values()) == 119_252_285
    assert sum(number for name, number in counted.items() if name.startswith("encoder.")) == 85_056_000
    shapes = {name_in_file(name): tuple(one.shape) for name, one in network.state_dict().items()}
    assert len(shapes) == 265
    assert shapes["decoder.performer.net.layers.5.0.fn.fast_attention.projection_matrix"] == (266, 64)
    assert shapes["decoder.performer.calls_since_last_redraw"] == ()
    assert shapes["encoder.transformer_encoder.11.self_attn.in_proj_bias"] == (2304,)


def test_totals_of_the_cells_may_be_given(shared: Path) -> None:
    model = scfm.models.load(shared / "golden" / "scfoundation" / "models.ckpt")
    whole = AnnData(np.random.default_rng(0).poisson(2.0, (6, 120)).astype(np.float32))
    whole.var_names = model.spec.genes[:120]
    whole.obs["n_counts"] = whole.X.sum(axis=1)
    scfm.tl.embed(whole, model=model)
    scfm.tl.embed(whole, model=model, total_key="n_counts", key_added="X_told")
    np.testing.assert_allclose(whole.obsm["X_told"], whole.obsm["X_scFoundation"], atol=1e-5)
    part = whole[:, :60].copy()
    scfm.tl.embed(part, model=model, total_key="n_counts")
    scfm.tl.embed(part, model=model, key_added="X_guessed")
    width = model.spec.dim // 4  # S, the first part, tells the depth
    assert not np.allclose(part.obsm["X_scFoundation"][:, :width], part.obsm["X_guessed"][:, :width], atol=1e-3)


@pytest.mark.parametrize(
    ("column", "message"), [("absent", "total_key='absent' is not in adata.obs"), ("kind", "other values than counts")]
)
def test_column_that_holds_no_totals_is_an_error(shared: Path, column: str, message: str) -> None:
    model = scfm.models.load(shared / "golden" / "scfoundation" / "models.ckpt")
    adata = AnnData(np.ones((2, 120), np.float32), var={"gene": model.spec.genes[:120]})
    adata.var_names = model.spec.genes[:120]
    adata.obs["kind"] = ["a", "b"]
    with pytest.raises(ScfmError, match=message):
        scfm.tl.embed(adata, model=model, total_key=column)
    with pytest.raises(InputError, match="scfm-mini reads no totals"):
        scfm.tl.embed(adata, total_key="kind")
