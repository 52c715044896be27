"""Malignant cells: unknown score, copy number and both together, beside infercnvpy; and calls in healthy tissue.

    python benchmarks/malignant.py [--shared ../shared] [--builds FOLDER] [--infercnvpy-python PYTHON]

Every study is left out of the model and of the reference, and the scales of the unknown score come from the other
studies of this run. Cells are annotated and scored as a user does. Prints tables and writes
``benchmarks/results/malignant.json``. Half an hour on two cores, five minutes with builds at hand.

What was looked at: the window size and the idea of normal cells came from earlier trials on the five tumours; the
projection on the distant neighbourhood, the nuisances, and the limits of a call were chosen on simulated changes in
fetal gut, colon and brain cells and on false calls among normal types, while the results on the five tumours were
seen. No tumour here is a test that nobody looked at.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from annotation_builds import build_without
from malignant_simulated import simulate_changes
from mini_training.build import Built, Sources
from mini_training.evaluate import left_out, with_scales
from mini_training.studies import Study

import scfm_scverse as scfm
from scfm_scverse.genes import load_gene_table, resolve_genes
from scfm_scverse.reference import Reference
from scfm_scverse.tl._copy_number import find_malignant

RESULTS = Path(__file__).parent / "results" / "malignant.json"
# Column of donors; studies with one are also scored as if all cells were of one donor.
TUMOURS = {
    "zilionis_nsclc": "donor", "crc_4210genes": None, "copykat_tnbc302": None, "oligodendroglioma184": "donor",
    "breast_tumour_flex100": None,
}  # fmt: skip
HEALTHY = {
    "pancreas_baron_human": "donor", "fetal_gut_geact": None, "fetal_7organs_geact": None, "pbmc3k_10x": None,
    "kang_ifnb_pbmc": "donor", "breast_cells_nuclei_mini": "donor", "brain_darmanis": "donor",
}  # fmt: skip
SIMULATED = {"8 half chromosomes, half of the cells": (8, 0.5), "8, a tenth": (8, 0.1), "3, half": (3, 0.5)}
NORMAL_KIN = ("epithelial", "glia", "endocrine", "neuron")
READING: dict[str, Any] = {"layer": None, "use_raw": False, "normalized": None}
NAMES: dict[str, Any] = {"gene_symbols": None, "organism": None}


def read(shared: Path, name: str) -> AnnData:
    """Read the cells of a study as they are stored."""
    sys.path.insert(0, str(shared / "tools"))
    from cells import read_cells

    return read_cells(shared / "data" / "cells" / f"{name}.cells")


def score(adata: AnnData, built: Built, reference: Reference, donor_key: str | None) -> dict[str, NDArray]:
    """What a user gets: the scores of each cell, and the call."""
    if "scfm_cell_type" not in adata.obs:
        scfm.tl.annotate(adata, model=built.model, reference=reference)
    joined, called = find_malignant(adata, donor_key=donor_key, key_added="scfm", reading=READING, names=NAMES)
    return {
        "unknown score": adata.obs["scfm_unknown_score"].to_numpy(float),
        "copy number": np.nan_to_num(adata.obs["scfm_copy_number"].to_numpy(float)),
        "joined": joined,
        "called": called,
    }


def infercnvpy(adata: AnnData, python: Path) -> dict[str, NDArray]:
    """Run infercnvpy with the same normal cells and the same places of genes."""
    import pandas as pd

    from scfm_scverse.tl._copy_number import _roles_by_annotation

    table = load_gene_table()
    rows = resolve_genes(adata.var_names.to_numpy(), organism="human").rows
    plain = AnnData(adata.X[:, rows >= 0].copy())
    plain.obs_names, plain.var_names = adata.obs_names, table.ensembl[rows[rows >= 0]]
    plain.var_names_make_unique()
    plain.var["chromosome"] = table.chromosome[rows[rows >= 0]].astype(str)
    plain.var["start"] = table.start[rows[rows >= 0]]
    plain.var["end"] = plain.var["start"] + 1
    plain.obs["who"] = np.where(_roles_by_annotation(adata, "scfm").normal, "normal", "other")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.h5ad", Path(folder) / "out.csv"
        plain.write_h5ad(source)
        program = Path(__file__).with_name("malignant_infercnvpy.py")
        subprocess.run([str(python), str(program), str(source), str(target)], check=True, capture_output=True)
        out = pd.read_csv(target, index_col=0)
    return {f"infercnvpy, by {name}": out[name].to_numpy(float) for name in ("cell", "cluster")}


def judge(scores: dict[str, NDArray], malignant: NDArray, among: NDArray) -> dict[str, float]:
    """AUROC of every score among some cells."""
    return {
        name: round(float(roc_auc_score(malignant[among], values[among])), 4)
        for name, values in scores.items()
        if name != "called"
    }


def calls(called: NDArray, malignant: NDArray, among: NDArray) -> dict[str, float | int | None]:
    """Sensitivity, precision and the share of other cells that are called."""
    right, wrong = int((called & malignant & among).sum()), int((called & ~malignant & among).sum())
    return {
        "malignant": int((malignant & among).sum()),
        "called": right + wrong,
        "sensitivity": round(right / max(int((malignant & among).sum()), 1), 4),
        "precision": round(right / (right + wrong), 4) if right + wrong else None,
        "false-call share": round(wrong / max(int((~malignant & among).sum()), 1), 4),
    }


def one_tumour(adata: AnnData, study: Study, built: Built, reference: Reference, python: Path | None) -> dict[str, Any]:
    """AUROC and calls, per donor and together."""
    known = study.malignant | (study.broad != "")
    kin = known & (study.malignant | np.isin(study.broad, NORMAL_KIN))
    donors = TUMOURS[study.name]
    result: dict[str, Any] = {}
    for way, donor_key in {"per donor": donors, "together": None}.items():
        if way == "together" or donor_key is not None:
            scores = score(adata, built, reference, donor_key)
            if python is not None and way == "together":
                scores |= infercnvpy(adata, python)
            result[way] = {
                "AUROC": judge(scores, study.malignant, known),
                "calls": calls(scores["called"], study.malignant, known),
            }
            if (kin & ~study.malignant).sum() >= 20:
                result[way]["AUROC against normal cells of the same lineages"] = judge(scores, study.malignant, kin)
    return result


def one_healthy(adata: AnnData, built: Built, reference: Reference, donor_key: str | None) -> dict[str, Any]:
    """How many cells are called where none is malignant."""
    scores = score(adata, built, reference, donor_key)
    written = adata.uns["scfm"]["copy_number"]["scfm"]
    return {
        "cells": adata.n_obs,
        "candidates": int(sum(written["donor_candidates"])),
        "called": int(scores["called"].sum()),
        "strongest evidence of a donor": round(max(written["donor_evidence"]), 3),
    }


def one_simulated(adata: AnnData, built: Built, reference: Reference, kin: NDArray, how: tuple[int, float]) -> dict:
    """Changes put into some of the epithelial and glial cells of a healthy tissue, three draws."""
    draws = []
    for seed in range(3):
        changed, malignant = simulate_changes(adata, kin, n_changes=how[0], share=how[1], random_state=seed)
        scores = score(changed, built, reference, None)
        every = np.ones(len(malignant), bool)
        draws.append(
            judge(scores, malignant, kin | malignant)
            | {key: value or 0.0 for key, value in calls(scores["called"], malignant, every).items()}
        )
    return {name: round(float(np.mean([draw[name] for draw in draws])), 4) for name in draws[0]}


def show(results: dict[str, Any]) -> None:
    names = ("unknown score", "copy number", "joined", "infercnvpy, by cell", "infercnvpy, by cluster")
    print(f"{'AUROC':40}" + "".join(f"{name:>24}" for name in names))
    for study, ways in results["tumours"].items():
        for way, found in ways.items():
            for what in (key for key in found if key.startswith("AUROC")):
                title = f"{study}, {way}" + (" (kin)" if what != "AUROC" else "")
                print(f"{title:40}" + "".join(f"{found[what].get(name, float('nan')):>24.3f}" for name in names))
            print(f"{'':40}calls {found['calls']}")
    for part in ("simulated", "healthy"):
        print(part)
        for name, found in results[part].items():
            print(f"  {name:40}{found}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--builds", type=Path)
    parser.add_argument("--infercnvpy-python", type=Path)
    arguments = parser.parse_args()
    sources = Sources.read(arguments.shared)
    names = [*TUMOURS, *HEALTHY]
    with tempfile.TemporaryDirectory() as folder:
        kept = arguments.builds or Path(folder)
        groups = dict.fromkeys(sources.by_name[name].group for name in names)
        built = {group: build_without(sources, group, kept) for group in groups}
    outcomes = {name: left_out(built[sources.by_name[name].group], sources.by_name[name]) for name in names}
    results: dict[str, Any] = {"tumours": {}, "simulated": {}, "healthy": {}}
    for name in names:
        study = sources.by_name[name]
        others = [one for key, one in outcomes.items() if sources.by_name[key].group != study.group]
        mine = built[study.group]
        reference = with_scales(mine.reference, others)
        adata = read(arguments.shared, name)
        if name in TUMOURS:
            results["tumours"][name] = one_tumour(adata, study, mine, reference, arguments.infercnvpy_python)
        else:
            results["healthy"][name] = one_healthy(adata, mine, reference, HEALTHY[name])
        if name == "crc_4210genes":
            normal = read(arguments.shared, name)[~study.malignant].copy()
            results["healthy"]["crc_4210genes without tumour cells"] = one_healthy(normal, mine, reference, None)
        if name == "fetal_gut_geact":
            for title, how in SIMULATED.items():
                kin = np.isin(study.broad, NORMAL_KIN)
                found = one_simulated(read(arguments.shared, name), mine, reference, kin, how)
                results["simulated"][f"{name}: {title}"] = found
        print(name, "done", flush=True)
    show(results)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
