"""Two processes train as one does."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support import run_python

# In an interpreter of its own, since it forks. Both numbers of cells make a last minibatch that two processes cannot
# share evenly; of 49, a single cell, which leaves one process without any.
PROGRAM = """
import json
import numpy as np
from scfm_scverse import models
from scfm_scverse.foundation.data import read_cells
from scfm_scverse.training.cells import Minibatches
from scfm_scverse.training.objectives import CellTypes, Joint, MaskedExpression, balanced_weights
from scfm_scverse.training.run import fit
from scfm_scverse.training.settings import TrainSettings
from support import two_types

adata = two_types(80)
def losses(devices, n, optimizer, **optimizer_kwargs):
    model = models.create("scgpt", adata.var_names.tolist(), dim=16, n_layers=2, n_heads=2)
    cells = read_cells(adata, model, labels_key="kind")
    cells.labels[::7] = -1
    parts = CellTypes(2, class_weights=np.array([1.0, 3.0])), MaskedExpression(weight=1e-3)
    size = 16 // devices
    training = Minibatches(cells, np.arange(n), batch_size=size)
    validation = Minibatches(cells, np.arange(n, n + 17), batch_size=size, shuffle=False)
    settings = TrainSettings(
        max_epochs=2, batch_size=size, optimizer=optimizer, devices=devices, device="cpu", lr=0.01,
        optimizer_kwargs=optimizer_kwargs,
    )
    history = fit(model, Joint(*parts), training, validation, settings=settings)
    weights = sum(float(weight.detach().double().abs().sum()) for weight in model.network.parameters())
    return {name: history[name].dropna().tolist() for name in history} | {"weights": weights}

found = {}
for devices in (2, 1):  # the one that forks first
    found[f"adamw 61 {devices}"] = losses(devices, 61, "adamw")
    found[f"adamw 49 {devices}"] = losses(devices, 49, "adamw")
    # Directions without a gradient, as two classes leave them, are whatever rounding makes them, and Adam goes there as
    # fast as elsewhere: bases are either drawn once or hold the one direction that there is.
    found[f"galore 61 {devices}"] = losses(devices, 61, "galore", rank=4, update_proj_gap=100)
    found[f"galore 49 {devices}"] = losses(devices, 49, "galore", rank=1, update_proj_gap=3)
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, list[float]]]:
    said = run_python(PROGRAM)
    return json.loads(said[said.index("FOUND") + 5 :].splitlines()[0])


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "galore"])
@pytest.mark.parametrize("n", [61, 49])
def test_two_processes_have_the_losses_of_one(found: dict[str, dict[str, list[float]]], optimizer: str, n: int) -> None:
    one, two = (found[f"{optimizer} {n} {devices}"] for devices in (1, 2))
    assert one.keys() == two.keys()
    assert {"train_loss", "train_cell_types", "train_expression", "validation_loss"} <= set(one)
    assert len(one["train_loss"]) == 8
    assert np.ptp(one["train_loss"]) > 0.2
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=2e-5, atol=1e-6, err_msg=name)
