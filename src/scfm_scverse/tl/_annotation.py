"""How ``tl.annotate`` writes what it found, and what it warns of."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._logging import say
from .._record import read_record
from ..genes import load_gene_table
from ..models import CellModel
from ..reference import Reference
from ..reference.answer import UNKNOWN, Answer, name_groups
from ..reference.origin import same_cells

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

MALIGNANT, MALIGNANT_TERM = "malignant", "CL:0001064"
N_MARKERS = 20
NOT_COVERED = 0.2  # share of unknown cells, ten times what is refused among known types


def check_alpha(alpha: float) -> None:
    """Stop where ``alpha`` is no error rate."""
    if not 0 < alpha < 1:
        msg = f"alpha={alpha}; expected a number between 0 and 1: the share of prediction sets that may miss the truth."
        raise InputError(msg)


def check_donors(donor_key: str | None, *, malignant: bool) -> None:
    """Stop where donors are named for nothing."""
    if donor_key is not None and not malignant:
        msg = f"Found donor_key={donor_key!r} without malignant=True, for which alone it counts; pass both or none."
        raise InputError(msg)


def write_answer(adata: AnnData, answer: Answer, key: str) -> None:
    """Write labels, numbers and sets."""
    write_category(adata, f"{key}_cell_type", answer.label)
    write_category(adata, f"{key}_cell_type_fine", answer.fine)
    write_category(adata, f"{key}_cell_type_ontology", answer.term)
    adata.obs[f"{key}_confidence"] = answer.confidence
    adata.obs[f"{key}_unknown_score"] = answer.unknown_score
    write_category(adata, f"{key}_prediction_set", answer.prediction_set)
    adata.obsm[f"{key}_probabilities"] = answer.probabilities


def write_category(adata: AnnData, column: str, values: NDArray[np.str_] | NDArray[np.object_]) -> None:
    """Write a column of categories; colours of other categories go."""
    import pandas as pd

    # Object strings: nullable strings cannot be written by older anndata.
    fresh = pd.Categorical(values.astype(object))
    if column in adata.obs and list(getattr(adata.obs[column].dtype, "categories", [])) != list(fresh.categories):
        # Colours stand in the order of the categories: old ones would sit on other types.
        adata.uns.pop(f"{column}_colors", None)
    adata.obs[column] = fresh


def write_groups(adata: AnnData, reference: Reference, answer: Answer, groups: pd.Series[Any], key: str) -> None:
    """Write the label of each cell's group, and the share of the group's cells that agree with it."""
    import pandas as pd

    code, _ = pd.factorize(groups)
    label, share = name_groups(reference, answer, code)
    # A cell without a group reads the entry behind the last.
    label, share = np.append(label, UNKNOWN), np.append(share, np.float32(np.nan))
    write_category(adata, f"{key}_group_cell_type", label[code])
    adata.obs[f"{key}_group_share"] = share[code].astype(np.float32)


def call_malignant(adata: AnnData, called: NDArray[np.bool_], key: str) -> None:
    """Rename the cells that are called malignant; their fine label goes on naming what they resemble."""
    for name, value in (("cell_type", MALIGNANT), ("cell_type_ontology", MALIGNANT_TERM)):
        column = f"{key}_{name}"
        write_category(adata, column, np.where(called, value, adata.obs[column].astype(str).to_numpy(str)))


def marker_table(model: CellModel, reference: Reference, labels: NDArray[np.str_]) -> dict[str, Any]:
    """Best markers of every label that occurs, as columns."""
    columns: dict[str, Any] = {"label": [], "gene": [], "score": []}
    if reference.markers is None:
        return columns
    table = load_gene_table()
    symbol = table.symbol[model.gene_rows].astype(str)
    markers = reference.markers
    for label in np.unique(labels[labels != UNKNOWN]):
        at = int(np.searchsorted(markers.label, label))
        kept = np.flatnonzero(markers.score[at] > 0)[:N_MARKERS]
        columns["label"] += [str(label)] * len(kept)
        columns["gene"] += symbol[markers.gene[at, kept]].tolist()
        columns["score"] += markers.score[at, kept].tolist()
    return columns


def warn(adata: AnnData, model: CellModel, reference: Reference, answer: Answer, embedding: NDArray[Any]) -> None:
    """Say what makes the labels less sure than their confidence."""
    organism = (read_record(adata, "embed", model.spec.key_added) or {}).get("organism")
    if organism != reference.organism:
        say(
            f"the cells are of {organism} and the reference of {reference.organism}, joined by genes with one "
            "ortholog: broad types hold, fine ones often do not, and confidence was not measured for it",
            level=logging.WARNING,
        )
    counted = np.isfinite(answer.confidence)
    unknown = float((answer.label[counted] == UNKNOWN).mean()) if counted.any() else 0.0
    if unknown > NOT_COVERED:
        say(
            f"{unknown:.0%} of the cells are unlike the reference ({reference.name}): it seems not to cover this "
            "tissue or this kind of data; pass a reference of your own with tl.build_reference",
            level=logging.WARNING,
        )
    n_again, batches = same_cells(reference, embedding)
    if n_again:
        where = f" ({', '.join(batches[:3])})" if batches else ""
        say(
            f"{n_again:,} of the cells looked at are among those that the reference was made from{where}: "
            "labels will look better than they are for new cells",
            level=logging.WARNING,
        )
