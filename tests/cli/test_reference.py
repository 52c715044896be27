"""``scfm reference``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import scfm_scverse
from scfm_scverse.io.files import read_adata, write_adata
from support import GENES, small_counts

Scfm = Callable[..., Result]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Sixty cells of two kinds and three donors."""
    adata = small_counts(60, seed=1)
    is_b = [i % 2 == 0 for i in range(60)]
    values = adata.X.toarray()
    values[is_b, GENES.index("MS4A1")] += 50
    adata.X = values
    adata.obs["type"] = ["B cells" if b else "a/b" for b in is_b]
    adata.obs["donor"] = [f"donor {i // 20}" for i in range(60)]
    path = tmp_path / "labelled.h5ad"
    write_adata(adata, path)
    return path


def test_built_reference_annotates_as_the_cells_do(scfm: Scfm, labelled: Path, h5ad: Path) -> None:
    before = labelled.read_bytes()
    options = ["--labels-key", "type", "--batch-key", "donor"]
    result = scfm("reference", "build", labelled, "-o", "mine.h5ad", *options)
    assert result.exit_code == 0
    assert labelled.read_bytes() == before
    assert "B cells" in result.stdout
    assert "CL:0000236" in result.stdout
    assert result.stdout.splitlines()[-1] == "mine.h5ad"
    assert scfm("annotate", h5ad, "-o", "one.h5ad", "--reference", "mine.h5ad").exit_code == 0
    assert scfm("annotate", h5ad, "-o", "two.h5ad", "--reference", labelled, *options).exit_code == 0
    one, two = read_adata("one.h5ad"), read_adata("two.h5ad")
    assert one.obs.equals(two.obs)
    assert sorted(one.uns["scfm"]["annotate"]["scfm"]["labels"]) == ["B cells", "a/b"]


def test_info_shows_model_cells_and_classes(scfm: Scfm, labelled: Path) -> None:
    scfm("reference", "build", labelled, "-o", "mine.h5ad", "--labels-key", "type")
    shown = scfm("reference", "info", "mine.h5ad").stdout
    reference = scfm_scverse.Reference.load("mine.h5ad")
    assert reference.measured is not None
    for part in (reference.model_id, "human", "60", f"{reference.measured.sum():,} of", "spelling", "none"):
        assert part in shown


def test_output_must_be_named_like_a_reference(scfm: Scfm, labelled: Path) -> None:
    result = scfm("reference", "build", labelled, "-o", "mine.zarr", "--labels-key", "type")
    assert result.exit_code == 2
    assert "ends in .h5ad" in result.stderr


def test_output_must_not_be_the_input(scfm: Scfm, labelled: Path) -> None:
    before = labelled.read_bytes()
    result = scfm("reference", "build", labelled, "-o", labelled, "--labels-key", "type")
    assert result.exit_code == 2
    assert "is the input" in result.stderr
    assert labelled.read_bytes() == before


@pytest.mark.parametrize(
    ("output", "column", "message"),
    [
        ("absent/mine.h5ad", "type", "Cannot write into the folder"),
        ("mine.h5ad", "kind", "--labels-key"),
    ],
)
def test_what_cannot_be_done_is_one_line(scfm: Scfm, labelled: Path, output: str, column: str, message: str) -> None:
    result = scfm("reference", "build", labelled, "-o", output, "--labels-key", column)
    assert result.exit_code == 1
    assert result.stderr.count("scfm: error: ") == 1
    assert message in result.stderr
    assert not Path(output).exists()


def test_file_without_a_reference_is_an_error(scfm: Scfm, labelled: Path) -> None:
    result = scfm("reference", "info", labelled)
    assert result.exit_code == 1
    assert "Found no reference" in result.stderr


def test_labelled_cells_without_a_column_of_labels_are_an_error_that_names_the_option(
    scfm: Scfm, labelled: Path, h5ad: Path
) -> None:
    result = scfm("annotate", h5ad, "--in-place", "--reference", labelled)
    assert result.exit_code == 1
    assert "--labels-key" in result.stderr


def test_built_reference_needs_no_columns(scfm: Scfm, labelled: Path, h5ad: Path) -> None:
    scfm("reference", "build", labelled, "-o", "mine.h5ad", "--labels-key", "type")
    result = scfm("annotate", h5ad, "--in-place", "--reference", "mine.h5ad", "--labels-key", "label")
    assert result.exit_code == 2
    assert "needs no columns" in result.stderr
