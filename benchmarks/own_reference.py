"""One labelled study as the reference of another: its own scatter inside classes, or mostly that of many.

    python benchmarks/own_reference.py [--shared ../shared]

The query is left out of the model and of the default reference. Accuracy counts broad classes that the reference
holds; refused are cells beyond the limit for "unknown", known types and others apart. Writes
``benchmarks/results/own_reference.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from mini_training import build as recipe
from mini_training.evaluate import LeftOut, left_out, with_scales
from mini_training.head import embed_study
from mini_training.studies import Study

from scfm_scverse.reference import Reference, build_reference, score_cells

RESULTS = Path(__file__).parent / "results" / "own_reference.json"
PAIRS = (
    ("zheng_sorted_pbmc", "kang_ifnb_pbmc"),
    ("pbmc3k_10x", "kang_ifnb_pbmc"),
    ("zheng_sorted_pbmc", "pbmc3k_10x"),
    ("kang_ifnb_pbmc", "pbmc3k_10x"),
    ("pbmc3k_10x", "symphony_pbmc_3chem_1767genes"),
    ("pbmc3k_10x", "zilionis_nsclc"),
    ("fetal_7organs_geact", "zilionis_nsclc"),
    ("zilionis_nsclc", "crc_4210genes"),
    ("brain_darmanis", "brain_fetal_camp"),
)


def compare(built: recipe.Built, known: Reference, reference: Study, query: Study) -> dict[str, dict[str, float]]:
    """Both kinds of scatter on one pair."""
    reference = reference.take(np.flatnonzero((reference.broad != "") & ~reference.malignant))
    cells, asked = embed_study(built.model, reference), embed_study(built.model, query)
    broad_of = dict(zip(reference.label, reference.broad, strict=True))
    holds = np.isin(query.broad, np.unique(reference.broad))
    other = (query.broad != "") & ~holds
    out = {}
    for title, scatter in (("own scatter", None), ("mostly that of many studies", known)):
        made = build_reference(
            cells, reference.label, reference.term, None, name=title, model_id=known.model_id, known=scatter
        )
        scores = score_cells(made, asked)
        answer = np.array([broad_of[one] for one in made.label[scores.fine.argmax(axis=1)]])
        unknown = made.scales.unknown
        refused = unknown(scores.distance) > unknown.refuse_above
        out[title] = {
            "accuracy": float((answer == query.broad)[holds].mean()),
            "known refused": float(refused[holds].mean()),
            "other types refused": float(refused[other].mean()) if other.any() else float("nan"),
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    sources = recipe.Sources.read(parser.parse_args().shared)
    names = dict.fromkeys(query for _, query in PAIRS)
    builds = {name: recipe.build(sources.without(sources.by_name[name].group)) for name in names}
    outcomes: dict[str, LeftOut] = {name: left_out(built, sources.by_name[name]) for name, built in builds.items()}
    results = {}
    for reference, query in PAIRS:
        others = [outcome for name, outcome in outcomes.items() if name != query]
        known = with_scales(builds[query].reference, others)
        pair = compare(builds[query], known, sources.by_name[reference], sources.by_name[query])
        results[f"{reference} -> {query}"] = pair
        print(f"{reference} -> {query}", json.dumps(pair), flush=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
