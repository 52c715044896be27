"""``scfm annotate``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import scfm_scverse
from scfm_scverse.io.files import read_adata, write_adata
from support import GENES, small_counts

Scfm = Callable[..., Result]


def test_output_is_the_input_with_the_annotation(scfm: Scfm, cells: Path) -> None:
    target = cells.with_stem("out")
    result = scfm("annotate", cells, "-o", target, "--key-added", "mine")
    assert result.exit_code == 0
    expected = scfm_scverse.tl.annotate(small_counts(), key_added="mine", copy=True)
    found = read_adata(target)
    assert list(found.obs) == list(expected.obs)
    assert found.obs["mine_cell_type"].tolist() == expected.obs["mine_cell_type"].tolist()
    assert set(found.obsm) == set(expected.obsm)
    assert set(found.uns["scfm"]) == {"embed", "annotate"}
    assert (found.X != small_counts().X).nnz == 0


def test_types_are_printed_with_their_confidence(scfm: Scfm, h5ad: Path) -> None:
    lines = scfm("annotate", h5ad, "--in-place").stdout.splitlines()
    found = read_adata(h5ad).obs
    counts = found["scfm_cell_type"].value_counts()
    shown = {line[: lines[1].index("  ")].strip(): line.split() for line in lines[2 : 2 + min(len(counts), 15)]}
    confidence = found.groupby("scfm_cell_type", observed=True)["scfm_confidence"].mean()
    assert {name: parts[-3] for name, parts in shown.items()} == {name: str(counts[name]) for name in shown}
    assert {name: parts[-1] for name, parts in shown.items()} == {name: f"{confidence[name]:.2f}" for name in shown}


def test_annotating_again_replaces_what_was_there(scfm: Scfm, h5ad: Path) -> None:
    assert scfm("annotate", h5ad, "--in-place").exit_code == 0
    first = read_adata(h5ad).obs
    assert scfm("annotate", h5ad, "--in-place").exit_code == 0
    assert read_adata(h5ad).obs.equals(first)


def test_annotating_again_without_groups_takes_the_old_ones_out(scfm: Scfm, cells: Path) -> None:
    grouped, target = cells.with_stem("grouped"), cells.with_stem("out")
    adata = read_adata(cells)
    adata.obs["cluster"] = [str(i % 2) for i in range(adata.n_obs)]
    write_adata(adata, grouped)
    assert scfm("annotate", grouped, "--in-place", "--groupby", "cluster").exit_code == 0
    assert "scfm_group_cell_type" in read_adata(grouped).obs
    assert scfm("annotate", grouped, "-o", target).exit_code == 0
    found = read_adata(target).obs
    assert not found.columns.str.startswith("scfm_group").any()
    assert "cluster" in found


def test_labelled_cells_of_a_file_are_a_reference(scfm: Scfm, h5ad: Path) -> None:
    reference = small_counts(60, seed=1)
    is_b = [i % 2 == 0 for i in range(60)]
    marker = GENES.index("MS4A1")
    values = reference.X.toarray()
    values[is_b, marker] += 50
    reference.X = values
    reference.obs["type"] = ["B cell" if b else "T cell" for b in is_b]
    reference.obs["donor"] = [f"donor {i // 20}" for i in range(60)]
    path = h5ad.with_stem("reference")
    write_adata(reference, path)
    options = ["--reference", path, "--labels-key", "type", "--batch-key", "donor"]
    assert scfm("annotate", h5ad, "--in-place", *options).exit_code == 0
    made = read_adata(h5ad).uns["scfm"]["annotate"]["scfm"]
    assert sorted(made["labels"]) == ["B cell", "T cell"]
    assert (made["labels_key"], made["batch_key"]) == ("type", "donor")
    missing = scfm("annotate", h5ad, "--in-place", "--reference", path, "--labels-key", "kind")
    assert missing.exit_code == 1
    assert "'type', 'donor'" in missing.stderr


@pytest.mark.parametrize(
    "options", [["--labels-key", "type"], ["--reference", "a.h5ad", "--batch-key", "b"], ["--batch-key", "donor"]]
)
def test_reference_and_labels_key_go_together(scfm: Scfm, options: list[str]) -> None:
    result = scfm("annotate", "cells.h5ad", "--in-place", *options)
    assert result.exit_code == 2
    assert "go together" in result.stderr
