"""``scfm embed``."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import Result

import scfm_scverse
from scfm_scverse.cli._options import parse_options
from scfm_scverse.io.files import read_adata, write_adata
from support import install_example, small_counts

Scfm = Callable[..., Result]


def content(path: Path) -> dict[str, bytes]:
    """Every byte at a path, be it file or folder."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file): file.read_bytes() for file in files}


def test_output_is_the_input_with_the_embedding(scfm: Scfm, cells: Path) -> None:
    before, target = content(cells), cells.with_stem("out")
    result = scfm("embed", cells, "-o", target)
    assert result.exit_code == 0
    assert result.stdout == f"{target}: obsm['X_scfm'], 30 cells x 256\n"
    expected = scfm_scverse.tl.embed(small_counts(), copy=True)
    found = read_adata(target)
    np.testing.assert_allclose(found.obsm["X_scfm"], expected.obsm["X_scfm"], atol=1e-6)
    assert found.uns["scfm"]["embed"]["X_scfm"]["model_id"] == expected.uns["scfm"]["embed"]["X_scfm"]["model_id"]
    assert (found.X != small_counts().X).nnz == 0
    assert content(cells) == before


def test_options_reach_the_verb(scfm: Scfm, tmp_path: Path) -> None:
    adata = small_counts()
    adata.layers["log"] = adata.X.log1p()
    adata.var["symbol"] = adata.var_names.to_numpy()
    adata.var_names = [f"row{i}" for i in range(adata.n_vars)]
    write_adata(adata, tmp_path / "cells.h5ad")
    options = (
        "--layer log --normalized --gene-symbols symbol --organism human --batch-size 7 --device cpu --key-added Z"
    )
    assert scfm("embed", "cells.h5ad", "-o", "out.h5ad", *options.split()).exit_code == 0
    found = read_adata(tmp_path / "out.h5ad")
    scfm_scverse.tl.embed(adata, layer="log", normalized=True, gene_symbols="symbol", batch_size=7)
    np.testing.assert_allclose(found.obsm["Z"], adata.obsm["X_scfm"], atol=1e-6)
    made = found.uns["scfm"]["embed"]["Z"]
    assert (made["layer"], bool(made["normalized"]), made["organism"]) == ("log", True, "human")


@pytest.fixture
def scfoundation(shared: Path, tmp_path: Path) -> Path:
    """A small checkpoint, and ``cells.h5ad`` with counts of its genes and totals of the cells."""
    from anndata import AnnData

    path = shared / "golden" / "scfoundation" / "models.ckpt"
    adata = AnnData(np.random.default_rng(0).poisson(2.0, (5, 120)).astype(np.float32))
    adata.var_names = scfm_scverse.models.load(path).spec.genes[:120]
    adata.obs["n_counts"] = np.arange(5) * 100.0 + 1000
    write_adata(adata, tmp_path / "cells.h5ad")
    return path


def test_options_of_the_checkpoint_and_totals_reach_the_model(scfm: Scfm, scfoundation: Path, tmp_path: Path) -> None:
    words = "--option key=rde --option target_depth=a1 --option target_sum=5000.5 --total-key n_counts"
    result = scfm(
        "embed", "cells.h5ad", "-o", "out.h5ad", "--model", scfoundation, "--dtype", "float32", *words.split()
    )
    assert result.exit_code == 0, result.stderr
    model = scfm_scverse.models.load(scfoundation, key="rde", target_depth="a1", target_sum=5000.5)
    expected = read_adata(tmp_path / "cells.h5ad")
    scfm_scverse.tl.embed(expected, model=model, total_key="n_counts", dtype="float32")
    found = read_adata(tmp_path / "out.h5ad")
    made = found.uns["scfm"]["embed"]["X_scFoundation"]
    assert (made["model_id"], made["total_key"]) == (model.spec.id, "n_counts")
    np.testing.assert_allclose(found.obsm["X_scFoundation"], expected.obsm["X_scFoundation"], atol=1e-6)


def test_whole_numbers_and_decimals_become_numbers() -> None:
    words = [
        "a=7",
        "b=-2",
        "c=0.5",
        "d=-1.",
        "e=1e4",
        "f=t4",
        "g=",
        "h=x=1",
        "i=nan",
        "j=1_0",
        "k=None",
        "m=.5",
        "n=1e999",
    ]
    expected = {"a": 7, "b": -2, "c": 0.5, "d": -1.0, "e": 1e4, "f": "t4", "g": "", "h": "x=1", "i": "nan", "j": "1_0"}
    found = parse_options(words)
    assert found == expected | {"k": "None", "m": 0.5, "n": "1e999"}
    assert [type(found[name]) for name in "abde"] == [int, int, float, float]
    assert parse_options(None) == {}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mode"], "'mode'"),
        (["=original"], "'=original'"),
        (["mode=original", "key=rde", "mode=default"], "'mode' twice"),
    ],
)
@pytest.mark.parametrize("command", ["embed", "convert"])
def test_options_that_cannot_be_are_one_error(
    scfm: Scfm, scfoundation: Path, tmp_path: Path, command: str, words: list[str], told: str
) -> None:
    start = ("embed", "cells.h5ad", "--model", scfoundation) if command == "embed" else ("convert", scfoundation)
    result = scfm(*start, "-o", "out.h5ad", *(part for word in words for part in ("--option", word)))
    assert result.exit_code == 2
    assert told in result.stderr
    assert len([line for line in result.stderr.splitlines() if "Error" in line]) == 1
    assert not (tmp_path / "out.h5ad").exists()


@pytest.mark.parametrize("word", ["target_sum=much", "target_depth=4", "genes=3"])
def test_text_for_a_number_and_the_other_way_round_are_no_traceback(scfm: Scfm, scfoundation: Path, word: str) -> None:
    result = scfm("embed", "cells.h5ad", "-o", "out.h5ad", "--model", scfoundation, "--option", word)
    assert result.exit_code in (1, 2)
    assert word.partition("=")[0] in result.stderr


def test_options_that_no_model_has_are_answered_with_those_there_are(scfm: Scfm, scfoundation: Path) -> None:
    result = scfm("embed", "cells.h5ad", "-o", "out.h5ad", "--option", "mode=original")
    assert (result.exit_code, result.stderr) == (1, "scfm: error: Found the option 'mode'; scfm-mini has none.\n")
    result = scfm("embed", "cells.h5ad", "-o", "out.h5ad", "--model", scfoundation, "--option", "ties=hash")
    assert result.exit_code == 1
    assert "those of scfoundation are key, genes" in result.stderr


def test_totals_that_are_missing_are_asked_for_by_their_option(scfm: Scfm, scfoundation: Path, tmp_path: Path) -> None:
    adata = read_adata(tmp_path / "cells.h5ad")
    adata.X = np.log1p(adata.X / adata.X.sum(axis=1, keepdims=True) * 1e4)
    write_adata(adata, tmp_path / "log.h5ad")
    words = ("--model", scfoundation, "--option", "pre_normalized=A")
    result = scfm("embed", "log.h5ad", "-o", "out.h5ad", *words)
    assert result.exit_code == 1
    assert "--total-key" in result.stderr
    assert scfm("embed", "log.h5ad", "-o", "out.h5ad", *words, "--total-key", "n_counts").exit_code == 0


def test_input_is_changed_only_on_request(scfm: Scfm, h5ad: Path) -> None:
    before = content(h5ad)
    for arguments in ([], ["-o", h5ad], ["-o", h5ad.with_stem("out"), "--in-place"]):
        result = scfm("embed", h5ad, *arguments)
        assert result.exit_code == 2
        assert "--in-place" in result.stderr
    assert content(h5ad) == before
    assert scfm("embed", h5ad, "--in-place").exit_code == 0
    assert "X_scfm" in read_adata(h5ad).obsm
    assert [path.name for path in h5ad.parent.iterdir()] == [h5ad.name]


@pytest.mark.parametrize("output", ["out.zarr", "nowhere/out.h5ad", "out"])
def test_output_that_cannot_be_written_stops_before_the_work(
    scfm: Scfm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    def work(*_: object, **__: object) -> None:
        pytest.fail("the work began")

    monkeypatch.setattr("scfm_scverse.tl.embed", work)
    write_adata(small_counts(), tmp_path / "cells.h5ad")
    result = scfm("embed", "cells.h5ad", "-o", output)
    assert result.exit_code == 1
    assert result.stderr.startswith("scfm: error: ")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.h5ad"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
def test_full_disk_is_one_line_and_leaves_the_input_whole(scfm: Scfm, cells: Path) -> None:
    import resource

    before = content(cells)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
    try:
        result = scfm("embed", cells, "--in-place")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.exit_code == 1
    assert [line for line in result.stderr.splitlines() if "error" in line] == result.stderr.splitlines()[-1:]
    assert "It is as it was" in result.stderr
    assert content(cells) == before
    assert [path.name for path in cells.parent.iterdir()] == [cells.name]


def embed_in_a_process(folder: Path, target: Path, *, killed_after: int | None) -> subprocess.CompletedProcess[str]:
    """Embed ``cells.h5ad`` with the model of the guide in minibatches of a few cells; kill it in the middle of one."""
    code = f"""
import os, signal, sys
sys.path[:0] = {[str(folder), str(Path("docs/examples").resolve())]!r}
import tiny_transformer
encode, calls = tiny_transformer.TinyTransformer.encode, []
def counted(*arguments, **options):
    calls.append(1)
    if len(calls) == {killed_after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(*arguments, **options)
tiny_transformer.TinyTransformer.encode = counted
sys.argv = ["scfm", "embed", "cells.h5ad", "-o", {target.name!r}, "--model", "tiny-transformer", "--batch-size", "4"]
import atexit
atexit.register(lambda: print(len(calls), "minibatches"))
from scfm_scverse.cli.main import main
main()
"""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


def test_killed_run_goes_on_where_it_stopped(h5ad: Path) -> None:
    folder, whole, target = h5ad.parent, h5ad.with_stem("whole"), h5ad.with_stem("out")
    install_example(folder)
    done = embed_in_a_process(folder, whole, killed_after=None)
    assert "8 minibatches" in done.stdout, done.stderr
    assert embed_in_a_process(folder, target, killed_after=4).returncode == -signal.SIGKILL
    assert not target.exists()
    assert (folder / "out.h5ad.partial").is_dir()
    done = embed_in_a_process(folder, target, killed_after=None)
    assert "12 of 30 cells were finished before" in done.stderr
    assert "5 minibatches" in done.stdout
    assert not (folder / "out.h5ad.partial").exists()
    np.testing.assert_allclose(read_adata(target).obsm["X_tiny"], read_adata(whole).obsm["X_tiny"], atol=1e-6)
