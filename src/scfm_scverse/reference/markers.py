"""Genes that tell the answers of a reference apart."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .discriminant import Discriminant
from .ladder import Ladder
from .reference import Markers

PER_LABEL = 30
FLOOR = 0.3  # mean log value that is as good as none
HIGHER = 0.1  # least log ratio by which the cells of a label express its markers above all others
NO_MARKERS = ("MT-", "RPL", "RPS", "MRPL", "MRPS")


def may_be_marker(symbol: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Whether each gene may be a marker; those of mitochondria and ribosomes tell states and damage."""
    excluded: NDArray[np.bool_] = np.stack([np.char.startswith(symbol, prefix) for prefix in NO_MARKERS])
    allowed: NDArray[np.bool_] = excluded.sum(axis=0) == 0
    return allowed


def class_sums(values: sp.csr_matrix, code: NDArray[np.integer], n_classes: int) -> NDArray[np.float64]:
    """Sum of the values of each class, [c, v]; cells of class -1 take no part."""
    inside = np.flatnonzero(code >= 0)
    member = sp.csr_matrix((np.ones(len(inside)), (code[inside], inside)), shape=(n_classes, len(code)))
    out: NDArray[np.float64] = (member @ values).toarray()
    return out


def modelled_expression(fine: Discriminant, gene_vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Standardised expression that a model takes the class means for, [c, v]; smoother than the cells' own."""
    centre = fine.means.astype(np.float64) @ np.linalg.inv(fine.whitening.astype(np.float64))
    out: NDArray[np.float64] = centre @ gene_vectors.T.astype(np.float64)
    return out


def find_markers(
    ladder: Ladder,
    branch: NDArray[np.integer],
    modelled: NDArray[np.floating],
    mean: NDArray[np.floating] | None,
    usable: NDArray[np.bool_],
) -> Markers:
    """Find for each label the genes that its classes have above all others, and above the rest of their branch.

    Parameters
    ----------
    ladder
        Labels of all depths and their classes.
    branch
        Branch of each class, [c].
    modelled
        From :func:`modelled_expression`, [c, v]: puts the genes in order.
    mean
        Mean log value of each gene in the cells of each class, [c, v], NaN where it was not measured: a marker must be
        higher here too. ``None`` leaves that out.
    usable
        Genes that may be markers, [v].
    """
    label = np.unique(ladder.label)
    gene = np.zeros((len(label), PER_LABEL), np.int32)
    score = np.zeros((len(label), PER_LABEL), np.float32)
    for at, one in enumerate(label):
        rungs = np.flatnonzero(ladder.label == one)
        inside = ladder.members[:, rungs[ladder.members[:, rungs].sum(axis=0).argmax()]]
        others = ~inside
        if not others.any():
            continue
        kin = others & np.isin(branch, branch[inside]) if (others & np.isin(branch, branch[inside])).any() else others
        # The median: what most classes of a broad label share, not what one of them has in plenty.
        above = np.median(modelled[inside], axis=0) - (modelled[others].mean(axis=0) + modelled[kin].mean(axis=0)) / 2
        above = np.where(usable & (above > 0), above, 0)
        if mean is not None:
            above[(_log_ratio(mean, inside, others) < HIGHER) | (_log_ratio(mean, inside, kin) <= 0)] = 0
        best = np.argsort(-above, kind="stable")[:PER_LABEL]
        gene[at, : len(best)], score[at, : len(best)] = best, above[best]
    return Markers(label, gene, score)


def _log_ratio(mean: NDArray[np.floating], inside: NDArray[np.bool_], others: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Ratio of the mean of some classes to that of others; 0 where either was not measured."""
    measured, value = np.isfinite(mean), np.nan_to_num(mean)
    n_in, n_out = measured[inside].sum(axis=0), measured[others].sum(axis=0)
    mean_in = value[inside].sum(axis=0) / np.maximum(n_in, 1)
    mean_out = value[others].sum(axis=0) / np.maximum(n_out, 1)
    return np.where((n_in > 0) & (n_out > 0), np.log((mean_in + FLOOR) / (mean_out + FLOOR)), 0)
