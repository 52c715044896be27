"""``get.perturbation_effect``: how much one perturbation changes the cells of each group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._perturbed_cells import perturbation_record

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

ALL = "all"


def perturbation_effect(adata: AnnData, *, key: str = "scfm") -> pd.DataFrame:
    """Pull out the mean effect that :func:`scfm_scverse.tl.perturb` found in each group of cells.

    Parameters
    ----------
    adata
        Perturbed cells.
    key
        The ``key_added`` of the perturbation.

    Returns
    -------
    One row a group, in the order of the categories of the ``groupby`` of :func:`scfm_scverse.tl.perturb`, below a row
    "all" for all cells together, those without a group too:

    ``group``
        Its name.
    ``n_cells``, ``n_affected``
        Cells, and how many of them the perturbation changes.
    ``mean_effect``
        Mean effect in the cells that it changes; cells that it leaves without any gene have none. NaN without such
        cells.

    Raises
    ------
    MissingKeyError
        Nothing was written under this key.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.perturb(adata, "CD74", groupby="phase")
    >>> scfm.get.perturbation_effect(adata)["group"].tolist()
    ['all', 'G1', 'G2M', 'S']
    """
    import pandas as pd

    made = perturbation_record(adata, key)
    return pd.DataFrame(
        {
            "group": [ALL, *made["groups"]],
            "n_cells": [made["n_cells"], *made["group_cells"]],
            "n_affected": [made["n_affected"], *made["group_affected"]],
            "mean_effect": [made["mean_effect"], *made["group_effect"]],
        }
    )
