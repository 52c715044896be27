"""Deletions estimated to first order, beside what running them says."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from scfm_scverse.models import Encoded, GeneRows, load
from scfm_scverse.models.base import Sensitive
from scfm_scverse.perturbation import Reading, TokenEdits, perturb_each, special_tokens, stream_shifts
from scfm_scverse.perturbation.first_order import FirstOrder, first_order
from scfm_scverse.tokens import Tokens

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def v2(shared: Path) -> Sensitive:
    """A small Geneformer with <cls> and <eos>."""
    return cast(Sensitive, load(shared / "golden" / "geneformer" / "model_v2"))


def cells_of(model: Sensitive, n_cells: int = 12) -> Tokens:
    """Cells of genes in a random order, with the special tokens around them; the last has none at all."""
    special, rng = special_tokens(model.spec), np.random.default_rng(0)
    first, last = np.flatnonzero(model.spec.genes == "<cls>"), np.flatnonzero(model.spec.genes == "<eos>")
    cells = [
        np.concatenate([first, rng.choice(np.flatnonzero(~special)[:60], n, replace=False), last])
        for n in rng.integers(20, 40, n_cells - 1)
    ] + [np.zeros(0, np.int64)]
    ids = np.concatenate(cells).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in cells])])
    return Tokens(indptr, ids, np.ones(len(ids), np.float32), ~special)


def states_of(model: Sensitive) -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    return rng.standard_normal((2, model.spec.dim)).astype(np.float32)


def exact(model: Sensitive, tokens: Tokens, reading: Reading) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean shift to the second state and mean effect of every gene that a cell holds, NaN elsewhere."""
    special = special_tokens(model.spec)
    copies = perturb_each(tokens, "delete", special)
    total, n = np.zeros((2, len(special))), np.bincount(copies.genes[:, 0], minlength=len(special))
    for part in stream_shifts(model, TokenEdits(tokens, special, 2048), copies, reading, device="cpu"):
        for row, values in enumerate((part.to_states[:, 1], 1 - part.similarity)):
            np.add.at(total[row], copies.genes[part.copy, 0], values)
    mean = np.divide(total, n, out=np.full_like(total, np.nan), where=n > 0)
    return mean[0], mean[1]


def test_shift_to_a_state_goes_with_the_exact_one(v2: Sensitive) -> None:
    tokens, reading = cells_of(v2), Reading(states=states_of(v2))
    shift, _ = exact(v2, tokens, reading)
    found = first_order(v2, tokens, reading, goal=1, device="cpu").mean
    np.testing.assert_array_equal(np.isnan(found), np.isnan(shift))
    held = ~np.isnan(found)
    assert np.corrcoef(found[held], shift[held])[0, 1] > 0.7


def test_sums_are_those_of_single_cells(v2: Sensitive) -> None:
    tokens, reading = cells_of(v2), Reading(states=states_of(v2))
    together = first_order(v2, tokens, reading, goal=1, device="cpu")
    parts = [first_order(v2, tokens.take(np.array([i])), reading, goal=1, device="cpu") for i in range(len(tokens))]
    one_by_one = sum(parts[1:], start=parts[0])
    np.testing.assert_array_equal(together.n_cells, one_by_one.n_cells)
    np.testing.assert_allclose(together.total, one_by_one.total, rtol=1e-3, atol=1e-7)
    assert together.n_cells.sum() == (~special_tokens(v2.spec))[tokens.ids].sum()


def test_every_cell_is_told_to_the_progress_bar(v2: Sensitive) -> None:
    done: list[int] = []
    tokens = cells_of(v2)
    first_order(v2, tokens, Reading(), n_directions=1, device="cpu", advance=done.append)
    assert sum(done) == (tokens.lengths > 0).sum()


@pytest.mark.slow
@pytest.mark.parametrize("compare", ["cell", "genes"])
def test_effect_is_half_the_squared_change_across_the_vector(v2: Sensitive, compare: Literal["cell", "genes"]) -> None:
    special = special_tokens(v2.spec)
    ids = np.flatnonzero(~special)[:8].astype(np.int32)
    tokens = Tokens(np.array([0, 8]), ids, np.ones(8, np.float32), ~special)
    found = first_order(v2, tokens, Reading(compare, pooling="mean"), n_directions=400, device="cpu")
    np.testing.assert_allclose(found.total[ids], squared_change(v2, tokens, compare), rtol=0.35)


def squared_change(model: Sensitive, tokens: Tokens, compare: Literal["cell", "genes"]) -> NDArray[np.float64]:
    """The same by the whole matrix of derivatives: ``1 - cosine`` to second order, for each token."""
    parts: list[torch.Tensor] = []

    def every_number(told: Encoded) -> torch.Tensor:
        vectors = cast(torch.Tensor, told.cell if compare == "cell" else cast(GeneRows, told.gene).values)
        parts.append(vectors.detach())
        return vectors.flatten()

    want = Reading(compare, pooling="mean").wanted
    change = model.sensitivity(tokens, want, every_number, device=CPU).view(*parts[0].shape, -1)
    unit = torch.nn.functional.normalize(parts[0], dim=1)
    across = change - unit[:, :, None] * (unit[:, :, None] * change).sum(1, keepdim=True)
    relative = across / parts[0].norm(dim=1)[:, None, None]
    return (0.5 * relative.square().sum(1).mean(0)).double().numpy()


def test_the_same_random_state_gives_the_same_effects(v2: Sensitive) -> None:
    tokens = cells_of(v2)
    one, same, other = (first_order(v2, tokens, Reading(), random_state=state, device="cpu") for state in (0, 0, 1))
    np.testing.assert_array_equal(one.total, same.total)
    assert not np.allclose(one.total, other.total)


def test_a_gene_of_no_cell_has_no_mean() -> None:
    mean = FirstOrder(np.array([3.0, 0.0]), np.array([2, 0])).mean
    np.testing.assert_array_equal(mean, [1.5, np.nan])
