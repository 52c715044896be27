"""``tl.perturb``: what cannot be done is one clear error, before anything is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import GeneMatchError, InputError, MissingKeyError, ScfmError
from support import small_counts


def expect_error(adata: AnnData, error: type[ScfmError], match: str, genes: Any = "LYZ", **arguments: Any) -> None:
    """The verb raises the error, and the AnnData is as it was."""
    before = adata.copy()
    with pytest.raises(error, match=match):
        scfm.tl.perturb(adata, genes, **arguments)
    assert not {*adata.obsm, *adata.layers, *adata.uns}
    assert adata.obs.equals(before.obs)
    assert (adata.X != before.X).nnz == 0


@pytest.mark.parametrize(
    ("genes", "match"),
    [
        (["LYZ", "CD8A"], r"Found list as genes; expected one perturbation.* see scfm\.tl\.rank_perturbations"),
        (["LYZ"], r"Found list as genes; .*rank_perturbations"),
        ({"LYZ"}, r"Found set as genes; .*rank_perturbations"),
        (np.array(["LYZ"]), r"Found ndarray as genes; expected one perturbation"),
        (pd.Index(["LYZ"]), r"Found Index as genes; expected one perturbation"),
        (None, r"Found NoneType as genes; expected one perturbation"),
        (7, r"Found int as genes; expected one perturbation"),
        ((), r"Found genes=\(\), which names no gene .*expected the name of a gene"),
        ("", r"Found an empty name in the perturbation ''"),
        ("LYZ+", r"Found an empty name in the perturbation 'LYZ\+'"),
        ("ctrl", r"Found genes='ctrl', which names no gene but a control"),
        (("LYZ", 7), r"Found 7 \(int\) for a perturbation; expected names of genes"),
        (("LYZ+CD8A",), r"Found 'LYZ\+CD8A' among the genes .* of one perturbation"),
        ("LYZ+LYZ", r"Found 'LYZ' twice in the perturbation 'LYZ\+LYZ'"),
        (("LYZ", "CD8A", "LYZ"), r"Found 'LYZ' twice in the perturbation"),
        ("CD74+DHLAG", r"Found 'CD74\+DHLAG', where two names stand for one gene"),
        (("ENSG00000019582", "CD74"), r"'ENSG00000019582\+CD74', where two names stand for one gene"),
    ],
    ids=str,
)
def test_what_is_no_perturbation_is_an_error(genes: object, match: str) -> None:
    expect_error(small_counts(), InputError, match, genes)


@pytest.mark.parametrize(
    ("genes", "match"),
    [
        ("NO-GENE", r"Found the gene 'NO-GENE', which is not in the data; expected names of genes of the data"),
        ("IFNG", r"Found the gene 'IFNG', which is not in the data"),
        (("LYZ", "IFNG"), r"Found the gene 'IFNG', which is not in the data"),
        ("RPS3", r"Found the gene 'RPS3', which is not known to the model; expected genes that scfm-mini knows"),
    ],
    ids=str,
)
def test_gene_that_the_data_or_the_model_lack_is_an_error_that_names_it(genes: object, match: str) -> None:
    expect_error(small_counts(), GeneMatchError, match, genes)


def test_genes_that_no_cell_expresses_are_an_error_that_names_them() -> None:
    adata = small_counts()
    counts = adata.X.toarray()
    counts[:, adata.var_names.get_indexer(["LYZ", "CD8A"])] = 0
    adata.X = sp.csr_matrix(counts)
    expect_error(adata, GeneMatchError, r"Found 'LYZ\+CD8A' expressed in no cell, so that kind='delete'", "LYZ+CD8A")


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            {"kind": "knockout"},
            r"Found kind='knockout'; expected one of 'delete', 'overexpress', 'inhibit', 'activate'",
        ),
        ({"kind": ["delete", "activate"]}, r"Found kind=\['delete', 'activate'\]; .*one kind for all genes of a call"),
        ({"kind": None}, r"Found kind=None; expected one of"),
        ({"dose": 0.5}, r"Found kind='delete' with dose=0\.5; expected dose=1, or kind='inhibit', which has doses"),
        ({"kind": "overexpress", "dose": 2}, r"kind='overexpress' with dose=2; expected dose=1, or kind='activate'"),
        ({"kind": "inhibit", "dose": 1.5}, r"Found dose=1\.5 for kind='inhibit'; .* above 0, 1 \(all of it\) at most"),
        ({"kind": "inhibit", "dose": 0}, r"Found dose=0 for kind='inhibit'; expected a number above 0"),
        ({"kind": "inhibit", "dose": -0.5}, r"Found dose=-0\.5 for kind='inhibit'; expected a number above 0"),
        ({"kind": "activate", "dose": -1}, r"Found dose=-1 for kind='activate'; expected a number above 0"),
        ({"kind": "activate", "dose": np.nan}, r"Found dose=nan for kind='activate'; expected a number above 0"),
        ({"kind": "activate", "dose": np.inf}, r"Found dose=inf for kind='activate'; expected a number above 0"),
        ({"dose": np.nan}, r"Found kind='delete' with dose=nan; expected dose=1"),
        ({"dose": True}, r"Found dose=True; expected a number"),
        ({"kind": "activate", "dose": np.True_}, r"Found dose=np\.True_; expected a number"),
        ({"kind": "activate", "dose": "2"}, r"Found dose='2'; expected a number"),
        ({"kind": "activate", "dose": [1, 2]}, r"Found dose=\[1, 2\]; expected a number"),
        ({"kind": "activate", "dose": None}, r"Found dose=None; expected a number"),
        ({"batch_size": 0}, r"batch_size=0; expected a whole number, 1 at least"),
        ({"key_added": "T/NK"}, r"Found key_added='T/NK'; expected a name without '/'"),
        ({"output_layer": -1}, r"Found output_layer=-1; expected None for scfm-mini"),
        ({"pooling": "mean"}, r"Found pooling='mean'; expected None for scfm-mini"),
        ({"total_key": "n"}, r"total_key='n' is not in adata\.obs"),
        ({"layer": "counts", "use_raw": True}, r"Found both layer='counts' and use_raw=True"),
        ({"device": "tpu"}, r"device='tpu' cannot be used here"),
        ({"dtype": "float16"}, r"dtype='float16' is not known"),
    ],
    ids=str,
)
def test_argument_that_makes_no_sense_is_an_error_that_names_it(arguments: dict[str, Any], match: str) -> None:
    error = MissingKeyError if "total_key" in arguments else InputError
    expect_error(small_counts(), error, match, **arguments)


@pytest.mark.parametrize(
    ("genes_out", "error", "match"),
    [
        (-1, InputError, r"Found genes_out=-1; expected how many genes, 0 or more, or a list of their names"),
        (2.5, InputError, r"Found genes_out=2\.5; expected how many genes"),
        (True, InputError, r"Found genes_out=True; expected how many genes"),
        (None, InputError, r"Found genes_out=None; expected how many genes"),
        ("CD74", InputError, r"Found genes_out='CD74'; expected how many genes, 0 or more, or a list of their names"),
        (["CD74", 3], InputError, r"Found genes_out=\['CD74', 3\]; expected how many genes"),
        (
            ["CD74", "IFNG"],
            GeneMatchError,
            r"Found 'IFNG' in genes_out; .*in adata\.var_names and that the model knows",
        ),
        (["RPS3"], GeneMatchError, r"Found 'RPS3' in genes_out"),
    ],
    ids=str,
)
def test_genes_out_that_make_no_sense_are_an_error(genes_out: object, error: type[ScfmError], match: str) -> None:
    expect_error(small_counts(), error, match, genes_out=genes_out)


def test_missing_column_of_groups_is_an_error_that_lists_the_columns() -> None:
    adata = small_counts()
    adata.obs["batch"] = "one"
    expect_error(
        adata, MissingKeyError, r"groupby='donor' is not in adata\.obs; its columns are 'batch'", groupby="donor"
    )


def test_data_that_no_model_reads_are_an_error() -> None:
    empty = small_counts()[:0].copy()
    expect_error(empty, InputError, r"The AnnData has 0 cells")
    expect_error(small_counts()[:, :9].copy(), GeneMatchError, r"genes of scfm-mini", "B2M")
    with pytest.raises(InputError, match="Found str; expected an AnnData"):
        scfm.tl.perturb("cells.h5ad", "LYZ")  # type: ignore[arg-type]
