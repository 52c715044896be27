"""What several tests share: small data, fresh processes, the public functions."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData

    from scfm_scverse import FoundationModel

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

HAND_MADE = {
    "B cell": "CL:0000236",
    "T cell": "CL:0000084",
    "CD14-positive monocyte": "CL:0001054",
    "unknown": "unknown",
}


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


_MARKERS = ("CD3D CD3E CD3G IL32 IL7R LTB TRAC TRBC1 TRBC2", "CD19 CD74 CD79A CD79B HLA-DRA IGHD IGHM MS4A1 TCL1A")


def two_types(n: int = 60, seed: int = 0) -> AnnData:
    """Cells of two kinds, in two batches: each expresses its own markers and not those of the other."""
    adata = small_counts(n, seed)
    kind = np.arange(n) % 2
    marker = np.array([np.isin(adata.var_names, names.split()) for names in _MARKERS])
    values = np.where(marker[1 - kind], 0, adata.X.toarray() + 8 * marker[kind])
    adata.X = values.astype(np.float32)
    adata.obs["kind"] = np.array(["T/NK cell", "B cell"])[kind]
    adata.obs["batch"] = np.where(np.arange(n) < n // 2, "one", "two")
    return adata


def embedded_again(*_: object, **__: object) -> None:
    """Stands for ``tl.embed`` where it must not be called."""
    raise AssertionError


def annotated_by_hand(labels: Mapping[str, str] = HAND_MADE, per_label: int = 15) -> AnnData:
    """Counts and an annotation whose every number is known: the terms of some labels, as many cells each.

    Markers of the first label are high in its cells, those of the second are not; a third of the cells of each label
    have two classes in their set. The own labels of the user are in ``obs["mine"]``, named like ours.
    """
    import pandas as pd

    from scfm_scverse._record import record

    names = np.repeat(np.array(list(labels), object), per_label)
    n = len(names)
    adata = small_counts(n)
    high = adata.X.toarray()
    high[:per_label, GENES.index("MS4A1")] += 50
    adata.X = type(adata.X)(high)
    first, second = list(labels)[:2]
    known = np.where(names == "unknown", first, names)
    columns = {
        "cell_type": names,
        "cell_type_fine": known,
        "cell_type_ontology": np.array([labels[name] for name in names], object),
        "prediction_set": np.where(np.arange(n) % 3 == 0, known + "|" + second, known),
    }
    for name, values in columns.items():
        adata.obs[f"scfm_{name}"] = pd.Categorical(values)
    adata.obs["scfm_confidence"] = np.linspace(0.5, 1, n, dtype=np.float32)
    adata.obs["scfm_unknown_score"] = np.where(names == "unknown", 0.99, 0.3).astype(np.float32)
    adata.obs["mine"] = pd.Categorical(known)
    adata.obs["sample"] = pd.Categorical([f"s{i % 3}" for i in range(n)])
    adata.obsm["X_scfm"] = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    read = {"values": "counts", "source": "X", "organism": "human", "n_genes_known": 60, "share_of_counts_known": 0.9}
    record(adata, "embed", "X_scfm", {"model_id": "toy:1", **read})
    classes = [name for name in labels if name != "unknown"]
    made = {"labels": classes, "labels_from_profiles": [name == second for name in classes], "refuse_above": 0.98}
    markers = {"label": [first] * 3 + [second], "gene": ["MS4A1", "NOGENE", "CD79A", "CD3D"], "score": [3, 2.5, 2, 1]}
    made |= {"reference": "toy reference", "model_id": "toy:1", "alpha": 0.1, "share_forced": 0.02}
    record(adata, "annotate", "scfm", made | {"markers": markers})
    return adata


def simulated_tumour(n_cells: int = 80, donors: int = 1, share_changed: float = 1.0) -> AnnData:
    """Counts of 4,000 genes: as many normal, normal epithelial and tumour cells of every donor, in ``obs["kind"]``.

    Both kinds of epithelium raise the same scattered genes; in tumour cells, chromosomes 1, 8 and 13 have half or one
    and a half times the copies, ``share_changed`` of them with effect.
    """
    from anndata import AnnData
    from scipy.sparse import csr_matrix

    from scfm_scverse.copy_number import order_genes
    from scfm_scverse.genes import load_gene_table

    table, rng = load_gene_table(), np.random.default_rng(0)
    coding = np.flatnonzero(table.canonical & (table.biotype == "protein_coding")).astype(np.int32)
    rows = order_genes(table, coding)
    rows = rows[np.linspace(0, len(rows) - 1, 4000).astype(int)]
    rate = rng.gamma(0.5, 2.0, len(rows))
    program = np.where(rng.random(len(rows)) < 0.05, 4.0, 1.0)
    copies = np.ones(len(rows))
    for chromosome, factor in (("chr1", 0.5), ("chr8", 1.5), ("chr13", 0.5)):
        copies[table.chromosome[rows] == chromosome] = 1 + (factor - 1) * share_changed
    kinds = {"normal": rate, "epithelium": rate * program, "tumour": rate * program * copies}
    expected = np.concatenate([np.repeat(one[None], n_cells, axis=0) for one in kinds.values()] * donors)
    depth = rng.uniform(0.5, 1.5, (len(expected), 1))
    adata = AnnData(csr_matrix(rng.poisson(expected * depth).astype(np.float32)))
    adata.var_names = table.symbol[rows]
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    adata.obs["kind"] = np.tile(np.repeat(list(kinds), n_cells), donors)
    adata.obs["donor"] = np.repeat([f"d{i}" for i in range(donors)], len(kinds) * n_cells)
    return adata


def install_example(folder: Path) -> list[str]:
    """Install the model of the guide the way pip would: entries for ``sys.path``, with its entry point in one."""
    about = folder / "tiny_transformer-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-transformer\nVersion: 0\n")
    (about / "entry_points.txt").write_text("[scfm_scverse.models]\ntiny-transformer = tiny_transformer:load\n")
    return [str(folder), str(_TESTS.parent / "docs" / "examples")]


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
    every["report"] = import_module("scfm_scverse").report
    return {name: value for name, value in every.items() if inspect.isfunction(value)}


def screen_table(groups: Mapping[str, int] = {"T cell": 60, "B cell": 25}, n: int = 24, seed: int = 0) -> Any:
    """Make up the table of a screen of ``n`` genes towards a goal, in groups of so many cells.

    Gene 0 is far above its null, with a rate of 0 in one group, gene 1 far below; the last is not tested in one group.
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"perturbation": np.tile(GENES[:n], len(groups)), "group": np.repeat(list(groups), n)})
    m = len(table)
    table = table.assign(kind="delete", dose=1.0, n_donors=4, status="tested")
    table["n_cells"] = np.repeat(list(groups.values()), n) - rng.integers(0, 5, m)
    table["null_mean"] = rng.normal(0.001, 0.0005, m)
    table["null_sd"] = rng.uniform(0.001, 0.002, m)
    gene = np.tile(np.arange(n), len(groups))
    excess = rng.normal(0, 0.001, m) + np.select([gene == 0, gene == 1], [0.02, -0.015], 0.0)
    table["score"] = table["shift_goal"] = table["null_mean"] + excess
    table["score_sd"] = rng.uniform(0.002, 0.004, m)
    table["effect"] = np.abs(excess) + 1e-4
    table["effect_sd"] = table["effect"] / 3
    table["baseline_shift"], table["baseline_effect"] = excess / 2, table["effect"] / 5
    table["fdr"] = np.where(gene < 2, rng.uniform(1e-12, 1e-6, m), rng.uniform(0.06, 1, m))
    table.loc[0, "fdr"] = 0.0
    untested = ["score", "shift_goal", "score_sd", "null_mean", "null_sd", "effect", "effect_sd", "fdr"]
    table.loc[m - 1, [*untested, "baseline_shift", "baseline_effect"]] = np.nan
    table.loc[m - 1, ["status", "n_cells"]] = ["too few cells", 2]
    return table


def scgpt_batch(cells: Sequence[Any], numbers: Sequence[int], draw: int = 0, **more: Any) -> Any:
    """Minibatch of cells of these genes of a scGPT of 60 genes, behind <cls>; the value of each gene is its own."""
    from scfm_scverse.tokens import Tokens
    from scfm_scverse.training.batch import Batch

    ids = np.concatenate([np.array([1, *cell]) for cell in cells]).astype(np.int32)
    indptr = np.cumsum([0, *(1 + len(cell) for cell in cells)])
    values = np.where(ids == 1, -2, ids).astype(np.float32)
    return Batch(Tokens(indptr, ids, values, np.ones(63, bool)), np.array(numbers), draw, **more)


def random_genes(n: int, seed: int) -> list[Any]:
    """Genes of ``n`` cells for :func:`scgpt_batch`."""
    rng = np.random.default_rng(seed)
    return [3 + rng.permutation(60)[: rng.integers(1, 61)] for _ in range(n)]


TINY: dict[str, Any] = {"dim": 16, "n_layers": 1, "n_heads": 2, "max_length": 64}
FAST: dict[str, Any] = {"optimizer": "adamw", "lr": 0.01}


def tiny_foundation(labels_key: str | None = "kind", **setup: Any) -> FoundationModel:
    """Set up cells of two kinds and make a small new scGPT for them; train it with ``**FAST``."""
    from scfm_scverse import FoundationModel

    adata = two_types()
    FoundationModel.setup_anndata(adata, labels_key=labels_key, **setup)
    return FoundationModel(adata, "scgpt", **TINY)
