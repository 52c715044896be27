"""The network against the original: hidden states, scores of masked genes, losses, gradients."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from scfm_scverse.models import Attention, Wanted
from scfm_scverse.models.geneformer.classify import masked_logits
from scfm_scverse.models.geneformer.files import rename
from scfm_scverse.models.geneformer.model import Geneformer
from scfm_scverse.nn import Spans

from .conftest import CLOSE, WHERE, Golden, Padded, near

CASES = [
    pytest.param("model_v1", "forward_v1", {}, id="V1"),
    pytest.param("model_v2", "forward_v2", {}, id="V2"),
    pytest.param("second/model", "second/forward", "v2", id="second", marks=pytest.mark.holdout),
]
every_case = pytest.mark.parametrize(("model", "arrays", "dictionaries"), CASES)


@pytest.fixture
def load(golden):
    """Load a model of a case; the second one has no dictionaries near it."""

    def of_case(model: str, dictionaries):
        if not dictionaries:
            return golden.load(model)
        names = {"token_dictionary": "token_dictionary", "gene_medians": "gene_median_dictionary"}
        given = {option: golden.folder / f"{file}_{dictionaries}.json" for option, file in names.items()}
        return golden.load(model, **given)

    return of_case


@every_case
def test_hidden_states_of_every_layer_are_those_of_the_original(
    golden: Golden, load: Callable[..., Geneformer], model: str, arrays: str, dictionaries: str
) -> None:
    network, stored = load(model, dictionaries).network, golden.arrays(arrays)
    batch = Padded(stored["attention_mask"].astype(bool))
    ids = batch.rows(stored["input_ids"])
    with torch.inference_mode():
        for n_layers, expected in enumerate(stored["hidden_states"]):
            found = network(ids, batch.spans, n_layers=n_layers)
            np.testing.assert_allclose(found, batch.rows(expected), **CLOSE)
            first = network(ids, batch.spans, n_layers=n_layers, read=batch.spans.starts)
            np.testing.assert_allclose(first, expected[:, 0], **CLOSE)
        near(masked_logits(network, network(ids, batch.spans)), batch.rows(stored["logits"]).numpy())


@every_case
def test_a_cell_does_not_depend_on_those_beside_it(
    golden: Golden, load: Callable[..., Geneformer], model: str, arrays: str, dictionaries: str
) -> None:
    network, stored = load(model, dictionaries).network, golden.arrays(arrays)
    batch = Padded(stored["attention_mask"].astype(bool))
    cells = batch.rows(stored["input_ids"]).split(batch.spans.lengths)
    with torch.inference_mode():
        together = network(torch.cat(cells), batch.spans).split(batch.spans.lengths)
        for ids, expected in zip(cells, together, strict=True):
            np.testing.assert_allclose(network(ids, Spans((len(ids),))), expected, **CLOSE)


@every_case
def test_masked_loss_and_its_gradients_are_those_of_the_original(
    golden: Golden, load: Callable[..., Geneformer], model: str, arrays: str, dictionaries: str
) -> None:
    loaded, stored = load(model, dictionaries), golden.arrays(arrays)
    network = loaded.network
    batch = Padded(stored["attention_mask"].astype(bool))
    ids, labels = batch.rows(stored["mlm_input_ids"]), batch.rows(stored["mlm_labels"])
    near(masked_logits(network, network(ids, batch.spans)), batch.rows(stored["mlm_logits"]).numpy())
    asked = labels >= 0
    loss = cross_entropy(masked_logits(network, network(ids, batch.spans)[asked]), labels[asked])
    np.testing.assert_allclose(loss.item(), stored["mlm_loss"], rtol=0, atol=1e-5)
    loss.backward()
    gradients = {name.removeprefix("grad:"): array for name, array in stored.items() if name.startswith("grad:")}
    assert len(gradients) == 13
    largest = max(np.abs(expected).max() for expected in gradients.values())
    for name, found in of_original(network, gradients).items():
        if name.endswith("key.bias"):  # it shifts all scores of a query alike: exactly zero, but for rounding
            assert max(np.abs(gradients[name]).max(), found.abs().max()) < 1e-6 * largest
        else:
            near(found, gradients[name])


def of_original(network, names) -> dict:
    """Gradients of the network under the original's names."""
    parameters = dict(network.named_parameters())
    _, ours = rename({name: torch.zeros(1) for name in names if ".self." not in name}, 0)
    found = {theirs: parameters[mine].grad for mine, theirs in ours.items()}
    for name in set(names) - set(found):
        layer, part, kind = re.fullmatch(r".*layer\.(\d+)\.attention\.self\.(\w+)\.(\w+)", name).groups()
        joined = parameters[f"encoder.layers.{layer}.in_proj.{kind}"].grad
        found[name] = joined.chunk(3)[("query", "key", "value").index(part)]
    return found


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_attention_is_that_of_the_original(golden: Golden, version: str) -> None:
    model, stored = golden.load(f"model_{version}"), golden.arrays(f"forward_{version}")
    tokens, cells = golden.tokens(f"unique_{version}_stable")
    chosen = tokens.take(np.array([cells.index(cell) for cell in stored["cells"][:2]]))
    n_layers = model.spec.n_layers
    for layer in range(n_layers):
        for heads in (None, (1,)):
            asked = Attention(genes=tuple(range(2, 30)), layer=layer - n_layers, heads=heads)
            want = Wanted(outputs=frozenset({"attention"}), attention=asked)
            rows = model.encode(chosen, want, **WHERE).attention
            expected = stored["attentions_first2"][layer]
            of_heads = slice(None) if heads is None else list(heads)
            n_found = 0
            for cell, ids in enumerate(np.split(chosen.ids, chosen.indptr[1:-1])):
                asked_for = np.flatnonzero(np.isin(ids, asked.genes))
                here = rows.cell == cell
                n_found += int(here.sum())
                shape = (len(asked_for), len(ids), -1)
                weights = expected[cell, of_heads][:, asked_for, : len(ids)].transpose(1, 2, 0)
                np.testing.assert_allclose(rows.weights[here].reshape(shape), weights, **CLOSE)
                assert (rows.query[here].reshape(shape)[:, :, 0].numpy() == ids[asked_for, None]).all()
                assert (rows.key[here].reshape(shape)[:, :, 0].numpy() == ids).all()
            assert n_found == len(rows.cell) > 0
