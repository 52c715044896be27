"""``scfm pretrain``: train a model on files of cells as a file says, and go on where an earlier run was cut short."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._errors import FileError, InputError
from ._files import require_folder
from ._toml import in_keys
from ._training_file import PRETRAIN, TrainingFile, read_training

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from ..models import CellModel

OF_VALUES = ("layer", "use_raw", "gene_symbols", "organism")
EPILOG = "\b\n" + f"Example:\n\n{PRETRAIN}".replace("\n\n", "\n\n\b\n")


def pretrain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A TOML file that describes the training.")],
) -> None:
    """Train a model on cells that need no labels, from new weights or from a checkpoint.

    FILE names the cells, the model, how it is trained and a folder for the results: the model, which every command
    takes by its path, the history as a table and a figure, and the run itself. Files of cells are read while training
    and may be larger than memory. The same command goes on where it was cut short.
    """
    asked = read_training(file, "pretrain")
    require_output(asked)
    with in_keys(asked.keys):
        from ..foundation.answers import trainable
        from ..foundation.data import read_cells
        from ..foundation.run import train_cells

        adata, reading = _read(asked)
        model = trainable(_model(asked, adata, reading))
        cells = read_cells(adata, model, total_key=asked.data.get("total_key"), **reading)
        trained = train_cells(
            model,
            cells,
            names=adata.obs_names,
            settings={"max_epochs": None, **asked.train},
            n_classes=0,
            n_batches=0,
            objective=_objective(asked),
            validation_size=asked.data.get("validation", 0.05),
            groups=groups_of(asked, adata),
            folder=asked.output,
            resume=True,
        )
        from ..io.atomic import replacing

        with replacing(asked.output / "model") as folder:
            model.write(folder)
    show(trained.table, asked.output)


def require_output(asked: TrainingFile) -> None:
    """Stop before any work where the results could not be written."""
    require_folder(asked.output)
    if asked.output.exists() and not asked.output.is_dir():
        msg = f"Found the output {asked.output}, which is no folder; expected a folder or a free name."
        raise FileError(msg)
    model = asked.output / "model"
    if model.exists() and not (asked.output / "run.ckpt").exists():
        msg = f"Found {model} beside no run that made it; expected a free name for the result: choose another output."
        raise FileError(msg)


def groups_of(asked: TrainingFile, adata: AnnData) -> pd.Series | None:
    """Return the column whose groups are held out as a whole, if one is named."""
    from .._record import check_column

    key = asked.data.get("holdout_key")
    check_column(adata, "holdout_key", key)
    return None if key is None else adata.obs[key]


def show(table: pd.DataFrame, folder: Path) -> None:
    """Draw the losses of a run, and say where everything is."""
    import matplotlib as mpl

    from .. import pl
    from ..io.atomic import replacing

    mpl.use("agg")
    with replacing(folder / "training.png") as path:
        figure: Any = pl.training(table, return_fig=True)
        figure.savefig(path, dpi=300)
    last = table.index[-1]
    told = f"{last:,} steps, training loss {table['train_loss'].iloc[-1]:.4g}"
    if "validation_loss" in table:
        best = table["validation_loss"].dropna().sort_values()
        told += f", best validation loss {best.iloc[0]:.4g} after step {best.index[0]:,}"
    print(f"{told}\n{folder / 'model'}")


def _read(asked: TrainingFile) -> tuple[AnnData, dict[str, Any]]:
    """Return the cells, and how their values are found."""
    from ._cells import read_files

    reading = {key: asked.data[key] for key in OF_VALUES if key in asked.data}
    adata = read_files(asked.input, **reading)
    if len(asked.input) > 1:
        reading = {"organism": "human"}  # their genes have the names of the human table now
    return adata, reading


def _model(asked: TrainingFile, adata: AnnData, reading: dict[str, Any]) -> CellModel:
    from ..models import create, load

    sizes = dict(asked.model)
    if "checkpoint" in sizes:
        return load(sizes["checkpoint"])
    architecture, genes = sizes.pop("architecture"), asked.data.get("genes", "data")
    if genes == "data":
        from ..foundation.data import OF_ENSEMBL, genes_to_model

        names = genes_to_model(adata, ensembl=architecture in OF_ENSEMBL, **reading)
    else:
        names = _listed(asked.output.parent / genes)
    return create(architecture, names, **{"seed": asked.train.get("seed", 0)} | sizes)


def _listed(path: Path) -> list[str]:
    """Names of a file, one a line."""
    try:
        names = path.read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        msg = f"Cannot read genes = {str(path)!r}: {error}. Expected 'data', or a text file with a name on every line."
        raise FileError(msg) from error
    if len(set(names)) < max(1, len(names)):
        msg = f"Found {len(names) - len(set(names))} of {len(names)} names twice in {path}; expected each gene once."
        raise InputError(msg)
    return names


def _objective(asked: TrainingFile) -> Any:
    """Return the objective that is named, or the name of the model's own."""
    if not asked.objective:
        return "pretraining"
    from ..training import objectives

    options = dict(asked.objective)
    made = getattr(objectives, options.pop("name"))(**options)
    return objectives.Joint(made) if isinstance(made, objectives.Reading) else made
