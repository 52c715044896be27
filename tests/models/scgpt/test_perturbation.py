"""The model of perturbations against the original's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.models.scgpt.build import build_network
from scfm_scverse.models.scgpt.files import our_name, read_checkpoint
from scfm_scverse.models.scgpt.losses import elastic_similarity
from scfm_scverse.models.scgpt.network import ScgptNetwork
from scfm_scverse.models.scgpt.perturbation import Recipe, decode, encode, predict
from scfm_scverse.nn import Spans
from support import small_counts

DOUBLE = {"rtol": 1e-6, "atol": 1e-6}  # the arrays are stored in single precision
SINGLE = {"rtol": 1e-4, "atol": 2e-5}
RECIPES = {
    "tutorial": Recipe(),
    "default": Recipe(pad_flag=2),
    "zero": Recipe(pad_flag=2),
    "act": Recipe(pad_flag=2, activation=torch.relu, adaptive_bias=True),
}
every_variant = pytest.mark.parametrize("variant", RECIPES)


class Inputs(NamedTuple):
    values: Tensor
    flags: Tensor
    ids: Tensor


@pytest.fixture
def golden(shared: Path) -> Mapping[str, np.ndarray]:
    return np.load(shared / "golden" / "scgpt" / "perturbation.npz")


@pytest.fixture
def inputs(golden: Mapping[str, np.ndarray]) -> Inputs:
    return Inputs(*(torch.from_numpy(golden[name]) for name in ("values", "pert_flags", "gene_ids")))


def state_of(shared: Path, variant: str) -> dict[str, Tensor]:
    """The tensors that a fine-tuned model of this variant has, under our names."""
    extra = np.load(shared / "golden" / "scgpt" / "extra_weights.npz")
    prefix = f"perturb_{variant}|"
    own = {our_name(key.removeprefix(prefix)): torch.from_numpy(extra[key]) for key in extra if key.startswith(prefix)}
    start = read_checkpoint(shared / "golden" / "scgpt" / "model").tensors
    shared_parts = ("encoder.", "value_encoder.", "transformer_encoder.")
    return {name: tensor for name, tensor in start.items() if name.startswith(shared_parts)} | own


def network_of(shared: Path, variant: str) -> ScgptNetwork:
    tensors = state_of(shared, variant)
    start = read_checkpoint(shared / "golden" / "scgpt" / "model")
    network, report = build_network(replace(start, tensors=tensors, names={name: name for name in tensors}))
    assert not report.ignored
    return network


def through(network: ScgptNetwork, inputs: Inputs, variant: str) -> tuple[Tensor, Tensor, Tensor, Spans]:
    n, g = inputs.values.shape
    spans = Spans((g,) * n)
    values = inputs.values.flatten().to(next(network.parameters()).dtype)
    recipe = RECIPES[variant]
    genes, rows = encode(network, inputs.ids.repeat(n), values, inputs.flags.flatten(), spans, recipe=recipe)
    return genes, rows, values, spans


@every_variant
def test_outputs(shared: Path, golden: Mapping[str, np.ndarray], inputs: Inputs, variant: str) -> None:
    network = network_of(shared, variant).double()
    genes, rows, values, spans = through(network, inputs, variant)
    found = decode(network, rows, values, spans, recipe=RECIPES[variant])
    np.testing.assert_allclose(found.value.detach(), golden[f"{variant}|mlm_output"].ravel(), **DOUBLE)
    assert (found.nonzero is not None) == (variant == "zero")
    if found.nonzero is not None:
        np.testing.assert_allclose(found.nonzero.detach(), golden["zero|mlm_zero_probs"].ravel(), **DOUBLE)
    cell = rows[spans.starts]  # the vector of the first gene, for there is no <cls>
    np.testing.assert_allclose(elastic_similarity(cell, 0.3).item(), golden[f"{variant}|loss_ecs"], rtol=1e-5)
    if variant == "default":
        mvc = network.from_cell(cell, genes, spans).value
        np.testing.assert_allclose(mvc.detach(), golden["default|mvc_output"].ravel(), **DOUBLE)


def test_loss_and_gradients(shared: Path, golden: Mapping[str, np.ndarray], inputs: Inputs) -> None:
    network = network_of(shared, "tutorial").double()
    _, rows, values, spans = through(network, inputs, "tutorial")
    loss = mse_loss(decode(network, rows, values, spans).value, torch.from_numpy(golden["y"]).double().flatten())
    np.testing.assert_allclose(loss.item(), golden["loss_mse"], rtol=1e-5)
    loss.backward()
    parameters = dict(network.named_parameters())
    stored = [key for key in golden if key.startswith("grad|")]
    assert stored
    for key in stored:
        gradient = parameters[our_name(key.removeprefix("grad|"))].grad
        assert gradient is not None
        np.testing.assert_allclose(gradient, golden[key], rtol=1e-3, atol=1e-6, err_msg=key)


def test_predictions_for_cells(shared: Path, golden: Mapping[str, np.ndarray], inputs: Inputs) -> None:
    network = network_of(shared, "tutorial")
    np.testing.assert_allclose(predict(network, *inputs), golden["pred_perturb|all"], **SINGLE)
    found = predict(network, *inputs, expressed_only=True)
    np.testing.assert_allclose(found, golden["pred_perturb|batch-wise"], **SINGLE)
    zero = network_of(shared, "zero")
    seeded = torch.Generator().manual_seed(0)
    drawn = predict(zero, *inputs, generator=seeded, recipe=RECIPES["zero"])
    np.testing.assert_allclose(drawn, golden["zero|pred_perturb_all_seed0"], **SINGLE)


def test_a_cells_prediction_does_not_depend_on_its_neighbours_nor_on_the_order_of_genes(
    shared: Path, inputs: Inputs
) -> None:
    network = network_of(shared, "tutorial")
    values, flags, ids = inputs
    together = predict(network, *inputs)
    for cell in range(len(values)):
        torch.testing.assert_close(predict(network, values[[cell]], flags[[cell]], ids)[0], together[cell])
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(predict(network, values[:, order], flags[:, order], ids[order]), together[:, order])
    assert not (together == predict(network, values, flags * 0, ids)).all()


def test_cells_without_expression_have_finite_predictions(shared: Path, inputs: Inputs) -> None:
    nothing = inputs._replace(values=torch.zeros_like(inputs.values))
    network = network_of(shared, "act")
    assert predict(network, *nothing, recipe=RECIPES["act"]).isfinite().all()
    assert (predict(network, *nothing, expressed_only=True) == 0).all()


def test_a_fine_tuned_folder_is_loaded_whole_and_refuses_to_embed_bins(shared: Path, tmp_path: Path) -> None:
    for name in ("args.json", "vocab.json"):
        (tmp_path / name).write_bytes((shared / "golden" / "scgpt" / "model" / name).read_bytes())
    torch.save(state_of(shared, "default"), tmp_path / "best_model.pt")
    model = scfm.models.load(tmp_path)
    assert not model.report().ignored
    assert "pert_encoder.weight" in model.report().placed
    with pytest.raises(InputError, match="asked for cell"):
        scfm.tl.embed(small_counts(), model=model)


def test_a_network_without_flags_is_refused(shared: Path, inputs: Inputs) -> None:
    network, _ = build_network(read_checkpoint(shared / "golden" / "scgpt" / "model"))
    with pytest.raises(InputError, match="without pert_encoder"):
        predict(network, *inputs)
