"""``tl.build_reference``: labelled cells as a reference that other cells are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._logging import say
from .._query import AnyModel, chosen_model, receiver
from .._record import check_column, read_record
from ..genes import names_and_hints, resolve_genes
from ..models import CellModel
from ..models.scfm_mini import ScfmMini
from ..ontology import load_ontology, match_labels
from ..reference import Reference, load_default_reference
from ..reference import build_reference as fit_to_cells
from ..reference.ladder import build_ladder
from ..reference.markers import find_markers, modelled_expression
from ..reference.reference import Markers
from ._embed import embedding_of

if TYPE_CHECKING:
    from anndata import AnnData

NO_LABEL = ("", "nan", "na", "n/a", "none", "unknown", "unassigned", "unlabelled", "unlabeled")
MIN_CELLS = 3  # below, fewer than half of the cells of a class are found again


@dataclass(frozen=True)
class Classes:
    """Classes of the labelled cells: names, terms and how these were found [c]; rows kept and class of each [n]."""

    name: NDArray[np.str_]
    term: NDArray[np.str_]
    matched: NDArray[np.str_]
    rows: NDArray[np.intp]
    code: NDArray[np.intp]


def build_reference(
    adata: AnnData,
    *,
    labels_key: str,
    ontology_key: str | None = None,
    batch_key: str | None = None,
    model: AnyModel = "scfm-mini",
    layer: str | None = None,
    use_raw: bool = False,
    normalized: bool | None = None,
    gene_symbols: str | None = None,
    organism: Literal["human", "mouse"] | None = None,
    device: str = "auto",
) -> Reference:
    """Make a reference from labelled cells.

    Every label becomes a class, with the Cell Ontology term that it stands for where one is found. The reference keeps
    the cells' embeddings, not their counts, and can be saved to one file (:meth:`scfm_scverse.Reference.save`) and
    given to :func:`scfm_scverse.tl.annotate`. Cells without a label (or called "unknown", "unassigned", "nan" and the
    like) or without counts, and classes of fewer than three cells, are left out and counted.

    Parameters
    ----------
    adata
        Labelled cells x genes; embedded in place first where they are not yet.
    labels_key
        Column of ``adata.obs`` with labels; they may hold any character.
    ontology_key
        Column of ``adata.obs`` with Cell Ontology ids; without it labels are matched to terms by their names, and
        ``reference.report()`` says how: "name", "synonym", "spelling" (but for order, plural, punctuation),
        "abbreviation", "general" (the label says more, such as a marker or a number) or "none". A label that may mean
        several terms gets none.
    batch_key
        Column of ``adata.obs`` with donors or studies: they weigh alike, and confidence is measured by leaving them
        out. Cells without a value are one batch. Without it, cells are left out instead, and confidence is at most
        that of the default reference.
    model
        Name of a model, or a loaded one.
    layer, use_raw, normalized, gene_symbols, organism, device
        As in :func:`scfm_scverse.tl.embed`; given any of the first five, an embedding that is there already is made
        anew.

    Returns
    -------
    The reference. In ``adata`` only the embedding is written, as :func:`scfm_scverse.tl.embed` does.

    Raises
    ------
    MissingKeyError
        One of the columns is not in ``adata.obs``.
    InputError
        Fewer than two classes are left.
    CountsError, GeneMatchError
        As in :func:`scfm_scverse.tl.embed`.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> reference = scfm.tl.build_reference(adata, labels_key="bulk_labels")
    >>> reference.report().loc["Dendritic", "term_name"]
    'dendritic cell'
    """
    started = perf_counter()
    cell_model = chosen_model(model)
    keys = {"labels_key": labels_key, "ontology_key": ontology_key, "batch_key": batch_key}
    reading = {
        "layer": layer,
        "use_raw": use_raw,
        "normalized": normalized,
        "gene_symbols": gene_symbols,
        "organism": organism,
    }
    reference = reference_of(receiver(adata, "", copy=False), cell_model, keys, device=device, reading=reading)
    cells = reference.cells
    n_cells = 0 if cells is None else len(cells.code)
    n_terms = int((reference.term != "").sum())
    say(
        f"reference of {n_cells:,} cells in {perf_counter() - started:.1f} s: {len(reference.label)} classes, "
        f"{n_terms} with a Cell Ontology term"
    )
    return reference


def reference_of(
    adata: AnnData,
    model: CellModel,
    keys: Mapping[str, str | None],
    *,
    device: str,
    reading: Mapping[str, Any] | None = None,
) -> Reference:
    """Make a reference of the columns of ``adata.obs`` that ``keys`` names by argument."""
    for argument, key in keys.items():
        check_column(adata, argument, key, where="the obs of the reference")
    labels_key, batch_key = keys["labels_key"], keys["batch_key"]
    if labels_key is None:
        msg = "The reference is an AnnData and labels_key is None; pass the column of its obs that holds labels."
        raise InputError(msg)
    label = _texts(adata, labels_key)
    label[np.isin(np.char.lower(np.char.strip(label)), NO_LABEL)] = ""
    _require_two(np.unique(label[label != ""]), labels_key)
    embedding = embedding_of(adata, model, device, reading or {})
    label[~np.isfinite(embedding).all(axis=1)] = ""
    classes = _classes(adata, label, labels_key, keys["ontology_key"])
    default = load_default_reference()
    reference = fit_to_cells(
        embedding[classes.rows],
        classes.name[classes.code],
        classes.term[classes.code],
        _batches(adata, classes.rows, batch_key),
        name=f"AnnData of {len(classes.rows)} cells labelled by {labels_key}",
        model_id=model.spec.id,
        known=default if default.model_id == model.spec.id else None,
    )
    written = read_record(adata, "embed", model.spec.key_added) or {}
    measured = _measured(adata, model, written)
    return replace(
        reference,
        organism=written.get("organism", "human"),
        measured=measured,
        matched=classes.matched,
        markers=_markers(reference, model, measured, default.markers),
    )


def _require_two(names: NDArray[np.str_], labels_key: str) -> None:
    if len(names) < 2:
        msg = (
            f"The reference has {len(names)} label ({', '.join(names)}); expected two at least in obs[{labels_key!r}], "
            f"with {MIN_CELLS} cells or more each."
        )
        raise InputError(msg)


def _texts(adata: AnnData, key: str) -> NDArray[np.str_]:
    """A column of obs as text, '' where it is missing."""
    texts: NDArray[np.str_] = adata.obs[key].astype(object).map(str, na_action="ignore").fillna("").to_numpy(str)
    return texts


def _classes(adata: AnnData, label: NDArray[np.str_], labels_key: str, ontology_key: str | None) -> Classes:
    """Cells with a label, of classes that are large enough."""
    if n_missing := int((label == "").sum()):
        say(f"{n_missing:,} cells of the reference have no label or no counts and are left out")
    names, count = np.unique(label[label != ""], return_counts=True)
    rare = names[count < MIN_CELLS]
    if len(rare):
        shown = ", ".join(map(repr, rare[:5].tolist())) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
        say(f"labels with fewer than {MIN_CELLS} cells are left out: {shown}")
    names = names[count >= MIN_CELLS]
    _require_two(names, labels_key)
    rows = np.flatnonzero(np.isin(label, names))
    code = np.searchsorted(names, label[rows])
    if ontology_key is None:
        found = match_labels(names.tolist())
        terms, matched = [one.term for one in found], [str(one.how) for one in found]
    else:
        given = _texts(adata, ontology_key)[rows]
        terms = [_given_term(given[code == i]) for i in range(len(names))]
        matched = ["given" if term else "none" for term in terms]
    return Classes(names, np.array(terms), np.array(matched), rows, code)


def _given_term(terms: NDArray[np.str_]) -> str:
    """Living term that most of the cells with a term have, '' where none has one."""
    ontology = load_ontology()
    names, count = np.unique(terms, return_counts=True)
    for term in names[np.argsort(-count, kind="stable")].tolist():
        living = str(ontology.replaced.get(term, term))
        if living in ontology.name:
            return living
    return ""


def _batches(adata: AnnData, rows: NDArray[np.intp], batch_key: str | None) -> NDArray[np.str_] | None:
    if batch_key is None:
        return None
    batch = _texts(adata, batch_key)[rows]
    if n_missing := int((batch == "").sum()):
        say(f"{n_missing:,} cells of the reference have no value in obs[{batch_key!r}] and count as one batch")
    return batch


def _markers(
    reference: Reference, model: CellModel, measured: NDArray[np.bool_], known: Markers | None
) -> Markers | None:
    """Find markers among the genes that tell any two labels of the default reference apart."""
    if not isinstance(model, ScfmMini) or known is None:
        return None
    usable = np.zeros(len(measured), bool)
    usable[known.gene[known.score > 0]] = True
    modelled = modelled_expression(reference.fine, model.weights.embedding)
    return find_markers(build_ladder(reference), reference.branch, modelled, None, usable & measured)


def _measured(adata: AnnData, model: CellModel, written: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Genes of the model that the embedded values had, [v]."""
    var = adata.raw.var if str(written.get("source", "")).startswith("raw") else adata.var
    symbols = written.get("gene_symbols")
    names, ids = names_and_hints(var, symbols if symbols in var else None)
    match = resolve_genes(names, ids=ids, organism=written.get("organism"))
    measured = np.zeros(len(model.spec.genes), bool)
    position = model.positions(match, ids)
    measured[position[position >= 0]] = True
    return measured
