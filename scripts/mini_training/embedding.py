"""The gene embedding: leading eigenvectors of gene-gene correlations, taken inside studies and averaged over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.linalg import blas

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


def standardised_study(study: Study, rows: NDArray[np.int32], *, random_state: int = 0) -> NDArray[np.float32]:
    """Cells x genes such that z'z is the correlation inside the study, columns of zeros for genes it lacks."""
    n = study.values.shape[0]
    if n > MAX_CELLS:
        study = study.take(np.sort(np.random.default_rng(random_state).choice(n, MAX_CELLS, replace=False)))
    values, where = _on_genes(study, rows)
    seen = values.getnnz(axis=0) >= 5
    values, where = values[:, seen], where[seen]
    weight = cell_weights(study)
    mean, variance = moments(values, weight)
    z = values.toarray()
    z -= mean.astype(np.float32)
    z /= np.sqrt(variance + 1e-12).astype(np.float32)
    np.clip(z, -CLIP, CLIP, out=z)
    z *= np.sqrt(weight / weight.sum()).astype(np.float32)[:, None]
    return _spread(z, where, len(rows))


def standardised_profiles(profiles: Profiles, rows: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray]:
    """Profiles x genes, unknown values zero, and which values are known."""
    _, here, where = np.intersect1d(profiles.rows, rows, assume_unique=True, return_indices=True)
    x = np.log1p(profiles.cpm[:, here] / 100)
    known = np.isfinite(x)
    several = known.sum(0) >= 2
    x, known, where = x[:, several], known[:, several], where[several]
    z = (x - np.nanmean(x, 0)) / (np.nanstd(x, 0) + 1e-6)
    z = np.clip(np.nan_to_num(z), -5, CLIP)
    return _spread(z, where, len(rows), unit=False), _spread(known.astype(np.float32), where, len(rows), unit=False)


def _spread(z: NDArray, where: NDArray, width: int, *, unit: bool = True) -> NDArray[np.float32]:
    """Columns at their place among ``width``, scaled to unit length if asked."""
    out = np.zeros((len(z), width), np.float32)
    out[:, where] = z / np.maximum(np.sqrt(np.einsum("ng,ng->g", z, z)), 1e-3) if unit else z
    return out


def gene_space(
    studies: list[Study], profiles: list[Profiles], rows: NDArray[np.int32], *, width: int, random_state: int = 0
) -> GeneSpace:
    """Average the correlations, take eigenvectors, and average means and variances."""
    n = len(rows)
    total = np.zeros((n, n), np.float32, order="F")
    known, weights = [], []
    for study in studies:
        z = standardised_study(study, rows, random_state=random_state)
        known.append(z.any(axis=0))
        weights.append(study_weight(study))
        # Half of a symmetric product, added in place: the largest cost of a build.
        total = blas.ssyrk(weights[-1], z.T, beta=1.0, c=total, overwrite_c=True)
    total = np.triu(total) + np.triu(total, 1).T
    for collection in profiles:
        if collection.name != "human_extra_profiles":
            z, seen = standardised_profiles(collection, rows)
            correlation = (z.T @ z) / np.maximum(seen.T @ seen, 1)
            scale = np.sqrt(np.maximum(np.diag(correlation), 1e-6))
            total += PROFILE_WEIGHT * (correlation / scale[:, None] / scale)
            known.append(seen.any(axis=0))
            weights.append(PROFILE_WEIGHT)
    measured = np.array(known, np.float32)
    total /= (measured * np.array(weights, np.float32)[:, None]).T @ measured + 20
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
