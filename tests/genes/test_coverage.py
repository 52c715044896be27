"""Shares of genes and counts that a model knows, and what happens when they are small."""

from __future__ import annotations

import numpy as np
import pytest

from scfm_scverse._errors import GeneMatchError
from scfm_scverse.genes import check_coverage, coverage, load_gene_table, resolve_genes

PANEL = ["CD3D", "CD3E", "CD8A", "CD4", "MS4A1"]
STRANGE = [f"strange{i}" for i in range(5)]


def rows_of(names: list[str]) -> np.ndarray:
    table = load_gene_table()
    return np.array([table.row_of_symbol[name] for name in names], dtype=np.int32)


def test_small_panel_that_is_found_is_covered() -> None:
    whole = rows_of(list(load_gene_table().row_of_symbol)[:6000] + PANEL)
    match = resolve_genes(PANEL)
    share = coverage(match, whole, np.ones(5))
    check_coverage(match, share)
    assert (share.genes, share.counts) == (1.0, 1.0)
    assert share.model == pytest.approx(5 / len(np.unique(whole)))


def test_shares_are_of_genes_of_counts_and_of_the_model() -> None:
    match = resolve_genes([*PANEL[:2], "NOTAGENE", "CD14"])
    share = coverage(match, rows_of(PANEL), np.array([50.0, 10.0, 30.0, 10.0]))
    assert (share.n_genes, share.n_found, share.n_model) == (4, 2, 5)
    assert (share.genes, share.counts, share.model) == (0.5, 0.6, 0.4)


def test_spike_ins_belong_to_no_share() -> None:
    match = resolve_genes(["CD3D", "ERCC-00002", "__no_feature"])
    share = coverage(match, rows_of(PANEL), np.array([1.0, 1000.0, 1000.0]))
    assert (share.n_genes, share.genes, share.counts) == (1, 1.0, 1.0)


def test_names_of_one_gene_count_once_for_the_model() -> None:
    share = coverage(resolve_genes(["MARCH1", "MARCHF1"]), rows_of(["MARCHF1", "CD4"]), np.ones(2))
    assert (share.genes, share.model) == (1.0, 0.5)


@pytest.mark.parametrize("totals", [None, np.zeros(2), np.array([-5.0, 1.0])])
def test_genes_stand_in_for_counts_without_positive_totals(totals: np.ndarray | None) -> None:
    share = coverage(resolve_genes(["CD3D", "NOTAGENE"]), rows_of(PANEL), totals)
    assert share.counts == share.genes == 0.5


def test_nothing_is_not_covered() -> None:
    share = coverage(resolve_genes([]), rows_of(PANEL), np.zeros(0))
    assert (share.genes, share.counts, share.model) == (0.0, 0.0, 0.0)


def test_few_counts_stop_with_what_was_found_and_what_helps() -> None:
    match = resolve_genes([*STRANGE, "CD3D"])
    with pytest.raises(GeneMatchError) as error:
        check_coverage(match, coverage(match, rows_of(PANEL), np.array([100.0] * 5 + [1.0])), model="scfm-mini")
    text = str(error.value)
    assert "1 of 6 genes of the data, with 0.2% of its counts, are known to scfm-mini" in text
    for part in ("human symbols", "'strange0'", "organism=", "gene_symbols="):
        assert part in text


def test_wrong_organism_stops() -> None:
    mouse = resolve_genes(["Xkr4", "Gm1992", "H2-K1", "H2-Ab1"], organism="human")
    with pytest.raises(GeneMatchError, match="organism='mouse'"):
        check_coverage(mouse, coverage(mouse, rows_of(PANEL), np.ones(4)))


def test_some_counts_warn_once_at_the_caller() -> None:
    match = resolve_genes([*STRANGE, "CD3D"])
    with pytest.warns(UserWarning, match=r"Only 1 of 6 genes of the data, with 28\.6% of its counts") as seen:
        check_coverage(match, coverage(match, rows_of(PANEL), np.array([1.0] * 5 + [2.0])))
    assert len(seen) == 1
    assert seen[0].filename == __file__


@pytest.mark.parametrize(("known", "outcome"), [(0.5, "quiet"), (0.499, "warn"), (0.1, "warn"), (0.099, "stop")])
def test_thresholds(known: float, outcome: str) -> None:
    match = resolve_genes(["NOTAGENE", "CD3D"])
    totals = np.array([1000 - 1000 * known, 1000 * known])
    if outcome == "quiet":
        check_coverage(match, coverage(match, rows_of(PANEL), totals))
    elif outcome == "warn":
        with pytest.warns(UserWarning, match="of its counts"):
            check_coverage(match, coverage(match, rows_of(PANEL), totals))
    else:
        with pytest.raises(GeneMatchError):
            check_coverage(match, coverage(match, rows_of(PANEL), totals))
