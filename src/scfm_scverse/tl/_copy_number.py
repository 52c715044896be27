"""``tl.score_copy_number``: gains and losses of chromosomes, cell by cell."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError
from .._logging import say
from .._query import make_actual, receiver
from .._record import check_column, check_free, read_record, record
from ..copy_number import CopyNumber, is_normal_lineage, malignant_score, measure_copy_number, order_genes
from ..genes import load_gene_table, names_and_hints, resolve_genes
from ..io.blocks import iter_blocks
from ..io.counts import find_values
from ..tokens import LogValues

if TYPE_CHECKING:
    from anndata import AnnData

VERB = "copy_number"
MIN_LINEAGE = 0.3  # probability of a lineage that may be malignant, from which a cell is a candidate
NOT_NORMAL = ("unknown", "malignant")


@dataclass(frozen=True)
class _Roles:
    """Who is compared with whom, [n]: normal cells, candidates, probability of a lineage that may be malignant."""

    normal: NDArray[np.bool_]
    candidate: NDArray[np.bool_]
    lineage: NDArray[np.floating]


def score_copy_number(
    adata: AnnData,
    *,
    donor_key: str | None = None,
    reference_key: str | None = None,
    reference_cat: str | Sequence[str] | None = None,
    key_added: str = "scfm",
    layer: str | None = None,
    use_raw: bool = False,
    normalized: bool | None = None,
    gene_symbols: str | None = None,
    organism: Literal["human", "mouse"] | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Score gains and losses of chromosomes against the normal cells of the same donor.

    Expression is standardised by the normal cells, averaged over windows of 51 neighbouring genes, and freed of the
    ways in which normal cells differ among themselves. Cells that may be malignant give the profile of the donor, each
    by how far its deviations run along the chromosomes; the score says how strongly a cell follows that profile. A type
    of cells that no normal cell belongs to also scores above 0: only runs of windows tell gains and losses from a cell
    type, so ``tl.annotate(..., malignant=True)`` calls a cell malignant by these and not by the score alone.

    Parameters
    ----------
    adata
        Human cells x genes; a tumour, or a part of it with normal cells. Annotated by
        :func:`scfm_scverse.tl.annotate` first where it is not yet and ``reference_key`` is not given.
    donor_key
        Column of ``adata.obs`` with donors (patients, samples): each is compared with its own normal cells. A donor
        with fewer than 20 of them is compared with those of all donors.
    reference_key, reference_cat
        Column of ``adata.obs`` and its values that mark normal cells; all other cells may be malignant. Without them,
        normal cells are the surest half of every immune or stromal type of the annotation, and cells whose probability
        of another lineage exceeds 0.3 may be malignant.
    key_added
        Prefix of everything written, and of the annotation that is read.
    layer, use_raw, normalized, gene_symbols, organism
        As in :func:`scfm_scverse.tl.embed`.
    copy
        Return a copy instead of writing into ``adata``.

    Returns
    -------
    ``None``, or the copy. Written, with ``key_added`` in place of ``scfm``:

    ``adata.obs["scfm_copy_number"]`` : float32
        Score in robust standard deviations of the normal cells, around 0 for these; NaN for cells without counts and
        for donors without candidates or with fewer than 10 normal cells to compare with.
    ``adata.obsm["X_scfm_copy_number"]`` : float32 [n, w]
        Windows, 0 where a cell is as the normal ones; every tenth gene begins one.
    ``adata.uns["scfm"]["copy_number"]["scfm"]``
        Chromosome and first base of each window, donors with their normal cells, candidates and evidence (0 to 1, from
        0.5 on cells may be called malignant), genes used, window, arguments, version.

    Raises
    ------
    MissingKeyError
        A column or value is not there.
    InputError
        The genes are of mouse, whose places on the chromosomes are not known here.
    GeneMatchError
        Fewer than 1,000 genes of chromosomes 1 to 22 are expressed by 5 % of the cells.
    CountsError
        No matrix holds counts or log-normalised values.

    Examples
    --------
    >>> import anndata, numpy as np, scfm_scverse as scfm
    >>> from scfm_scverse.genes import load_gene_table
    >>> table = load_gene_table()
    >>> genes = table.symbol[table.canonical & (table.biotype == "protein_coding")][:3000]
    >>> counts = np.random.default_rng(0).poisson(1.0, (120, 3000)).astype(np.float32)
    >>> adata = anndata.AnnData(counts)
    >>> adata.var_names = genes
    >>> adata.obs["type"] = ["normal"] * 80 + ["tumour"] * 40
    >>> scfm.tl.score_copy_number(adata, reference_key="type", reference_cat="normal")
    >>> adata.obsm["X_scfm_copy_number"].shape[0]
    120
    """
    adata = receiver(adata, key_added, copy=copy)
    reading: dict[str, Any] = {"layer": layer, "use_raw": use_raw, "normalized": normalized}
    names: dict[str, Any] = {"gene_symbols": gene_symbols, "organism": organism}
    _check_free(adata, key_added)
    if reference_key is not None:
        roles = _roles_by_column(adata, reference_key, reference_cat)
    elif reference_cat is not None:
        msg = f"Found reference_cat={reference_cat!r} without a column; pass reference_key= too."
        raise InputError(msg)
    else:
        if f"{key_added}_probabilities" not in adata.obsm:
            from ._annotate import annotate

            annotate(adata, key_added=key_added, **reading, **names)
        roles = _roles_by_annotation(adata, key_added)
    how = {"donor_key": donor_key, "reference_key": reference_key, "reference_cat": reference_cat}
    _measure(adata, roles, how, reading, names, key_added)
    return adata if copy else None


def find_malignant(
    adata: AnnData,
    *,
    donor_key: str | None,
    key_added: str,
    reading: dict[str, Any],
    names: dict[str, Any],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Write copy number, and join it with an annotation that is already written.

    ``reading`` holds ``layer``, ``use_raw`` and ``normalized``, ``names`` holds ``gene_symbols`` and ``organism``.

    Returns
    -------
    The malignant score, 0 to 1, and whether each cell is called malignant, [n].
    """
    _check_free(adata, key_added)
    roles = _roles_by_annotation(adata, key_added)
    how = {"donor_key": donor_key, "reference_key": None, "reference_cat": None}
    found, donor = _measure(adata, roles, how, reading, names, key_added)
    unknown_score = adata.obs[f"{key_added}_unknown_score"].to_numpy(np.float32)
    score = malignant_score(unknown_score, found.score, found.distant, found.evidence[donor], roles.lineage)
    return score, found.called


def _check_free(adata: AnnData, key: str) -> None:
    check_free(adata, "obs", [f"{key}_copy_number"], verb=VERB, record_key=key)
    check_free(adata, "obsm", [f"X_{key}_copy_number"], verb=VERB, record_key=key)


def _roles_by_column(adata: AnnData, key: str, wanted: str | Sequence[str] | None) -> _Roles:
    check_column(adata, "reference_key", key)
    column = adata.obs[key].astype(str)
    values = [wanted] if isinstance(wanted, str) else list(map(str, wanted or []))
    missing = [value for value in values if value not in set(column)]
    if missing or not values:
        there = ", ".join(map(repr, sorted(set(column))))
        found = repr(missing[0]) if missing else "none"
        msg = f"Found reference_cat={found}; expected values of adata.obs[{key!r}] that mark normal cells: {there}."
        raise MissingKeyError(msg)
    normal = column.isin(values).to_numpy()
    return _Roles(normal, ~normal, (~normal).astype(np.float32))


def _roles_by_annotation(adata: AnnData, key: str) -> _Roles:
    """Immune and stromal cells are normal where they are the surest half of their class."""
    terms = (read_record(adata, "annotate", key) or {}).get("labels_ontology")
    probabilities: NDArray[np.floating] = np.asarray(adata.obsm[f"{key}_probabilities"])
    if terms is None or len(terms) != probabilities.shape[1]:
        msg = (
            f"Found obsm['{key}_probabilities'] without the record of tl.annotate; expected both. "
            "Annotate again, or pass reference_key= and reference_cat=."
        )
        raise MissingKeyError(msg)
    of_normal = np.array([is_normal_lineage(term) for term in terms])
    present = np.isfinite(probabilities[:, 0])
    lineage = np.where(present, probabilities[:, ~of_normal].sum(axis=1), 0)
    best, sure = np.nan_to_num(probabilities).argmax(axis=1), np.nan_to_num(probabilities).max(axis=1)
    normal = present & (lineage < 0.5) & ~adata.obs[f"{key}_cell_type"].isin(NOT_NORMAL).to_numpy()
    for one in np.unique(best[normal]):
        cells = normal & (best == one)
        normal[cells] = sure[cells] >= np.median(sure[cells])
    return _Roles(normal, lineage > MIN_LINEAGE, lineage)


def _measure(
    adata: AnnData,
    roles: _Roles,
    how: dict[str, Any],
    reading: dict[str, Any],
    names: dict[str, Any],
    key: str,
) -> tuple[CopyNumber, NDArray[np.intp]]:
    """Measure and write; return the outcome and the position of each cell's donor."""
    started = perf_counter()
    donors, donor = _donors(adata, how["donor_key"])
    values = find_values(adata, **reading)
    symbols, ids = names_and_hints(values.var, names["gene_symbols"])
    match = resolve_genes(symbols, ids=ids, organism=names["organism"])
    if match.organism != "human":
        msg = f"Found genes of {match.organism}; expected human ones, whose places on the chromosomes are known here."
        raise InputError(msg)
    table = load_gene_table()
    rows = order_genes(table, match.rows)
    position = np.full(len(table) + 1, -1, np.int32)
    position[rows] = np.arange(len(rows))
    # A row of -1 (unknown name) reads the last entry, which no gene of the table has.
    tokenize = LogValues(position[match.rows], match.is_gene, len(rows), values.base)

    def read() -> Iterator[tuple[int, sp.csr_matrix]]:
        for first, block in iter_blocks(values.matrix, names=adata.obs_names, genes=values.var.index):
            tokens = tokenize(block)
            shape = (len(tokens), len(rows))
            yield first, sp.csr_matrix((tokens.values, tokens.ids, tokens.indptr), shape=shape)

    chromosome = np.array([int(name.removeprefix("chr")) for name in table.chromosome[rows]], dtype=np.int8)
    found = measure_copy_number(read, chromosome, table.start[rows], donor, roles.normal, roles.candidate)
    make_actual(adata)
    adata.obs[f"{key}_copy_number"] = found.score
    adata.obsm[f"X_{key}_copy_number"] = found.values
    about = {"source": values.source, "values": values.kind, "n_genes": len(found.genes), **how, **reading}
    record(adata, VERB, key, about | _summary(found, donors))
    _tell(adata, found, donors, key, perf_counter() - started)
    return found, donor


def _donors(adata: AnnData, key: str | None) -> tuple[list[str], NDArray[np.intp]]:
    if key is None:
        return ["all cells"], np.zeros(adata.n_obs, np.intp)
    check_column(adata, "donor_key", key)
    column = adata.obs[key]
    if column.isna().any():
        msg = f"Found {int(column.isna().sum())} cells without a donor in adata.obs[{key!r}]; expected one for each."
        raise InputError(msg)
    names, code = np.unique(column.astype(str).to_numpy(str), return_inverse=True)
    return names.tolist(), code


def _summary(found: CopyNumber, donors: list[str]) -> dict[str, Any]:
    windows = found.windows
    return {
        "window_chromosome": windows.chromosome,
        "window_start": windows.start,
        "window_genes": int((windows.stop - windows.first).max()),
        "donors": donors,
        "donor_normals": found.n_normals,
        "donor_candidates": found.n_candidates,
        "donor_evidence": found.evidence,
        "donor_borrowed": found.borrowed,
    }


def _tell(adata: AnnData, found: CopyNumber, donors: list[str], key: str, seconds: float) -> None:
    n_borrowed = int((found.borrowed & (len(donors) > 1)).sum())
    if n_borrowed:
        say(f"{n_borrowed} of {len(donors)} donors have few normal cells and are compared with those of all donors")
    n_missing = int(np.isnan(found.score).sum())
    if n_missing:
        say(
            f"{n_missing:,} cells have no copy-number score: no counts, or a donor without cells that may be malignant "
            "or without normal ones",
            level=logging.WARNING,
        )
    n_proven = int((found.evidence >= 0.5).sum())
    say(
        f"scored copy number of {adata.n_obs:,} cells in {seconds:.1f} s: obs['{key}_copy_number']; "
        f"gains and losses are plain in {n_proven} of {len(donors)} donors"
    )
