"""scfm-mini as a network: the same numbers as without gradients, and a file that holds what was learned."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.models import Wanted
from scfm_scverse.models.scfm_mini import ScfmMini, recognises
from scfm_scverse.tokens import Tokens

HERE: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
BOTH = Wanted(frozenset({"cell", "expression"}))


def mini() -> ScfmMini:
    """A model of our own, apart from that which every test may load."""
    model = deepcopy(scfm.models.load("scfm-mini"))
    assert isinstance(model, ScfmMini)
    return model


def some_tokens(n_genes: int, n: int = 6, seed: int = 0) -> Tokens:
    """Cells over three quarters of the genes, some values beyond what counts."""
    rng = np.random.default_rng(seed)
    measured = rng.random(n_genes) < 0.75
    ids = [rng.permutation(np.flatnonzero(measured & (rng.random(n_genes) < 0.1))) for _ in range(n)]
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in ids])]).astype(np.int64)
    values = rng.gamma(2, 2, indptr[-1]).astype(np.float32)
    return Tokens(indptr, np.concatenate(ids).astype(np.int32), values, measured)


@pytest.fixture
def tokens() -> Tokens:
    return some_tokens(len(scfm.models.load("scfm-mini").spec.genes))


def made_anew(n: int = 60, **sizes: Any) -> ScfmMini:
    genes = scfm.models.load("scfm-mini").spec.genes[:n].tolist()
    model = scfm.models.create("scfm-mini", genes, **{"dim": 8, **sizes})
    assert isinstance(model, ScfmMini)
    return model


def test_network_makes_the_vectors_of_inference(tokens: Tokens) -> None:
    model = mini()
    expected = scfm.models.load("scfm-mini").encode(tokens, BOTH, **HERE)
    cell = model.run(tokens).cell
    np.testing.assert_allclose(normalize(cell, dim=1).detach(), expected.cell, rtol=0, atol=1e-5)
    measured = torch.from_numpy(np.flatnonzero(tokens.measured))
    levels = model.network.told(cell, measured).detach()
    told = levels * model.network.sd[measured] + model.network.mean[measured]
    assert expected.expression is not None
    np.testing.assert_allclose(told.flatten(), expected.expression.values, rtol=0, atol=1e-5)


def test_cell_does_not_depend_on_its_minibatch(tokens: Tokens) -> None:
    model = mini()
    together = normalize(model.run(tokens).cell, dim=1).detach()
    for cell in range(len(tokens)):
        alone = normalize(model.run(tokens.take(np.array([cell]))).cell, dim=1).detach()
        np.testing.assert_allclose(alone[0], together[cell], rtol=0, atol=1e-5)


def test_gradients_are_those_of_finite_differences() -> None:
    model = made_anew(20, dim=3, mean=np.full(20, 0.5), sd=np.full(20, 0.8))
    tokens, weight = some_tokens(20, 3), model.network.genes.weight
    direction, score = torch.randn(20, 3, generator=torch.manual_seed(0)), torch.randn(3, 3)
    (model.run(tokens).cell * score).sum().backward()
    assert weight.grad is not None
    slope = float((weight.grad * direction).sum())
    step, values = 1e-2, []
    with torch.no_grad():
        for sign in (1, -1):
            weight += sign * step * direction
            values.append(float((model.run(tokens).cell * score).sum()))
            weight -= sign * step * direction
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=0.02, abs=0.01)


def test_inference_follows_the_weights_and_the_loaded_model_stays(tokens: Tokens) -> None:
    model = mini()
    before = model.encode(tokens, BOTH, **HERE)
    assert model.network.genes.weight.requires_grad
    np.testing.assert_array_equal(model.encode(tokens, BOTH, **HERE).cell, before.cell)
    with torch.no_grad():
        model.network.genes.weight *= 1 + 0.1 * torch.rand(model.network.genes.weight.shape)
    after = model.encode(tokens, BOTH, **HERE)
    assert not np.allclose(after.cell, before.cell, atol=1e-3)
    np.testing.assert_allclose(normalize(model.run(tokens).cell, dim=1).detach(), after.cell, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(model.gene_vectors(), model.network.genes.weight.detach())
    untouched = scfm.models.load("scfm-mini")
    np.testing.assert_array_equal(untouched.encode(tokens, BOTH, **HERE).cell, before.cell)
    copied = deepcopy(model)
    with torch.no_grad():
        copied.network.genes.weight.zero_()
    np.testing.assert_array_equal(model.encode(tokens, BOTH, **HERE).cell, after.cell)


def test_model_is_read_back_as_it_was_written(tokens: Tokens, tmp_path: Path) -> None:
    model = mini()
    model.write(tmp_path / "untouched")
    assert scfm.models.load(tmp_path / "untouched").spec.id == scfm.models.load("scfm-mini").spec.id
    with torch.no_grad():
        model.network.genes.weight *= 1.0001
    model.add_classes(4, seed=0)
    model.renew()
    assert model.spec.id != scfm.models.load("scfm-mini").spec.id
    model.write(tmp_path / "trained")
    for path in (tmp_path / "trained", tmp_path / "trained" / "scfm-mini.safetensors"):
        back = scfm.models.load(path)
        assert back.spec.id == model.spec.id
        assert isinstance(back, ScfmMini)
        logits = [one.class_logits(one.run(tokens)).detach() for one in (model, back)]
        assert logits[0].shape == (len(tokens), 4)
        np.testing.assert_array_equal(*logits)


def test_files_of_others_are_not_taken_for_ours(tmp_path: Path) -> None:
    save_file({"embedding": torch.ones(2), "gene": torch.ones(2)}, tmp_path / "scfm-mini.safetensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    for path in (tmp_path, tmp_path / "scfm-mini.safetensors", tmp_path / "text.safetensors", tmp_path / "absent"):
        assert not recognises(path)


def test_new_model_depends_on_its_seed_alone(tmp_path: Path) -> None:
    first, again, other = (made_anew(seed=seed, sd=np.full(60, 0.5)) for seed in (0, 0, 1))
    assert first.spec.id == again.spec.id != other.spec.id
    first.write(tmp_path / "new")
    assert scfm.models.load(tmp_path / "new").spec.id == first.spec.id
    assert first.spec.dim == 8
    assert (first.gene_rows >= 0).all()
    tokens = some_tokens(60)
    encoded = first.encode(tokens, BOTH, **HERE)
    assert encoded.cell is not None
    np.testing.assert_allclose(normalize(first.run(tokens).cell, dim=1).detach(), encoded.cell, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("genes", "options", "message"),
    [
        (["CD3E"], {}, "the gene 'CD3E'; expected Ensembl ids"),
        (["ENSG00000198851"], {"mean": np.zeros(2)}, r"mean= of shape \(2,\)"),
        (["ENSG00000198851"], {"sd": np.zeros(1)}, "above 0"),
    ],
)
def test_new_model_that_cannot_be_is_refused(genes: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        scfm.models.create("scfm-mini", genes, **options)


def test_training_in_bfloat16_is_near_that_in_float32(tokens: Tokens) -> None:
    model = mini()
    model.add_classes(3, seed=0)
    exact = model.run(tokens)
    logits = model.class_logits(exact)
    model.network.to(torch.bfloat16)
    short = model.run(tokens)
    assert torch.cosine_similarity(short.cell, exact.cell).min() > 0.999
    assert torch.allclose(model.class_logits(short).float(), logits, atol=0.1)
    short.cell.sum().backward()
