"""What fine-tuned models are compared with, trained on the same cells: regression, scANVI, CellTypist."""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np
import scanpy as sc
from anndata import AnnData
from finetune_data import LABEL, Split
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

EPOCHS, LABELLED_EPOCHS, N_VARIABLE = 50, 20, 2000
C = 0.01


def _shared_logs(split: Split) -> tuple[AnnData, AnnData]:
    """Log counts per 10,000 of the genes that both sides measured."""
    genes = split.train.var_names.intersection(split.query.var_names)
    out = []
    for side in (split.train, split.query):
        adata = side[:, genes].copy()
        sc.pp.normalize_total(adata, target_sum=1e4)
        sc.pp.log1p(adata)
        out.append(adata)
    return out[0], out[1]


def regression(split: Split) -> NDArray[np.str_]:
    """Class-balanced logistic regression on the standardised log values of 2,000 variable genes."""
    train, query = _shared_logs(split)
    sc.pp.highly_variable_genes(train, n_top_genes=N_VARIABLE)
    chosen = train.var["highly_variable"].to_numpy()
    scaler = StandardScaler()
    x = np.clip(scaler.fit_transform(train.X[:, chosen].toarray()), -8, 8)
    asked = np.clip(scaler.transform(query.X[:, chosen].toarray()), -8, 8)
    fitted = LogisticRegression(C=C, class_weight="balanced", max_iter=300).fit(x, train.obs[LABEL].to_numpy(str))
    return fitted.predict(asked)


def scanvi(split: Split, seed: int) -> NDArray[np.str_]:
    """Train scANVI (scvi-tools) on 2,000 variable genes, the query unlabelled in the training, a batch a donor."""
    import anndata as ad
    import scvi

    train, _ = _shared_logs(split)
    sc.pp.highly_variable_genes(train, n_top_genes=N_VARIABLE)
    genes = train.var_names[train.var["highly_variable"]]
    both = ad.concat([split.train[:, genes], split.query[:, genes]], keys=["train", "query"], index_unique="-")
    n = split.train.n_obs
    both.obs["known"] = np.r_[split.train.obs[LABEL].to_numpy(str), np.full(split.query.n_obs, "no label")]
    both.obs["batch"] = np.r_[split.train.obs["donor"].to_numpy(str), np.full(split.query.n_obs, "query")]
    scvi.settings.seed = seed
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
    how = {"datasplitter_kwargs": {"drop_last": True}}  # a last minibatch of one cell stops the batch normalisation
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scvi.model.SCVI.setup_anndata(both, batch_key="batch")
        latent = scvi.model.SCVI(both, n_layers=2, n_latent=30, gene_likelihood="nb")
        latent.train(max_epochs=EPOCHS, **quiet, **how)
        model = scvi.model.SCANVI.from_scvi_model(latent, unlabeled_category="no label", labels_key="known")
        model.train(max_epochs=LABELLED_EPOCHS, n_samples_per_label=100, **quiet, **how)
        return np.asarray(model.predict(both), dtype=str)[n:]


def celltypist(split: Split, python: Path) -> NDArray[np.str_]:
    """CellTypist's own training and "best match" prediction, in an environment of its own."""
    import scipy.sparse as sp

    train, query = _shared_logs(split)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "exchange.npz"
        arrays = {
            f"{name}_{part}": getattr(sp.csr_matrix(adata.X), part)
            for name, adata in (("train", train), ("query", query))
            for part in ("data", "indices", "indptr", "shape")
        }
        np.savez(file, label=train.obs[LABEL].to_numpy(str), **arrays)
        program = Path(__file__).with_name("annotation_celltypist.py")
        subprocess.run([python, program, file], check=True)
        with np.load(file) as answer:
            return answer["answer"]
