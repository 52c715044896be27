"""What a registry of scvi-tools says of data: what is read of them, and the names of labels and batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError
from .data import numbers_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from mudata import MuData

Field = Literal["labels", "batch"]
_FIELDS: tuple[Field, ...] = ("labels", "batch")
_ARGUMENTS = {"labels": "labels_key", "batch": "batch_key"}


@dataclass(frozen=True)
class Registered:
    """A registry, read.

    Attributes
    ----------
    registry
        As ``AnnDataManager`` keeps it.
    """

    registry: dict[str, Any]

    @property
    def args(self) -> dict[str, Any]:
        """Arguments of the set-up."""
        args: dict[str, Any] = self.registry["setup_args"]
        return args

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of the set-up that say what is read of an AnnData, as :func:`~.data.read_cells` takes them."""
        names = ("use_raw", "gene_symbols", "organism")
        layer = self.args.get("layer", self.args.get("rna_layer"))
        return {"layer": layer} | {name: self.args[name] for name in names if name in self.args}

    def rna(self, data: AnnData | MuData) -> AnnData:
        """The AnnData that is read: of a MuData, one modality."""
        return _modality(data, self.args.get("modalities", {"rna_layer": "rna"})["rna_layer"])

    def names(self, field: Field) -> list[Any]:
        """Names of the labels or batches; none where no column was registered."""
        state = self.registry["field_registries"].get(field, {}).get("state_registry", {})
        if state.get("original_key", "_scvi").startswith("_scvi"):
            return []
        found: list[Any] = state["categorical_mapping"].tolist()
        return found

    def obs(self, data: AnnData | MuData, field: Field) -> pd.DataFrame:
        """The table of cells where the column of a field is to be."""
        modality = self.args.get("modalities", {}).get(_ARGUMENTS[field])
        table: pd.DataFrame = (data if modality is None else _modality(data, modality)).obs
        return table

    def numbers(self, data: AnnData | MuData, field: Field) -> NDArray[np.int64] | None:
        """Number of the label or batch of each cell, [n], -1 for none; ``None`` where the data have no such column.

        Raises
        ------
        InputError
            A name that was not registered.
        """
        names, key = self.names(field), self.args.get(_ARGUMENTS[field])
        obs = self.obs(data, field)
        if key not in obs:
            return None
        missing = self.args["unlabeled_category"] if field == "labels" else None
        return numbers_of(without(obs[key], missing), names, where=f"obs[{key!r}]")

    def new_beside(self, other: Registered) -> str:
        """Labels and batches that another registry has not, for a message."""
        pairs = [(field, self.names(field), set(other.names(field))) for field in _FIELDS]
        new = [f"{field[:5]} {name!r}" for field, names, known in pairs for name in names if name not in known]
        return ", ".join(new[:8]) + (f" and {len(new) - 8} more" if len(new) > 8 else "") or "no label and no batch"

    def column(self, data: AnnData | MuData, key: str) -> pd.Series:
        """Any column of the cells.

        Raises
        ------
        MissingKeyError
            There is none.
        """
        for table in (data.obs, self.rna(data).obs):
            if key in table:
                found: pd.Series = table[key]
                return found
        msg = f"holdout_key={key!r} is not in obs; its columns are {', '.join(map(repr, data.obs))}."
        raise MissingKeyError(msg)


def _modality(data: AnnData | MuData, name: str) -> AnnData:
    """Return one modality of a MuData; an AnnData is its own.

    Raises
    ------
    MissingKeyError
        There is none of that name.
    InputError
        Its cells are not those of the MuData in their order, so that rows of the two cannot be told apart.
    """
    if not hasattr(data, "mod"):
        return data
    if name not in data.mod:
        msg = f"Found no modality {name!r}; expected it beside {', '.join(map(repr, data.mod))}."
        raise MissingKeyError(msg)
    found: AnnData = data.mod[name]
    if not found.obs_names.equals(data.obs_names):
        msg = (
            f"Found other cells in the modality {name!r} than in the MuData, or in another order; expected the same: "
            f"data = data[data.mod[{name!r}].obs_names].copy() takes those of the modality."
        )
        raise InputError(msg)
    return found


def require_same_batches(registry: dict[str, Any], before: dict[str, Any]) -> None:
    """Stop where a model that tells batches apart would take those of its data for others.

    Raises
    ------
    InputError
        The batches are others, or in another order.
    """
    now, known = (Registered(one).names("batch") for one in (registry, before))
    if now != known:
        msg = (
            f"Found the batches {', '.join(map(repr, now[:8])) or 'none'}; expected those that the model tells apart, "
            f"{', '.join(map(repr, known[:8]))}: FoundationModel.load and load_query_data set data up alike."
        )
        raise InputError(msg)


def without(column: pd.Series, missing: object) -> pd.Series:
    """Return a column whose cells of one name have none."""
    return column if missing is None else column.astype(object).mask(column == missing, None)


def check_actual(data: AnnData | MuData) -> None:
    """Stop where scvi-tools would have to write into a view.

    Raises
    ------
    InputError
        The data are a view.
    """
    if data.is_view or any(one.is_view for one in getattr(data, "mod", {}).values()):
        msg = "Found a view; expected an object of its own, which scvi-tools writes into: data = data.copy() first."
        raise InputError(msg)


def of_genes(genes: list[str], *, scvi_version: str) -> dict[str, Any]:
    """Return what scvi-tools would register of data of these genes without cells."""
    state = {"n_obs": 0, "n_vars": len(genes), "column_names": np.array(genes)}
    stats = {"n_cells": 0, "n_vars": len(genes)}
    return {
        "scvi_version": scvi_version,
        "model_name": "FoundationModel",
        "setup_method_name": "setup_anndata",
        "setup_args": {},
        "field_registries": {"X": {"data_registry": {}, "state_registry": state, "summary_stats": stats}},
    }
