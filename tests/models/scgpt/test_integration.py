"""Networks that tell batches apart: norm by batch over padding too, and what each decoder tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scfm_scverse.models.scgpt.network import ScgptNetwork

Make = Callable[..., ScgptNetwork]
OUTPUT = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture
def arrays(folder: Path) -> Any:
    return np.load(folder / "integration.npz")


def run(network: ScgptNetwork, cells: Any, batches: Tensor) -> dict[str, Tensor]:
    """Everything that training reads; rows of padding are seen by the norm and by nothing else."""
    everything = torch.from_numpy(cells.arrays["gene"].astype(np.int64)).flatten()
    values = torch.from_numpy(cells.arrays["value_masked"]).double().flatten()
    x = network.embed(network.encoder(everything), values, batches.repeat_interleave(cells.real.shape[1]))
    hidden = network.transformer_encoder(x[cells.real.flatten()], cells.spans)
    cell = hidden[cells.spans.starts]
    expression = network.expression(hidden, cells.spans, batches)
    from_cell = network.from_cell(cell, network.encoder(cells.ids), cells.spans, batches)
    assert expression.nonzero is not None
    assert from_cell.nonzero is not None
    return {
        "mlm_output": expression.value,
        "mlm_zero_probs": expression.nonzero,
        "mvc_output": from_cell.value,
        "mvc_zero_probs": from_cell.nonzero,
        "cell_emb": cell,
        "dab_output": network.batches(cell),
    }


def assert_outputs(found: dict[str, Tensor], arrays: Any, prefix: str, cells: Any) -> None:
    for name, value in found.items():
        expected = arrays[f"{prefix}|{name}"]
        expected = cells.rows(expected) if expected.shape == cells.real.shape else expected
        np.testing.assert_allclose(value.detach(), expected, **OUTPUT, err_msg=name)


def test_evaluation_takes_the_statistics_of_the_batch(make_network: Make, cells: Any, arrays: Any) -> None:
    network = make_network("integration")
    n = len(cells.spans.lengths)
    assert_outputs(run(network, cells, torch.ones(n, dtype=torch.int64)), arrays, "eval_batch1", cells)


def test_the_authors_take_a_mixed_minibatch_for_one_of_its_first_cell(
    make_network: Make, cells: Any, arrays: Any
) -> None:
    network = make_network("integration")
    mixed = torch.from_numpy(cells.arrays["batch_mixed"])
    x = network.embed(network.encoder(cells.ids), cells.values("value_masked"), mixed[0].expand(len(cells.ids)))
    hidden = network.transformer_encoder(x, cells.spans)
    found = network.expression(hidden, cells.spans, mixed).value
    np.testing.assert_allclose(found.detach(), cells.rows(arrays["eval_mixed|mlm_output"]), **OUTPUT)
    cell = hidden[cells.spans.starts]
    np.testing.assert_allclose(cell.detach(), arrays["eval_mixed|cell_emb"], **OUTPUT)
    from_cell = network.from_cell(cell, network.encoder(cells.ids), cells.spans, mixed)
    np.testing.assert_allclose(from_cell.value.detach(), cells.rows(arrays["eval_mixed|mvc_output"]), **OUTPUT)


def test_a_mixed_minibatch_gives_each_cell_its_own_norm(make_network: Make, cells: Any) -> None:
    network = make_network("integration")
    mixed = torch.from_numpy(cells.arrays["batch_mixed"])
    for domain, norm in enumerate(network.dsbn.bns):
        norm.running_mean += domain
    _, together = network(cells.ids, cells.values("target"), cells.spans, mixed)
    for batch in mixed.unique():
        _, alone = network(cells.ids, cells.values("target"), cells.spans, batch.expand(len(mixed)))
        rows = mixed[cells.spans.cells] == batch
        np.testing.assert_allclose(together[rows].detach(), alone[rows].detach(), **OUTPUT)


def test_a_batch_that_was_not_trained_or_not_told_is_an_error(make_network: Make, cells: Any) -> None:
    network = make_network("integration")
    values = cells.values("target")
    with pytest.raises(ValueError, match="batches apart"):
        network(cells.ids, values, cells.spans)
    with pytest.raises(IndexError):
        network(cells.ids, values, cells.spans, torch.full((len(cells.spans.lengths),), 3))
