"""Numbers that the authors print for the weights that they release, which nobody may pass on.

Set ``SCFM_SCFOUNDATION_CKPT`` to the path of your ``models.ckpt`` to run this.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import scfm_scverse as scfm

from .conftest import Golden

CLOSE = {"rtol": 0, "atol": 5e-3}


@pytest.fixture(scope="module")
def weights() -> Path:
    path = os.environ.get("SCFM_SCFOUNDATION_CKPT")
    if path is None:
        pytest.skip("needs the released weights: set SCFM_SCFOUNDATION_CKPT to the path of models.ckpt")
    return Path(path)


@pytest.fixture(scope="module")
def released(shared: Path) -> Golden:
    return Golden(shared / "golden" / "scfoundation" / "released")


def expected(released: Golden, name: str) -> tuple[list[int], dict[str, Any]]:
    told = json.loads((released.folder / "expected.json").read_text())
    return told["dims"], told[name]


def rows_of(released: Golden, name: str) -> np.ndarray:
    parts = [released.inputs[f"{name}_{part}"] for part in ("data", "indices", "indptr")]
    return sp.csr_matrix(tuple(parts), shape=(len(parts[2]) - 1, 19264)).toarray()


@pytest.mark.slow
def test_cells_of_the_pancreas_are_embedded_as_published(released: Golden, weights: Path) -> None:
    dims, told = expected(released, "baron_a5_rde_cell_all")
    model = scfm.models.load(weights, key="rde", target_depth="a5")
    found = released.encode(model, released.tokens(model, rows_of(released, "baron")), "cell").cell
    np.testing.assert_allclose(found[told["rows"]][:, dims], told["published"], **CLOSE)


@pytest.mark.slow
def test_vectors_of_genes_in_a_minibatch_are_as_published(released: Golden, weights: Path) -> None:
    dims, told = expected(released, "gears_gene_batch_A_f1")
    model = scfm.models.load(weights, key="gene", target_depth="f1", pre_normalized="A", mode="original")
    tokens = released.tokens(model, rows_of(released, "gears"), released.inputs["gears_total"])
    answer = released.encode(model, tokens, "gene").gene
    found = answer.values.unflatten(0, (len(tokens), -1))[told["cell"]]
    np.testing.assert_allclose(found[told["gene_rows"]][:, dims], told["published"], **CLOSE)
