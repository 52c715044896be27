"""What models say to first order of tokens that are taken out, beside what they say of the cells without them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from scfm_scverse._errors import InputError
from scfm_scverse.genes import load_gene_table
from scfm_scverse.models import Columns, Encoded, Wanted, load
from scfm_scverse.models.base import Sensitive
from scfm_scverse.models.geneformer.model import Geneformer
from scfm_scverse.perturbation import CountEdits, TokenEdits, perturb_each, special_tokens
from scfm_scverse.tokens import Tokens

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
from random_checkpoints import TINY, write_checkpoint

CPU = torch.device("cpu")
N_GENES = 120


def model_of(layout: str, folder: Path, spread: float) -> Sensitive:
    """A small random model whose weights are so small that a gene more or less is a small step."""
    if layout == "scfm-mini":
        return cast(Sensitive, load(layout))
    table = load_gene_table()
    genes = table.symbol[np.flatnonzero(table.biotype == "protein_coding")[:N_GENES]].tolist()
    sizes = {layout: replace(TINY[layout], spread=spread, **({"context": 256} if "gene" in layout else {}))}
    return cast(Sensitive, load(write_checkpoint(layout, folder, genes, sizes=sizes)))


def cells_of(model: Sensitive) -> CountEdits:
    """Cells of made-up counts of a hundred genes."""
    columns = np.flatnonzero(~special_tokens(model.spec))[:100].astype(np.int32)
    rng = np.random.default_rng(0)
    counts = sp.csr_matrix(rng.poisson(rng.gamma(1.0, 3.0, (4, len(columns)))).astype(np.float32))
    return CountEdits(counts, model.tokenizer(Columns(columns, np.ones(len(columns), bool), 0.0)), columns)


def encoded(model: Sensitive, tokens: Tokens, want: Wanted) -> NDArray[np.float64]:
    return _cells(model.encode(tokens, want, device=CPU, dtype=torch.float32)).double().numpy()


def both(model: Sensitive, want: Wanted) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums of a cell's numbers with random weights: their change to first order, and that of cells without a gene.

    The other genes of scGPT and scBERT keep their bins.
    """
    counts = cells_of(model)
    tokens, special = counts.tokens, special_tokens(model.spec)
    edits = counts if model.spec.name in {"scFoundation", "scfm-mini"} else TokenEdits(tokens, special, 256)
    copies = perturb_each(tokens, "delete", special)
    before = encoded(model, tokens, want)
    weights = np.random.default_rng(1).standard_normal((2, before.shape[1]))

    def scores(told: Encoded) -> torch.Tensor:
        return (_cells(told).sum(0) * torch.from_numpy(weights).float()).sum(1)

    found = model.sensitivity(tokens, want, scores, device=CPU)
    assert found.shape == (2, len(tokens.ids))
    assert found.dtype == torch.float32
    exact = (encoded(model, edits.edit(copies), want) - before[copies.cell]) @ weights.T
    return found.double().numpy()[:, ~special[tokens.ids]], exact.T


@pytest.mark.parametrize(
    ("layout", "pooling", "correlation", "slope"),
    [
        ("scgpt", "cls", 0.999, 0.03),
        ("scgpt", "mean", 0.999, 0.03),
        ("scgpt", "weighted", 0.999, 0.03),
        # Places of a random network are not alike where they are neighbours, and levels are no small steps.
        ("geneformer-v1", "mean", 0.8, 0.5),
        ("geneformer-v2", "cls", 0.8, 0.5),
        ("geneformer-v2", "mean", 0.8, 0.5),
        ("scfoundation", "all", 0.999, 0.03),
        ("scfoundation", "S", 0.999, 0.03),
        ("scfoundation", "T", 0.999, 0.03),
        ("scfoundation", "max", 0.999, 0.03),
        ("scfoundation", "mean", 0.999, 0.03),
        pytest.param("scbert", "mean", 0.7, 0.5, marks=pytest.mark.slow),
        pytest.param("scbert", "last", 0.6, 0.5, marks=pytest.mark.slow),
        ("scfm-mini", None, 0.999, 0.03),
    ],
)
def test_change_to_first_order_is_near_the_change(
    layout: str, pooling: str | None, correlation: float, slope: float, tmp_path: Path
) -> None:
    found, exact = both(model_of(layout, tmp_path, 0.1), Wanted(pooling=pooling))
    for one, other in zip(found, exact, strict=True):
        assert np.corrcoef(one, other)[0, 1] > correlation
        assert abs(np.polyfit(one, other, 1)[0] - 1) < slope


def test_geneformer_counts_that_later_tokens_move_forward(tmp_path: Path) -> None:
    model = model_of("geneformer-v1", tmp_path, 0.1)
    assert isinstance(model, Geneformer)
    with torch.no_grad():  # neighbouring places are alike, as where they were learnt
        place = torch.linspace(-1, 1, 256)[:, None]
        model.network.position.weight.copy_(place * torch.randn(16, generator=torch.Generator().manual_seed(0)))
    found, exact = both(model, Wanted())
    for one, other in zip(found, exact, strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.999
        assert abs(np.polyfit(one, other, 1)[0] - 1) < 0.05


@pytest.mark.parametrize("layout", ["scgpt", "geneformer-v2", "scfoundation", "scbert", "scfm-mini"])
def test_a_cell_does_not_depend_on_those_beside_it(layout: str, tmp_path: Path) -> None:
    model = model_of(layout, tmp_path, 0.1)
    tokens = cells_of(model).tokens

    def change(some: Tokens) -> torch.Tensor:
        return model.sensitivity(some, Wanted(), lambda told: _cells(told).sum(0)[:1], device=CPU)

    together = change(tokens).split(tokens.lengths.tolist(), dim=1)
    for at, one in enumerate(together):
        torch.testing.assert_close(change(tokens.take(np.array([at]))), one, rtol=1e-3, atol=1e-6)


def test_scfoundation_tells_no_genes(tmp_path: Path) -> None:
    model = model_of("scfoundation", tmp_path, 0.1)
    want = Wanted(frozenset({"cell", "attention"}))
    with pytest.raises(InputError, match="vectors of cells alone"):
        model.sensitivity(cells_of(model).tokens, want, lambda told: _cells(told).sum(0), device=CPU)


def _cells(told: Encoded) -> torch.Tensor:
    return cast(torch.Tensor, told.cell)
