"""Copy number of cells by infercnvpy, run in its own environment.

    PYTHON benchmarks/malignant_infercnvpy.py IN.h5ad OUT.csv

IN holds counts, ``obs["who"]`` ("normal" or "other"), and ``chromosome``, ``start``, ``end`` of every gene. The steps
are those of its tutorial: normalise, logarithm, infercnv with its defaults, PCA, neighbours and Leiden clusters of the
profiles, score of the clusters. OUT holds the score of each cell by itself and that of its cluster.
"""

from __future__ import annotations

import sys

import infercnvpy as cnv
import numpy as np
import pandas as pd
import scanpy as sc


def main() -> None:
    adata = sc.read_h5ad(sys.argv[1])
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    cnv.tl.infercnv(adata, reference_key="who", reference_cat="normal", n_jobs=1)
    cell = np.asarray(abs(adata.obsm["X_cnv"]).mean(axis=1)).ravel()
    cnv.tl.pca(adata, n_comps=min(50, adata.n_obs - 1))
    cnv.pp.neighbors(adata)
    cnv.tl.leiden(adata)
    cnv.tl.cnv_score(adata)
    columns = {"cell": cell, "cluster": adata.obs["cnv_score"].to_numpy(float)}
    pd.DataFrame(columns, index=adata.obs_names).to_csv(sys.argv[2])


if __name__ == "__main__":
    main()
