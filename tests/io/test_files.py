"""Files: read with clear errors, written whole or not at all."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from scfm_scverse._errors import FileError, InputError, MissingKeyError
from scfm_scverse.io.blocks import iter_blocks
from scfm_scverse.io.counts import find_values
from scfm_scverse.io.files import file_kind, read_adata, write_adata, write_results

SUFFIXES = ("h5ad", "zarr")


def example(n: int = 40) -> AnnData:
    """An AnnData with something in every slot."""
    counts = sp.random(n, 12, 0.3, format="csr", random_state=0, dtype=np.float32)
    counts.data = np.ceil(counts.data * 9)
    adata = AnnData(counts, obs={"kind": ["a", None] * (n // 2), "depth": np.arange(n)})
    adata.raw = adata.copy()
    adata.layers["twice"] = counts.tocsc() * 2
    adata.layers["dense"] = counts.toarray()
    adata.obsm["X_pca"] = np.ones((n, 2))
    adata.obsp["near"] = sp.csr_matrix(np.eye(n))
    adata.uns["made"] = {"by": "a test"}
    return adata


def content(path: Path) -> dict[str, bytes]:
    """Every byte at a path, be it file or folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(file): file.read_bytes() for file in files}


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """Let no file grow beyond a size: writes fail as they do on a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("backed", [False, True])
def test_what_is_written_is_read(tmp_path: Path, suffix: str, backed: bool) -> None:
    adata = example()
    path = tmp_path / f"cells.{suffix}"
    write_adata(adata, path)
    found = read_adata(path, backed=backed)
    pd.testing.assert_frame_equal(found.obs, adata.obs)
    assert found.uns["made"] == {"by": "a test"}
    np.testing.assert_array_equal(found.obsm["X_pca"], adata.obsm["X_pca"])
    for matrix, expected in [
        (found.X, adata.X),
        (found.raw.X, adata.raw.X),
        (found.layers["twice"], adata.layers["twice"]),
        (found.layers["dense"], adata.layers["dense"]),
    ]:
        blocks = [block for _, block in iter_blocks(matrix, block_size=7)]
        assert (sp.vstack(blocks) != sp.csr_matrix(expected)).nnz == 0
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_backed_matrices_stay_on_disk(tmp_path: Path, suffix: str) -> None:
    write_adata(example(), tmp_path / f"cells.{suffix}")
    adata = read_adata(tmp_path / f"cells.{suffix}", backed=True)
    for matrix in (adata.X, adata.raw.X, *adata.layers.values()):
        assert not isinstance(matrix, np.ndarray)
        assert not sp.issparse(matrix)
    values = find_values(adata[::2])
    assert values.kind == "counts"
    assert values.matrix.matrix is adata.X


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_anndatas_own_files_are_read(tmp_path: Path, suffix: str) -> None:
    adata = example()
    del adata.raw
    if suffix == "h5ad":
        adata.write_h5ad(tmp_path / "cells.h5ad")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # anndata announces other formats
            adata.write_zarr(tmp_path / "cells.zarr")
    for backed in (False, True):
        found = read_adata(tmp_path / f"cells.{suffix}", backed=backed)
        assert found.raw is None
        assert find_values(found).kind == "counts"


@pytest.mark.parametrize("version", [2, 3])
def test_both_versions_of_zarr_are_written_and_read(tmp_path: Path, version: int) -> None:
    path = tmp_path / "cells.zarr"
    with anndata.settings.override(zarr_write_format=version):
        write_adata(example(), path)
        assert (path / "zarr.json").is_file() == (version == 3)
        adata = read_adata(path, backed=True)
        adata.obsm["X_scfm"] = np.ones((40, 2), np.float32)
        write_results(path, path, adata, ["obsm/X_scfm"])
    found = read_adata(path)
    assert set(found.obsm) == {"X_pca", "X_scfm"}
    assert (found.X != example().X).nnz == 0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_without_x_are_read_if_they_hold_another_matrix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cells.{suffix}"
    write_adata(AnnData(None, shape=(3, 2), layers={"counts": np.eye(3, 2)}), path)
    for backed in (False, True):
        assert find_values(read_adata(path, backed=backed)).source == 'layers["counts"]'
    write_adata(AnnData(None, shape=(3, 2)), path)
    with pytest.raises(FileError, match="neither X nor layers nor raw"):
        read_adata(path)


def test_anndatas_own_backed_mode_is_read_and_written(tmp_path: Path) -> None:
    adata = example()
    write_adata(adata, tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for rows in (slice(None), slice(30, 3, -3)):
        values = find_values(backed[rows])
        blocks = [block for _, block in iter_blocks(values.matrix, block_size=7)]
        assert (sp.vstack(blocks) != adata.X[rows]).nnz == 0
    write_adata(backed, tmp_path / "copy.h5ad")
    assert (read_adata(tmp_path / "copy.h5ad").X != adata.X).nnz == 0
    assert Path(backed.filename).name == "cells.h5ad"
    backed.file.close()


def test_views_are_written(tmp_path: Path) -> None:
    adata = example()
    view = adata[5:10, :3]
    write_adata(view, tmp_path / "cells.h5ad")
    assert read_adata(tmp_path / "cells.h5ad").shape == (5, 3)
    assert view.is_view


def test_missing_file_is_an_error_that_suggests_another(tmp_path: Path) -> None:
    (tmp_path / "pbmc3k.h5ad").touch()
    with pytest.raises(FileError, match=r"did you mean .*pbmc3k\.h5ad\?"):
        read_adata(tmp_path / "pbmc3.h5ad")
    with pytest.raises(FileError, match="check the path"):
        read_adata(tmp_path / "nowhere" / "cells.h5ad")


def test_folder_in_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cells.h5ad").mkdir()
    (tmp_path / "cells.zarr").mkdir()
    for suffix in SUFFIXES:
        with pytest.raises(FileError, match="folder"):
            read_adata(tmp_path / f"cells.{suffix}")
        with pytest.raises(FileError, match=f"no {suffix}"):
            write_adata(example(), tmp_path / f"cells.{suffix}")
    (tmp_path / "file.zarr").touch()
    with pytest.raises(FileError, match="no zarr"):
        write_adata(example(), tmp_path / "file.zarr")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("backed", [False, True])
def test_truncated_file_is_an_error_in_one_line(tmp_path: Path, share: float, backed: bool) -> None:
    path = tmp_path / "cells.h5ad"
    write_adata(example(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FileError) as caught:
        read_adata(path, backed=backed)
    assert "\n" not in str(caught.value)
    assert "cells.h5ad" in str(caught.value)


def test_damaged_file_is_an_error_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    write_adata(example(), path)
    with h5py.File(path, "r+") as file:
        del file["obs/depth"]
    with pytest.raises(FileError, match="Cannot read") as caught:
        read_adata(path)
    assert "\n" not in str(caught.value)


def test_files_of_other_kinds_are_errors(tmp_path: Path) -> None:
    (tmp_path / "cells.h5ad").write_text("barcode,gene\n")
    with pytest.raises(FileError, match="no HDF5"):
        read_adata(tmp_path / "cells.h5ad")
    with h5py.File(tmp_path / "tenx.h5", "w") as file:
        file.create_group("matrix")
    with pytest.raises(FileError, match=r"Found matrix in .*expected obs and var"):
        read_adata(tmp_path / "tenx.h5")
    with pytest.raises(FileError, match=r"\.h5ad or \.zarr"):
        write_adata(example(), tmp_path / "cells.loom")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    write_adata(example(), path)
    path.chmod(0)
    with pytest.raises(FileError, match="permissions"):
        read_adata(path)


def test_kind_comes_from_the_suffix() -> None:
    assert file_kind("a/b.H5AD") == "h5ad"
    assert file_kind(Path("b.zarr")) == "zarr"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("in_place", [False, True])
def test_results_are_written_beside_an_untouched_matrix(tmp_path: Path, suffix: str, in_place: bool) -> None:
    source = tmp_path / f"cells.{suffix}"
    target = source if in_place else tmp_path / f"annotated.{suffix}"
    write_adata(example(), source)
    before = content(source)
    adata = read_adata(source, backed=True)
    adata.obsm["X_scfm"] = np.full((40, 3), 2, np.float32)
    adata.obs["label"] = pd.Categorical(["T", "B"] * 20)
    adata.obs["depth"] = -1
    adata.obs["left out"] = 1
    adata.uns["scfm"] = {"embed": {"X_scfm": {"model_id": "m"}}}
    write_results(source, target, adata, ["obs/label", "obs/depth", "obsm/X_scfm", "uns/scfm"])
    found = read_adata(target)
    assert list(found.obs) == ["kind", "depth", "label"]
    assert found.obs["label"].tolist() == ["T", "B"] * 20
    assert (found.obs["depth"] == -1).all()
    assert set(found.obsm) == {"X_pca", "X_scfm"}
    assert found.uns["scfm"]["embed"]["X_scfm"]["model_id"] == "m"
    assert found.uns["made"] == {"by": "a test"}
    assert (found.X != example().X).nnz == 0
    assert in_place or content(source) == before
    assert {p.name for p in tmp_path.iterdir()} == {source.name, target.name}


def test_whole_tables_are_written_too(tmp_path: Path) -> None:
    source = tmp_path / "cells.h5ad"
    write_adata(example(), source)
    adata = read_adata(source, backed=True)
    adata.var["scfm_gene"] = [f"g{i}" for i in range(12)]
    write_results(source, source, adata, ["var"])
    assert read_adata(source).var["scfm_gene"].tolist() == [f"g{i}" for i in range(12)]


def test_results_of_other_cells_are_an_error(tmp_path: Path) -> None:
    source = tmp_path / "cells.h5ad"
    write_adata(example(), source)
    before = content(source)
    for other in (example(38), example()[::-1].copy()):
        with pytest.raises(InputError, match=r"names in adata\.obs"):
            write_results(source, source, other, ["obs"])
    with pytest.raises(MissingKeyError, match=r"adata\.obsm\['X_scfm'\]"):
        write_results(source, source, example(), ["obsm/X_scfm"])
    with pytest.raises(FileError, match="one kind"):
        write_results(source, tmp_path / "out.zarr", example(), ["obs"])
    with pytest.raises(FileError, match="no folder"):
        write_results(source, tmp_path / "nowhere" / "out.h5ad", example(), ["obs"])
    assert content(source) == before
    assert [p.name for p in tmp_path.iterdir()] == ["cells.h5ad"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("size", [0, 30_000])
def test_full_disk_leaves_the_old_file_whole(tmp_path: Path, suffix: str, size: int) -> None:
    path = tmp_path / f"cells.{suffix}"
    write_adata(example(), path)
    before = content(path)
    adata = example()
    adata.obsm["X_scfm"] = np.random.default_rng(0).random((40, 2000))
    for write in (
        lambda: write_adata(adata, path),
        lambda: write_results(path, path, adata, ["obs/depth", "obsm/X_scfm"]),
    ):
        with disk_of(size), pytest.raises(FileError, match="It is as it was") as caught:
            write()
        assert "\n" not in str(caught.value)
        assert content(path) == before
        assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_failure_of_any_kind_leaves_the_old_file_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cells.{suffix}"
    write_adata(example(), path)
    before = content(path)
    adata = example()
    adata.uns["bad"] = object()
    with pytest.raises(anndata._io.specs.registry.IORegistryError):
        write_adata(adata, path)
    assert content(path) == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path, link = tmp_path / "data" / "cells.h5ad", tmp_path / "link.h5ad"
    write_adata(example(), path)
    link.symlink_to(path)
    write_adata(example(20), link)
    assert link.is_symlink()
    assert read_adata(path).n_obs == 20


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_permissions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    write_adata(example(), path)
    path.chmod(0o640)
    write_adata(example(), path)
    assert path.stat().st_mode & 0o777 == 0o640
