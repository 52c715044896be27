"""The gene embedding: leading eigenvectors of gene-gene correlations, taken inside studies and averaged over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .profiles import Profiles
from .studies import Study

CLIP = 8.0
MAX_CELLS = 3000
PROFILE_WEIGHT = 200.0


@dataclass(frozen=True)
class GeneSpace:
    """What the model knows of its genes: table rows [v], embedding [v, d], mean and sd of log values [v]."""

    rows: NDArray[np.int32]
    embedding: NDArray[np.float32]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]


def cell_weights(study: Study) -> NDArray[np.float64]:
    """Weights that keep large classes from ruling a study's statistics: class size to the power -1/2, mean 1."""
    _, code, size = np.unique(study.label, return_inverse=True, return_counts=True)
    known = (study.label != "") & (study.label != "unlabelled")
    if not known.any():
        return np.ones(len(code))
    weight = size[code] ** -0.5
    weight[~known] = np.median(weight[known])
    return weight / weight.mean()


def moments(values: sp.csr_matrix, weight: NDArray) -> tuple[NDArray, NDArray]:
    """Weighted mean and variance of every gene."""
    share = weight / weight.sum()
    mean = share @ values
    squared = values.copy()
    squared.data = squared.data**2
    return mean, np.maximum(share @ squared - mean**2, 0)


def study_weight(study: Study) -> float:
    """Weight of a study in averages over studies."""
    return float(np.sqrt(min(study.values.shape[0], MAX_CELLS)))


def dispersion(values: sp.csr_matrix) -> NDArray:
    """Variance above what genes of the same mean show, in robust units, cut to -2..8."""
    mean, variance = moments(values, np.ones(values.shape[0]))
    seen = mean > 0
    score = np.full(len(mean), -2.0)
    edges = np.quantile(mean[seen], np.linspace(0, 1, 21)[1:-1])
    bin_ = np.digitize(mean, edges)
    for one in range(20):
        inside = seen & (bin_ == one)
        if inside.any():
            middle = np.median(variance[inside])
            spread = np.median(np.abs(variance[inside] - middle)) + 1e-9
            score[inside] = (variance[inside] - middle) / spread
    return np.clip(score, -2, 8) * np.minimum(1, np.sqrt(mean / 0.02))


def select_genes(studies: list[Study], biotype: NDArray[np.str_], size: int) -> NDArray[np.int32]:
    """The genes that vary most inside studies, among those that several studies measure."""
    n_genes = len(biotype)
    score, measured, wide = np.zeros(n_genes), np.zeros(n_genes), np.zeros(n_genes)
    for study in studies:
        measured[study.rows] += 1
        if len(study.rows) > 7000:
            wide[study.rows] += 1
            score[study.rows] += dispersion(study.values)
    needed = np.full(n_genes, np.inf)
    needed[(biotype == "protein_coding") | np.char.startswith(biotype, "IG_") | np.char.startswith(biotype, "TR_")] = 4
    needed[biotype == "lncRNA"] = 8
    score = np.where(measured >= needed, score / np.maximum(wide, 4), -np.inf)
    best = np.argsort(-score, kind="stable")[:size]
    return np.sort(best[np.isfinite(score[best])]).astype(np.int32)


def _on_genes(study: Study, rows: NDArray[np.int32]) -> tuple[sp.csc_matrix, NDArray[np.int64]]:
    """Columns of a study on the selected genes, and where they stand among these."""
    _, here, there = np.intersect1d(study.rows, rows, assume_unique=True, return_indices=True)
    return study.values[:, here], there


def study_correlation(study: Study, rows: NDArray[np.int32], *, random_state: int = 0) -> tuple[NDArray, NDArray]:
    """Correlation inside one study [m, m] and the positions [m] of its genes among ``rows``."""
    n = study.values.shape[0]
    if n > MAX_CELLS:
        study = study.take(np.sort(np.random.default_rng(random_state).choice(n, MAX_CELLS, replace=False)))
    values, where = _on_genes(study, rows)
    seen = np.asarray((values > 0).sum(0)).ravel() >= 5
    values, where = values[:, seen], where[seen]
    weight = cell_weights(study)
    mean, variance = moments(values, weight)
    z = values.toarray()
    z -= mean.astype(np.float32)
    z /= np.sqrt(variance + 1e-12).astype(np.float32)
    np.clip(z, -CLIP, CLIP, out=z)
    z *= np.sqrt(weight / weight.sum()).astype(np.float32)[:, None]
    correlation = z.T @ z
    scale = np.sqrt(np.maximum(np.diag(correlation), 1e-6))
    return correlation / scale[:, None] / scale, where


def profile_correlation(profiles: Profiles, rows: NDArray[np.int32]) -> tuple[NDArray, NDArray]:
    """Correlation over profiles with unknown values left out pair by pair, and positions as above."""
    _, here, where = np.intersect1d(profiles.rows, rows, assume_unique=True, return_indices=True)
    x = np.log1p(profiles.cpm[:, here] / 100)
    known = np.isfinite(x)
    seen = known.sum(0) >= 2
    x, known, where = x[:, seen], known[:, seen], where[seen]
    z = (x - np.nanmean(x, 0)) / (np.nanstd(x, 0) + 1e-6)
    z = np.clip(np.nan_to_num(z), -5, CLIP)
    known = known.astype(np.float32)
    correlation = (z.T @ z) / np.maximum(known.T @ known, 1)
    scale = np.sqrt(np.maximum(np.diag(correlation), 1e-6))
    return correlation / scale[:, None] / scale, where


def gene_space(
    studies: list[Study], profiles: list[Profiles], rows: NDArray[np.int32], *, width: int, random_state: int = 0
) -> GeneSpace:
    """Average the correlations, take eigenvectors, and average means and variances."""
    n = len(rows)
    total, weights = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)

    def add(correlation: NDArray, where: NDArray, weight: float) -> None:
        block = np.ix_(where, where)
        total[block] += weight * correlation
        weights[block] += weight

    for study in studies:
        add(*study_correlation(study, rows, random_state=random_state), study_weight(study))
    for collection in profiles:
        if collection.name != "human_extra_profiles":
            add(*profile_correlation(collection, rows), PROFILE_WEIGHT)
    total /= weights + 20
    mean, sd = _scale(studies, rows)
    return GeneSpace(rows, _leading_eigenvectors(total, width, random_state), mean, sd)


def _scale(studies: list[Study], rows: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mean, variance, weight = np.zeros(len(rows)), np.zeros(len(rows)), np.full(len(rows), 1e-9)
    for study in studies:
        values, where = _on_genes(study, rows)
        of_study = moments(values, cell_weights(study))
        w = study_weight(study)
        mean[where] += w * of_study[0]
        variance[where] += w * of_study[1]
        weight[where] += w
    return (mean / weight).astype(np.float32), (np.sqrt(variance / weight) + 0.02).astype(np.float32)


def _leading_eigenvectors(matrix: NDArray, width: int, random_state: int) -> NDArray[np.float32]:
    """Eigenvectors of the largest eigenvalues by size, the positive ones kept, by subspace iteration."""
    rng = np.random.default_rng(random_state)
    basis = np.linalg.qr(rng.standard_normal((len(matrix), width + 40)).astype(np.float32))[0]
    for _ in range(8):
        basis = np.linalg.qr(matrix @ basis)[0]
    value, vector = np.linalg.eigh(basis.T @ (matrix @ basis))
    best = np.argsort(-value)[:width]
    vectors = basis @ vector[:, best]
    # The sign of an eigenvector is free; fix it so that a rebuild gives the same numbers.
    vectors *= np.sign(vectors[np.abs(vectors).argmax(0), np.arange(width)])
    return vectors.astype(np.float32)
