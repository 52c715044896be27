"""References in files: nothing lost, and every way in which a file can be bad has its own message."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata
import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import scfm_scverse as scfm
from scfm_scverse._errors import FileError
from scfm_scverse.io.reference_file import FORMAT, ROOT, is_reference_file
from scfm_scverse.reference import LabelledCells, Reference, build_reference, load_default_reference
from scfm_scverse.reference.answer import name_cells

if TYPE_CHECKING:
    from conftest import Cells


@pytest.fixture
def reference(cells: Cells) -> Reference:
    """A small reference with everything that one can hold."""
    label = np.char.replace(cells.label, "NK cell", "NK/T cell, naïve")
    made = build_reference(
        cells.embedding, label, np.full(len(label), ""), cells.batch, name="simulated", model_id="model-1:abc"
    )
    return replace(
        made,
        organism="mouse",
        cells=LabelledCells(
            cells.embedding.astype(np.float16), np.searchsorted(made.label, label).astype(np.int32), cells.batch
        ),
        measured=np.arange(7) % 2 == 0,
        matched=np.array(["none"] * 4),
    )


@pytest.fixture
def path(reference: Reference, tmp_path: Path) -> Path:
    """The same in a file."""
    reference.save(tmp_path / "mine.h5ad")
    return tmp_path / "mine.h5ad"


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """Every entry of nested dataclasses, arrays with their type."""
    if is_dataclass(value):
        parts = [flat(getattr(value, field.name), f"{name}.{field.name}") for field in fields(value)]
        return {key: entry for part in parts for key, entry in part.items()}
    if isinstance(value, np.ndarray):
        return {name: (value.dtype.kind + str(value.dtype.itemsize) * (value.dtype.kind != "U"), value.tolist())}
    return {name: value}


def test_reference_is_read_back_as_it_was(reference: Reference, path: Path) -> None:
    assert flat(scfm.Reference.load(path)) == flat(reference)


def test_reference_without_cells_is_read_back_as_it_was(tmp_path: Path) -> None:
    bare = replace(load_default_reference(), cells=None, measured=None, matched=None)
    bare.save(tmp_path / "bare.h5ad")
    assert flat(Reference.load(str(tmp_path / "bare.h5ad"))) == flat(bare)
    assert anndata.read_h5ad(tmp_path / "bare.h5ad").n_obs == 0


def test_every_field_of_a_reference_is_in_its_file(reference: Reference, path: Path) -> None:
    with h5py.File(path) as file:
        there = set(file[f"uns/{ROOT}/reference"])
    held = {field.name for field in fields(Reference) if getattr(reference, field.name) is not None}
    assert there | {"cells"} == held


def test_saving_twice_gives_the_same_bytes(path: Path) -> None:
    Reference.load(path).save(path.with_stem("again"))
    assert path.with_stem("again").read_bytes() == path.read_bytes()


def test_anndata_reads_the_cells_with_their_labels(reference: Reference, path: Path) -> None:
    adata = anndata.read_h5ad(path)
    assert reference.cells is not None
    assert adata.obs["label"].tolist() == reference.label[reference.cells.code].tolist()
    assert adata.obs["batch"].tolist() == reference.cells.batch.tolist()
    np.testing.assert_array_equal(adata.obsm["embedding"], reference.cells.embedding)


def test_file_that_went_through_anndata_is_still_the_reference(reference: Reference, path: Path) -> None:
    anndata.read_h5ad(path).write_h5ad(path)
    assert flat(Reference.load(path)) == flat(reference)


def test_annotation_by_a_saved_reference_is_the_same(cells: Cells, reference: Reference, path: Path) -> None:
    first, second = (name_cells(one, cells.embedding) for one in (reference, Reference.load(path)))
    assert first.label.tolist() == second.label.tolist()
    assert first.confidence.tolist() == second.confidence.tolist()


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"Found no file .*absent\.h5ad; expected a reference"):
        Reference.load(tmp_path / "absent.h5ad")


def test_file_of_another_kind_is_an_error_that_says_what_makes_a_reference(cells: Cells, tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    anndata.AnnData(cells.embedding).write_h5ad(path)
    with pytest.raises(FileError, match=r"Found no reference in .*tl\.build_reference"):
        Reference.load(path)
    assert not is_reference_file(path)
    path.write_text("cells")
    with pytest.raises(FileError, match="Cannot read"):
        Reference.load(path)
    assert not is_reference_file(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_file_is_an_error(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(FileError, match=r"Cannot read .*Expected a whole reference"):
        Reference.load(path)


def test_newer_format_is_an_error_that_says_to_update(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file[f"uns/{ROOT}/format"][()] = FORMAT + 1
        del file[f"uns/{ROOT}/reference"]
    with pytest.raises(FileError, match=rf"format {FORMAT + 1} .* reads {FORMAT}: update it"):
        Reference.load(path)


def change_label(adata: anndata.AnnData) -> None:
    adata.obs["label"] = ["T cell"] * adata.n_obs


def change_vector(adata: anndata.AnnData) -> None:
    adata.obsm["embedding"][3, 1] += 1


def change_term(adata: anndata.AnnData) -> None:
    adata.uns[ROOT]["reference"]["term"][1] = "CL:0000084"


def change_number(adata: anndata.AnnData) -> None:
    adata.uns[ROOT]["reference"]["fine"]["means"][0, 0] += 1


def add_column(adata: anndata.AnnData) -> None:
    adata.obs["depth"] = 1.0


@pytest.mark.parametrize("change", [change_label, change_vector, change_term, change_number, add_column])
def test_file_edited_by_hand_is_an_error(path: Path, change: Any) -> None:
    adata = anndata.read_h5ad(path)
    change(adata)
    adata.write_h5ad(path)
    with pytest.raises(FileError, match="changed since it was saved"):
        Reference.load(path)


def test_file_that_lacks_cells_is_an_error(path: Path) -> None:
    anndata.read_h5ad(path)[:20].copy().write_h5ad(path)
    with pytest.raises(FileError, match="changed since it was saved"):
        Reference.load(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_damaged_bytes_never_give_another_reference(reference: Reference, path: Path, data: st.DataObject) -> None:
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = path.with_stem("damaged")
    damaged.write_bytes(whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :])
    try:
        found = Reference.load(damaged)
    except FileError:
        return
    assert flat(found) == flat(reference)


def test_failed_write_leaves_the_old_file(path: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anndata.io.write_elem", full)
    with pytest.raises(FileError, match="No space left"):
        replace(reference, name="other").save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["mine", "mine.zarr", "mine.safetensors"])
def test_name_of_another_kind_of_file_is_an_error(reference: Reference, tmp_path: Path, name: str) -> None:
    with pytest.raises(FileError, match=r"expected a file that ends in \.h5ad"):
        reference.save(tmp_path / name)


def test_folder_that_is_missing_is_an_error(reference: Reference, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="Cannot write"):
        reference.save(tmp_path / "absent" / "mine.h5ad")


def test_report_says_what_the_classes_were_made_from(reference: Reference) -> None:
    report = reference.report()
    assert report.index.tolist() == reference.label.tolist()
    assert report["n_cells"].tolist() == [60, 40, 90, 5]
    assert report.loc["rare", "n_batches"] == 1
    assert report["matched"].tolist() == ["none"] * 4
    assert (replace(reference, cells=None).report()["n_cells"] == 0).all()
