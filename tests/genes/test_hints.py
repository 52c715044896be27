"""Names and ids out of a table of genes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scfm_scverse._errors import InputError
from scfm_scverse.genes import load_gene_table, names_and_hints, resolve_genes

IDS = ["ENSG00000167286", "ENSG00000198851"]
SYMBOLS = ["CD3D", "CD3E"]


@pytest.mark.parametrize(
    ("var", "expected"),
    [
        (pd.DataFrame(index=SYMBOLS), (SYMBOLS, None)),
        (pd.DataFrame(index=IDS), (IDS, None)),
        (pd.DataFrame({"gene_ids": IDS}, index=SYMBOLS), (SYMBOLS, IDS)),
        (pd.DataFrame({"feature_name": SYMBOLS}, index=IDS), (SYMBOLS, IDS)),
        (pd.DataFrame({"feature_name": pd.Categorical(SYMBOLS)}, index=IDS), (SYMBOLS, IDS)),
        (pd.DataFrame({"ensembl": [IDS[0], np.nan]}, index=SYMBOLS), (SYMBOLS, [IDS[0], ""])),
        (pd.DataFrame({"gene_ids": ["916", "917"]}, index=SYMBOLS), (SYMBOLS, None)),
    ],
)
def test_usual_places_are_found(var: pd.DataFrame, expected: tuple[list[str], list[str] | None]) -> None:
    assert names_and_hints(var) == expected


def test_named_column_is_used() -> None:
    var = pd.DataFrame({"my_symbols": SYMBOLS, "feature_name": ["x", "y"]}, index=IDS)
    assert names_and_hints(var, "my_symbols") == (SYMBOLS, IDS)


def test_missing_column_is_an_error_that_lists_the_others() -> None:
    var = pd.DataFrame({"gene_ids": IDS}, index=SYMBOLS)
    with pytest.raises(InputError, match=r"no column 'symbols' \(argument gene_symbols\).*'gene_ids'"):
        names_and_hints(var, "symbols")


def test_antibodies_and_peaks_are_no_genes() -> None:
    var = pd.DataFrame(
        {"feature_types": ["Gene Expression", "Antibody Capture", "Peaks"]}, index=["CD3D", "CD4", "chr1:1-2"]
    )
    names, ids = names_and_hints(var)
    match = resolve_genes(names, ids=ids)
    assert match.is_gene.tolist() == [True, False, False]
    assert load_gene_table().symbol[match.rows[0]] == "CD3D"
    assert match.rows[1:].tolist() == [-1, -1]


def test_table_without_genes_gives_no_names() -> None:
    assert names_and_hints(pd.DataFrame(index=pd.Index([], dtype=object))) == ([], None)
