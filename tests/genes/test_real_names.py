"""What the gene table finds in real data, beside exact matching and beside the table of another project."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from scfm_scverse.genes import HOW, load_gene_table, names_and_hints, resolve_genes

# Copies of mitochondrial genes that GENCODE and HGNC withdrew: up to a tenth of the reads of full-length protocols.
WITHDRAWN = re.compile(r"MTRNR2L\d+")
# A gene that human has not, in the symbols of a set that joins human and mouse cells.
MOUSE_ONLY = {"pancreas_human_mouse_mini": {"INS1"}}


def exact(names: list[str]) -> np.ndarray:
    known = load_gene_table().row_of_symbol
    return np.array([name in known for name in names], dtype=bool)


def test_more_is_found_than_by_exact_matching(cell_sets: dict) -> None:
    assert len(cell_sets) >= 30
    for cells in cell_sets.values():
        found = cells.match.rows >= 0
        assert not (exact(cells.names) & ~found).any(), cells.name
        assert all(
            ours >= theirs for ours, theirs in zip(cells.shares(found), cells.shares(exact(cells.names)), strict=True)
        )


def test_almost_all_counts_of_human_sets_find_their_gene(cell_sets: dict) -> None:
    for cells in cell_sets.values():
        match = cells.match
        if match.organism == "human":
            gone = np.array([bool(WITHDRAWN.fullmatch(name)) for name in cells.names])
            gone |= np.isin(cells.names, list(MOUSE_ONLY.get(cells.name, set())))
            totals = np.where(gone, 0, cells.totals)
            assert totals[match.rows >= 0].sum() > 0.97 * totals.sum(), cells.name


def test_most_counts_of_mouse_sets_find_an_ortholog(cell_sets: dict) -> None:
    for cells in cell_sets.values():
        match = cells.match
        if match.organism == "mouse":
            genes, counts = cells.shares(match.rows >= 0)
            assert genes > 0.75, cells.name
            assert counts > 0.90, cells.name


def test_ids_of_the_data_find_more_and_agree_with_the_names(cell_sets: dict) -> None:
    """Two sets carry the ids of their own annotation: truth for what the names are taken for."""
    for name in ("zheng_sorted_pbmc", "tcells_10x_5p_1k"):
        cells = cell_sets[name]
        by_name = cells.match
        names, ids = names_and_hints(cells.var)
        with_ids = resolve_genes(names, ids=ids)
        assert cells.shares(with_ids.rows >= 0) > cells.shares(by_name.rows >= 0)
        both = (by_name.rows >= 0) & (with_ids.how == HOW.index("ensembl"))
        for how in ("exact", "previous"):
            these = both & (by_name.how == HOW.index(how))
            assert these.sum() > 300
            assert (by_name.rows == with_ids.rows)[these].mean() > 0.99, (name, how)


def test_names_agree_with_the_table_of_another_project(symbol_fixes: pd.DataFrame) -> None:
    match = resolve_genes(symbol_fixes["seen"].tolist(), organism="human")
    wanted = resolve_genes(symbol_fixes["approved"].tolist(), organism="human").rows
    known = wanted >= 0
    found = known & (match.rows >= 0)
    assert found.sum() > 0.97 * known.sum()
    assert (match.rows == wanted)[found].mean() > 0.998


def test_mouse_cells_with_human_symbols_are_read_as_they_are(cell_sets: dict) -> None:
    cells = cell_sets["pancreas_human_mouse_mini"]
    by_itself, told = cells.match, resolve_genes(cells.names, organism="mouse")
    assert by_itself.organism == "human"
    assert cells.shares(by_itself.rows >= 0)[0] > 0.99
    # Saying that the cells are of mouse changes next to nothing: human symbols stay human symbols.
    assert np.mean(told.rows == by_itself.rows) > 0.95
