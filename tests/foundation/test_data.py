"""An AnnData becomes the cells that a network is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from anndata import read_h5ad

from scfm_scverse._errors import InputError, MissingKeyError
from scfm_scverse.foundation.data import genes_to_model, read_cells
from scfm_scverse.foundation.run import train_settings
from scfm_scverse.models import load
from support import GENES, two_types


def test_labels_are_numbered_in_the_order_that_is_asked_for() -> None:
    adata, model = two_types(), load("scfm-mini")
    cells = read_cells(adata, model, labels_key="kind", batch_key="batch")
    assert cells.labels.tolist() == [1, 0] * 30
    assert cells.batches.tolist() == [0] * 30 + [1] * 30
    assert read_cells(adata, model, labels_key="kind", labels=["T/NK cell", "B cell"]).labels.tolist() == [0, 1] * 30
    with pytest.raises(InputError, match=r"holds 'T/NK cell' \(30 cells\).*expected 'B cell'"):
        read_cells(adata, model, labels_key="kind", labels=["B cell"])
    with pytest.raises(MissingKeyError, match="batch_key='donor'"):
        read_cells(adata, model, batch_key="donor")


def test_a_backed_matrix_stays_where_it_is(tmp_path: Path) -> None:
    two_types().write_h5ad(tmp_path / "cells.h5ad")
    backed = read_h5ad(tmp_path / "cells.h5ad", backed="r")
    cells = read_cells(backed, load("scfm-mini"), labels_key="kind")
    rows = np.array([5, 2])
    batch, expected = cells.read(rows, 0), read_cells(two_types(), load("scfm-mini")).read(rows, 0)
    assert type(cells.matrix).__module__.startswith("h5py")
    np.testing.assert_array_equal(batch.tokens.values, expected.tokens.values)
    backed.file.close()


def test_genes_of_a_vocabulary_are_named_once() -> None:
    adata = two_types()
    adata.var_names = [*adata.var_names[:-2], "ERCC-00002", "CD3D"]
    symbols = genes_to_model(adata, ensembl=False)
    assert sorted(symbols) == sorted(set(GENES[:-2]))
    assert "ENSG00000167286" in genes_to_model(adata, ensembl=True)


@pytest.mark.parametrize(("n_cells", "epochs"), [(100, 20), (20_000, 10), (10**7, 1)])
def test_trainings_of_no_named_length_show_as_many_cells(n_cells: int, epochs: int) -> None:
    settings = train_settings({"max_epochs": None, "lr": None, "batch_size": None}, n_cells=n_cells)
    assert (settings.max_epochs, settings.lr, settings.batch_size) == (epochs, None, 32)
