"""``scfm perturb``: rank perturbations as a file describes, and go on where an earlier run was cut short."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._errors import FileError, ScfmError
from ._files import require_folder
from ._screen_file import EXAMPLE, OURS, Screen, ScreenFile, parameters, read_screens
from ._toml import as_keys

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from ..models import CellModel

SHOWN = 10  # perturbations of a screen that are printed
EPILOG = "\b\n" + f"Example:\n\n{EXAMPLE}".replace("\n\n", "\n\n\b\n")


def perturb(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A TOML file that describes one screen or several.")],
) -> None:
    """Ask a model which genes, deleted or raised, change the cells of a file most.

    FILE names the cells, a folder for the results, and for each screen the arguments of tl.rank_perturbations. Each
    screen gives a table (csv, and parquet where pyarrow is installed) and figures; a copy of the cells holds the
    tables too. The input stays as it is. The same command goes on where it was cut short.
    """
    import matplotlib as mpl

    from .._record import ROOT, read_record, record
    from ..io.files import write_results

    asked = read_screens(file)
    target = _target(asked)
    source, adata = _open(asked, target)
    mpl.use("agg")
    there, failures = set(adata.obsm), list[ScfmError]()
    models: dict[str, CellModel] = {}
    for screen in asked.screens:
        made_from, before = _made_from(asked, screen), read_record(adata, "screen", screen.name) or {}
        if before.items() >= made_from.items():
            print(f"{screen.name}: finished before")
        else:
            if before:  # ours, and asked for anew; with another model it would be in the way
                adata.uns[ROOT]["rank_perturbations"].pop(screen.name, None)
            try:
                _run(adata, screen, models, asked.output / f"{screen.name}.partial")
            except ScfmError as error:  # raised in the end: the other screens may take the night
                failures.append(error)
                continue
            record(adata, "screen", screen.name, made_from)
            new = [f"obsm/{key}" for key in adata.obsm if key not in there]
            write_results(source, target, adata, ["uns/scfm", *new])
            source = target
        _write(adata, screen.name, asked.output)
    if source == target:
        print(f"\n{target}")
    if failures:
        *others, last = failures
        for failure in others:
            print(f"scfm: error: {failure}", file=sys.stderr)
        raise last


def _target(asked: ScreenFile) -> Path:
    """Return the copy of the cells to make; settles before any work whether it can be made."""
    from ..io.files import file_kind

    require_folder(asked.output)
    if asked.output.exists() and not asked.output.is_dir():
        msg = f"Found the output {asked.output}, which is no folder; expected a folder or a free name."
        raise FileError(msg)
    target = asked.output / f"cells.{file_kind(asked.input)}"
    if target.resolve() == asked.input.resolve():
        msg = f"Found the input {asked.input} where its copy with the results belongs; expected another output folder."
        raise FileError(msg)
    return target


def _open(asked: ScreenFile, target: Path) -> tuple[Path, AnnData]:
    """Return the copy where an earlier run left one of these very cells, else the input."""
    from .._record import ROOT, check_column
    from ..io.files import read_adata

    source, adata = asked.input, read_adata(asked.input, backed=True)
    for screen in asked.screens:
        with _in_keys(screen):
            for key, value in screen.arguments.items():
                if key == "groupby" or key.endswith("_key"):
                    check_column(adata, key, value)
    asked.output.mkdir(exist_ok=True)
    if target.exists():
        copy = read_adata(target, backed=True)
        screens = copy.uns.get(ROOT, {}).get("screen", {}).values()
        if any(str(made.get("input_changed")) == _changed(asked.input) for made in screens):
            return target, copy
    return source, adata


def _made_from(asked: ScreenFile, screen: Screen) -> dict[str, str]:
    """Return what the result of a screen depends on."""
    from .._record import _package_version

    return {
        "arguments": json.dumps(screen.arguments, sort_keys=True),
        "input": str(asked.input.resolve()),
        "input_changed": _changed(asked.input),
        "package_version": _package_version(),
    }


def _changed(path: Path) -> str:
    """Time of the last change of a file, or of anything in a folder."""
    return str(max(one.stat().st_mtime_ns for one in [path, *path.rglob("*")]))


def _run(adata: AnnData, screen: Screen, models: dict[str, CellModel], resume: Path) -> None:
    from .. import models as registry
    from .. import tl

    with _in_keys(screen):
        name = screen.arguments.get("model", parameters()["model"].default)
        if name not in models:
            models[name] = registry.load(name)
            if Path(name).exists():
                print(models[name].report())
        given: dict[str, Any] = {"model": models[name], "key_added": screen.name, "resume": resume}
        tl.rank_perturbations(adata, **{**screen.arguments, **given})


def _write(adata: AnnData, name: str, folder: Path) -> None:
    """Write the table and the figures of a finished screen, and print the top of the table."""
    from importlib.util import find_spec

    from .. import get
    from ..io.atomic import replacing

    table = get.perturbations(adata, key=name)
    with replacing(folder / f"{name}.csv") as path:
        table.to_csv(path, index=False)
    if find_spec("pyarrow"):
        with replacing(folder / f"{name}.parquet") as path:
            table.to_parquet(path, index=False)
    for plot, figure in _figures(adata, table, name):
        with replacing(folder / f"{name}_{plot}.png") as path:
            figure.savefig(path, dpi=300)
    print(f"\n{_top(table)}\n\n{folder / f'{name}.csv'}: {_counts(table)}")


def _figures(adata: AnnData, table: pd.DataFrame, name: str) -> Iterator[tuple[str, Any]]:
    """Draw what the table has numbers for."""
    from matplotlib import pyplot as plt

    from .. import pl

    compared = table[table["null_mean"].notna()]
    several = len(compared[["group", "dose"]].drop_duplicates()) > 1
    for plot in ["rank", *["volcano"] * (len(compared) > 0), *["heatmap"] * several]:
        figure = getattr(pl, f"perturbation_{plot}")(adata, key=name, show=False, return_fig=True)
        yield plot, figure
        plt.close(figure)


def _top(table: pd.DataFrame) -> str:
    from ._table import table as laid_out

    tested = table[table["status"] == "tested"].sort_values("p_value", kind="stable")
    names = [column for column in ("kind", "dose", "group") if tested[column].nunique() > 1]
    rows = [
        [str(row["perturbation"]), *(str(row[column]) for column in names), f"{row['n_cells']:,.0f}"]
        + [f"{row[column]:.3g}" for column in ("score", "null_mean", "p_value", "fdr")]
        for _, row in tested.head(SHOWN).iterrows()
    ]
    numbers = ["cells", "score", "null", "p", "FDR"]
    return laid_out(["perturbation", *names, *numbers], rows, right=numbers)


def _counts(table: pd.DataFrame) -> str:
    """How many rows were tested, and why the others were not."""
    counts = table["status"].astype(str).value_counts().to_dict()
    low = int((table["fdr"] < 0.05).sum())
    others = [f"{n:,} {status}" for status, n in counts.items() if status != "tested"]
    return "; ".join([f"{counts.get('tested', 0):,} tested, {low:,} of them with FDR below 5 %", *others])


@contextmanager
def _in_keys(screen: Screen) -> Iterator[None]:
    """Name the screen in an error, and arguments as keys of its file."""
    try:
        yield
    except ScfmError as error:
        message = as_keys(str(error), [*parameters(), *OURS]).replace("key_added", "name")
        msg = f"In the screen {screen.name!r}: {message}"
        raise type(error)(msg) from error
