"""``scfm finetune``: teach a model the labels of a file of cells, and go on where an earlier run was cut short."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._errors import InputError
from ._toml import in_keys
from ._training_file import FINETUNE, read_training
from .pretrain import OF_VALUES, groups_of, require_output, show

EPILOG = "\b\n" + f"Example:\n\n{FINETUNE}".replace("\n\n", "\n\n\b\n")


def finetune(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A TOML file that describes the training.")],
) -> None:
    """Teach a model to tell the labels of cells apart.

    FILE names the cells, the column of their labels, the model, how it is trained and a folder for the results: the
    model, which scfm.FoundationModel.load reads and every command takes by its path, the history as a table and a
    figure, and the run itself. The same command goes on where it was cut short.
    """
    asked = read_training(file, "finetune")
    require_output(asked)
    if len(asked.input) > 1:
        msg = f"Found {len(asked.input)} files in input; expected one, with all labelled cells."
        raise InputError(msg)
    with in_keys(asked.keys):
        from ..io.files import read_adata

        adata = read_adata(asked.input[0], backed=True)
        groups_of(asked, adata)
        from ..foundation.model import FoundationModel

        keys = (*OF_VALUES, "labels_key", "batch_key", "unlabeled_category")
        reading = {key: asked.data[key] for key in keys if key in asked.data}
        no_weights = {"class_weights": None} if asked.train.get("class_weights") == "none" else {}
        FoundationModel.setup_anndata(adata, **reading)
        model = FoundationModel.from_pretrained(asked.model["checkpoint"], adata)
        model.train(
            **{"seed": 0, **asked.train, **no_weights},
            objective="cell_type",
            validation_size=asked.data.get("validation", 0.1),
            holdout_key=asked.data.get("holdout_key"),
            folder=asked.output,
            resume=True,
        )
        model.save(asked.output / "model", overwrite=True)
        table = model.history_table
    if table is not None:
        show(table, asked.output)
