"""``get.calibration``: whether the confidence holds, by labels of the user's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._errors import InputError
from ..metrics import compatible, expected_calibration_error, reliability_bins, wilson_interval
from ._labels import terms_of
from ._tables import MALIGNANT, UNKNOWN, annotation

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def calibration(adata: AnnData, *, labels_key: str, key: str = "scfm", ontology_key: str | None = None) -> pd.DataFrame:
    """Compare the confidence of :func:`scfm_scverse.tl.annotate` with the share of right answers.

    An answer is right if the cell's own label is that type or one below it in the Cell Ontology. An answer finer than
    the label, such as "naive B cell" for "B cell", is not contradicted by it and counts as right too; how many there
    are is told beside. Cells that were refused or called malignant have no type, and cells whose label or answer is
    no term of the ontology cannot be judged; they are left out.

    Parameters
    ----------
    adata
        Annotated cells.
    labels_key
        Column of ``adata.obs`` with labels to trust.
    key
        The ``key_added`` of the annotation.
    ontology_key
        Column of ``adata.obs`` with the Cell Ontology ids of those labels; without it they are looked up by name.

    Returns
    -------
    Fifteen bins of confidence of equal width, indexed by ``from`` and ``to``: ``n_cells``, ``mean_confidence``,
    ``share_right`` (NaN where the bin is empty) and its 95 % interval ``low`` to ``high`` (Wilson 1927; it takes cells
    for independent, which cells of one donor are not). In ``attrs``: ``ece``, the expected calibration error (Naeini
    *et al.* 2015), and numbers of cells: ``n_judged``, ``n_finer`` (among them, finer than the label), ``n_no_type``
    (refused or malignant), ``n_not_judged`` (all others).

    Raises
    ------
    MissingKeyError
        Nothing was written under ``key``, or a column is not in ``adata.obs``.
    InputError
        No cell can be judged.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> table = scfm.get.calibration(adata, labels_key="bulk_labels")
    >>> table.shape
    (15, 5)
    """
    import pandas as pd

    cells = annotation(adata, key=key)
    truth = terms_of(adata, labels_key, ontology_key)
    answer = cells["cell_type_ontology"].to_numpy(str)
    refused = cells["cell_type"].isin([UNKNOWN, MALIGNANT]).to_numpy()
    confidence = cells["confidence"].to_numpy(np.float64)
    can = (truth != "") & (answer != UNKNOWN) & ~refused & np.isfinite(confidence)
    if not can.any():
        msg = (
            f"Found no cell whose label in adata.obs[{labels_key!r}] and whose answer are both terms of the Cell "
            "Ontology; expected names such as 'B cell'. Pass ontology_key= with a column of ids such as 'CL:0000236'."
        )
        raise InputError(msg)
    coarser = compatible(truth[can], answer[can]) == 1
    finer = (compatible(answer[can], truth[can]) == 1) & ~coarser
    right = coarser | finer
    bins = reliability_bins(confidence[can], right)
    interval = [
        wilson_interval(round(n * share), n) if n else (np.nan, np.nan)
        for n, share in zip(bins.cells.tolist(), bins.right.tolist(), strict=True)
    ]
    columns = {"n_cells": bins.cells, "mean_confidence": bins.confidence, "share_right": bins.right}
    index = pd.MultiIndex.from_arrays([bins.edges[:-1], bins.edges[1:]], names=["from", "to"])
    table = pd.DataFrame(columns, index=index)
    table[["low", "high"]] = interval
    table.attrs = {
        "ece": expected_calibration_error(confidence[can], right),
        "n_judged": int(can.sum()),
        "n_finer": int(finer.sum()),
        "n_no_type": int(refused.sum()),
        "n_not_judged": int((~can & ~refused).sum()),
    }
    return table
