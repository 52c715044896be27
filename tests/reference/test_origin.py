"""Cells that a reference was made from are found again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse.reference import load_default_reference
from scfm_scverse.reference.origin import same_cells


def test_cells_of_a_training_study_are_found_again_with_a_fifth_of_the_genes_gone(
    read_cells: Callable[[str], AnnData],
) -> None:
    adata = read_cells("zilionis_nsclc")
    kept = np.random.default_rng(0).random(adata.n_vars) > 0.2
    adata = adata[:, kept].copy()
    scfm.tl.embed(adata)
    n_again, batches = same_cells(load_default_reference(), adata.obsm["X_scfm"])
    assert n_again > 100
    assert batches == ["zilionis_nsclc"]


def test_other_cells_are_not_taken_for_those_of_the_reference(read_cells: Callable[[str], AnnData]) -> None:
    adata = read_cells("pbmc_hao1000_unlabelled")
    scfm.tl.embed(adata)
    assert same_cells(load_default_reference(), adata.obsm["X_scfm"]) == (0, [])


def test_cells_without_an_embedding_are_nobody() -> None:
    reference = load_default_reference()
    assert same_cells(reference, np.full((5, len(reference.fine.whitening)), np.nan)) == (0, [])
