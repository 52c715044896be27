"""Exit status, errors in one line, and what a help text loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

from scfm_scverse.io.files import write_adata
from support import run_python, small_counts

Scfm = Callable[..., Result]
COMMANDS = ("demo", "embed", "annotate", "report", "perturb", "models", "info")
HEAVY = "torch scanpy anndata numpy pandas scipy sklearn numba matplotlib h5py pydantic rich".split()


def one_line(result: Result) -> str:
    """The only line of an expected failure, with the log lines before it left out."""
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("scfm: error: ")]
    assert len(lines) == 1
    assert result.stderr.endswith(f"{lines[0]}\n")
    assert "Traceback" not in result.stderr
    return lines[0]


def test_help_of_every_command_loads_nothing_heavy() -> None:
    code = f"""
from scfm_scverse.cli.main import main
for command in {COMMANDS!r}:
    sys.argv = ["scfm", command, "--help"]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code, stop.code
print("loaded:", *sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    printed = run_python(code)
    assert printed.rsplit("loaded:", 1)[1].split() == []
    assert all(f"Usage: scfm {command}" in printed for command in COMMANDS)


def test_help_lists_every_command(scfm: Scfm) -> None:
    result = scfm("--help")
    assert result.exit_code == 0
    assert all(f"\n  {command} " in result.stdout for command in COMMANDS)


def test_version_is_shown(scfm: Scfm) -> None:
    result = scfm("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("scfm-scverse ")


@pytest.mark.parametrize("arguments", [["cook"], ["embed"], ["info", "a", "b"], ["embed", "a", "--organism", "cat"]])
def test_wrong_usage_exits_with_2(scfm: Scfm, arguments: list[str]) -> None:
    result = scfm(*arguments)
    assert result.exit_code == 2
    assert "Usage: scfm" in result.stderr


def test_missing_file_is_one_line_that_suggests_another(scfm: Scfm, cells: Path) -> None:
    message = one_line(scfm("embed", cells.with_stem("cels"), "-o", cells.with_stem("out")))
    assert f"did you mean {cells}" in message


def test_truncated_file_is_one_line(scfm: Scfm, tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    write_adata(small_counts(), path)
    path.write_bytes(path.read_bytes()[:9000])
    assert str(path) in one_line(scfm("embed", path, "-o", "out.h5ad"))
    assert str(path) in one_line(scfm("info", path))


def test_folder_that_is_no_store_is_one_line(scfm: Scfm, tmp_path: Path) -> None:
    (tmp_path / "store.zarr").mkdir()
    assert "no zarr store" in one_line(scfm("annotate", "store.zarr", "-o", "out.zarr"))


def test_genes_that_nobody_knows_are_one_line(scfm: Scfm, tmp_path: Path) -> None:
    adata = small_counts()
    adata.var_names = [f"thing{i}" for i in range(adata.n_vars)]
    write_adata(adata, tmp_path / "cells.h5ad")
    assert "--gene-symbols" in one_line(scfm("annotate", "cells.h5ad", "-o", "out.h5ad"))
    assert not (tmp_path / "out.h5ad").exists()


def test_scaled_values_are_one_line(scfm: Scfm, tmp_path: Path) -> None:
    adata = small_counts()
    adata.X = adata.X.toarray() - np.asarray(adata.X.mean(axis=0))
    adata.layers["spliced"] = small_counts().X
    write_adata(adata, tmp_path / "cells.h5ad")
    message = one_line(scfm("embed", "cells.h5ad", "-o", "out.h5ad"))
    assert "negative values" in message
    assert "--layer spliced" in message.replace("'", "")
    assert scfm("embed", "cells.h5ad", "-o", "out.h5ad", "--layer", "spliced").exit_code == 0


def test_failure_of_the_disk_is_one_line(scfm: Scfm, tmp_path: Path) -> None:
    (tmp_path / "scfm_demo").write_text("in the way")
    write_adata(small_counts(), tmp_path / "cells.h5ad")
    result = scfm("demo", "cells.h5ad")
    assert result.exit_code == 1
    assert result.stderr.endswith("scfm: error: File exists: scfm_demo\n")


def test_mistakes_of_ours_are_not_hidden(scfm: Scfm, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("scfm_scverse.models.available", broken)
    with pytest.raises(ZeroDivisionError):
        scfm("models")


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_line_without_the_place_in_the_source(scfm: Scfm, tmp_path: Path) -> None:
    adata = small_counts()
    adata.var_names = [name if i < 40 else f"thing{i}" for i, name in enumerate(adata.var_names)]
    adata.X = np.ones(adata.shape, np.float32)
    write_adata(adata, tmp_path / "cells.h5ad")
    result = scfm("info", "cells.h5ad")
    start = "scfm: warning: Only 40 of 90 genes"
    assert [line[: len(start)] for line in result.stderr.splitlines()] == [start]
    assert "of 90 genes, with " in result.stdout
