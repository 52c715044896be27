"""Simple methods that annotation is compared with, trained on the same studies."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from mini_training.build import Built
from mini_training.head import CELLS_PER_CLASS, NO_HEAD
from mini_training.labels import TRIAL_CLASSES
from mini_training.studies import Study
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from scfm_scverse.reference.discriminant import row_weights

WIDE = 7000  # genes of a study that takes part where all studies must share genes
CLIP = 8.0


def _training_cells(studies: list[Study], *, wide: bool) -> list[Study]:
    """The same number of real cells a class and study that the model's head is given."""
    rng = np.random.default_rng(0)
    parts = []
    for study in studies:
        if study.name in NO_HEAD or (wide and len(study.rows) < WIDE):
            continue
        picked = [
            rng.choice(cells, min(CELLS_PER_CLASS, len(cells)), replace=False)
            for one in TRIAL_CLASSES
            if len(cells := np.flatnonzero((study.broad == one) & ~study.malignant))
        ]
        if picked:
            parts.append(study.take(np.sort(np.concatenate(picked))))
    return parts


def _on(study: Study, rows: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Log values on the genes ``rows``, zero where not measured, and which are measured."""
    _, here, there = np.intersect1d(study.rows, rows, assume_unique=True, return_indices=True)
    out = np.zeros((study.values.shape[0], len(rows)), np.float32)
    out[:, there] = sp.csr_matrix(study.values[:, here]).toarray()
    measured = np.zeros(len(rows), bool)
    measured[there] = True
    return out, measured


def pca_knn(studies: list[Study], query: Study) -> NDArray[np.str_]:
    """50 components of the genes that all studies share, 15 nearest neighbours."""
    parts = _training_cells(studies, wide=True)
    rows = query.rows
    for part in parts:
        rows = np.intersect1d(rows, part.rows)
    train = np.concatenate([_on(part, rows)[0] for part in parts])
    label = np.concatenate([part.broad for part in parts])
    pca = PCA(min(50, len(rows) - 1), svd_solver="randomized", random_state=0).fit(train)
    neighbours = KNeighborsClassifier(15).fit(pca.transform(train), label)
    return np.asarray(neighbours.predict(pca.transform(_on(query, rows)[0])))


def balanced_regression(built: Built, studies: list[Study], query: Study) -> NDArray[np.str_]:
    """Class x study balanced, strongly regularised regression on the model's genes that the query has."""
    rows = np.sort(np.intersect1d(built.model.gene_rows, query.rows))
    position = np.searchsorted(built.model.gene_rows, rows)
    mean, sd = built.model.weights.mean[position], built.model.weights.sd[position]

    def standardised(study: Study) -> NDArray[np.float32]:
        values, measured = _on(study, rows)
        z = np.clip((values - mean) / sd, -CLIP, CLIP)
        z[:, ~measured] = 0
        return z

    parts = _training_cells(studies, wide=False)
    label = np.concatenate([part.broad for part in parts])
    study = np.concatenate([np.full(len(part.broad), at) for at, part in enumerate(parts)])
    code = np.unique(label, return_inverse=True)[1]
    weight = row_weights(code, study)
    fit = LogisticRegression(C=3e-4, tol=1e-3, max_iter=100)
    fit.fit(np.concatenate([standardised(part) for part in parts]), label, sample_weight=weight * len(label))
    return np.asarray(fit.predict(standardised(query)))
