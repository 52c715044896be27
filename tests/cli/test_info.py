"""``scfm info``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from typer.testing import Result

import scfm_scverse
from scfm_scverse.io.files import write_adata
from support import small_counts

Scfm = Callable[..., Result]


def facts(result: Result) -> dict[str, str]:
    """The rows of the table."""
    assert result.exit_code == 0
    _, header, _, *rows = result.stdout.splitlines()
    return {row[: header.index("found")].strip(): row[header.index("found") :] for row in rows}


def test_shape_names_values_and_coverage_are_shown(scfm: Scfm, cells: Path) -> None:
    found = facts(scfm("info", cells))
    assert (found["cells"], found["genes"]) == ("30", "90")
    assert found["X"] == "30 x 90, csr, float32"
    assert found["names"].endswith("(human symbols)")
    assert found["scfm-mini reads"] == "counts of X (90 genes)"
    assert " of 90 genes, with " in found["scfm-mini knows"]
    assert found["scfm-mini finds"].endswith("of its 6,000 genes")


def test_embeddings_are_shown_with_the_model_that_wrote_them(scfm: Scfm, tmp_path: Path) -> None:
    adata = small_counts()
    adata.obsm["X_pca"] = np.zeros((30, 2))
    scfm_scverse.tl.annotate(adata)
    write_adata(adata, tmp_path / "cells.h5ad")
    found = facts(scfm("info", "cells.h5ad"))
    model_id = scfm_scverse.models.load("scfm-mini").spec.id
    assert found["obsm['X_scfm']"] == f"30 x 256, tl.embed with {model_id}"
    assert found["obsm['scfm_probabilities']"].endswith(f"tl.annotate with {model_id}")
    assert found["obsm['X_pca']"] == "30 x 2"


def test_data_that_the_model_cannot_read_are_described_too(scfm: Scfm, tmp_path: Path) -> None:
    adata = small_counts()
    adata.X = adata.X.toarray() - 1
    write_adata(adata, tmp_path / "cells.h5ad")
    found = facts(scfm("info", "cells.h5ad"))
    assert found["X"] == "30 x 90, dense, float32"
    assert found["scfm-mini"].startswith("cannot read it: Found no counts")
