"""Kind of names and organism."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm_scverse.genes import detect_names, load_gene_table

T_CELLS = (
    "CD3D CD3E CD8A CD4 IL7R CCR7 LEF1 TCF7 GNLY NKG7 GZMB PRF1 FOXP3 IL2RA CTLA4 PDCD1 LAG3 TIGIT ICOS SELL".split()
)


@pytest.mark.parametrize(
    ("names", "kind", "organism"),
    [
        (T_CELLS, "symbol", "human"),
        ([name.lower() for name in T_CELLS], "symbol", "human"),
        ([name.capitalize() for name in T_CELLS], "symbol", "mouse"),
        ([*T_CELLS, "ERCC-00002", "tdTomato"], "symbol", "human"),
        (["ENSG00000167286.9", "ENSG00000198851"], "ensembl", "human"),
        (["ENSMUSG00000032094", "ENSMUSG00000032093.8"], "ensembl", "mouse"),
        (["CD3D", "ENSG00000198851"], "mixed", "human"),
        (["Cd3d", "ENSMUSG00000032093"], "mixed", "mouse"),
        (["Xkr4", "Gm1992", "0610005C13Rik", "H2-K1"], "symbol", "mouse"),
        ([name.lower() for name in ["Xkr4", "Gm1992", "0610005C13Rik", "H2-K1"]], "symbol", "mouse"),
        (["ENSG00000167286", "ENSG00000198851", ""], "ensembl", "human"),
        (["T", "nothing", "known", "here"], "symbol", "human"),
        ([], "symbol", "human"),
    ],
)
def test_kind_and_organism(names: list[str], kind: str, organism: str) -> None:
    assert detect_names(names) == (kind, organism)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(20, 200), organism=st.sampled_from(["human", "mouse"]))
def test_any_panel_of_twenty_named_genes_is_enough(seed: int, size: int, organism: str) -> None:
    table = load_gene_table()
    coding = table.biotype == "protein_coding"
    if organism == "human":
        names = table.symbol[coding & table.canonical]
    else:
        names = table.mouse_symbol[(table.mouse_human_row >= 0) & coding[table.mouse_human_row]]
    panel = np.random.default_rng(seed).choice(names, size, replace=False).tolist()
    assert detect_names(panel) == ("symbol", organism)


def test_real_sets_are_told_apart(cell_sets: dict) -> None:
    found = {name: cells.match.organism for name, cells in cell_sets.items()}
    # Mouse cells whose genes were given human symbols count as human: they need no ortholog.
    assert found.pop("pancreas_human_mouse_mini") == "human"
    assert found == {name: "mouse" if name.startswith("mouse_") else "human" for name in found}
