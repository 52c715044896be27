"""Bins, tokens, masks as the authors' functions make them, random streams included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from scfm_scverse.models.scgpt.collate import (
    masked_by_chance,
    masked_shares,
    padded,
    shortened,
    tokens_of_bins,
    with_first,
)
from scfm_scverse.models.scgpt.files import Checkpoint
from scfm_scverse.models.scgpt.original import bins_of_draws
from scfm_scverse.tokens import Tokens
from scfm_scverse.tokens.binning import _edges, bin_ranges
from scfm_scverse.tokens.bins import Bins, shares_of_edges

BELOW_ONE = np.nextafter(1.0, 0.0)


@pytest.fixture
def binning(folder: Path) -> Any:
    with np.load(folder / "binning.npz") as stored:
        return dict(stored)


def dense_bins(values: np.ndarray, drawn: Any, n_bins: int = 51) -> np.ndarray:
    """Bins of dense rows, for a random number for all values or a stream of them."""
    indptr = np.concatenate([[0], np.cumsum((values > 0).sum(axis=1))])
    highest, ties = bin_ranges(indptr, values[values > 0].astype(np.float32), shares_of_edges(n_bins))
    drawn = drawn.random_sample(len(highest)) if isinstance(drawn, np.random.RandomState) else drawn
    out = np.zeros(values.shape, np.int64)
    out[values > 0] = bins_of_draws(highest, ties, drawn)
    return out


def tokenised(values: np.ndarray, n_bins: int, ties: Any, base: float = 0.0) -> np.ndarray:
    """Bins of dense rows by our tokeniser."""
    n = values.shape[1]
    bins = Bins(np.arange(n, dtype=np.int32), n + 1, n, -2.0, base=base, n_bins=n_bins, ties=ties)
    tokens = bins(sp.csr_matrix(values))
    out = np.zeros((len(values), n + 1))
    out[np.repeat(np.arange(len(values)), tokens.lengths), tokens.ids] = tokens.values
    return out[:, :n]


def edges_of(values: np.ndarray, n_bins: int = 51) -> np.ndarray:
    distinct, counts = np.unique(values[values > 0].astype(np.float32), return_counts=True)
    out = np.empty(n_bins - 1)
    _edges(distinct, np.cumsum(counts).astype(np.int32), shares_of_edges(n_bins), out)
    return out


def test_bins(binning: Any) -> None:
    counts = binning["counts"]
    expected = {
        "bins_half": (dense_bins(counts, 0.5), tokenised(counts, 51, "middle")),
        "bins_high": (dense_bins(counts, 0.0), tokenised(counts, 51, "high")),
        "bins_low": (dense_bins(counts, BELOW_ONE),),
        "bins_seed0": (dense_bins(counts, np.random.RandomState(0)),),
        "bins_half_n5": (dense_bins(counts, 0.5, 5), tokenised(counts, 5, "middle")),
        "bins_half_n101": (dense_bins(counts, 0.5, 101), tokenised(counts, 101, "middle")),
        "bins_half_lognorm": (
            dense_bins(binning["lognorm"], 0.5),
            tokenised(binning["lognorm"], 51, "middle", base=np.e),
        ),
    }
    for name, found in expected.items():
        for one in found:
            np.testing.assert_array_equal(one, binning[name], err_msg=name)
    np.testing.assert_array_equal(binning["bins_half_lognorm"], binning["bins_half"])
    for cell, edges in zip(binning["rows"], binning["edges_f64"], strict=True):
        np.testing.assert_array_equal(edges_of(counts[cell]), edges)


def test_drawn_bins_lie_among_those_that_the_authors_may_draw(binning: Any) -> None:
    counts = binning["counts"]
    found = tokenised(counts, 51, "hash")
    assert ((found > 0) == (counts > 0)).all()
    assert (found <= binning["bins_high"]).all()
    assert (found >= dense_bins(counts, 1 - 1e-9)).all()


def test_bins_of_the_preprocessor(shared: Path) -> None:
    arrays = np.load(shared / "golden" / "scgpt" / "preprocess.npz")
    logs, genes = arrays["X_log1p"], arrays["genes"].tolist()
    np.testing.assert_array_equal(tokenised(logs, 51, "middle", base=np.e), arrays["X_binned_half"])
    np.testing.assert_array_equal(dense_bins(logs, np.random.RandomState(0)), arrays["X_binned_seed0"])
    for cell, edges in zip(logs, arrays["bin_edges_f64"], strict=True):
        np.testing.assert_array_equal(np.concatenate([[0], edges_of(cell)]), edges)
    chosen = [genes.index(gene) for gene in arrays["hvg60_seurat_v3_genes"]]
    np.testing.assert_array_equal(
        tokenised(logs[:, chosen], 51, "middle", base=np.e), arrays["hvg60_seurat_v3_binned_half"]
    )


@pytest.fixture
def cls(checkpoint: Checkpoint) -> int:
    return checkpoint.vocabulary.tolist().index("<cls>")


@pytest.fixture
def pad(checkpoint: Checkpoint) -> int:
    return checkpoint.vocabulary.tolist().index("<pad>")


def assert_padded(tokens: Tokens, arrays: Any, name: str, pad: int, kind: str = "values", genes: str = "genes") -> None:
    ids, values = padded(tokens, pad, -2)
    np.testing.assert_array_equal(ids, arrays[f"{name}_{genes}"], err_msg=name)
    np.testing.assert_array_equal(values, arrays[f"{name}_{kind}"], err_msg=name)


def test_tokens_for_fine_tuning(shared: Path, cls: int, pad: int, folder: Path, binning: Any) -> None:
    if folder.name == "second":
        pytest.skip("has no such arrays")
    arrays = np.load(folder / "tokens.npz")
    bins = binning["bins_half"][arrays["cells"]]
    made = {zeros: tokens_of_bins(bins, binning["gene_ids"], pad + 3, zeros=zeros) for zeros in (False, True)}
    assert_padded(made[False], arrays, "nz_nocls", pad)
    for name, zeros in (("nz", False), ("zeros", True)):
        tokens = with_first(made[zeros], cls, 0)
        assert_padded(tokens, arrays, name, pad)
        assert_padded(shortened(tokens, 40, np.random.RandomState(0)), arrays, f"{name}40_seed0", pad)
    for seed, name, whole in ((0, "masked_seed0_nz", "nz_values"), (3, "masked_seed3_zeros", "zeros_values")):
        masked = masked_shares(arrays[whole], 0.4, np.random.RandomState(seed), pad_value=-2)
        np.testing.assert_array_equal(masked, arrays[name])


def test_tokens_of_the_collator(folder: Path, binning: Any, cls: int, pad: int) -> None:
    arrays = np.load(folder / "collator.npz")
    bins = binning["bins_half"][arrays["cells"]]
    tokens = with_first(tokens_of_bins(bins, binning["gene_ids"], pad + 3, zeros=False), cls, -2)
    assert_padded(tokens, arrays, "full", pad, "expr", "gene")
    assert_padded(shortened(tokens, 40, None), arrays, "trunc40", pad, "expr", "gene")
    stream = torch.Generator().manual_seed(0)
    assert_padded(shortened(tokens, 40, stream), arrays, "sample40_seed0", pad, "expr", "gene")
    expression = arrays["mlm40_seed0_expr"]
    masked = masked_by_chance(expression, 0.4, torch.Generator().manual_seed(0), pad_value=-2)
    np.testing.assert_array_equal(masked, arrays["mlm40_seed0_masked_expr"])
    np.testing.assert_array_equal(padded(tokens, pad, -2)[1], expression)


def test_only_cells_with_tokens_get_one_in_front_if_asked() -> None:
    tokens = tokens_of_bins(np.array([[0, 2], [0, 0], [3, 1]]), np.array([4, 7]), 10, zeros=False)
    assert with_first(tokens, 9, -2, empty=False).ids.tolist() == [9, 7, 9, 4, 7]
    both = with_first(tokens, 9, -2)
    assert both.ids.tolist() == [9, 7, 9, 9, 4, 7]
    assert both.lengths.tolist() == [2, 1, 3]
    assert both.values.tolist() == [-2, 2, -2, -2, 3, 1]
