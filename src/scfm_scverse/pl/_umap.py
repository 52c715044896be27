"""Where cells lie on the map: the UMAP of an embedding, computed once and kept beside it."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError
from .._logging import say
from .._record import read_record, record

if TYPE_CHECKING:
    from anndata import AnnData

N_NEIGHBORS = 15
MIN_DIST = 0.5
EXACT_BELOW = 20_000  # cells; neighbours are searched approximately from here on


def map_of(adata: AnnData, basis: str) -> tuple[NDArray[np.float32], str]:
    """Return coordinates [n, 2] and the name of the axes; cells with NaN in the embedding have NaN coordinates.

    An embedding of two columns is a map already. The UMAP of any other is read from ``adata.obsm["X_umap_<basis>"]``,
    or computed and kept there. It is computed anew where the embedding changed or cells were added; a subset keeps its
    place on the map of the whole.
    """
    source = _find(adata, basis)
    values = np.asarray(adata.obsm[source], dtype=np.float32)
    if values.shape[1] == 2:
        return values, "UMAP" if "umap" in source.lower() else source.removeprefix("X_")
    if values.shape[1] < 2:
        msg = f"adata.obsm[{source!r}] has {values.shape[1]} column; expected two for a map, or more for an embedding."
        raise InputError(msg)
    slot = f"X_umap_{source.removeprefix('X_')}"
    made_from = {"basis": source, "model_id": (read_record(adata, "embed", source) or {}).get("model_id")}
    made_from |= {"n_cells": adata.n_obs, "checksum": _checksum(values)}
    if slot in adata.obsm and _is_current(adata, slot, made_from):
        return np.asarray(adata.obsm[slot], dtype=np.float32), "UMAP"
    if adata.n_obs >= EXACT_BELOW:
        say(f"computing the UMAP of {adata.n_obs:,} cells; this takes minutes, once")
    started = perf_counter()
    xy = _place(values)
    if adata.is_view:
        say("the AnnData is a view; its UMAP is drawn and not kept")
    else:
        adata.obsm[slot] = xy
        record(adata, "umap", slot, made_from | {"n_neighbors": N_NEIGHBORS, "min_dist": MIN_DIST})
        say(f"computed the UMAP of {adata.n_obs:,} cells in {perf_counter() - started:.1f} s: obsm[{slot!r}]")
    return xy, "UMAP"


def _find(adata: AnnData, basis: str) -> str:
    for key in (basis, f"X_{basis}"):
        if key in adata.obsm:
            return key
    there = ", ".join(map(repr, adata.obsm)) or "none"
    msg = f"basis={basis!r} is not in adata.obsm; its keys are {there}. Run scfm.tl.embed(adata) first, or pass basis=."
    raise MissingKeyError(msg)


def _is_current(adata: AnnData, slot: str, made_from: dict[str, str | int | None]) -> bool:
    """Tell whether a layout of ours shows this embedding; stop where it is not ours."""
    made = read_record(adata, "umap", slot)
    if made is None:
        msg = (
            f"Found adata.obsm[{slot!r}] without a record of what it shows; expected one that this function wrote. "
            f"Pass basis={slot!r} to draw it as it is, or delete it."
        )
        raise InputError(msg)
    if made["model_id"] != made_from["model_id"] or made["n_cells"] < adata.n_obs:
        return False
    is_subset = bool(made["n_cells"] > adata.n_obs)
    return is_subset or made["checksum"] == made_from["checksum"]


def _checksum(values: NDArray[np.float32]) -> int:
    """Sum the bits of all values: the same for cells in another order, another one for other values."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return int(bits.sum(dtype=np.uint64)) % 2**62


def _place(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay out the cells that have an embedding, the same way each time."""
    out = np.full((len(values), 2), np.nan, np.float32)
    present = np.flatnonzero(np.isfinite(values).all(axis=1))
    # UMAP finds no neighbourhoods among so few.
    small = len(present) < 5
    out[present] = _principal_plane(values[present]) if small else _umap(values[present])
    return out


def _principal_plane(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(values) == 0:
        return np.zeros((0, 2), np.float32)
    left, scale, _ = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    plane = (left * scale)[:, :2].astype(np.float32)
    return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))


def _umap(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """UMAP from exact neighbours: ``umap.UMAP`` itself compares small data pair by pair in Python."""
    from umap.umap_ import find_ab_params, fuzzy_simplicial_set, nearest_neighbors, simplicial_set_embedding

    rng = np.random.RandomState(0)  # the only kind that umap-learn takes
    k = min(N_NEIGHBORS, len(values) - 1)
    if len(values) < EXACT_BELOW:
        from sklearn.neighbors import NearestNeighbors

        distances, neighbors = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(values).kneighbors(values)
    else:
        neighbors, distances, _ = nearest_neighbors(values, k, "euclidean", {}, angular=False, random_state=rng)
    graph, _, _ = fuzzy_simplicial_set(
        values, k, rng, "euclidean", knn_indices=neighbors, knn_dists=distances.astype(np.float32)
    )
    a, b = find_ab_params(1.0, MIN_DIST)
    xy, _ = simplicial_set_embedding(
        data=values,
        graph=graph,
        n_components=2,
        initial_alpha=1.0,
        a=a,
        b=b,
        gamma=1.0,
        negative_sample_rate=5,
        n_epochs=None,
        init="pca",
        random_state=rng,
        metric="euclidean",
        metric_kwds={},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
    )
    return np.asarray(xy, dtype=np.float32)
