"""Where perturbed cells lie on a map of the unperturbed ones: among the cells that they have become like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, ModelMismatchError
from .._record import read_record
from ..reference.neighbors import Neighbors, NeighborSearch
from ._perturbed_cells import perturbation_record

if TYPE_CHECKING:
    from anndata import AnnData

N_NEIGHBORS = 15  # more would reach beyond rare types
FARTHEST_WEIGHT = 1e-3  # so that cells that are all equally far have a mean, too


def perturbation_of(adata: AnnData, key: str) -> dict[str, Any]:
    """Return the record of what :func:`scfm_scverse.tl.perturb` wrote under ``key``, which must be there and fit."""
    written = perturbation_record(adata, key)
    before = written["embedding_key"]
    model_id = (read_record(adata, "embed", before) or written).get("model_id")
    if model_id != written["model_id"]:
        msg = (
            f"Found adata.obsm[{before!r}] written with model {model_id} and the perturbed cells with "
            f"{written['model_id']}; expected one model. Run scfm.tl.perturb again."
        )
        raise ModelMismatchError(msg)
    return written


def shifts_on_map(adata: AnnData, xy: NDArray[np.floating], *, key: str) -> NDArray[np.float64]:
    """Move each cell on a map as far as the mean place of its nearest neighbours moves when the cell is perturbed.

    Neighbours are unperturbed cells other than the cell itself; near ones weigh more (by Epanechnikov's kernel, which
    reaches to the last of them), so that a small change moves a cell a little.

    Parameters
    ----------
    adata
        Cells with what :func:`scfm_scverse.tl.perturb` wrote under ``key``.
    xy
        Places of the cells [n, 2], NaN where a cell has none.

    Returns
    -------
    Shifts [n, 2], exactly zero where the perturbation left the embedding as it was; NaN for cells without a place.
    """
    before = np.asarray(adata.obsm[perturbation_of(adata, key)["embedding_key"]], np.float32)
    after = np.asarray(adata.obsm[f"X_{key}_perturbed"], np.float32)
    seen = np.flatnonzero(np.isfinite(xy).all(axis=1) & np.isfinite(before).all(axis=1))
    if len(seen) < 3:
        msg = f"Found {len(seen)} cells with an embedding; expected three at least, to move among."
        raise InputError(msg)
    shift = np.full((len(xy), 2), np.nan)
    shift[seen] = 0
    moved = np.flatnonzero((before[seen] != after[seen]).any(axis=1))
    search = NeighborSearch(before[seen])
    k = min(N_NEIGHBORS + 2, len(seen))
    places = [_place(search(vectors[seen][moved], k), moved, xy[seen]) for vectors in (before, after)]
    shift[seen[moved]] = places[1] - places[0]
    return shift


def _place(found: Neighbors, own: NDArray[np.intp], xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weighted mean place [m, 2] of the neighbours of cells, NaN for cells that have none."""
    rows = np.arange(len(own))[:, None]
    # The cell itself goes to the end, where it is dropped; without it the farthest is.
    order = np.argsort(found.index == own[:, None], axis=1, kind="stable")[:, :-1]
    distance = np.maximum(found.distance[rows, order].astype(np.float64), 0)
    # Of unit vectors, cosine distances are halves of squared distances.
    weight = 1 - distance / np.maximum(distance[:, -1:], 1e-12) + FARTHEST_WEIGHT
    out: NDArray[np.float64] = (weight[:, :, None] * xy[found.index[rows, order]]).sum(axis=1)
    out /= weight.sum(axis=1, keepdims=True)
    return out
