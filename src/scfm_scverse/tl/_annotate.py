"""``tl.annotate``: a cell type for every cell, how sure it is, and an honest "unknown"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .._errors import InputError, ReferenceMismatchError
from .._logging import say
from .._query import AnyModel, chosen_model, make_actual, receiver
from .._record import check_column, check_free, record
from ..models import CellModel
from ..reference import Reference, load_default_reference
from ..reference.answer import UNKNOWN, name_cells
from ._annotation import (
    MALIGNANT,
    call_malignant,
    check_alpha,
    check_donors,
    marker_table,
    warn,
    write_answer,
    write_groups,
)
from ._build_reference import reference_of
from ._embed import embedding_of

if TYPE_CHECKING:
    from anndata import AnnData

COLUMNS = ("cell_type", "cell_type_fine", "cell_type_ontology", "confidence", "unknown_score", "prediction_set")
OPTIONAL_COLUMNS = ("group_cell_type", "group_share", "malignant_score")


def annotate(
    adata: AnnData,
    *,
    reference: str | Path | Reference | AnnData = "default",
    labels_key: str | None = None,
    ontology_key: str | None = None,
    batch_key: str | None = None,
    model: AnyModel = "scfm-mini",
    alpha: float = 0.1,
    groupby: str | None = None,
    malignant: bool = False,
    donor_key: str | None = None,
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

    Cells are compared with the classes of a reference and with their nearest labelled cells, in the space of a model.
    The answer is the deepest Cell Ontology term that is certain enough: the class where it can be told, else what it
    shares with its rivals. A cell that lies farther from every class than known cells do, or for which not even a broad
    answer is certain, is "unknown". Confidence is the share of right answers among comparable cells of studies that the
    reference did not hold; the prediction set lists the classes that a cell may be.

    Parameters
    ----------
    adata
        Cells x genes; embedded first where it is not yet.
    reference
        ``"default"``: classes of human cells that come with the package (some from averaged profiles only); an AnnData
        with labelled cells, which is embedded in place first where it is not yet; a reference that
        :func:`scfm_scverse.tl.build_reference` made, or the path of a saved one.
    labels_key
        Column of ``reference.obs`` with labels, when the reference is an AnnData.
    ontology_key
        Column of ``reference.obs`` with Cell Ontology ids; without it labels are looked up by name.
    batch_key
        Column of ``reference.obs`` with donors or studies: they weigh alike, and confidence is measured by leaving
        them out. Without it, cells are left out instead, and confidence is at most that of the default reference.
    model
        Name of a model, path of a checkpoint, or a loaded model, as in :func:`scfm_scverse.tl.embed`.
    alpha
        Share of prediction sets that may miss the true class, among cells like those that the reference left out.
    groupby
        Column of ``adata.obs`` with clusters, which are given one label each besides.
    malignant
        Look for malignant cells, by copy number and unknown score: see
        :func:`scfm_scverse.tl.score_copy_number`, whose results are written too. Human data only.
    donor_key
        Column of ``adata.obs`` with donors, for ``malignant``: a tumour is compared with the normal cells beside it.
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
    ``adata.obs["scfm_prediction_set"]`` : category
        Classes that the cell may be, in falling probability, joined by "|" (written "/" inside a name); never empty.
    ``adata.obs["scfm_group_cell_type"]``, ``adata.obs["scfm_group_share"]`` : category, float32
        With ``groupby``: label of the cell's group, by the mean of its cells, and the share of them that it holds for.
    ``adata.obs["scfm_malignant_score"]`` : float32
        With ``malignant``: 0 to 1. Cells that are called malignant have that label, and their fine label names what
        they resemble.
    ``adata.obsm["scfm_probabilities"]`` : float32 [n, c]
        Probability of each class; the columns are named in the record.
    ``adata.uns["scfm"]["annotate"]["scfm"]``
        Reference, model, class names and ids, classes known from averaged profiles only, limits, markers of the labels,
        sets that hold one class by force (none was probable enough), version.

    Cells without counts are "unknown" with NaN numbers and an empty set. The embedding is kept in ``adata.obsm`` as
    :func:`scfm_scverse.tl.embed` writes it.

    Raises
    ------
    ReferenceMismatchError
        The reference was made by another model.
    MissingKeyError
        ``labels_key``, ``groupby`` or ``donor_key`` is not there.
    InputError
        ``alpha`` is not between 0 and 1. With ``malignant``, after the types are written: the genes are of mouse, too
        few of them have a place on the chromosomes (:class:`GeneMatchError`), or cells have no donor.
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
    check_alpha(alpha)
    check_donors(donor_key, malignant=malignant)
    cell_model = chosen_model(model)
    adata = receiver(adata, key_added, copy=copy)
    for argument, key in (("groupby", groupby), ("donor_key", donor_key)):
        check_column(adata, argument, key)
    columns = [f"{key_added}_{name}" for name in (*COLUMNS, *OPTIONAL_COLUMNS)]
    check_free(adata, "obs", columns, verb="annotate", record_key=key_added)
    check_free(adata, "obsm", [f"{key_added}_probabilities"], verb="annotate", record_key=key_added)
    keys = {"labels_key": labels_key, "ontology_key": ontology_key, "batch_key": batch_key}
    chosen = _reference(reference, cell_model, keys, device)
    if chosen.model_id != cell_model.spec.id:
        msg = f"The reference was made by {chosen.model_id} and the model is {cell_model.spec.id}; expected the same."
        raise ReferenceMismatchError(msg)
    reading = {"layer": layer, "use_raw": use_raw, "normalized": normalized}
    names = {"gene_symbols": gene_symbols, "organism": organism}
    embedding = embedding_of(adata, cell_model, device, reading | names)
    answer = name_cells(chosen, embedding, alpha=alpha)
    make_actual(adata)
    groups = None if groupby is None else adata.obs[groupby]
    for column in set(columns[len(COLUMNS) :]) & set(adata.obs.columns):
        del adata.obs[column]  # of an earlier call with other arguments
        adata.uns.pop(f"{column}_colors", None)
    write_answer(adata, answer, key_added)
    if groups is not None:
        write_groups(adata, chosen, answer, groups, key_added)
    about = {
        "reference": chosen.name,
        "model": cell_model.spec.name,
        "model_id": cell_model.spec.id,
        "labels": chosen.label,
        "labels_ontology": chosen.term,
        "labels_from_profiles": chosen.from_profiles,
        "refuse_above": chosen.scales.unknown.refuse_above,
        "markers": marker_table(cell_model, chosen, answer.label),
        "alpha": alpha,
        "share_forced": float(answer.forced.sum() / max(np.isfinite(answer.confidence).sum(), 1)),
        "mean_set_size": float(answer.set_size.sum() / max(np.isfinite(answer.confidence).sum(), 1)),
        "groupby": groupby,
        "malignant": False,
        "donor_key": None,
        "labels_key": labels_key,
        "batch_key": batch_key,
    }
    record(adata, "annotate", key_added, about)
    if malignant:
        _find_malignant(adata, donor_key, key_added, reading, names)
        record(adata, "annotate", key_added, about | {"malignant": True, "donor_key": donor_key})
    labels = adata.obs[f"{key_added}_cell_type"]
    n_malignant = f", {int((labels == MALIGNANT).sum()):,} malignant" if malignant else ""
    say(
        f"annotated {adata.n_obs:,} cells in {perf_counter() - started:.1f} s: obs['{key_added}_cell_type'] and "
        f"others; {int((labels == UNKNOWN).sum()):,} unknown{n_malignant}"
    )
    warn(adata, cell_model, chosen, answer, embedding)
    return adata if copy else None


def _find_malignant(
    adata: AnnData, donor_key: str | None, key: str, reading: dict[str, Any], names: dict[str, Any]
) -> None:
    """Write copy number and malignant score, and rename the cells that are called."""
    from ._copy_number import find_malignant

    score, called = find_malignant(adata, donor_key=donor_key, key_added=key, reading=reading, names=names)
    adata.obs[f"{key}_malignant_score"] = score
    call_malignant(adata, called, key)


def _reference(
    reference: str | Path | Reference | AnnData, model: CellModel, keys: Mapping[str, str | None], device: str
) -> Reference:
    if hasattr(reference, "obsm"):
        return reference_of(receiver(reference, "", copy=False), model, keys, device=device)
    given = [name for name, key in keys.items() if key is not None]
    if given:
        msg = f"Found {given[0]}={keys[given[0]]!r}, a column of a labelled AnnData; pass that AnnData as reference=."
        raise InputError(msg)
    if isinstance(reference, Reference):
        return reference
    if isinstance(reference, Path) or str(reference).lower().endswith(".h5ad"):
        return Reference.load(reference)
    if reference != "default":
        msg = (
            f"reference={reference!r} is not known; "
            "expected 'default', an AnnData with labels, or a Reference or the path of a saved one."
        )
        raise InputError(msg)
    return load_default_reference()
