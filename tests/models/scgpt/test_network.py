"""The network against the authors' arrays: rows of every layer, decoders, losses, gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from scfm_scverse.models.scgpt.losses import contrastive, elastic_similarity, masked_relative_error, squares
from scfm_scverse.models.scgpt.network import ScgptNetwork
from scfm_scverse.models.scgpt.original import pads_beside, pool_padded
from scfm_scverse.nn import Spans

OUTPUT = {"rtol": 1e-6, "atol": 1e-6}  # in double precision; the arrays are stored in single precision
LOSS = {"rtol": 1e-5, "atol": 0}

Make = Callable[..., ScgptNetwork]


@pytest.fixture
def forward(folder: Path) -> Any:
    return np.load(folder / "forward.npz")


def assert_equal(found: Tensor, expected: np.ndarray | Tensor) -> None:
    np.testing.assert_allclose(found.detach(), expected, **OUTPUT)


def test_vectors_before_and_rows_after_every_layer(make_network: Make, cells: Any, forward: Any) -> None:
    network, values = make_network(), cells.values("value_masked")
    genes = network.encoder(cells.ids)
    assert_equal(genes, cells.rows(forward["gene_emb"]))
    assert_equal(network.value_encoder(values), cells.rows(forward["value_emb"]))
    x = network.embed(genes, values)
    for layer in range(network.config.n_layers):
        hidden = network.transformer_encoder(x, cells.spans, n_layers=layer + 1)
        assert_equal(hidden, cells.rows(forward[f"hidden_{layer}"]))


def test_decoders(make_network: Make, cells: Any, forward: Any) -> None:
    network = make_network("base_cls")
    genes, hidden = network(cells.ids, cells.values("value_masked"), cells.spans)
    cell = hidden[cells.spans.starts]
    assert_equal(cell, forward["cell_emb_cls"])
    assert_equal(network.expression(hidden, cells.spans).value, cells.rows(forward["mlm_output"]))
    assert_equal(network.from_cell(cell, genes, cells.spans).value, cells.rows(forward["mvc_output"]))
    assert_equal(network.classes(cell), forward["cls_output"])


def test_losses_and_gradients(
    make_network: Make, cells: Any, forward: Any, check_gradients: Callable[..., None]
) -> None:
    network, target, masked = make_network(), cells.values("target"), cells.masked

    def answers() -> tuple[Tensor, Tensor, Tensor]:
        genes, hidden = network(cells.ids, cells.values("value_masked"), cells.spans)
        cell = hidden[cells.spans.starts]
        return (
            cell,
            network.expression(hidden, cells.spans).value,
            network.from_cell(cell, genes, cells.spans).value,
        )

    def of_masked(told: Tensor) -> Tensor:
        return squares(told, target)[masked].mean()

    cell, expression, from_cell = answers()
    found = {
        "loss_ecs_0p3": elastic_similarity(cell, 0.3),
        "masked_mse": of_masked(expression),
        "masked_mse_mvc": of_masked(from_cell),
        "masked_relative_error": masked_relative_error(expression, target, masked),
    }
    for name, loss in found.items():
        np.testing.assert_allclose(loss.item(), forward[name], **LOSS, err_msg=name)

    losses: dict[str, Callable[[], Tensor]] = {
        "gep": lambda: of_masked(answers()[1]),
        "gepc": lambda: of_masked(answers()[2]),
        "ecs": lambda: elastic_similarity(answers()[0], 0.8),
        "cce": lambda: contrastive(answers()[0], answers()[0]),
    }
    for name, compute in losses.items():
        loss = compute()
        np.testing.assert_allclose(loss.item(), forward[f"loss_{name}"], **LOSS, err_msg=name)
        loss.backward()
        check_gradients(network, forward, f"grad_{name}")


def test_pools_over_padding_as_the_authors_have_them(
    make_network: Make, cells: Any, forward: Any, checkpoint: Any
) -> None:
    network, values = make_network(), cells.values("value_masked")
    pad = torch.tensor([checkpoint.vocabulary.tolist().index("<pad>")])
    x_pad = network.embed(network.encoder(pad), torch.tensor([-2.0]).double())[0]
    x = network.embed(network.encoder(cells.ids), values)
    hidden, pads = pads_beside(network.transformer_encoder, x, x_pad, cells.spans, network.config.n_layers)
    assert_equal(hidden, network.transformer_encoder(x, cells.spans).detach())
    for short in np.flatnonzero(np.array(cells.spans.lengths) < cells.real.shape[1]):
        last = network.config.n_layers - 1
        assert_equal(pads[short], forward[f"hidden_{last}"][short, -1])
    np.testing.assert_allclose(
        cells.spans.mean(hidden).detach(), forward["cell_emb_avg_pool_nopad"], rtol=1e-4, atol=2e-5
    )
    for weights, name in ((None, "avg"), (values, "w")):
        for rows, how in ((pads, "original"), (torch.zeros_like(pads), "fastpath")):
            found = pool_padded(hidden, rows, cells.spans, weights, -2.0)
            assert_equal(found, forward[f"cell_emb_{name}_pool_{how}"])


def test_embeddings_of_cells_that_nothing_is_hidden_of(
    make_network: Make, cells: Any, forward: Any, checkpoint: Any
) -> None:
    network = make_network()
    hidden = network(cells.ids, cells.values("value_embed"), cells.spans)[1]
    assert_equal(hidden, cells.rows(forward["embed_hidden_last"]))
    assert_equal(hidden[cells.spans.starts], forward["embed_cls"])
    assert_equal(normalize(hidden[cells.spans.starts], dim=1), forward["embed_cls_unit"])
    cls = torch.tensor([checkpoint.vocabulary.tolist().index("<cls>")])
    alone = network(cls, torch.tensor([-2.0]).double(), Spans((1,)))[1][0]
    assert_equal(alone, forward["embed_cls_only_token"])
    assert_equal(normalize(alone, dim=0), forward["embed_cls_only_token_unit"])


def test_expression_from_the_vector_of_a_cell(make_network: Make, cells: Any, forward: Any) -> None:
    network, values = make_network(), cells.values("value_masked")
    cell = torch.from_numpy(forward["generate_cell_emb"]).double()
    found = network.generate(cell, cells.ids, None, cells.spans).value
    assert_equal(found, cells.rows(forward["generate_no_values"]))
    found = network.generate(cell, cells.ids, values, cells.spans).value
    assert_equal(found, cells.rows(forward["generate_with_values"]))
    everything = torch.from_numpy(cells.arrays["gene"].astype(np.int64))
    spans = Spans((everything.shape[1],) * len(everything))
    unmasked = network.generate(cell, everything.flatten(), None, spans).value
    assert_equal(unmasked.reshape(everything.shape), forward["generate_no_mask"])


def test_annotation(make_network: Make, cells: Any, folder: Path, check_gradients: Callable[..., None]) -> None:
    network, arrays = make_network("annotation"), np.load(folder / "annotation.npz")
    hidden = network(cells.ids, cells.values("target"), cells.spans)[1]
    cell = hidden[cells.spans.starts]
    assert_equal(cell, arrays["cell_emb"])
    assert_equal(network.classes(cell), arrays["cls_output"])
    loss = cross_entropy(network.classes(cell), torch.from_numpy(cells.arrays["celltype"]))
    np.testing.assert_allclose(loss.item(), arrays["loss_cls"], **LOSS)
    loss.backward()
    check_gradients(network, arrays, "grad")
