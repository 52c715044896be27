"""Small networks learn from real cells: what is hidden, and then types of cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scfm_scverse import models
from scfm_scverse.genes import load_gene_table, resolve_genes
from scfm_scverse.training.cells import Cells, Minibatches
from scfm_scverse.training.objectives import CellTypes, Joint, MaskedLevels, MaskedRanks, Reading
from scfm_scverse.training.run import fit
from scfm_scverse.training.settings import TrainSettings

FAMILIES = {"geneformer": {"max_length": 200}, "scbert": {"dim_head": 8}}
MASKED = {"geneformer": MaskedRanks(), "scbert": MaskedLevels()}


@pytest.fixture
def train(read_cells: Callable[[str], Any]) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Train a small network on 320 cells; losses on 120 others after every epoch, and shares of the types of cells."""

    def run(family: str, objective: Reading | None, settings: TrainSettings) -> tuple[np.ndarray, np.ndarray]:
        adata = read_cells("symphony_pbmc_3chem_1767genes")
        match, table = resolve_genes(adata.var_names.tolist(), organism="human"), load_gene_table()
        rows = np.unique(match.rows[match.rows >= 0])[::8]
        names = (table.ensembl if family == "geneformer" else table.symbol)[rows].tolist()
        model = models.create(family, list(filter(None, names)), dim=32, n_layers=2, n_heads=2, **FAMILIES[family])
        columns = models.Columns(model.positions(match, None), match.is_gene, 0.0)
        labels = adata.obs["cell_type_coarse"].astype("category").cat.codes.to_numpy().astype(np.int64)
        cells = Cells(adata.X, model.tokenizer(columns), labels=labels)
        order = np.random.default_rng(0).permutation(adata.n_obs)
        training = Minibatches(cells, order[:320], batch_size=16)
        validation = Minibatches(cells, order[320:440], batch_size=32, shuffle=False)
        asked = CellTypes(int(labels.max()) + 1) if objective is None else objective
        history = fit(model, Joint(asked), training, validation, settings=settings)
        return history["validation_loss"].dropna().to_numpy(), np.bincount(labels) / len(labels)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_masked_is_told_better_and_better(train: Callable[..., Any], family: str) -> None:
    settings = TrainSettings(max_epochs=3, lr=3e-3, optimizer_kwargs={"rank": 8, "update_proj_gap": 20})
    losses, _ = train(family, MASKED[family], settings)
    assert (np.diff(losses) < 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_types_of_cells_are_told_apart(train: Callable[..., Any], family: str) -> None:
    n_epochs = {"geneformer": 10, "scbert": 4}[family]
    losses, share = train(family, None, TrainSettings(max_epochs=n_epochs, lr=1e-3, optimizer="adamw"))
    assert losses[-1] < -(share * np.log(share)).sum() - 0.1  # what the shares of types alone can tell
