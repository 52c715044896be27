"""``get.evidence``: whether the markers of a label are higher in its cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError
from .._logging import say
from .._record import read_record
from ..genes import GeneMatch, names_and_hints, resolve_genes
from ..io.blocks import iter_blocks
from ..io.counts import Values, find_values
from ..tokens import LogValues
from ._tables import MALIGNANT, UNKNOWN, annotation, cell_types, embedding_of

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def evidence(adata: AnnData, *, key: str = "scfm", n_genes: int = 5) -> pd.DataFrame:
    """Look at the markers of every label in the cells that carry it, and in all others.

    Markers are those of the reference: genes that tell its classes apart, the most telling first. Cells were named by
    all genes together, so this is a second look, at single genes that people know.

    Parameters
    ----------
    adata
        Annotated cells, with the matrix that they were annotated by. It is read block by block.
    key
        The ``key_added`` of the annotation.
    n_genes
        Markers of a label, at most; those that the data did not measure are passed over.

    Returns
    -------
    One row for each label and marker, labels in the order of :func:`scfm_scverse.get.cell_types`: ``cell_type``,
    ``gene``, ``score`` (in the reference), ``mean_inside`` and ``mean_outside`` (of log(1 + counts per 10,000), over
    the cells with the label and over all others), ``share_inside`` and ``share_outside`` (of cells that express it),
    ``agrees`` (whether the mean is higher inside; missing where there are no other cells). "unknown" and
    "malignant" have no markers, nor have labels that the reference knows none for.

    Raises
    ------
    MissingKeyError
        Nothing was written under this key, or no markers; or the layer that was read is gone.
    InputError
        ``n_genes`` is below 1.
    CountsError
        No matrix can be read.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> table = scfm.get.evidence(adata, n_genes=3)
    >>> bool(table["agrees"].mean() > 0.8)
    True
    """
    if n_genes < 1:
        msg = f"n_genes={n_genes}; expected at least 1."
        raise InputError(msg)
    cells = annotation(adata, key=key)
    labels = [name for name in cell_types(adata, key=key).index if name not in {UNKNOWN, MALIGNANT}]
    written = read_record(adata, "annotate", key) or {}
    if "markers" not in written:
        msg = (
            f"The record of the annotation {key!r} holds no markers; expected those that tl.annotate writes. "
            f"Run scfm.tl.annotate(adata, key_added={key!r}) again."
        )
        raise MissingKeyError(msg)
    values, match = matrix_of(adata, key)
    table = _measured(written["markers"], labels, match, n_genes)
    wanted, of_marker = np.unique(table.pop("row").to_numpy(int), return_inverse=True)
    position = np.full(match.rows.max(initial=0) + 2, -1, np.int32)
    position[wanted] = np.arange(len(wanted))
    # A row of -1 (unknown name) reads the last entry, which no gene has.
    tokenize = LogValues(position[match.rows], match.is_gene, len(wanted), values.base)
    blocks = iter_blocks(values.matrix, names=adata.obs_names, genes=values.var.index)
    group = np.array([{name: i for i, name in enumerate(labels)}.get(name, -1) for name in cells["cell_type"]])
    mean_in, mean_out, share_in, share_out = _inside_and_outside(blocks, tokenize, group, len(labels))
    of_label = np.array([labels.index(name) for name in table["cell_type"]], int)
    for name, numbers in (
        ("mean_inside", mean_in),
        ("mean_outside", mean_out),
        ("share_inside", share_in),
        ("share_outside", share_out),
    ):
        table[name] = numbers[of_label, of_marker]
    higher = (table["mean_inside"] > table["mean_outside"]).astype("boolean")
    table["agrees"] = higher.mask(table["mean_outside"].isna())
    return table


def matrix_of(adata: AnnData, key: str) -> tuple[Values, GeneMatch]:
    """Return the values and the genes that the cells of an annotation were embedded by."""
    _, read = embedding_of(adata, key)
    values = find_values(
        adata, layer=read.get("layer"), use_raw=read.get("use_raw", False), normalized=read.get("normalized")
    )
    names, ids = names_and_hints(values.var, read.get("gene_symbols"))
    return values, resolve_genes(names, ids=ids, organism=read.get("organism"))


def _measured(markers: dict[str, list[Any]], labels: list[str], match: GeneMatch, n_genes: int) -> pd.DataFrame:
    """Return the first measured markers of each label, with the row of each in the gene table; say who has none."""
    import pandas as pd

    table = pd.DataFrame({"cell_type": markers["label"], "gene": markers["gene"], "score": markers["score"]})
    table["row"] = resolve_genes(markers["gene"], organism="human").rows
    table = table[table["row"].isin(match.rows[match.rows >= 0]) & table["cell_type"].isin(labels)]
    order = table["cell_type"].map(labels.index)
    table = table.iloc[np.argsort(order, kind="stable")].groupby("cell_type", sort=False).head(n_genes)
    bare = [name for name in labels if name not in set(table["cell_type"])]
    if bare:
        say(f"no marker was measured, or the reference has none, for: {', '.join(bare)}")
    return table.reset_index(drop=True)


def _inside_and_outside(
    blocks: Iterator[tuple[int, sp.csr_matrix]], tokenize: LogValues, group: NDArray[np.integer], n_groups: int
) -> tuple[NDArray[np.float64], ...]:
    """Mean value and share of expressing cells, inside each group and outside of it: four arrays [k, m].

    ``group`` [n] is the position of each cell's group, -1 for cells that are outside of all.
    """
    # The last row collects cells without a group.
    values = np.zeros((n_groups + 1, tokenize.n_genes))
    expressing = np.zeros_like(values)
    for start, block in blocks:
        tokens = tokenize(block)
        n = len(tokens)
        shape = (n_groups + 1, n)
        member = sp.csr_matrix((np.ones(n), (group[start : start + n] % (n_groups + 1), np.arange(n))), shape=shape)
        cells_by_marker = sp.csr_matrix((tokens.values, tokens.ids, tokens.indptr), shape=(n, tokenize.n_genes))
        values += (member @ cells_by_marker).toarray()
        expressing += (member @ cells_by_marker.astype(bool)).toarray()
    cells = np.bincount(group % (n_groups + 1), minlength=n_groups + 1)[:, None]
    out = []
    for sums in (values, expressing):
        inside = sums[:-1] / cells[:-1]
        others = np.where(len(group) > cells[:-1], len(group) - cells[:-1], np.nan)
        out += [inside, (sums.sum(axis=0) - sums[:-1]) / others]
    return tuple(out)
