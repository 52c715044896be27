"""CellTypist trained on the same cells, in an environment of its own.

Run as a program inside that environment, ``python annotation_celltypist.py FILE``, it trains and predicts what the
file holds; imported by the benchmark, it writes the file and starts the program. The environment is made by

    python3.11 -m venv FOLDER && FOLDER/bin/pip install celltypist "scikit-learn<1.8"
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

# Of the regression. By default 1,000 and 1e-4, which takes five times as long and did worse on both studies tried
# (macro-F1 0.75 against 0.88 on Zilionis, 0.76 against 0.77 on CRC).
MAX_ITER, TOL = 100, 1e-2


def celltypist(split, python: Path):
    """Name the cells of a split by CellTypist's own training and prediction, "best match" mode.

    On the model's genes that the query has, genes that a study lacks counted as zero (on the genes that all studies
    share it did worse), each cell scaled to 10,000 over them, as CellTypist asks.
    """
    import scipy.sparse as sp
    from annotation_baselines import Named, model_genes, on_genes

    parts, rows = split.train, model_genes(split)

    def scaled(study):
        linear = np.expm1(on_genes(study, rows)[0])
        return sp.csr_matrix(np.log1p(1e4 * linear / np.maximum(linear.sum(axis=1, keepdims=True), 1e-9)))

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "exchange.npz"
        train, query = sp.vstack([scaled(part) for part in parts]).tocsr(), scaled(split.query)
        label = np.concatenate([part.broad for part in parts])
        arrays = {
            f"{name}_{part}": getattr(matrix, part)
            for name, matrix in (("train", train), ("query", query))
            for part in ("data", "indices", "indptr", "shape")
        }
        np.savez(file, label=label, **arrays)
        subprocess.run([python, __file__, file], check=True)
        with np.load(file) as answer:
            return Named(answer["answer"], answer["confidence"])


def main(file: Path) -> None:
    """Train, predict and replace the file by the answer."""
    import celltypist
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    with np.load(file) as given:
        train, query = (
            csr_matrix(
                (given[f"{name}_data"], given[f"{name}_indices"], given[f"{name}_indptr"]), shape=given[f"{name}_shape"]
            )
            for name in ("train", "query")
        )
        label = given["label"]
    genes = np.array([f"gene{i}" for i in range(train.shape[1])])
    model = celltypist.train(train, label, genes=genes, max_iter=MAX_ITER, tol=TOL, check_expression=False)
    asked = AnnData(query)
    asked.var_names = genes
    predicted = celltypist.annotate(asked, model=model)
    np.savez(
        file,
        answer=predicted.predicted_labels["predicted_labels"].to_numpy(str),
        confidence=predicted.probability_matrix.max(axis=1).to_numpy(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
