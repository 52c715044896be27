"""pp.harmonize_genes: what it writes, that it survives a file, that nothing else changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import scfm_scverse as scfm
from scfm_scverse._errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData

NAMES = ["CD3D", "MARCH1", "1-Mar", "HLA.A", "CD3D-1", "NOTAGENE", "ERCC-00002"]
FOUND = ["CD3D", "MARCHF1", "MTARC1", "HLA-A", "CD3D", "", ""]


def counts(names: list[str], **columns: list[str]) -> AnnData:
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    matrix = csr_matrix(np.arange(3 * len(names), dtype=np.float32).reshape(3, -1))
    return AnnData(matrix, var=pd.DataFrame(columns, index=names))


def test_symbols_and_ids_are_written_beside_the_names() -> None:
    adata = counts(NAMES)
    before = adata.copy()
    assert scfm.pp.harmonize_genes(adata) is None
    assert adata.var["scfm_gene"].tolist() == FOUND
    assert adata.var["scfm_gene_id"].tolist()[0] == "ENSG00000167286"
    assert adata.var["scfm_gene_id"].tolist()[-1] == ""
    assert adata.var_names.tolist() == NAMES
    assert (adata.X != before.X).nnz == 0


def test_report_tells_what_was_found() -> None:
    adata = counts(NAMES)
    scfm.pp.harmonize_genes(adata)
    report = adata.uns["scfm"]["genes"]
    assert (report["organism"], report["kind"]) == ("human", "symbol")
    assert (report["n_names"], report["n_genes"], report["n_found"]) == (7, 6, 5)
    assert report["duplicated"] == ["CD3D", "CD3D-1"]
    assert report["not_found"] == ["NOTAGENE"]


# anndata 0.12 announces how it will write zarr one day.
@pytest.mark.filterwarnings("ignore:.*zarr v[23]:UserWarning")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
@pytest.mark.parametrize("names", [NAMES, ["CD3D", "CD4", "CD8A"]])
def test_result_survives_a_file(tmp_path: Path, suffix: str, names: list[str]) -> None:
    import anndata as ad

    adata = counts(names)
    scfm.pp.harmonize_genes(adata)
    path = tmp_path / f"cells.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    back = getattr(ad, f"read_{suffix}")(path)
    assert back.var["scfm_gene"].astype(str).tolist() == adata.var["scfm_gene"].tolist()
    written, read = adata.uns["scfm"]["genes"], back.uns["scfm"]["genes"]
    assert set(read) == set(written)
    for key, value in written.items():
        assert np.array_equal(read[key], value) if isinstance(value, list) else read[key] == value, key


def test_copy_leaves_the_original_alone() -> None:
    adata = counts(NAMES)
    changed = scfm.pp.harmonize_genes(adata, copy=True)
    assert changed is not None
    assert changed.var["scfm_gene"].tolist() == FOUND
    assert list(adata.var.columns) == list(adata.uns) == []


def test_view_becomes_its_own_and_its_parent_stays() -> None:
    adata = counts(NAMES)
    view = adata[:, ::-1]
    scfm.pp.harmonize_genes(view)
    assert view.var["scfm_gene"].tolist() == FOUND[::-1]
    assert not view.is_view
    assert list(adata.var.columns) == []


def test_records_of_other_verbs_stay() -> None:
    adata = counts(NAMES)
    adata.uns["scfm"] = {"embed": {"X_scfm": {"model_id": "m"}}}
    scfm.pp.harmonize_genes(adata)
    scfm.pp.harmonize_genes(adata)
    assert set(adata.uns["scfm"]) == {"embed", "genes"}


def test_ids_of_10x_and_symbols_of_cellxgene_are_hints() -> None:
    ids = ["ENSG00000167286", "ENSG00000198851"]
    tenx = counts(["whatever", "CD3E"], gene_ids=ids)
    cellxgene = counts(ids, feature_name=["CD3D", "CD3E"])
    own = counts(["g1", "g2"], my_names=["CD3D", "CD3E"])
    scfm.pp.harmonize_genes(tenx)
    scfm.pp.harmonize_genes(cellxgene)
    scfm.pp.harmonize_genes(own, gene_symbols="my_names")
    for adata in (tenx, cellxgene, own):
        assert adata.var["scfm_gene"].tolist() == ["CD3D", "CD3E"]


def test_mouse_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    adata = counts(["Cd3d", "Cd3e", "H2-K1"])
    with caplog.at_level(logging.INFO, logger="scfm"):
        scfm.pp.harmonize_genes(adata)
    assert adata.var["scfm_gene"].tolist() == ["CD3D", "CD3E", ""]
    said = [line for line in caplog.messages if "mouse" in line]
    assert said == ["2 of 3 genes known (mouse symbols, taken for their human orthologs)"]


def test_backed_data_are_harmonized_in_memory(tmp_path: Path) -> None:
    import anndata as ad

    counts(NAMES).write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    scfm.pp.harmonize_genes(backed)
    assert backed.var["scfm_gene"].tolist() == FOUND
    backed.file.close()


def test_bad_arguments_are_one_clear_error() -> None:
    with pytest.raises(InputError, match="no column 'symbol'"):
        scfm.pp.harmonize_genes(counts(NAMES), gene_symbols="symbol")
    with pytest.raises(InputError, match="organism is 'rat'"):
        scfm.pp.harmonize_genes(counts(NAMES), organism="rat")  # type: ignore[arg-type]
    taken = counts(NAMES)
    taken.uns["scfm"] = "mine"
    with pytest.raises(InputError, match=r"Found str in adata\.uns\['scfm'\]"):
        scfm.pp.harmonize_genes(taken)


def test_duplicate_names_and_no_genes_are_legal() -> None:
    twice = counts(["CD3D", "CD4"])
    twice.var_names = ["CD3D", "CD3D"]
    scfm.pp.harmonize_genes(twice)
    assert twice.var["scfm_gene"].tolist() == ["CD3D", "CD3D"]
    none = counts(["CD3D", "CD4"])[:, []].copy()
    scfm.pp.harmonize_genes(none)
    assert none.var["scfm_gene"].tolist() == []


def test_real_mouse_set(read_cells: Callable[[str], AnnData]) -> None:
    adata = read_cells("mouse_gut_haber_1000genes")
    scfm.pp.harmonize_genes(adata)
    assert adata.uns["scfm"]["genes"]["organism"] == "mouse"
    assert (adata.var["scfm_gene"] != "").mean() > 0.75
