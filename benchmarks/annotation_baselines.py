"""Simple methods that annotation is compared with, trained on the same cells.

Each takes a split and returns a name and a confidence for every cell of the query.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from annotation_splits import Split, finer_words
from mini_training.head import embed_study
from mini_training.labels import TRIAL_CLASSES
from mini_training.profiles import Profiles
from mini_training.studies import Study
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from scfm_scverse.reference.build import TEMPERATURE
from scfm_scverse.reference.discriminant import fit_discriminant, row_weights

WIDE = 7000  # genes of a study that takes part where all studies must share genes
CLIP = 8.0
C = 3e-4
RANKED_GENES = 2000


@dataclass(frozen=True)
class Named:
    """What a method says of every cell: a word, and how sure it is of it."""

    answer: NDArray[np.str_]
    confidence: NDArray[np.floating]

    @classmethod
    def best(cls, words: NDArray[np.str_], probability: NDArray[np.floating]) -> Named:
        """The most likely word of each cell."""
        return cls(words[probability.argmax(axis=1)], probability.max(axis=1))


def on_genes(study: Study, rows: NDArray[np.int32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Log values on the genes ``rows``, zero where not measured, and which are measured."""
    _, here, there = np.intersect1d(study.rows, rows, assume_unique=True, return_indices=True)
    out = np.zeros((study.values.shape[0], len(rows)), np.float32)
    out[:, there] = sp.csr_matrix(study.values[:, here]).toarray()
    measured = np.zeros(len(rows), bool)
    measured[there] = True
    return out, measured


def wide_studies(split: Split) -> list[Study]:
    """Studies that measured enough genes to share some with all others; all of a reference of one's own."""
    return split.train if split.own else [one for one in split.train if len(one.rows) >= WIDE]


def shared_genes(studies: list[Study]) -> NDArray[np.int32]:
    """Genes that every study measured."""
    rows = studies[0].rows
    for study in studies[1:]:
        rows = np.intersect1d(rows, study.rows)
    return rows


def model_genes(split: Split) -> NDArray[np.int32]:
    """Genes of the model that the query has."""
    return np.intersect1d(split.built.model.gene_rows, split.query.rows)


def pca_knn(split: Split, random_state: int) -> Named:
    """50 components of the genes that all studies share, 15 nearest neighbours."""
    parts = wide_studies(split)
    rows = shared_genes([split.query, *parts])
    train = np.concatenate([on_genes(part, rows)[0] for part in parts])
    label = np.concatenate([part.broad for part in parts])
    pca = PCA(min(50, len(rows) - 1, len(train) - 1), svd_solver="randomized", random_state=random_state).fit(train)
    neighbours = KNeighborsClassifier(min(15, len(train))).fit(pca.transform(train), label)
    return Named.best(neighbours.classes_, neighbours.predict_proba(pca.transform(on_genes(split.query, rows)[0])))


def balanced_regression(split: Split) -> Named:
    """Class x study balanced, strongly regularised regression on the model's genes that the query has."""
    model, rows = split.built.model, model_genes(split)
    position = np.searchsorted(model.gene_rows, rows)
    mean, sd = model.weights.mean[position], model.weights.sd[position]

    def standardised(study: Study) -> NDArray[np.float32]:
        values, measured = on_genes(study, rows)
        z = np.clip((values - mean) / sd, -CLIP, CLIP)
        z[:, ~measured] = 0
        return z

    label = np.concatenate([part.broad for part in split.train])
    study = np.concatenate([np.full(len(part.broad), at) for at, part in enumerate(split.train)])
    words, code = np.unique(label, return_inverse=True)
    weight = row_weights(code, study) * len(label)
    fit = LogisticRegression(C=C, tol=1e-3, max_iter=100)
    fit.fit(np.concatenate([standardised(part) for part in split.train]), code, sample_weight=weight)
    return Named.best(words, fit.predict_proba(standardised(split.query)))


def nearest_profile(split: Split, profiles: list[Profiles]) -> Named:
    """Highest Spearman correlation with an averaged profile, or with a class mean of a reference of one's own.

    On the 2,000 genes, at most, that vary most over the profiles. Of the collections the one with most genes in
    common with the query is asked.
    """
    if split.own:
        rows, log, words = _class_means(split.train)
    else:
        one = max(profiles[:2], key=lambda one: len(np.intersect1d(one.rows, split.query.rows)))
        words, named = _profile_words(split, one)
        complete = np.isfinite(one.cpm[named]).all(axis=0)
        rows, log = one.rows[complete], np.log1p(one.cpm[named][:, complete] / 100)
    rows, here, there = np.intersect1d(rows, split.query.rows, assume_unique=True, return_indices=True)
    best = np.sort(np.argsort(-log[:, here].var(axis=0), kind="stable")[:RANKED_GENES])
    known = _unit_ranks(log[:, here[best]])
    asked = _unit_ranks(split.query.values[:, there[best]].toarray())
    correlation = asked @ known.T
    return Named(words[correlation.argmax(axis=1)], np.clip(correlation.max(axis=1), 0, 1))


def _profile_words(split: Split, profiles: Profiles) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    from mini_training.labels import broad_of_term

    broad = np.array([broad_of_term(one) if one else "" for one in profiles.term], "<U60")
    named = np.flatnonzero(np.isin(broad, TRIAL_CLASSES))
    words = broad[named]
    return (finer_words(words, profiles.term[named]) if split.kind == "finer" else words), named


def _class_means(studies: list[Study]) -> tuple[NDArray[np.int32], NDArray, NDArray[np.str_]]:
    rows = shared_genes(studies)
    values = np.concatenate([on_genes(one, rows)[0] for one in studies])
    words, code = np.unique(np.concatenate([one.broad for one in studies]), return_inverse=True)
    means = np.stack([np.expm1(values[code == at]).mean(axis=0) for at in range(len(words))])
    return rows, np.log1p(means), words


def _unit_ranks(values: NDArray) -> NDArray[np.float32]:
    ranks = rankdata(values, axis=1).astype(np.float32)
    ranks -= ranks.mean(axis=1, keepdims=True)
    return ranks / np.maximum(np.linalg.norm(ranks, axis=1, keepdims=True), 1e-6)


def single_level(split: Split) -> Named:
    """The discriminant of the words alone, on the embeddings that the head is made of."""
    cells, word, study = reference_rows(split)
    kept = np.isin(word, np.unique(np.concatenate([one.broad for one in split.train] + [_from_profiles(split)])))
    words, code = np.unique(word[kept], return_inverse=True)
    fit = fit_discriminant(cells[kept], code, np.unique(study[kept], return_inverse=True)[1])
    distances = fit.distances(embed_study(split.built.model, split.query))
    return Named.best(words, softmax(distances / (-2 * TEMPERATURE), axis=1))


def _from_profiles(split: Split) -> NDArray[np.str_]:
    """Trial classes that averaged profiles alone tell the default reference of."""
    if split.own:
        return np.array([], "<U60")
    rows = split.built.rows
    return rows.broad[np.isin(rows.broad, TRIAL_CLASSES)]


def reference_rows(split: Split) -> tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.str_]]:
    """Embedding, word and study of each cell of the reference, simulated ones with them."""
    if split.own:
        parts = split.train
        return (
            np.concatenate([embed_study(split.built.model, one) for one in parts]),
            np.concatenate([one.broad for one in parts]),
            np.concatenate([np.full(len(one.broad), one.name) for one in parts]),
        )
    rows = split.built.rows
    return rows.embedding, finer_words(rows.broad, rows.term) if split.kind == "finer" else rows.broad, rows.study


def whitened_knn(split: Split) -> Named:
    """25 nearest cells of the reference by cosine after whitening, each with the weight of its cosine."""
    whitening = split.built.reference.fine.whitening
    cells, word, _ = reference_rows(split)
    words, code = np.unique(word, return_inverse=True)
    cosine = _unit(embed_study(split.built.model, split.query) @ whitening) @ _unit(cells @ whitening).T
    near = np.argpartition(-cosine, min(25, len(code) - 1), axis=1)[:, :25]
    votes = np.zeros((len(cosine), len(words)))
    np.add.at(votes, (np.arange(len(cosine))[:, None], code[near]), np.maximum(np.take_along_axis(cosine, near, 1), 0))
    return Named.best(words, votes / np.maximum(votes.sum(axis=1, keepdims=True), 1e-9))


def _unit(cells: NDArray[np.floating]) -> NDArray[np.floating]:
    return cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), 1e-9)
