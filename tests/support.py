"""What several tests share: small data, fresh processes, the public functions."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData

_TESTS = Path(__file__).parent

NAMESPACES = ("pp", "tl", "pl", "get", "models")

# Real genes, so that every model finds most of what it is given.
GENES = """
ACTB B2M CCL4 CCL5 CCR7 CD14 CD19 CD27 CD3D CD3E CD3G CD4 CD68 CD74 CD79A CD79B CD8A CD8B CST3 CST7 CTSS CTSW CXCR4
EEF1A1 FCER1A FCER1G FCGR3A FCN1 FOS FTH1 FTL FTMT GAPDH GNLY GZMA GZMB GZMH GZMK HBA1 HBB HLA-A HLA-B HLA-C
HLA-DPA1 HLA-DPB1 HLA-DQA1 HLA-DRA HLA-DRB1 IGHD IGHM IGKC IL32 IL7R JUN KLRB1 KLRD1 LEF1 LGALS1 LST1 LTB LYZ MALAT1
MS4A1 MS4A7 NKG7 PF4 PPBP PRF1 PTPRC RPL10 RPL13 RPLP0 RPLP1 RPS12 RPS27 RPS3 S100A12 S100A4 S100A8 S100A9 SELL TCF7
TCL1A TMSB10 TMSB4X TRAC TRBC1 TRBC2 TYROBP VIM
""".split()


def small_counts(n_cells: int = 30, seed: int = 0) -> AnnData:
    """Poisson counts (cells x ``GENES``), CSR, float32, without any biology in them."""
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    rates = np.random.default_rng(0).gamma(0.6, 3.0, len(GENES))
    counts = np.random.default_rng(seed).poisson(rates, (n_cells, len(GENES)))
    adata = AnnData(csr_matrix(counts.astype(np.float32)))
    adata.var_names = list(GENES)
    adata.obs_names = [f"cell{i}" for i in range(n_cells)]
    return adata


def run_python(code: str) -> str:
    """Run code in a fresh interpreter that finds these helpers and return what it printed."""
    program = f"import sys; sys.path.insert(0, {str(_TESTS)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def public_objects(namespace: str) -> dict[str, Any]:
    """Everything that a namespace exports, by its name in the API (``tl.embed``)."""
    module = import_module(f"scfm_scverse.{namespace}")
    return {f"{namespace}.{name}": getattr(module, name) for name in module.__all__}


def public_functions() -> dict[str, Callable[..., Any]]:
    """Every public function of the package, by its name in the API."""
    every = {name: value for namespace in NAMESPACES for name, value in public_objects(namespace).items()}
    return {name: value for name, value in every.items() if inspect.isfunction(value)}
