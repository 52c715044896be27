"""Streaming of edited copies through a model."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from scfm_scverse._errors import InputError
from scfm_scverse.models import Encoded, GeneRows, ModelSpec, Wanted
from scfm_scverse.perturbation import (
    Kind,
    Reading,
    TokenEdits,
    perturb_each,
    perturb_together,
    shift_tables,
    special_tokens,
    stream_shifts,
)
from scfm_scverse.tokens import Tokens

SPEC = ModelSpec(
    name="toy",
    version="1",
    weights_hash="0",
    genes=np.array(["<pad>", "<cls>", "<eos>", *(f"G{i}" for i in range(9))]),
    organism="human",
    dim=5,
    key_added="X_toy",
    outputs=frozenset({"cell", "gene"}),
    needs_counts=False,
    licence="none",
    citation="none",
    description="none",
    minibatch_tokens=20,
)
CONTEXT = 8
CELLS = [[1, 4, 9, 3, 2], [1, 7, 2], [1, 5, 4, 3, 8, 10, 11, 2], [1, 6, 3, 2]]


class Toy:
    """A gene's vector in a cell depends on the gene, its rank and the cell's other genes; a cell's is their mean."""

    spec = SPEC

    def __init__(self) -> None:
        made = torch.Generator().manual_seed(0)
        self.word = torch.randn(len(SPEC.genes), SPEC.dim, generator=made)
        self.rank = torch.randn(CONTEXT, SPEC.dim, generator=made)
        self.seen: list[Tokens] = []

    def encode(self, minibatch: Tokens, want: Wanted, *, device: torch.device, dtype: torch.dtype) -> Encoded:
        assert dtype == torch.float32
        self.seen.append(minibatch)
        rows, cells = [], []
        for part in np.split(minibatch.ids, minibatch.indptr[1:-1]):
            x = self.word[part] + self.rank[: len(part)]
            x = x + x.mean(0)
            rows.append(x)
            cells.append(x.mean(0))
        ids = torch.from_numpy(minibatch.ids.astype(np.int64))
        cell = torch.repeat_interleave(torch.from_numpy(minibatch.lengths))
        genes = ids > 2
        of_genes = GeneRows(cell[genes], ids[genes], torch.cat(rows)[genes])
        return Encoded(
            cell=torch.stack(cells) if "cell" in want.outputs else None,
            gene=of_genes if "gene" in want.outputs else None,
        )


def tokens_of(cells: list[list[int]]) -> Tokens:
    ids = np.array([gene for cell in cells for gene in cell], np.int32)
    indptr = np.concatenate([[0], np.cumsum([len(cell) for cell in cells])])
    return Tokens(indptr, ids, np.ones(len(ids), np.float32), np.ones(len(SPEC.genes), bool))


TOKENS = tokens_of(CELLS)
SPECIAL = special_tokens(SPEC)
EDITS = TokenEdits(TOKENS, SPECIAL, CONTEXT)


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def vectors(ids: list[int]) -> Encoded:
    want = Wanted(frozenset({"cell", "gene"}))
    return Toy().encode(tokens_of([ids]), want, device=torch.device("cpu"), dtype=torch.float32)


@pytest.mark.parametrize("kind", ["delete", "overexpress"])
def test_each_gene_is_perturbed_in_each_cell_by_itself(kind: Kind) -> None:
    copies = perturb_each(TOKENS, kind, SPECIAL)
    reading = Reading(genes=True)
    cells, genes = shift_tables(copies, stream_shifts(Toy(), EDITS, copies, reading, device="cpu"))
    at = genes.set_index(["cell", "perturbed", "affected"])["shift"]
    of_cell = cells.set_index(["cell", "perturbed"])["shift"]
    tested = 0
    for cell, ids in enumerate(CELLS):
        for gene in ids[1:-1] if kind == "delete" else ids[2:-1]:
            rest = [one for one in ids if one != gene]
            if len(rest) == 2 and kind == "delete":  # no gene is left
                assert np.isnan(of_cell[cell, gene])
                continue
            edited = vectors(rest if kind == "delete" else [1, gene, *rest[1:]])
            original = vectors(ids)
            assert of_cell[cell, gene] == pytest.approx(cosine(edited.cell[0], original.cell[0]), abs=1e-6)
            for affected in rest[1:-1]:
                pair = [one.gene.values[one.gene.gene == affected][0] for one in (edited, original)]
                assert at[cell, gene, affected] == pytest.approx(cosine(*pair), abs=1e-6)
                tested += 1
    assert tested == len(genes)


def test_genes_that_overexpression_pushes_out_are_taken_from_the_cell_as_well() -> None:
    copies = perturb_together(TOKENS, "overexpress", np.array([6, 9], np.int32))
    cells, _ = shift_tables(copies, stream_shifts(Toy(), EDITS, copies, Reading(), device="cpu"))
    assert cells["perturbed"].tolist() == [(6, 9)] * 4
    edited, original = vectors([1, 6, 9, 5, 4, 3, 8, 2]), vectors([1, 5, 4, 3, 8, 2])
    assert cells["shift"][2] == pytest.approx(cosine(edited.cell[0], original.cell[0]), abs=1e-6)
    edited, original = vectors([1, 6, 9, 7, 2]), vectors([1, 7, 2])
    assert cells["shift"][1] == pytest.approx(cosine(edited.cell[0], original.cell[0]), abs=1e-6)


def test_shift_to_a_state_is_the_change_of_the_cosine() -> None:
    states = np.random.default_rng(0).normal(size=(2, SPEC.dim)).astype(np.float32)
    copies = perturb_each(TOKENS, "delete", SPECIAL)
    stream = stream_shifts(Toy(), EDITS, copies, Reading(states=states), device="cpu")
    cells, _ = shift_tables(copies, stream, ["ill", "well"])
    row = cells[(cells["cell"] == 0) & (cells["perturbed"] == 9)].iloc[0]
    edited, original = vectors([1, 4, 3, 2]).cell[0], vectors(CELLS[0]).cell[0]
    for name, state in zip(["ill", "well"], torch.from_numpy(states), strict=True):
        assert row[name] == pytest.approx(cosine(edited, state) - cosine(original, state), abs=1e-6)


def test_lists_are_deleted_only_where_a_cell_holds_all() -> None:
    copies = perturb_together(TOKENS, "delete", np.array([3, 4], np.int32))
    assert copies.cell.tolist() == [0, 2]
    assert EDITS.edit(copies).ids.tolist() == [1, 9, 2, 1, 5, 8, 10, 11, 2]


@pytest.mark.parametrize("genes", [[], [3, 3], [3, -1], [12]])
def test_list_of_genes_must_make_sense(genes: list[int]) -> None:
    with pytest.raises(InputError, match=re.escape(f"Found the genes {genes}")):
        perturb_together(TOKENS, "overexpress", np.array(genes, np.int32))


def test_anchor_is_perturbed_with_every_other_gene_of_the_cells_that_hold_it() -> None:
    copies = perturb_each(TOKENS, "delete", SPECIAL, anchor=3)
    assert copies.cell.tolist() == [0, 0, 2, 2, 2, 2, 2, 3]
    assert copies.perturbed.tolist() == [4, 9, 5, 4, 8, 10, 11, 6]
    assert EDITS.edit(copies).ids[:6].tolist() == [1, 9, 2, 1, 4, 2]


def test_copies_without_any_token_are_left_out() -> None:
    tokens = tokens_of([[5], [5, 6], []])
    assert perturb_each(tokens, "delete", SPECIAL).cell.tolist() == [1, 1]
    assert perturb_together(tokens, "delete", np.array([5], np.int32)).cell.tolist() == [1]
    assert perturb_together(tokens, "overexpress", np.array([5], np.int32)).cell.tolist() == [0, 1]


def test_screen_without_copies_gives_empty_tables() -> None:
    copies = perturb_together(TOKENS, "delete", np.array([4, 7], np.int32))
    cells, genes = shift_tables(copies, stream_shifts(Toy(), EDITS, copies, Reading(), device="cpu"))
    assert list(cells.columns) == ["perturbed", "cell", "shift"]
    assert list(genes.columns) == ["perturbed", "cell", "affected", "shift"]
    assert len(cells) == len(genes) == 0


def test_mean_over_genes_leaves_the_perturbed_ones_out() -> None:
    copies = perturb_each(TOKENS, "overexpress", SPECIAL)
    reading = Reading(compare="genes", genes=True)
    cells, genes = shift_tables(copies, stream_shifts(Toy(), EDITS, copies, reading, device="cpu"))
    assert not (genes["perturbed"] == genes["affected"]).any()
    mean = genes.groupby(["cell", "perturbed"])["shift"].mean()
    np.testing.assert_allclose(mean.loc[cells.set_index(["cell", "perturbed"]).index], cells["shift"], atol=1e-6)


def test_only_a_minibatch_of_copies_exists_at_a_time_and_each_cell_runs_once() -> None:
    model = Toy()
    tokens = tokens_of(CELLS * 10)
    copies = perturb_each(tokens, "delete", SPECIAL)
    for _ in stream_shifts(model, TokenEdits(tokens, SPECIAL, CONTEXT), copies, Reading(), device="cpu"):
        assert len(model.seen[-1].ids) <= SPEC.minibatch_tokens
    without_genes = (tokens.lengths[copies.cell] == 3).sum()
    assert sum(len(one) for one in model.seen) == len(tokens) + len(copies) - without_genes


@pytest.mark.parametrize("budget", [1, 17, 1000])
def test_shifts_do_not_depend_on_the_size_of_a_minibatch(budget: int) -> None:
    copies = perturb_together(TOKENS, "overexpress", np.array([6, 9], np.int32))
    tables = []
    for tokens_at_once in (20, budget):
        model = Toy()
        model.spec = replace(SPEC, minibatch_tokens=tokens_at_once)
        stream = stream_shifts(model, EDITS, copies, Reading(genes=True), device="cpu")
        tables.append(shift_tables(copies, stream))
    for one, other in zip(*tables, strict=True):
        assert one.drop(columns="shift").equals(other.drop(columns="shift"))
        np.testing.assert_allclose(one["shift"], other["shift"], atol=1e-6)
