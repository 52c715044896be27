"""Networks of fine-tuned checkpoints: other norms, other values, other decoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scfm_scverse.models.scgpt.decoders import MVCDecoder, Prediction
from scfm_scverse.models.scgpt.network import ScgptNetwork

Make = Callable[..., ScgptNetwork]
OUTPUT = {"rtol": 1e-6, "atol": 1e-6}


@pytest.fixture
def folder(shared: Path) -> Path:
    return shared / "golden" / "scgpt"


@pytest.fixture
def arrays(folder: Path) -> Any:
    return np.load(folder / "variants.npz")


def assert_equal(found: Tensor, expected: np.ndarray | Tensor) -> None:
    np.testing.assert_allclose(found.detach(), expected, **OUTPUT)


def run(network: ScgptNetwork, cells: Any, values: Tensor) -> tuple[Tensor, Tensor, Prediction]:
    genes, hidden = network(cells.ids, values, cells.spans)
    return genes, hidden[cells.spans.starts], network.expression(hidden, cells.spans)


def test_models_fine_tuned_before_autumn_2023_have_one_norm(make_network: Make, cells: Any, arrays: Any) -> None:
    network, values = make_network("batchnorm"), cells.values("value_masked")
    _, cell, expression = run(network, cells, values)
    assert_equal(cell, arrays["batchnorm_eval_cell_emb"])
    assert_equal(expression.value, cells.rows(arrays["batchnorm_eval_mlm"]))
    network.train()
    everything = torch.from_numpy(cells.arrays["gene"].astype(np.int64)).flatten()
    padded = torch.from_numpy(cells.arrays["value_masked"]).double().flatten()
    x = network.embed(network.encoder(everything), padded)[cells.real.flatten()]
    hidden = network.transformer_encoder(x, cells.spans)
    assert_equal(hidden[cells.spans.starts], arrays["batchnorm_train_cell_emb"])
    assert_equal(network.bn.running_mean, arrays["batchnorm_after_running_mean"])
    assert_equal(network.bn.running_var, arrays["batchnorm_after_running_var"])


def test_values_as_categories(make_network: Make, cells: Any, arrays: Any) -> None:
    network, values = make_network("category"), cells.rows(arrays["category_values"]).double()
    assert network.config.value_style == "category"
    assert_equal(network.value_encoder(values), cells.rows(arrays["category_value_emb"]))
    _, cell, expression = run(network, cells, values)
    assert_equal(cell, arrays["category_cell_emb"])
    assert_equal(expression.value, cells.rows(arrays["category_mlm"]))


def test_values_as_factors(make_network: Make, cells: Any, arrays: Any) -> None:
    network = make_network("base_cls", input_emb_style="scaling")
    assert network.config.value_style == "scaling"
    _, cell, expression = run(network, cells, cells.rows(arrays["scaling_values"]).double())
    assert_equal(cell, arrays["scaling_cell_emb"])
    assert_equal(expression.value, cells.rows(arrays["scaling_mlm"]))


@pytest.mark.parametrize("style", ["inner product", "inner product, detach", "concat query", "sum query"])
def test_decoders_of_a_gene_in_a_cell(folder: Path, arrays: Any, style: Any) -> None:
    prefix = f"mvc_{style.replace(', ', '_').replace(' ', '_')}"
    stored = np.load(folder / "extra_weights.npz")
    decoder = MVCDecoder(32, 32, style=style).double()
    decoder.load_state_dict(
        {name.partition("|")[2]: torch.from_numpy(stored[name]) for name in stored if name.startswith(f"{prefix}|")}
    )
    cell, genes = (torch.from_numpy(arrays[name]).double() for name in ("mvc_in_cell", "mvc_in_gene"))
    genes.requires_grad_()
    found = decoder(cell[:, None].expand_as(genes), genes).value
    assert_equal(found, arrays[prefix])
    found.sum().backward()
    assert (genes.grad is None) == (style == "inner product, detach")


def test_whether_a_value_is_above_zero(make_network: Make, cells: Any, arrays: Any) -> None:
    network = make_network("zero_prob")
    genes, cell, expression = run(network, cells, cells.values("value_masked"))
    from_cell = network.from_cell(cell, genes, cells.spans)
    for found, names in ((expression, ("zero_mlm", "zero_probs")), (from_cell, ("zero_mvc", "zero_mvc_probs"))):
        assert found.nonzero is not None
        assert_equal(found.value, cells.rows(arrays[names[0]]))
        assert_equal(found.nonzero, cells.rows(arrays[names[1]]))
    stream = torch.Generator().manual_seed(0)
    for prefix in ("zero_mlm", "zero_mvc"):
        probabilities = arrays["zero_probs" if prefix == "zero_mlm" else "zero_mvc_probs"]
        whole = Prediction(*(torch.from_numpy(one).double() for one in (arrays[prefix], probabilities)))
        drawn = cells.rows(whole.sample(stream).numpy())
        assert_equal(drawn, cells.rows(arrays[f"{prefix}_sampled_seed0"]))


def test_nothing_is_drawn_where_the_model_has_no_probability() -> None:
    told = Prediction(torch.arange(3.0), None)
    assert told.sample() is told.value


def test_training_with_dropout_gives_gradients_everywhere(make_network: Make, cells: Any) -> None:
    network = make_network("zero_prob", dropout=0.3).train()
    torch.manual_seed(0)
    genes, cell, expression = run(network, cells, cells.values("value_masked"))
    from_cell = network.from_cell(cell, genes, cells.spans)
    _, again, _ = run(network, cells, cells.values("value_masked"))
    assert (cell - again).abs().max() > 1e-3
    parts = (expression.value, expression.nonzero, from_cell.value, from_cell.nonzero, network.classes(cell))
    sum(part.square().sum() for part in parts if part is not None).backward()
    missing = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.isfinite().all()]
    assert missing == ["flag_encoder.weight"]
    assert (network.encoder.embedding.weight.grad[network.config.pad] == 0).all()
