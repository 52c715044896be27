"""Tables for the terminal."""

from __future__ import annotations

import numpy as np
import pandas as pd

from scfm_scverse.cli._table import MOST_TYPES, table, type_table
from support import small_counts


def test_columns_are_aligned() -> None:
    lines = table(["name", "n"], [["a", "1"], ["longer name", "1,000"]], right=["n"]).splitlines()
    assert lines == ["name             n", "-----------  -----", "a                1", "longer name  1,000"]


def test_what_a_terminal_may_not_show_is_replaced() -> None:
    assert table(["name"], [["γδ T"]]).isascii()


def test_types_come_by_their_number_and_rare_ones_together() -> None:
    adata = small_counts(200)
    names = ["T cell"] * 100 + ["unknown"] * 60 + [f"type {i:02}" for i in range(40)]
    adata.obs["k_cell_type"] = pd.Categorical(names)
    adata.obs["k_confidence"] = np.where(adata.obs["k_cell_type"] == "unknown", np.nan, 0.75).astype(np.float32)
    header, _, *rows = type_table(adata, "k").splitlines()
    assert header.split() == ["cell", "type", "cells", "share", "confidence"]
    assert rows[0].split() == ["T", "cell", "100", "50.0%", "0.75"]
    assert rows[1].split() == ["unknown", "60", "30.0%", "-"]
    assert len(rows) == MOST_TYPES + 1
    assert rows[-1].split() == [f"({42 - MOST_TYPES}", "more)", f"{42 - MOST_TYPES}", f"{(42 - MOST_TYPES) / 200:.1%}"]
