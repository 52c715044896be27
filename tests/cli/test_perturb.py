"""``scfm perturb``: a file of screens in, tables and figures out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from typer.testing import Result

import scfm_scverse as scfm_package
from scfm_scverse._errors import InputError
from scfm_scverse._record import record
from scfm_scverse.cli._screen_file import EXAMPLE, read_screens
from scfm_scverse.cli.perturb import _figures
from scfm_scverse.inference import Partial
from scfm_scverse.io.files import read_adata, write_adata
from support import small_counts

Scfm = Callable[..., Result]
GENES = ["CD74", "B2M", "CD3D", "LYZ"]


def a_table(genes: list[Any], groups: list[str], doses: list[float], kind: str) -> pd.DataFrame:
    """Every gene in every group at every dose; the last gene is not in the data."""
    rng = np.random.default_rng(0)
    names = ["+".join(one) if isinstance(one, tuple) else one for one in genes]
    rows = [(name, kind, dose, group) for name in names for group in groups for dose in doses]
    table = pd.DataFrame(rows, columns=["perturbation", "kind", "dose", "group"])
    table["n_cells"] = 20
    for column in ("effect", "score", "null_mean", "null_sd", "p_value", "fdr"):
        table[column] = rng.random(len(table)) + 0.01
    table["status"] = "tested"
    lost = table["perturbation"] == names[-1]
    table.loc[lost, "status"] = "not in the data"
    table.loc[lost, ["effect", "score", "null_mean", "null_sd", "p_value", "fdr"]] = np.nan
    return table


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Arguments of every call of ``tl.rank_perturbations``, which computes nothing."""
    made: list[dict[str, Any]] = []

    def rank(adata: AnnData, **arguments: Any) -> pd.DataFrame:
        made.append(arguments)
        assert arguments["key_added"] not in adata.uns.get("scfm", {}).get("rank_perturbations", {})
        groups = ["all"] if arguments.get("groupby") is None else sorted(set(adata.obs[arguments["groupby"]]))
        doses = np.atleast_1d(arguments.get("dose", 1.0)).tolist()
        table = a_table(arguments.get("genes") or GENES, groups, doses, arguments.get("kind", "delete"))
        record(adata, "rank_perturbations", arguments["key_added"], {"model_id": arguments["model"].spec.id})
        adata.uns["scfm"]["rank_perturbations"][arguments["key_added"]]["table"] = table
        return table

    rank.__signature__ = inspect.signature(scfm_package.tl.rank_perturbations)  # type: ignore[attr-defined]
    monkeypatch.setattr(scfm_package.tl, "rank_perturbations", rank)
    return made


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the time that drawing takes."""
    monkeypatch.setattr("scfm_scverse.cli.perturb._figures", lambda *_: iter(()))


@pytest.fixture
def cells_in_groups(tmp_path: Path) -> Path:
    adata = small_counts()
    adata.obs["kind"] = pd.Categorical(["a", "b"] * 15)
    write_adata(adata, tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def describe(folder: Path, text: str, *, top: str = 'input = "cells.h5ad"\noutput = "out"\n') -> Path:
    path = folder / "screens.toml"
    path.write_text(top + text, encoding="utf-8")
    return path


TWO = """
kind = "inhibit"
[[screen]]
name = "grades"
genes = ["CD74", ["B2M", "LYZ"], "NONE"]
dose = [0.5, 1]
groupby = "kind"
[[screen]]
name = "all"
genes = "expressed"
max_cells = 10
"""


def test_screens_give_tables_figures_and_a_copy_with_both(
    scfm: Scfm, calls: list[dict[str, Any]], cells_in_groups: Path, tmp_path: Path
) -> None:
    before = cells_in_groups.read_bytes()
    result = scfm("perturb", describe(tmp_path, TWO))
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "cells.h5ad",
        *(f"grades{end}" for end in (".csv", ".parquet", "_rank.png", "_volcano.png", "_heatmap.png")),
        *(f"all{end}" for end in (".csv", ".parquet", "_rank.png", "_volcano.png")),
    }
    assert cells_in_groups.read_bytes() == before
    copy = read_adata(tmp_path / "out" / "cells.h5ad")
    assert (copy.X != read_adata(cells_in_groups).X).nnz == 0
    for name in ("grades", "all"):
        table = scfm_package.get.perturbations(copy, key=name)
        for written in (
            pd.read_csv(tmp_path / "out" / f"{name}.csv"),
            pd.read_parquet(tmp_path / "out" / f"{name}.parquet"),
        ):
            pd.testing.assert_frame_equal(written, table, check_dtype=False, check_categorical=False)
    assert "8 tested, 0 of them with FDR below 5 %; 4 not in the data" in result.stdout
    assert "B2M+LYZ" in result.stdout


@pytest.mark.usefixtures("without_figures")
def test_arguments_are_those_of_the_file(
    scfm: Scfm, calls: list[dict[str, Any]], cells_in_groups: Path, tmp_path: Path
) -> None:
    assert scfm("perturb", describe(tmp_path, TWO)).exit_code == 0
    assert [{**call, "model": call["model"].spec.name} for call in calls] == [
        {
            "genes": ["CD74", ("B2M", "LYZ"), "NONE"],
            "kind": "inhibit",
            "dose": [0.5, 1],
            "groupby": "kind",
            "model": "scfm-mini",
            "key_added": "grades",
            "resume": tmp_path / "out" / "grades.partial",
        },
        {
            "genes": None,
            "kind": "inhibit",
            "max_cells": 10,
            "model": "scfm-mini",
            "key_added": "all",
            "resume": tmp_path / "out" / "all.partial",
        },
    ]
    assert calls[0]["model"] is calls[1]["model"]


@pytest.mark.usefixtures("without_figures")
def test_paths_start_at_the_file(
    scfm: Scfm, calls: list[dict[str, Any]], cells_in_groups: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    describe(tmp_path, 'genes = "CD74+ctrl"')
    assert scfm("perturb", "../screens.toml").exit_code == 0
    assert (tmp_path / "out" / "screen.csv").is_file()
    assert calls[0]["genes"] == ["CD74+ctrl"]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_model_may_be_a_path_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (screen,) = read_screens(describe(tmp_path, 'model = "weights"')).screens
    assert screen.arguments["model"] == str(tmp_path / "weights")


@pytest.mark.usefixtures("without_figures")
def test_finished_screens_are_not_run_again(
    scfm: Scfm, calls: list[dict[str, Any]], cells_in_groups: Path, tmp_path: Path
) -> None:
    described = describe(tmp_path, TWO)
    scfm("perturb", described)
    (tmp_path / "out" / "grades.csv").unlink()
    result = scfm("perturb", described)
    assert result.exit_code == 0
    assert len(calls) == 2
    assert result.stdout.count("finished before") == 2
    assert (tmp_path / "out" / "grades.csv").is_file()
    scfm("perturb", describe(tmp_path, TWO.replace("[0.5, 1]", "[0.5, 0.9]")))
    assert [call["key_added"] for call in calls] == ["grades", "all", "grades"]
    adata = read_adata(cells_in_groups)
    adata.X = adata.X * 2
    write_adata(adata, cells_in_groups)
    scfm("perturb", described)
    assert [call["key_added"] for call in calls[3:]] == ["grades", "all"]
    assert (read_adata(tmp_path / "out" / "cells.h5ad").X != adata.X).nnz == 0


@pytest.mark.usefixtures("without_figures")
def test_screens_that_fail_leave_the_others(
    scfm: Scfm, calls: list[dict[str, Any]], cells_in_groups: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank = scfm_package.tl.rank_perturbations

    def fails(adata: AnnData, **arguments: Any) -> Any:
        if arguments["key_added"] != "all":
            msg = "Found max_cells=10; expected more. Pass groupby='kind' or key_added=, or leave max_cells= out."
            raise InputError(msg)
        return rank(adata, **arguments)

    fails.__signature__ = inspect.signature(rank)  # type: ignore[attr-defined]
    monkeypatch.setattr(scfm_package.tl, "rank_perturbations", fails)
    result = scfm("perturb", describe(tmp_path, "[[screen]]\nname = 'none'" + TWO.removeprefix('\nkind = "inhibit"')))
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"scfm: error: In the screen {name!r}: Found max_cells = 10; expected more. "
        "Pass groupby = 'kind' or name, or leave max_cells out."
        for name in ("none", "grades")
    ]
    assert [call["key_added"] for call in calls] == ["all"]
    assert (tmp_path / "out" / "all.csv").is_file()
    monkeypatch.setattr(scfm_package.tl, "rank_perturbations", rank)
    assert scfm("perturb", describe(tmp_path, TWO.replace('kind = "inhibit"', ""))).exit_code == 0
    assert [call["key_added"] for call in calls] == ["all", "grades"]


def test_figures_are_drawn_of_what_there_is(tmp_path: Path) -> None:
    adata, table = small_counts(), a_table(GENES, ["all"], [1.0], "delete")
    record(adata, "rank_perturbations", "x", {})
    for change, plots in ((table, ["rank", "volcano"]), (table.assign(null_mean=np.nan, null_sd=np.nan), ["rank"])):
        adata.uns["scfm"]["rank_perturbations"]["x"]["table"] = change
        assert [plot for plot, _ in _figures(adata, change, "x")] == plots


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('gene = ["CD74"]', "the key 'gene' in the screen 'screen' of screens.toml; did you mean 'genes'?"),
        ("[[screen]]\nmaxcells = 3", "did you mean 'max_cells'?"),
        ('[[screen]]\noutput = "x"', "the key 'output' in the screen 'screen' of screens.toml; it belongs to the top"),
        ("resume = 'x'", "the key 'resume'"),
        ("key_added = 'x'", "the key 'key_added'"),
        ("zzzz = 1", "those there are: genes, kind"),
        ("min_cells = '3'", "min_cells = '3' in the screen 'screen' of screens.toml; expected a whole number."),
        ("min_cells = 3.5", "expected a whole number."),
        ("min_cells = true", "expected a whole number."),
        ("dose = 'much'", "dose = 'much' in the screen 'screen' of screens.toml; expected "),
        ("kind = 3", "kind = 3 in the screen 'screen' of screens.toml; expected text."),
        ("use_raw = 1", "expected true or false."),
        ("groupby = ['kind']", "expected text."),
        ("random_state = 1979-05-27", "expected a whole number."),
        ("[genes]\na = 1", "genes = {'a': 1}"),
        ("[screen]\nname = 'a'", "expected [[screen]] above"),
        ("screen = []", "expected [[screen]] above"),
        ("[[screen]]\nname = 'a'\n[[screen]]\nname = 'a'", "two screens named 'a'"),
        ("[[screen]]\nname = 'a'\n[[screen]]\ngenes = ['A']", "no 'name' in a screen of"),
        ("name = 'a/b'", "name = 'a/b'"),
        ("name = ''", "name = ''"),
        ("genes = [", "no TOML: "),
        ("groupby = 'none'", "In the screen 'screen': groupby = 'none' is not in adata.obs; its columns are 'kind'"),
        ("donor_key = 'none'", "In the screen 'screen': donor_key = 'none' is not in adata.obs"),
        ("model = 'scfm-maxi'", "In the screen 'screen': "),
    ],
)
def test_mistakes_in_the_file_are_one_line(
    scfm: Scfm, calls: list[dict[str, Any]], cells_in_groups: Path, tmp_path: Path, text: str, told: str
) -> None:
    describe(tmp_path, text)
    result = scfm("perturb", "screens.toml")
    assert result.exit_code == 1
    assert result.stderr.startswith("scfm: error: ")
    assert len(result.stderr.splitlines()) == 1
    assert told in result.stderr
    assert calls == []


@pytest.mark.parametrize(
    ("top", "told"),
    [
        ('output = "out"', "no 'input' at the top of screens.toml"),
        ('inputs = "cells.h5ad"\noutput = "out"', "Did you mean 'inputs'?"),
        ('input = "cells.h5ad"', "no 'output' at the top"),
        ('input = 3\noutput = "out"', "input = 3 at the top"),
        ('input = "cell.h5ad"\noutput = "out"', "did you mean cells.h5ad?"),
        ('input = "cells.csv"\noutput = "out"', "ends in .h5ad or .zarr"),
        ('input = "cells.h5ad"\noutput = "no/out"', "Cannot write into the folder"),
        ('input = "cells.h5ad"\noutput = "cells.h5ad"', "which is no folder"),
        ('input = "cells.h5ad"\noutput = "."', "expected another output folder"),
    ],
)
def test_files_that_cannot_be_are_one_line(
    scfm: Scfm, calls: list[dict[str, Any]], cells_in_groups: Path, tmp_path: Path, top: str, told: str
) -> None:
    describe(tmp_path, "", top=top)
    result = scfm("perturb", "screens.toml")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert told in result.stderr
    assert calls == []
    assert {path.name for path in tmp_path.iterdir()} == {"cells.h5ad", "screens.toml"}


def test_file_that_is_missing_or_no_text_is_told(scfm: Scfm, tmp_path: Path) -> None:
    result = scfm("perturb", "none.toml")
    assert (result.exit_code, "none.toml" in result.stderr) == (1, True)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    result = scfm("perturb", "bytes.toml")
    assert (result.exit_code, "no TOML" in result.stderr) == (1, True)


def test_example_of_the_help_is_a_file_of_screens(scfm: Scfm, tmp_path: Path) -> None:
    shown = scfm("perturb", "--help").stdout
    assert all(line.strip() in shown for line in EXAMPLE.splitlines())
    example = tmp_path / "example.toml"
    example.write_text(EXAMPLE, encoding="utf-8")
    first, second = read_screens(example).screens
    assert first.arguments == {"groupby": "cell_type", "genes": ["IFNAR1", "IFNGR1", ("IFNAR1", "IFNGR1")]}
    assert second.arguments["genes"] is None


REAL = """
n_null = 20
max_cells = 20
[[screen]]
name = "first"
genes = ["NKG7", "NONE"]
[[screen]]
name = "second"
genes = ["NKG7+ctrl", ["CXCR4", "CD19"], "LEF1", ""]
kind = "inhibit"
dose = [0.5, 1]
groupby = "kind"
"""


class CutShort(BaseException):
    """Ends a run wherever it is, as nothing in the package catches it."""


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each piece of work that is kept on disk; the run ends when there are as many as the first says."""
    add, made = Partial.add, [0]

    def counted(*arguments: Any) -> None:
        add(*arguments)
        made.append(1)
        if len(made) - 1 == made[0]:
            raise CutShort

    monkeypatch.setattr(Partial, "add", counted)
    return made


@pytest.mark.usefixtures("without_figures")
def test_screen_that_was_cut_short_goes_on_where_it_stopped(
    scfm: Scfm, cells_in_groups: Path, tmp_path: Path, pieces: list[int]
) -> None:
    described = describe(tmp_path, REAL)
    whole = scfm("perturb", described)
    assert whole.exit_code == 0, whole.stderr
    n_pieces = len(pieces) - 1
    assert n_pieces >= 10  # what is compared with, and perturbations: of one screen, and of two doses in two groups
    described.write_text(described.read_text(encoding="utf-8").replace('"out"', '"again"'), encoding="utf-8")
    pieces[:] = [5]
    with pytest.raises(CutShort):
        scfm("perturb", described)
    assert not (tmp_path / "again" / "second.csv").exists()
    pieces[:] = [0]
    resumed = scfm("perturb", described)
    assert resumed.exit_code == 0, resumed.stderr
    assert "first: finished before" in resumed.stdout
    assert len(pieces) - 1 <= n_pieces - 5
    for name in ("first", "second"):
        tables = [pd.read_csv(tmp_path / folder / f"{name}.csv") for folder in ("out", "again")]
        pd.testing.assert_frame_equal(*tables, check_exact=False, atol=1e-6)
    table = pd.read_csv(tmp_path / "out" / "second.csv", keep_default_na=False)
    assert set(table["perturbation"]) == {"NKG7", "CXCR4+CD19", "LEF1", ""}
    assert set(table["group"]) == {"a", "b"}
    assert set(table["status"]) == {"tested", "no perturbation"}


@pytest.mark.usefixtures("without_figures")
def test_table_is_that_of_the_function_for_either_kind_of_file(scfm: Scfm, cells: Path, tmp_path: Path) -> None:
    text = (
        'genes = ["NKG7", "LEF1"]\nn_null = 20\n[[screen]]\nname = "one"\n[[screen]]\nname = "two"\nkind = "activate"'
    )
    described = describe(tmp_path, text, top=f'input = "{cells.name}"\noutput = "out"\n')
    result = scfm("perturb", described)
    assert result.exit_code == 0, result.stderr
    found = read_adata(tmp_path / "out" / cells.name)
    for name, kind in (("one", "delete"), ("two", "activate")):
        table = scfm_package.tl.rank_perturbations(read_adata(cells), ["NKG7", "LEF1"], n_null=20, kind=kind)
        written = scfm_package.get.perturbations(found, key=name)
        pd.testing.assert_frame_equal(written, table, check_dtype=False, check_categorical=False)
    assert scfm("perturb", described).stdout.count("finished before") == 2
