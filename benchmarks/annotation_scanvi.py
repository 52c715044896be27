"""scANVI (scvi-tools) trained jointly on the labelled reference and the unlabelled query: standard label transfer.

Small on purpose, to run on two cores: at most 40 cells a class and study, 1,500 cells of the query in training, 2,000
genes, 60 + 20 epochs. Counts are needed: references without counts stay out, queries without counts have no row.
"""

from __future__ import annotations

import warnings

import numpy as np
import scipy.sparse as sp
from annotation_baselines import Named, shared_genes, wide_studies
from annotation_splits import Split, counts_of
from mini_training.embedding import dispersion
from mini_training.studies import Study
from numpy.typing import NDArray

CELLS_PER_CLASS, QUERY_CELLS, GENES = 40, 1500, 2000
EPOCHS, LABELLED_EPOCHS, BATCH = 60, 20, 100
UNLABELLED = "no label"


def scanvi(split: Split, random_state: int) -> Named | None:
    """Train and name; None where the query holds no counts, or no reference does."""
    import scvi
    from anndata import AnnData

    rng = np.random.default_rng(random_state)
    asked = counts_of(split.query)
    parts = [(one, counts) for one in wide_studies(split) if (counts := counts_of(one)) is not None]
    if asked is None or not parts:
        return None
    rows = _variable_genes([one for one, _ in parts], split.query)
    chosen = [_some_of_each_class(one, rng) for one, _ in parts]
    query = on_rows(asked, split.query, rows)
    trained = rng.choice(query.shape[0], min(QUERY_CELLS, query.shape[0]), replace=False)
    counts = [on_rows(counts, one, rows)[kept] for (one, counts), kept in zip(parts, chosen, strict=True)]
    label = [one.broad[kept] for (one, _), kept in zip(parts, chosen, strict=True)]
    batch = [np.full(len(kept), one.name) for (one, _), kept in zip(parts, chosen, strict=True)]
    # A query out of one of the reference's own studies is still a batch of its own.
    name = f"{split.query.name}, query"
    together = AnnData(sp.vstack([*counts, query[trained]]).tocsr())
    together.obs["label"] = np.concatenate([*label, np.full(len(trained), UNLABELLED)])
    together.obs["batch"] = np.concatenate([*batch, np.full(len(trained), name)])
    every = AnnData(query)
    every.obs["label"], every.obs["batch"] = UNLABELLED, name
    scvi.settings.seed = random_state
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scvi.model.SCVI.setup_anndata(together, batch_key="batch")
        latent = scvi.model.SCVI(together, n_layers=2, n_latent=30, gene_likelihood="nb")
        # A last minibatch of one cell would stop the batch normalisation.
        how = {"batch_size": BATCH, "datasplitter_kwargs": {"drop_last": True}}
        quiet = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
        latent.train(max_epochs=EPOCHS, **how, **quiet)
        model = scvi.model.SCANVI.from_scvi_model(latent, unlabeled_category=UNLABELLED, labels_key="label")
        model.train(max_epochs=LABELLED_EPOCHS, n_samples_per_label=100, **how, **quiet)
        probability = model.predict(every, soft=True)
    return Named.best(probability.columns.to_numpy(str), probability.to_numpy())


def _some_of_each_class(study: Study, rng: np.random.Generator) -> NDArray[np.int64]:
    here = [np.flatnonzero(study.broad == one) for one in np.unique(study.broad)]
    return np.concatenate([rng.choice(one, min(CELLS_PER_CLASS, len(one)), replace=False) for one in here])


def _variable_genes(parts: list[Study], query: Study) -> NDArray[np.int32]:
    rows = shared_genes([query, *parts])
    score = np.zeros(len(rows))
    for one in parts:
        score += dispersion(sp.csr_matrix(one.values[:, np.searchsorted(one.rows, rows)]))
    return rows[np.sort(np.argsort(-score, kind="stable")[:GENES])]


def on_rows(counts: sp.csr_matrix, study: Study, rows: NDArray[np.int32]) -> sp.csr_matrix:
    """Counts on some of a study's genes."""
    return sp.csr_matrix(counts[:, np.searchsorted(study.rows, rows)], dtype=np.float32)
