"""Annotation of whole studies that were left out of gene embedding, scale and head, beside other methods.

    python benchmarks/annotation.py [--shared ../shared] [--builds FOLDER] [--rows ROW ...] [--groups GROUP ...]
        [--seeds 0 1 2] [--celltypist-python PYTHON]

Writes ``benchmarks/results/annotation.json`` and ``docs/guides/annotation_benchmark.md``, and prints the tables. Rows
and studies that are not asked for keep the numbers that the results file holds. A folder for the builds saves making
every model anew; it must be emptied when the recipe changes. About two hours on two cores for everything, a quarter of
that for the row of scfm-mini with builds at hand. CellTypist runs in its own environment (annotation_celltypist.py).

The settings of the recipe were chosen in earlier trials on the mean of the first thirteen studies, and two weights (of
classes against branches, and of rare branches) on the mean of all but the 130-gene panel: no row of whole studies is a
test that nobody looked at. The harder splits and the references of one's own were set up afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from annotation_baselines import Named, balanced_regression, nearest_profile, pca_knn, single_level, whitened_knn
from annotation_builds import build_without, with_seed
from annotation_celltypist import celltypist
from annotation_ours import judged, ours, outcomes_of
from annotation_page import mean_of, page
from annotation_scanvi import scanvi
from annotation_splits import LATER, OWN, THIRTEEN, Split, default_splits, own_splits
from annotation_unknown import types_left_out
from mini_training.build import Built, Sources
from mini_training.evaluate import LeftOut

from scfm_scverse import metrics

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "annotation.json"
PAGE = ROOT / "docs" / "guides" / "annotation_benchmark.md"
SEEDED = ("pca_knn", "nearest_profile", "balanced_regression", "single_level", "whitened_knn", "scfm")
SLOW = ("celltypist", "scanvi")  # one seed
SCANVI_KINDS = ("thirteen", "technology", "donor", "condition", "tumour", "species")  # a minute and more a split
NOT_CALIBRATED = {"brain_m1_panel140"}


def scores(split: Split, named: Named) -> dict[str, float]:
    """Scores of the cells whose truth the reference knows."""
    scored = split.scored
    truth, answer = split.query.broad[scored], named.answer[scored]
    confidence = np.nan_to_num(named.confidence[scored]).clip(0, 1)  # cells that lost every count have none
    return {
        "macro_f1": metrics.macro_f1(truth, answer),
        "balanced_accuracy": metrics.balanced_accuracy(truth, answer),
        "accuracy": metrics.accuracy(truth, answer),
        "ECE": metrics.expected_calibration_error(confidence, truth == answer),
    }


def methods(rest: Sources, python: Path | None) -> dict[str, Callable[[Split, int], Named | None]]:
    """Every row but that of scfm-mini itself."""
    known: dict[str, Callable[[Split, int], Named | None]] = {
        "pca_knn": pca_knn,
        "nearest_profile": lambda split, _: nearest_profile(split, rest.profiles),
        "balanced_regression": lambda split, _: balanced_regression(split),
        "single_level": lambda split, _: single_level(split),
        "whitened_knn": lambda split, _: whitened_knn(split),
        "scanvi": lambda split, seed: scanvi(split, seed) if split.kind in SCANVI_KINDS else None,
    }
    if python is not None:
        known["celltypist"] = lambda split, _: celltypist(split, python) if split.kind != "profiles" else None
    return known


def one_split(
    result: dict[str, Any],
    split: Split,
    outcomes: list[LeftOut],
    rows: dict[str, Callable[[Split, int], Named | None]],
    wanted: set[str],
    seed: int,
) -> None:
    """Fill in the rows of one split for one seed."""
    scored = split.scored
    result |= {"kind": split.kind, "cells": int(scored.sum()), "classes": len(np.unique(split.query.broad[scored]))}
    found: dict[str, Named | None] = {}
    if "scfm" in wanted:
        out = ours(split, outcomes)
        found["scfm"] = out.named
        if seed == 0 and split.kind != "finer":  # the same answers as at the broad level
            result["annotate"] = judged(split, out)
    for row, method in rows.items():
        if row in wanted and (row in SEEDED or seed == 0):
            found[row] = method(split, seed)
    for row, named in found.items():
        if named is None:
            continue
        numbers = result.setdefault("rows", {}).setdefault(row, {})
        for key, value in scores(split, named).items():
            numbers.setdefault(key, {})[str(seed)] = value


def all_outcomes(sources: Sources, groups: list[str], folder: Path) -> dict[str, list[LeftOut]]:
    """What each group's own left-out build says of it: confidence and unknown scale are learnt from the others'."""
    out = {group: outcomes_of(build_without(sources, group, folder), sources, group) for group in groups}
    return {group: [one for one in found if one.study not in NOT_CALIBRATED] for group, found in out.items()}


def run_group(
    results: dict[str, Any],
    sources: Sources,
    group: str,
    built: Built,
    outcomes: list[LeftOut],
    arguments: argparse.Namespace,
) -> None:
    """Every split whose query belongs to a group."""
    rest = sources.without(group)
    rows, wanted = methods(rest, arguments.celltypist_python), set(arguments.rows)
    for seed in arguments.seeds:
        seeded = with_seed(built, rest, seed)
        asked = [*default_splits(sources, rest, seeded, group, random_state=seed)]
        # A reference of one's own has all its cells: only the default reference depends on a seed.
        asked += own_splits(sources, built, group, arguments.shared) if seed == 0 else []
        for split in asked:
            result = results["splits"].setdefault(split.name, {})
            one_split(result, split, outcomes, rows, wanted, seed)
            means = (f"{row} {mean_of(numbers, 'macro_f1'):.3f}" for row, numbers in result["rows"].items())
            print(split.name, seed, *means, flush=True)
    if "unknown" in wanted:
        results["unknown"] |= types_left_out(sources, built, group, outcomes)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--builds", type=Path)
    parser.add_argument("--groups", nargs="*")
    parser.add_argument("--rows", nargs="*", default=[*SEEDED, "unknown", *SLOW], choices=[*SEEDED, "unknown", *SLOW])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--celltypist-python", type=Path)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    sources = Sources.read(arguments.shared)
    queries = [*THIRTEEN, *LATER, *(own.query[0] for own in OWN.values())]
    groups = list(dict.fromkeys(sources.by_name[name].group for name in queries))
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"splits": {}, "unknown": {}}
    with tempfile.TemporaryDirectory() as folder:
        builds = arguments.builds or Path(folder)
        needed = {"scfm", "unknown"} & set(arguments.rows)
        outcomes = all_outcomes(sources, groups, builds) if needed else {}
        for group in arguments.groups or groups:
            others = [one for other, found in outcomes.items() if other != group for one in found]
            run_group(results, sources, group, build_without(sources, group, builds), others, arguments)
            RESULTS.parent.mkdir(exist_ok=True)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    text = page(results)
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
