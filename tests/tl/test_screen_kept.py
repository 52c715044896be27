"""A screen that was cut short goes on where it stopped, with what was made for it and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import FileError
from scfm_scverse.inference import Partial
from scfm_scverse.perturbation import group_screen, screen
from scfm_scverse.tl._screen_kept import Kept, digest
from support import GENES, two_types

ASKED = GENES[::4]
ARGUMENTS: dict[str, Any] = {"groupby": "kind", "n_null": 30, "min_cells": 5}


class Cut(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(autouse=True)
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is finished a few perturbations at a time."""
    monkeypatch.setattr(screen, "ROUNDS", 2)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many perturbations each part of a screen runs."""
    counted: list[int] = []
    run = screen.run_screen

    def count(*arguments: Any, **rest: Any) -> Iterator[Any]:
        for part in run(*arguments, **rest):
            counted.append(len(part.perturbations))
            yield part

    monkeypatch.setattr(group_screen, "run_screen", count)
    return counted


def rank(adata: AnnData, genes: list[str] = ASKED, **arguments: Any) -> pd.DataFrame:
    return scfm.tl.rank_perturbations(adata, genes, **{**ARGUMENTS, **arguments})


def cut_short(monkeypatch: pytest.MonkeyPatch, folder: Path, after: int, adata: AnnData, **arguments: Any) -> None:
    """Run until so many parts are kept."""
    add, kept = Partial.add, []

    def fall(partial: Partial, *entry: Any) -> None:
        add(partial, *entry)
        kept.append(1)
        if len(kept) == after:
            raise Cut

    with monkeypatch.context() as patch:
        patch.setattr(Partial, "add", fall)
        with pytest.raises(Cut):
            rank(adata, resume=folder, **arguments)
    assert any(folder.iterdir())


@pytest.mark.parametrize("after", [1, 4, 9])
def test_table_is_the_same_and_nothing_runs_twice(
    monkeypatch: pytest.MonkeyPatch, ran: list[int], tmp_path: Path, after: int
) -> None:
    expected = rank(two_types())
    whole = sum(ran)
    ran.clear()
    cut_short(monkeypatch, tmp_path / "kept", after, two_types())
    before = sum(ran)
    assert 0 < before < whole
    found = rank(two_types(), resume=tmp_path / "kept")
    assert sum(ran) == whole
    pd.testing.assert_frame_equal(found, expected)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("how", [{"screen": "bfloat16", "n_exact": 5}, {"kind": "inhibit", "dose": [0.3, 0.9]}])
def test_first_ranking_and_doses_go_on_too(
    monkeypatch: pytest.MonkeyPatch, ran: list[int], tmp_path: Path, how: dict[str, Any]
) -> None:
    expected = rank(two_types(), **how)
    whole = sum(ran)
    ran.clear()
    cut_short(monkeypatch, tmp_path / "kept", 3, two_types(), **how)
    pd.testing.assert_frame_equal(rank(two_types(), resume=tmp_path / "kept", **how), expected)
    assert sum(ran) == whole


def other_counts(adata: AnnData) -> dict[str, Any]:
    counts = np.asarray(adata.X).copy()
    counts[7, 3] += 1
    adata.X = counts
    return {}


def other_kinds(adata: AnnData) -> dict[str, Any]:
    adata.obs.iloc[:2, adata.obs.columns.get_loc("kind")] = adata.obs["kind"].iloc[[1, 0]].to_numpy()
    return {}


CHANGED: dict[str, Any] = {
    "counts": other_counts,
    "labels": other_kinds,
    "seed": lambda _: {"random_state": 1},
    "kind": lambda _: {"kind": "overexpress"},
    "cells": lambda _: {"max_cells": 20},
    "test": lambda _: {"test": "permutation"},
    "null": lambda _: {"n_null": 29},
}


@pytest.mark.parametrize("changed", CHANGED)
def test_what_was_made_from_something_else_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: str
) -> None:
    cut_short(monkeypatch, tmp_path / "kept", 4, two_types())
    adata, plain = two_types(), two_types()
    arguments = CHANGED[changed](adata)
    CHANGED[changed](plain)
    pd.testing.assert_frame_equal(rank(adata, resume=tmp_path / "kept", **arguments), rank(plain, **arguments))
    assert not (tmp_path / "kept").exists()


def test_states_that_moved_are_not_mistaken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cells that are perturbed stay; those of the goal are others."""
    states = {"groupby": None, "state_key": "state", "start": "sick", "goal": "well"}

    def in_states(first: int) -> AnnData:
        adata = two_types()
        adata.obs["state"] = "sick"
        adata.obs.iloc[40:, adata.obs.columns.get_loc("state")] = "no"
        adata.obs.iloc[first : first + 10, adata.obs.columns.get_loc("state")] = "well"
        return adata

    cut_short(monkeypatch, tmp_path / "kept", 4, in_states(40), **states)
    found = rank(in_states(50), resume=tmp_path / "kept", **states)
    pd.testing.assert_frame_equal(found, rank(in_states(50), **states))


def test_donors_that_changed_are_not_mistaken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def of_donors(step: int) -> AnnData:
        adata = two_types()
        adata.obs["donor"] = [f"d{(i // step) % 4}" for i in range(adata.n_obs)]
        return adata

    cut_short(monkeypatch, tmp_path / "kept", 9, of_donors(1), donor_key="donor")
    found = rank(of_donors(3), resume=tmp_path / "kept", donor_key="donor")
    pd.testing.assert_frame_equal(found, rank(of_donors(3), donor_key="donor"))


def test_foreign_files_are_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("1")
    with pytest.raises(FileError, match=r"holds 'mine.csv', which no screen wrote"):
        rank(two_types(), resume=tmp_path)
    with pytest.raises(FileError, match="is a file; expected a folder"):
        rank(two_types(), resume=tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "1"


def test_what_came_into_the_folder_meanwhile_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    cut_short(monkeypatch, folder, 4, two_types())
    add = Partial.add

    def disturbed(partial: Partial, *entry: Any) -> None:
        add(partial, *entry)
        (folder / "mine.csv").write_text("1")

    monkeypatch.setattr(Partial, "add", disturbed)
    rank(two_types(), resume=folder)
    assert [path.name for path in folder.iterdir()] == ["mine.csv"]


def test_an_empty_folder_is_removed_when_nothing_failed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    rank(two_types(), resume=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
    assert tmp_path.exists()


def test_arrays_are_told_apart() -> None:
    one, same = np.arange(6), np.arange(6)
    assert digest(one) == digest(same)
    different = [one[::-1], one.reshape(2, 3), one.astype(np.int32), one + 1, None]
    assert len({digest(array) for array in (one, *different)}) == 6
    assert digest(one[:3], one[3:]) != digest(one)
    assert digest(one, None) != digest(None, one)


def test_folder_is_only_made_for_what_is_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept", {"model": "toy:1"})
    assert not (tmp_path / "kept").exists()
    kept.remove()
    part = kept.part("null", {"group": "all"}, 3)
    part.add(np.array([1]), np.ones((1, 2), np.float32))
    again = Kept(tmp_path / "kept", {"model": "toy:1"}).part("null", {"group": "all"}, 3)
    assert again.done.tolist() == [False, True, False]
    assert not Kept(tmp_path / "kept", {"model": "toy:2"}).part("null", {"group": "all"}, 3).done.any()
    kept.remove()
    assert not (tmp_path / "kept").exists()


PROGRAM = """
import os, signal, sys
from scfm_scverse.inference import Partial
from scfm_scverse.perturbation import screen
from support import GENES, two_types
import scfm_scverse as scfm

screen.ROUNDS, add, kept = 2, Partial.add, []

def fall(partial, *entry):
    add(partial, *entry)
    kept.append(1)
    if len(kept) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)

Partial.add = fall
scfm.tl.rank_perturbations(two_types(), GENES[::4], resume=sys.argv[1], groupby="kind", n_null=30, min_cells=5)
"""


@pytest.mark.slow
def test_killed_process_goes_on(ran: list[int], tmp_path: Path) -> None:
    expected = rank(two_types())
    whole = sum(ran)
    ran.clear()
    folder = tmp_path / "kept"
    tests = str(Path(__file__).resolve().parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([tests, *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(after=7), str(folder)], env=environment, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    found = rank(two_types(), resume=folder)
    assert 0 < sum(ran) < whole
    pd.testing.assert_frame_equal(found, expected)
    assert not folder.exists()
