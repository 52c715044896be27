"""Prediction sets: the classes that a cell may be, such that the true one is missing at a stated rate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SEPARATOR = "|"


def choose_sets(
    probability: NDArray[np.floating], least_probability: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Choose the classes that are probable enough; the top class where none is.

    Returns
    -------
    Which classes each set holds [n, c], and where the top class had to be forced in [n].
    """
    included: NDArray[np.bool_] = probability >= least_probability
    forced = included.sum(axis=1) == 0
    included[forced, probability[forced].argmax(axis=1)] = True
    return included, forced


def name_sets(
    label: NDArray[np.str_], probability: NDArray[np.floating], included: NDArray[np.bool_]
) -> NDArray[np.object_]:
    """Names of the classes of each set, in falling probability, joined by "|"; inside a name that is written "/".

    As objects: sets of all classes are long, and an array of text gives every cell the room of the longest.
    """
    label = np.char.replace(label, SEPARATOR, "/")
    largest = int(included.sum(axis=1).max(initial=1))
    order = np.argsort(np.where(included, -probability, 1), axis=1, kind="stable")[:, :largest].astype(np.int32)
    order[np.arange(largest)[None, :] >= included.sum(axis=1)[:, None]] = -1
    # Few of many cells' sets differ, so each is spelt once.
    packed = np.ascontiguousarray(order).view(np.dtype((np.void, order.dtype.itemsize * largest))).ravel()
    _, first, code = np.unique(packed, return_index=True, return_inverse=True)
    names = [SEPARATOR.join(label[row[row >= 0]]) for row in order[first]]
    return np.array(names, dtype=object)[code]
