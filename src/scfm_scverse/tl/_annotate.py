"""``tl.annotate``: a cell type for every cell, how sure it is, and an honest "unknown"."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError, ReferenceMismatchError
from .._logging import say
from .._record import check_free, read_record, record
from ..models import CellModel, load
from ..ontology import load_ontology
from ..reference import Reference, build_reference, load_default_reference
from ..reference.answer import UNKNOWN, Answer, name_cells
from ._embed import embed
from ._query import make_actual, receiver

if TYPE_CHECKING:
    from anndata import AnnData

COLUMNS = ("cell_type", "cell_type_fine", "cell_type_ontology", "confidence", "unknown_score")


def annotate(
    adata: AnnData,
    *,
    reference: Literal["default"] | Reference | AnnData = "default",
    labels_key: str | None = None,
    ontology_key: str | None = None,
    batch_key: str | None = None,
    model: str | CellModel = "scfm-mini",
    key_added: str = "scfm",
    layer: str | None = None,
    use_raw: bool = False,
    normalized: bool | None = None,
    gene_symbols: str | None = None,
    organism: Literal["human", "mouse"] | None = None,
    device: str = "auto",
    copy: bool = False,
) -> AnnData | None:
    """Name the type of every cell.

    Cells are compared with the classes of a reference in the space of a model. The answer is the finest label that is
    more likely right than wrong, else the branch that it belongs to; a cell that lies farther from every class than
    known cells do is called "unknown". There is no class of malignant cells: they should stand out by their unknown
    score. Confidence is the share of right answers among comparable cells of studies that the reference did not hold.

    Parameters
    ----------
    adata
        Cells x genes; embedded first where it is not yet.
    reference
        ``"default"``: classes of human cells that come with the package (some from averaged profiles only); an AnnData
        with labelled cells, which is embedded in place first where it is not yet; or a built reference.
    labels_key
        Column of ``reference.obs`` with labels, when the reference is an AnnData.
    ontology_key
        Column of ``reference.obs`` with Cell Ontology ids; without it labels are looked up by name.
    batch_key
        Column of ``reference.obs`` with donors or studies: they weigh alike, and confidence is measured by leaving
        them out. Without it, confidence is that of the default reference at the same probability.
    model
        Name of a model, or a loaded one.
    key_added
        Prefix of everything written.
    layer, use_raw, normalized, gene_symbols, organism, device
        As in :func:`scfm_scverse.tl.embed`, for ``adata``; given any of the first five, an embedding that is there
        already is made anew.
    copy
        Return a copy instead of writing into ``adata``.

    Returns
    -------
    ``None``, or the copy. Written, with ``key_added`` in place of ``scfm``:

    ``adata.obs["scfm_cell_type"]`` : category
        The label, "unknown" where refused.
    ``adata.obs["scfm_cell_type_fine"]`` : category
        The best fine label, however unsure.
    ``adata.obs["scfm_cell_type_ontology"]`` : category
        Cell Ontology id of the label, or "unknown".
    ``adata.obs["scfm_confidence"]`` : float32
        Probability that the label is right.
    ``adata.obs["scfm_unknown_score"]`` : float32
        0 to 1, higher for cells less like the reference.
    ``adata.obsm["scfm_probabilities"]`` : float32 [n, c]
        Probability of each class; the columns are named in the record.
    ``adata.uns["scfm"]["annotate"]["scfm"]``
        Reference, model, class names and ids, classes known from averaged profiles only, limits, version.

    Cells without counts are "unknown" with NaN numbers. The embedding is kept in ``adata.obsm`` as
    :func:`scfm_scverse.tl.embed` writes it.

    Raises
    ------
    ReferenceMismatchError
        The reference was made by another model.
    MissingKeyError
        ``labels_key`` is not in the reference.
    CountsError, GeneMatchError
        As in :func:`scfm_scverse.tl.embed`.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> bool((adata.obs["scfm_confidence"] > 0.5).mean() > 0.5)
    True
    """
    started = perf_counter()
    cell_model = load(model) if isinstance(model, str) else model
    adata = receiver(adata, key_added, copy=copy)
    columns = [f"{key_added}_{name}" for name in COLUMNS]
    slot = f"{key_added}_probabilities"
    check_free(adata, "obs", columns, verb="annotate", record_key=key_added)
    check_free(adata, "obsm", [slot], verb="annotate", record_key=key_added)
    keys = {"labels_key": labels_key, "ontology_key": ontology_key, "batch_key": batch_key}
    chosen = _reference(reference, cell_model, keys, device)
    if chosen.model_id != cell_model.spec.id:
        msg = f"The reference was made by {chosen.model_id} and the model is {cell_model.spec.id}; expected the same."
        raise ReferenceMismatchError(msg)
    reading = {
        "layer": layer,
        "use_raw": use_raw or None,
        "normalized": normalized,
        "gene_symbols": gene_symbols,
        "organism": organism,
    }
    given = {name: value for name, value in reading.items() if value is not None}
    embedding = _embedding(adata, cell_model, device, given)
    answer = name_cells(chosen, embedding)
    make_actual(adata)
    _write(adata, answer, key_added)
    record(
        adata,
        "annotate",
        key_added,
        {
            "reference": chosen.name,
            "model": cell_model.spec.name,
            "model_id": cell_model.spec.id,
            "labels": chosen.label,
            "labels_ontology": chosen.term,
            "labels_from_profiles": chosen.from_profiles,
            "refuse_above": chosen.unknown.refuse_above,
            "labels_key": labels_key,
            "batch_key": batch_key,
        },
    )
    n_unknown = int((answer.label == UNKNOWN).sum())
    say(
        f"annotated {adata.n_obs:,} cells in {perf_counter() - started:.1f} s: "
        f"obs['{key_added}_cell_type'] and others; {n_unknown:,} unknown"
    )
    if n_unknown > adata.n_obs / 2:
        say("more than half of the cells are unlike the reference; is it the right one?", level=logging.WARNING)
    return adata if copy else None


def _embedding(adata: AnnData, model: CellModel, device: str, reading: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the embedding that tl.embed kept; made anew where there is none or where the caller says what to read."""
    key = model.spec.key_added
    written = read_record(adata, "embed", key) or {}
    if reading or key not in adata.obsm or written.get("model_id") != model.spec.id:
        embed(adata, model=model, device=device, **reading)
    out: NDArray[np.float32] = adata.obsm[key]
    return out


def _reference(
    reference: str | Reference | AnnData, model: CellModel, keys: Mapping[str, str | None], device: str
) -> Reference:
    if hasattr(reference, "obsm"):
        return _from_adata(reference, model, keys, device)
    given = [name for name, key in keys.items() if key is not None]
    if given:
        msg = f"Found {given[0]}={keys[given[0]]!r}, a column of a labelled AnnData; pass that AnnData as reference=."
        raise InputError(msg)
    if isinstance(reference, Reference):
        return reference
    if reference != "default":
        msg = f"reference={reference!r} is not known; expected 'default', an AnnData with labels, or a Reference."
        raise InputError(msg)
    return load_default_reference()


def _from_adata(reference: AnnData, model: CellModel, keys: Mapping[str, str | None], device: str) -> Reference:
    """Build a reference from labelled cells; cells without a label or without counts are left out and counted."""
    for argument, key in keys.items():
        if key is not None and key not in reference.obs:
            there = ", ".join(map(repr, reference.obs.columns)) or "none"
            msg = f"{argument}={key!r} is not in reference.obs; its columns are {there}."
            raise MissingKeyError(msg)
    labels_key, batch_key = keys["labels_key"], keys["batch_key"]
    if labels_key is None:
        msg = "The reference is an AnnData and labels_key is None; pass the column of reference.obs that holds labels."
        raise InputError(msg)
    embedding = _embedding(receiver(reference, "", copy=False), model, device, {})
    column = reference.obs[labels_key]
    kept = np.flatnonzero(column.notna().to_numpy() & np.isfinite(embedding).all(axis=1))
    if len(kept) < reference.n_obs:
        say(f"{reference.n_obs - len(kept):,} cells of the reference have no label or no counts and are left out")
    label = column.iloc[kept].astype(str).to_numpy(str)
    return build_reference(
        embedding[kept],
        label,
        _terms(reference, label, kept, keys["ontology_key"]),
        None if batch_key is None else reference.obs[batch_key].iloc[kept].astype(str).to_numpy(str),
        name=f"AnnData of {len(kept)} cells labelled by {labels_key}",
        model_id=model.spec.id,
        known=default if (default := load_default_reference()).model_id == model.spec.id else None,
    )


def _terms(
    reference: AnnData, label: NDArray[np.str_], kept: NDArray[np.intp], ontology_key: str | None
) -> NDArray[np.str_]:
    """Cell Ontology id of each cell, '' where there is none."""
    if ontology_key is not None:
        given = reference.obs[ontology_key].iloc[kept].astype(str).to_numpy(str)
        return np.where(np.char.startswith(given, "CL:"), given, "")
    term_of_name = load_ontology().term_of_name
    names, code = np.unique(label, return_inverse=True)
    return np.array([term_of_name.get(name.lower(), "") for name in names])[code]


def _write(adata: AnnData, answer: Answer, key: str) -> None:
    import pandas as pd

    texts = (answer.label, answer.fine, answer.term)
    for name, values in zip(COLUMNS[:3], texts, strict=True):
        column = f"{key}_{name}"
        # Object strings: nullable strings cannot be written by older anndata.
        fresh = pd.Categorical(values.astype(object))
        if column in adata.obs and list(adata.obs[column].cat.categories) != list(fresh.categories):
            # Colours stand in the order of the categories: old ones would sit on other types.
            adata.uns.pop(f"{column}_colors", None)
        adata.obs[column] = fresh
    adata.obs[f"{key}_confidence"] = answer.confidence
    adata.obs[f"{key}_unknown_score"] = answer.unknown_score
    adata.obsm[f"{key}_probabilities"] = answer.probabilities
