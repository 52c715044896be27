"""What the verbs write survives files and can be used and overwritten afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._record import read_record
from scfm_scverse.io.files import read_adata, write_adata, write_results
from support import small_counts

SUFFIXES = ("h5ad", "zarr")


@pytest.fixture(scope="module")
def annotated() -> AnnData:
    """Cells annotated by the default reference and by one whose labels hold what files find hard."""
    adata = small_counts(40)
    counts = adata.X.toarray()
    counts[4] = 0
    adata.X = counts
    scfm.tl.annotate(adata)
    reference = small_counts(40, seed=1)
    reference.obs["label"] = np.array(["T/NK cell", "B: naïve | 1"])[np.arange(40) % 2]
    scfm.tl.annotate(adata, reference=reference, labels_key="label", key_added="mine")
    return adata


def expect_same(found: AnnData, expected: AnnData) -> None:
    pd.testing.assert_frame_equal(found.obs, expected.obs)
    assert set(found.obsm) == set(expected.obsm)
    for key in expected.obsm:
        assert found.obsm[key].dtype == expected.obsm[key].dtype
        np.testing.assert_array_equal(found.obsm[key], expected.obsm[key])
    for verb, key in (("embed", "X_scfm"), ("annotate", "scfm"), ("annotate", "mine")):
        assert read_record(found, verb, key) == read_record(expected, verb, key)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("backed", [False, True])
def test_results_are_read_back_as_they_were(annotated: AnnData, tmp_path: Path, suffix: str, backed: bool) -> None:
    path = tmp_path / f"cells.{suffix}"
    write_adata(annotated, path)
    expect_same(read_adata(path, backed=backed), annotated)


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer be the default:UserWarning")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_results_survive_anndatas_own_files(annotated: AnnData, tmp_path: Path, suffix: str) -> None:
    import anndata

    path = tmp_path / f"cells.{suffix}"
    write: Callable[[Path], None] = annotated.write_h5ad if suffix == "h5ad" else annotated.write_zarr
    write(path)
    read = anndata.read_h5ad if suffix == "h5ad" else anndata.read_zarr
    expect_same(read(path), annotated)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("backed", [False, True])
def test_verbs_overwrite_their_own_results_read_from_a_file(
    annotated: AnnData, tmp_path: Path, suffix: str, backed: bool
) -> None:
    path = tmp_path / f"cells.{suffix}"
    write_adata(annotated, path)
    found = read_adata(path, backed=backed)
    scfm.tl.embed(found)
    scfm.tl.annotate(found)
    scfm.tl.annotate(found, key_added="mine")
    assert list(found.obs) == list(annotated.obs)
    pd.testing.assert_series_equal(
        found.obs["mine_confidence"], annotated.obs["scfm_confidence"], check_names=False, atol=1e-6
    )
    np.testing.assert_allclose(found.obsm["X_scfm"], annotated.obsm["X_scfm"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_results_are_added_to_a_file_that_is_read_only_where_needed(
    annotated: AnnData, tmp_path: Path, suffix: str
) -> None:
    bare = AnnData(annotated.X, var=annotated.var, obs=pd.DataFrame(index=annotated.obs_names))
    path = tmp_path / f"cells.{suffix}"
    write_adata(bare, path)
    adata = read_adata(path, backed=True)
    scfm.tl.annotate(adata)
    elements = [f"obs/{name}" for name in adata.obs] + [f"obsm/{name}" for name in adata.obsm] + ["uns/scfm"]
    write_results(path, path, adata, elements)
    found = read_adata(path)
    pd.testing.assert_frame_equal(found.obs, annotated.obs[[*adata.obs]])
    assert read_record(found, "annotate", "scfm") == read_record(annotated, "annotate", "scfm")
