"""Linear discriminant with balanced class means and one shared covariance, on embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

SHRINKAGE = 0.1
MAX_AXES, MANY = 64, 16  # directions between class means; classes above which they suffice to find neighbours
OWN_SHARE = 0.2  # of the cells' own scatter beside one that many studies gave: tells states apart inside a study


@dataclass(frozen=True)
class Discriminant:
    """Class means in a space where the scatter inside classes is round.

    Attributes
    ----------
    whitening
        float32 [d, d]: an embedding times this has unit covariance inside a class.
    means
        float32 [c, d]: class means after whitening.
    """

    whitening: NDArray[np.float32]
    means: NDArray[np.float32]

    def distances(self, embedding: NDArray[np.floating]) -> NDArray[np.float64]:
        """Squared Mahalanobis distance of every cell to every class, [n, c].

        In float64: the difference below cancels, and what is left must not depend on the other cells of the product.
        """
        cells = embedding.astype(np.float64) @ self.whitening.astype(np.float64)
        # |a|^2 - 2ab + |b|^2, in place on the product: [n, c] is the largest array here.
        out = cells @ self.means.T.astype(np.float64)
        out *= -2
        out += np.einsum("nd,nd->n", cells, cells)[:, None]
        out += np.einsum("cd,cd->c", self.means, self.means)
        np.maximum(out, 0, out=out)
        return out

    @cached_property
    def axes(self) -> NDArray[np.float32]:
        """Map to the space where neighbours are sought, [d, k].

        That is the directions in which class means differ, where the scatter inside classes is round; with few classes
        these are too few, and all directions are kept.
        """
        if len(self.means) <= MANY:
            return self.whitening
        directions = np.linalg.svd(self.means - self.means.mean(axis=0), full_matrices=False)[2]
        kept = directions[: min(MAX_AXES, len(self.means) - 1)].T
        out: NDArray[np.float32] = (self.whitening @ kept).astype(np.float32)
        return out


def row_weights(label: NDArray[np.integer], batch: NDArray[np.integer]) -> NDArray[np.float64]:
    """Weight of each cell such that classes weigh alike and, inside a class, batches by the root of their cells."""
    _, group, size = np.unique(np.stack([label, batch]), axis=1, return_inverse=True, return_counts=True)
    weight = (1 / np.sqrt(size))[group.ravel()]
    n_classes = int(label.max()) + 1
    out: NDArray[np.float64] = weight / np.bincount(label, weight, minlength=n_classes)[label] / n_classes
    return out


def fit_discriminant(
    embedding: NDArray[np.floating],
    label: NDArray[np.integer],
    batch: NDArray[np.integer],
    *,
    whitening: NDArray[np.floating] | None = None,
) -> Discriminant:
    """Fit class means and the covariance that they share.

    The covariance is taken around the class means of all batches together, so that it holds the differences between
    batches: directions in which studies differ count for little.

    Parameters
    ----------
    embedding
        [n, d].
    label
        Class of each cell, 0 to c - 1, none empty.
    batch
        Study or donor of each cell, as numbers.
    whitening
        [d, d]: of a fit on more studies, whose covariance makes up most of this one.
    """
    cells = embedding.astype(np.float64)
    weight = row_weights(label, batch)
    n_classes = int(label.max()) + 1
    collect = sp.csr_matrix((weight, (label, np.arange(len(label)))), shape=(n_classes, len(label)))
    means = np.asarray(collect @ cells) / np.bincount(label, weight, minlength=n_classes)[:, None]
    covariance = _covariance(cells - means[label], weight)
    if whitening is not None:
        covariance = _joined(covariance, whitening.astype(np.float64))
    whitening = np.linalg.inv(np.linalg.cholesky(covariance)).T
    return Discriminant(whitening.astype(np.float32), (means @ whitening).astype(np.float32))


def fit_bulk(embedding: NDArray[np.floating], label: NDArray[np.integer], batch: NDArray[np.integer]) -> Discriminant:
    """Fit all cells as one class, labels weighing alike: its scatter holds the differences between classes."""
    weight = row_weights(label, batch)
    mean = weight @ embedding.astype(np.float64) / weight.sum()
    whitening = np.linalg.inv(np.linalg.cholesky(_covariance(embedding - mean, weight))).T
    return Discriminant(whitening.astype(np.float32), (mean @ whitening).astype(np.float32)[None, :])


def _covariance(inside: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted scatter of ``inside``, shrunk towards a round one."""
    width = inside.shape[1]
    covariance = (inside * weight[:, None]).T @ inside / weight.sum()
    # A floor keeps the inverse defined when there are fewer cells than numbers, or all of a class are alike.
    ridge = max(SHRINKAGE * np.trace(covariance) / width, 1e-6)
    shrunk: NDArray[np.float64] = (1 - SHRINKAGE) * covariance + ridge * np.eye(width)
    return shrunk


def _joined(own: NDArray[np.float64], whitening: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance behind ``whitening`` with a share of ``own``, as large as it was: distances keep their scale."""
    known = np.linalg.inv(whitening @ whitening.T)
    joined: NDArray[np.float64] = (1 - OWN_SHARE) * known + OWN_SHARE * own
    growth = np.linalg.slogdet(known)[1] - np.linalg.slogdet(joined)[1]
    joined *= np.exp(growth / len(own))
    return joined


def posterior(distances: NDArray[np.float64], prior: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Probability of every class, [n, c]: prior times exp(-distance / 2 / temperature), rows summing to 1."""
    logits: NDArray[np.float64] = distances / (-2 * temperature) + np.log(prior)
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits
