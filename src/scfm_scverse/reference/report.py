"""What the classes of a reference are, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..ontology import load_ontology

if TYPE_CHECKING:
    import pandas as pd

    from .reference import Reference


def report_classes(reference: Reference) -> pd.DataFrame:
    """One row a class, in the order of the classes; see :meth:`Reference.report`."""
    import pandas as pd

    name, n_classes = load_ontology().name, len(reference.label)
    n_cells, n_batches = np.zeros(n_classes, int), np.zeros(n_classes, int)
    if reference.cells is not None:
        n_cells = np.bincount(reference.cells.code, minlength=n_classes)
        batch = np.unique(reference.cells.batch, return_inverse=True)[1]
        pairs = np.unique(np.stack([reference.cells.code, batch]), axis=1)
        n_batches = np.bincount(pairs[0], minlength=n_classes)
    return pd.DataFrame(
        {
            "term": reference.term.astype(object),
            "term_name": [name.get(term, "") for term in reference.term],
            "matched": ["given" if term else "none" for term in reference.term]
            if reference.matched is None
            else reference.matched.astype(object),
            "n_cells": n_cells,
            "n_batches": n_batches,
        },
        index=pd.Index(reference.label.astype(object), name="label"),
    )
