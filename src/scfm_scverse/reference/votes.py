"""Votes of the nearest: which label a cell's neighbours have, which condition a group of cells is nearest to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError

_DISTANCES = 2**23  # that are held at a time: 64 MB


def majority_vote(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Most frequent label among each cell's neighbours; of equally frequent ones that of the nearest neighbour.

    Parameters
    ----------
    labels
        Label of each neighbour, the nearest first, [n, k].

    Returns
    -------
    Label of each cell, [n], and whether several were equally frequent, [n].

    Examples
    --------
    >>> import numpy as np
    >>> majority_vote(np.array([["B", "T", "T"], ["B", "T", "NK"]]))
    (array(['T', 'B'], dtype='<U2'), array([False,  True]))
    """
    votes = (labels[:, :, None] == labels[:, None, :]).sum(axis=2)
    most = votes.max(axis=1)
    chosen = np.take_along_axis(labels, votes.argmax(axis=1)[:, None], axis=1)[:, 0]
    return chosen, (votes == most[:, None]).sum(axis=1) > most


@dataclass(frozen=True)
class ConditionVotes:
    """How often each condition is among the nearest.

    Attributes
    ----------
    condition
        Names, as given [p].
    votes
        int64 [p]: profiles of the condition among the nearest of all query cells.
    distance
        Mean distance of the condition's profiles to all query cells [p]; NaN without a profile.
    order
        int64 [p]: positions of the conditions, best first: by votes, then by distance.
    neighbors
        int64 [n, k]: the profiles nearest to each query cell, the nearest first.
    """

    condition: NDArray[np.str_]
    votes: NDArray[np.int64]
    distance: NDArray[np.float64]
    order: NDArray[np.int64]
    neighbors: NDArray[np.int64]


def rank_conditions(
    query: NDArray[np.floating],
    profiles: NDArray[np.floating],
    profile_condition: NDArray[np.str_],
    conditions: NDArray[np.str_],
    *,
    n_neighbors: int,
) -> ConditionVotes:
    """Rank conditions by the votes of query cells: scGPT's search for the perturbation behind a state.

    Every query cell votes for the conditions of its nearest profiles (Euclidean distance, of equally near ones the
    first); every condition gets a rank (Cui et al., 2024).

    Parameters
    ----------
    query
        Expression of the cells to explain [n, g].
    profiles
        Predicted expression under known conditions [m, g].
    profile_condition
        Condition of each profile [m].
    conditions
        The conditions to rank [p].
    n_neighbors
        Votes of each query cell.

    Raises
    ------
    InputError
        More neighbours than profiles, or none.
    """
    if not 1 <= n_neighbors <= len(profiles):
        msg = f"n_neighbors={n_neighbors}; expected 1 to {len(profiles):,}, the profiles to choose from."
        raise InputError(msg)
    member = profile_condition[:, None] == conditions[None, :]
    neighbors = np.empty((len(query), n_neighbors), np.int64)
    summed = np.zeros(len(profiles))
    step = max(1, _DISTANCES // len(profiles))
    for start in range(0, len(query), step):
        distance = _distances(query[start : start + step], profiles)
        neighbors[start : start + step] = np.argsort(distance, axis=1, kind="stable")[:, :n_neighbors]
        summed += distance.sum(axis=0)
    votes = np.bincount(neighbors.ravel(), minlength=len(profiles)) @ member
    size = np.maximum(member.sum(axis=0), 1) * len(query)
    mean = np.where(member.any(axis=0), summed @ member / size, np.nan)
    return ConditionVotes(conditions, votes.astype(np.int64), mean, np.lexsort((mean, -votes)), neighbors)


def _distances(cells: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    one, other = cells.astype(np.float64), others.astype(np.float64)
    squared = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :] - 2 * one @ other.T
    distance: NDArray[np.float64] = np.sqrt(np.maximum(squared, 0))
    return distance
