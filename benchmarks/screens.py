"""Does a screen mean anything? Predicted against measured effects, beside simple baselines in the same tables.

    python benchmarks/screens.py [--shared ../shared] [--model NAME_OR_PATH ...] [--builds FOLDER]
        [--questions papalexi cd4 kang labels] [--seeds 0 1 2]

Four questions: knock-outs of THP-1 cells, genes that respond to knock-downs in CD4 T cells, interferon genes in blood
cells, and genes that tolerate no loss. Writes ``benchmarks/results/screens.json`` and
``docs/guides/perturbation_benchmark.md``. Questions that are not asked keep the numbers of the results file. A model is
a name or the path of a checkpoint; it must know the genes, since all rows are compared on genes that all models know.

The cells of Kang et al. took part in making scfm-mini: where they are asked, scfm-mini made anew without them stands
beside it. ``--builds`` keeps that model (three minutes).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import screens_cd4
import screens_kang
import screens_labels
import screens_models
import screens_papalexi
from annotation_builds import build_without
from mini_training.build import Sources
from screens_page import page

import scfm_scverse as scfm
from scfm_scverse.models import CellModel

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "screens.json"
PAGE = ROOT / "docs" / "guides" / "perturbation_benchmark.md"
QUESTIONS = {
    "papalexi": screens_papalexi.run,
    "cd4": screens_cd4.run,
    "kang": screens_kang.run,
    "labels": screens_labels.run,
}
ON_KANG = ("cd4", "kang", "labels")
WITHOUT_KANG = "scfm-mini without Kang"


def left_out(shared: Path, builds: Path | None) -> dict[str, CellModel]:
    """scfm-mini made without the cells of Kang et al."""
    with tempfile.TemporaryDirectory() as folder:
        built = build_without(Sources.read(shared), "kang_ifnb_pbmc", builds or Path(folder))
    return {WITHOUT_KANG: built.model}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--model", nargs="*", default=["scfm-mini"])
    parser.add_argument("--builds", type=Path)
    parser.add_argument("--questions", nargs="*", choices=[*QUESTIONS], default=[*QUESTIONS])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    models = screens_models.load(arguments.model)
    beside = left_out(arguments.shared, arguments.builds) if {*ON_KANG} & {*arguments.questions} else {}
    with scfm.settings.override(verbosity=1, progress=False):
        for question in arguments.questions:
            started = perf_counter()
            asked = models | beside if question in ON_KANG else models
            results[question] = QUESTIONS[question](arguments.shared, asked, arguments.seeds)
            results[question] |= {"models": [*asked], "seconds": round(perf_counter() - started)}
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(question, results[question]["seconds"], "s", flush=True)
    text = page(results)
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
