"""Compiled loops: compiled once a machine, and also where nothing can be kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numba
import pytest

from scfm_scverse.tokens import kernels
from support import run_python


def test_second_process_compiles_nothing(tmp_path: Path) -> None:
    code = f"""
import os
os.environ["NUMBA_CACHE_DIR"] = {str(tmp_path)!r}
from scfm_scverse.tokens.kernels import gathered_tokens
stats = gathered_tokens.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""
    assert [run_python(code) for _ in range(2)] == ["0 1", "1 0"]


def test_kernel_is_compiled_where_its_cache_cannot_be_kept() -> None:
    # A function without a file is refused by numba's cache for the reason that a read-only home is.
    functions: dict[str, Callable[[int], int]] = {}
    exec("def next_number(number): return number + 1", functions)
    with pytest.raises(RuntimeError, match="no locator"):
        numba.njit("int64(int64)", cache=True)(functions["next_number"])
    assert kernels._compiled("int64(int64)")(functions["next_number"])(1) == 2
