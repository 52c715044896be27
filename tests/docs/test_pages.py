"""What the pages show holds: examples run, the model of the architecture page works, tables agree with their files."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path

import pytest

from support import run_python

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def _blocks(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["guides/genes.md", "guides/annotation.md"])
def test_examples_of_a_guide_run(page: str) -> None:
    examples = "\n".join(block for block in _blocks(page) if ">>> " in block)
    case = doctest.DocTestParser().get_doctest(examples, {}, page, page, 0)
    assert case.examples
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(case).failed == 0


def test_model_of_the_architecture_page_embeds_and_annotates() -> None:
    (code,) = _blocks("architecture.md")
    use = """
from support import small_counts
labelled, query = small_counts(), small_counts(seed=1)
labelled.obs["type"] = ["a", "b"] * 15
scfm.tl.annotate(query, model="random-projection", reference=labelled, labels_key="type")
print(query.obsm["X_random"].shape, set(query.obs["scfm_cell_type_fine"]) <= {"a", "b"})
"""
    assert run_python(code + use) == "(30, 64) True"


def test_coverage_table_is_what_the_benchmark_measured() -> None:
    measured = json.loads((ROOT / "benchmarks/results/gene_coverage.json").read_text(encoding="utf-8"))
    text = (DOCS / "guides" / "genes.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]
    table = {row[0]: row[1:] for row in rows if row[1] in {"human", "mouse"}}
    assert set(table) == set(measured)
    for name, found in measured.items():
        with_ids = found["genes_hinted"] != found["genes_ours"]
        shares = [
            f"{found[f'{what}_{way}']:.1%}".rstrip("%") if way != "hinted" or with_ids else ""
            for what in ("genes", "counts")
            for way in ("exact", "ours", "hinted")
        ]
        assert table[name] == [found["organism"], f"{found['n_genes']:,}", *shares], name
