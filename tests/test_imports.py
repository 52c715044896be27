"""What an import and a verb load: a user who embeds cells must not wait for libraries that the verb does not need."""

from __future__ import annotations

import pytest

from support import run_python

HEAVY = "torch scanpy anndata sklearn lightning scvi pandas numpy scipy numba matplotlib".split()
NOT_IN_VERBS = "scanpy lightning scvi sklearn pynndescent umap matplotlib".split()

VERBS = {
    "scfm.tl.embed(adata)": "X_scfm",
    "scfm.tl.annotate(adata)": "scfm_cell_type",
}


def _loaded(code: str, among: list[str]) -> set[str]:
    """Return which of the libraries the code loads in a fresh interpreter."""
    printed = run_python(f"{code}\nprint('loaded:', *sorted(set({among!r}) & set(sys.modules)))")
    return set(printed.rsplit("loaded:", 1)[1].split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert _loaded("import scfm_scverse", HEAVY) == set()


def test_importing_the_package_loads_fewer_modules_than_numpy() -> None:
    ours, numpys = (int(run_python(f"import {name}; print(len(sys.modules))")) for name in ("scfm_scverse", "numpy"))
    assert ours <= numpys


@pytest.mark.parametrize(("verb", "slot"), VERBS.items())
def test_verb_loads_no_library_that_it_does_not_need(verb: str, slot: str) -> None:
    code = f"""
from support import small_counts
import scfm_scverse as scfm
adata = small_counts()
{verb}
assert {slot!r} in [*adata.obsm, *adata.obs]
"""
    assert _loaded(code, NOT_IN_VERBS) == set()


@pytest.mark.slow
def test_cells_are_read_for_a_training_without_its_libraries() -> None:
    code = """
from support import two_types
from scfm_scverse.foundation.data import read_cells
from scfm_scverse.models import load
import scfm_scverse.tl
assert read_cells(two_types(), load("scfm-mini"), labels_key="kind").labels is not None
"""
    assert _loaded(code, ["lightning", "scvi"]) == set()


def test_help_of_the_command_line_loads_nothing_heavy() -> None:
    code = """
from scfm_scverse.cli.main import main
sys.argv = ["scfm", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert _loaded(code, HEAVY) == set()
