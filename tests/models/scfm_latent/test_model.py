"""The latent transformer in the verbs of the package."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.models import Wanted
from scfm_scverse.models.scfm_latent.model import ScfmLatent, expression_of
from scfm_scverse.models.scfm_latent.training import create
from scfm_scverse.tokens import Tokens
from support import GENES, small_counts


def test_embeds_an_anndata(model: ScfmLatent) -> None:
    adata = small_counts(12)
    scfm.tl.embed(adata, model=model)
    found = adata.obsm["X_scfm_latent"]
    assert found.shape == (12, 32)
    assert len(np.unique(found.round(4), axis=0)) == 12
    one = small_counts(12)[5:7, ::-1].copy()
    scfm.tl.embed(one, model=model)
    np.testing.assert_allclose(one.obsm["X_scfm_latent"], found[5:7], rtol=0, atol=1e-5)


def test_logarithms_are_read_as_counts_are(model: ScfmLatent) -> None:
    import scanpy as sc

    counts, logs = small_counts(12), small_counts(12)
    sc.pp.normalize_total(logs, target_sum=1e4)
    sc.pp.log1p(logs)
    for adata in (counts, logs):
        scfm.tl.embed(adata, model=model)
    np.testing.assert_allclose(counts.obsm["X_scfm_latent"], logs.obsm["X_scfm_latent"], rtol=0, atol=1e-4)


def test_attention_and_layers_are_not_offered(model: ScfmLatent) -> None:
    with pytest.raises(InputError, match="cell, expression, gene; it was asked for attention"):
        scfm.tl.gene_attention(small_counts(12), genes=["CD3D"], model=model)
    with pytest.raises(InputError, match="output_layer=-2"):
        scfm.tl.embed(small_counts(12), model=model, output_layer=-2)


def test_expression_is_told_of_genes_that_the_data_lack(model: ScfmLatent, tokens: Tokens) -> None:
    want = Wanted(outputs=frozenset({"expression"}))
    told = model.encode(tokens, want, device=torch.device("cpu"), dtype=torch.float32).expression
    assert told.values.shape == (7 * len(GENES),)
    np.testing.assert_array_equal(told.cell.view(7, -1)[:, 0], np.arange(7))
    np.testing.assert_array_equal(told.gene.view(7, -1)[3], np.arange(len(GENES)))
    assert torch.isfinite(told.values).all()
    unmeasured = told.values.view(7, -1)[:, ~tokens.measured]
    assert len(np.unique(unmeasured.numpy().round(5))) == 7


def test_expression_is_the_same_however_many_genes_are_decoded_at_once(
    model: ScfmLatent, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = model.run(tokens).memory
    whole = expression_of(model.network, memory)
    monkeypatch.setattr("scfm_scverse.models.scfm_latent.model.AT_ONCE", 50)
    torch.testing.assert_close(expression_of(model.network, memory), whole, rtol=0, atol=1e-5)
    told = model.network.tell(memory, torch.tensor([4] * 7), (1,) * 7)
    torch.testing.assert_close(whole[:, 4], told.logit.sigmoid() * told.value, rtol=0, atol=1e-5)


def test_a_head_of_classes_reads_the_vector_of_the_cell(model: ScfmLatent, tokens: Tokens) -> None:
    model.add_classes(3, seed=1)
    first = model.class_logits(model.run(tokens))
    assert first.shape == (7, 3)
    model.add_classes(3, seed=2)
    assert not torch.equal(model.class_logits(model.run(tokens)), first)
    model.add_classes(3, seed=1)
    assert torch.equal(model.class_logits(model.run(tokens)), first)


def test_weights_depend_on_the_seed_alone() -> None:
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2}
    ids = [create(GENES, seed=seed, **sizes).spec.id for seed in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]
    torch.manual_seed(5)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    create(GENES, **sizes)
    assert torch.equal(torch.rand(1), drawn)


def test_mouse_genes_are_found_by_their_names() -> None:
    model = create(["Cd3e", "Lyz2", "Ms4a1"], dim=16, n_layers=1, n_heads=2, n_reads=1, organism="mouse")
    assert model.spec.organism == "mouse"
    assert (model.gene_rows >= 0).sum() >= 2


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"n_layers": 1, "n_reads": 2}, "n_reads=2 and n_layers=1; expected"),
        ({"n_reads": 0}, "n_reads=0"),
        ({"depth": 3}, "option 'depth'; those of scfm-latent are seed, dim"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes: dict[str, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        scfm.models.create("scfm-latent", GENES, **sizes)
