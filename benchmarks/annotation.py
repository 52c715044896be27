"""Annotation of whole studies that were left out of gene embedding, scale and head, beside two simple methods.

    python benchmarks/annotation.py [--shared ../shared]

Prints a table and writes ``benchmarks/results/annotation.json``. About half an hour on two cores. The settings of the
recipe were chosen in earlier trials on the mean of the first thirteen studies, and two weights (of classes against
branches, and of rare branches) on the mean of all but the 130-gene panel: no row is a test that nobody looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from annotation_baselines import balanced_regression, pca_knn
from mini_training.build import Built, Sources, build
from mini_training.evaluate import LeftOut, left_out, with_scales
from mini_training.head import fit_head
from mini_training.studies import Study

RESULTS = Path(__file__).parent / "results" / "annotation.json"
THIRTEEN = (
    "kang_ifnb_pbmc", "pbmc3k_10x", "zheng_sorted_pbmc", "symphony_pbmc_3chem_1767genes", "triana_marrow250_462genes",
    "malt_lymphoma_10x", "zilionis_nsclc", "crc_4210genes", "puram_hnscc180", "breast_cells_nuclei_mini",
    "brain_darmanis", "copykat_tnbc302", "oligodendroglioma184",
)  # fmt: skip
LATER = (
    "fetal_7organs_geact", "fetal_gut_geact", "blood_sorted_malbac", "breast_tumour_flex100", "brain_fetal_camp",
    "pancreas_baron_human", "citeseq_pbmc_10k5k", "ding_pbmc_2tech_2000genes", "brain_m1_panel140",
)  # fmt: skip
# Classes whose every real cell is taken out of the head, to see what averaged profiles alone are worth.
HIDDEN = {
    "pancreas_baron_human": ("endocrine",),
    "brain_darmanis": ("glia", "neuron"),
    "crc_4210genes": ("endothelial", "epithelial", "fibroblast"),
    "kang_ifnb_pbmc": ("B", "myeloid"),
}


def scores(truth: NDArray, answer: NDArray) -> dict[str, float]:
    """Macro-F1 over the classes of the truth, and accuracy."""
    return {
        "macro_f1": float(f1_score(truth, answer, labels=np.unique(truth), average="macro", zero_division=0)),
        "accuracy": float(accuracy_score(truth, answer)),
    }


def without_profiles(built: Built, study: Study) -> LeftOut:
    """The same model with a head of real cells only."""
    reference, branch_of = fit_head(built.rows.take(built.rows.study != "profiles"), model_id=built.model.spec.id)
    return left_out(Built(built.tensors, built.about, built.model, built.rows, reference, branch_of), study)


def hidden_recall(built: Built, study: Study) -> dict[str, float]:
    """Recall of classes that only averaged profiles describe to the head."""
    rows = built.rows
    kept = ~np.isin(rows.broad, HIDDEN[study.name]) | (rows.study == "profiles")
    reference, branch_of = fit_head(rows.take(kept), model_id=built.model.spec.id)
    outcome = left_out(Built(built.tensors, built.about, built.model, rows, reference, branch_of), study)
    return {one: float((outcome.answer[study.broad == one] == one).mean()) for one in HIDDEN[study.name]}


def one_study(built: Built, sources: Sources, study: Study) -> tuple[dict[str, object], LeftOut]:
    """Every row of the table for one study."""
    outcome = left_out(built, study)
    kept = outcome.scored
    truth = outcome.truth[kept]
    bare = without_profiles(built, study)
    result: dict[str, object] = {
        "cells": int(kept.sum()),
        "classes": len(np.unique(truth)),
        "scfm-mini": scores(truth, outcome.answer[kept]),
        "scfm-mini, real cells only": scores(bare.truth[bare.scored], bare.answer[bare.scored]),
        "PCA50+kNN15": scores(truth, pca_knn(sources.studies, study)[kept]),
        "balanced regression on genes": scores(truth, balanced_regression(built, sources.studies, study)[kept]),
    }
    known = outcome.fine_right[kept]
    result["fine label right, where it can be told"] = float((known == 1).sum() / max((known >= 0).sum(), 1))
    if outcome.malignant.sum() > 5:
        both = kept | outcome.malignant
        result["AUROC malignant"] = float(roc_auc_score(outcome.malignant[both], outcome.nearest[both]))
    if study.name in HIDDEN:
        result["recall from profiles only"] = hidden_recall(built, study)
    return result, outcome


def calibration(outcomes: dict[str, LeftOut], built: Built) -> dict[str, dict[str, float]]:
    """Expected calibration error and refused share of each study, scales learnt on the other studies."""
    out = {}
    for name, outcome in outcomes.items():
        reference = with_scales(built.reference, [one for key, one in outcomes.items() if key != name])
        kept = outcome.scored
        confidence = reference.branch_calibration(outcome.branch_p[kept])
        right = outcome.answer[kept] == outcome.truth[kept]
        edges = np.clip((confidence * 15).astype(int), 0, 14)
        gaps = [abs(right[edges == b].mean() - confidence[edges == b].mean()) * (edges == b).mean() for b in set(edges)]
        refused = reference.unknown(outcome.nearest) > reference.unknown.refuse_above
        out[name] = {"ECE": float(sum(gaps)), "known cells refused": float(refused[kept].mean())}
        if outcome.malignant.sum() > 5:
            out[name]["malignant cells refused"] = float(refused[outcome.malignant].mean())
    return out


def show(results: dict[str, dict]) -> None:
    """Print macro-F1 (accuracy) a study and the means."""
    methods = ("scfm-mini", "scfm-mini, real cells only", "balanced regression on genes", "PCA50+kNN15")
    print(f"{'study left out':32}" + "".join(f"{one[:26]:>28}" for one in methods) + f"{'AUROC malignant':>17}")
    for name, result in results.items():
        cells = "".join(f"{result[one]['macro_f1']:>18.3f} ({result[one]['accuracy']:.3f}) " for one in methods)
        print(f"{name:32}{cells}{result.get('AUROC malignant', float('nan')):>17.3f}")
    for title, names in (("mean of the thirteen", THIRTEEN), ("mean of the later ones", LATER[:-1])):
        there = [results[one] for one in names if one in results]
        means = "".join(f"{np.mean([r[one]['macro_f1'] for r in there]):>18.4f} {'':9}" for one in methods)
        auroc = [r["AUROC malignant"] for r in there if "AUROC malignant" in r]
        print(f"{title:32}{means}{np.mean(auroc) if auroc else float('nan'):>17.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--studies", nargs="*", default=[*THIRTEEN, *LATER])
    arguments = parser.parse_args()
    sources = Sources.read(arguments.shared)
    results, outcomes = {}, {}
    groups = dict.fromkeys(sources.by_name[name].group for name in arguments.studies)
    for group in groups:
        rest = sources.without(group)
        built = build(rest)
        for name in arguments.studies:
            if sources.by_name[name].group == group:
                results[name], outcomes[name] = one_study(built, rest, sources.by_name[name])
                print(name, json.dumps(results[name]), flush=True)
    outcomes.pop("brain_m1_panel140", None)
    for name, numbers in calibration(outcomes, built).items():
        results[name].update(numbers)
    results = {name: results[name] for name in arguments.studies}
    show(results)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
