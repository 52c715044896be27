"""What the pages show holds: examples run, tables agree with their files."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def _blocks(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page",
    [
        "guides/genes.md",
        "guides/annotation.md",
        "guides/perturbation.md",
        pytest.param("guides/training.md", marks=pytest.mark.slow),
    ],
)
def test_examples_of_a_guide_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = "\n".join(block for block in _blocks(page) if ">>> " in block)
    case = doctest.DocTestParser().get_doctest(examples, {"__name__": "__main__"}, page, page, 0)
    assert case.examples
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(case).failed == 0


def _tables(page: str) -> list[dict[str, list[str]]]:
    """Tables of a page: the cells of each row by its first one."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found = re.findall(r"^\|.*\n\|[-:| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = ([[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()] for table in found)
    return [{row[0]: row[1:] for row in table} for table in rows]


def test_coverage_tables_are_what_the_benchmark_measured() -> None:
    measured = json.loads((ROOT / "benchmarks/results/gene_coverage.json").read_text(encoding="utf-8"))

    def shares(found: dict[str, float], ways: tuple[str, str]) -> list[str]:
        return [f"{100 * found[f'{what}_{way}']:.1f}" for what in ("genes", "counts") for way in ways]

    by_name, by_id = _tables("guides/genes.md")
    assert by_name == {
        name: [f"{found['n_genes']:,}", *shares(found, ("exact", "ours"))] for name, found in measured.items()
    }
    assert by_id == {
        name: shares(found, ("ours", "hinted"))
        for name, found in measured.items()
        if found["genes_hinted"] != found["genes_ours"]
    }
