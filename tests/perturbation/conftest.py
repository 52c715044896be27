"""The original's results of in-silico perturbation, as frames."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """Folder of the original's results."""
    return shared / "golden" / "geneformer"


@pytest.fixture(scope="session")
def results(golden: Path) -> dict[str, Any]:
    """Every case of the perturber by its name."""
    cases: dict[str, Any] = json.loads((golden / "perturbation.json").read_text())["results"]
    return cases


@pytest.fixture(scope="session")
def names(golden: Path) -> Callable[[str], pd.DataFrame]:
    """Names of a version's vocabulary by position."""

    def of_version(version: str) -> pd.DataFrame:
        symbols = json.loads((golden / "gene_name_id_dict.json").read_text())
        symbol = {ensembl: name for name, ensembl in symbols.items()}
        tokens = json.loads((golden / f"token_dictionary_{version}.json").read_text())
        return pd.DataFrame(
            {"Gene_name": [symbol.get(name) for name in tokens], "Ensembl_ID": list(tokens)},
            index=list(tokens.values()),
        )

    return of_version


def shifts_of(case: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """One row a value: state -> "token+token|affected" -> values becomes a column a state, ``shift`` without states."""
    rows: dict[tuple[Any, ...], dict[str, float]] = {}
    for state, by_key in case.items():
        for key, values in by_key.items():
            perturbed, affected = key.split("|")
            genes = tuple(map(int, perturbed.split("+")))
            who = affected if affected == "cell_emb" else int(affected)
            for at, value in enumerate(values):
                one = rows.setdefault((genes if len(genes) > 1 else genes[0], who, at), {})
                one["shift" if state == "none" else state] = value
    frame = pd.DataFrame(list(rows.values()))
    frame["perturbed"] = pd.Series([key[0] for key in rows])
    frame["affected"] = pd.Series([key[1] for key in rows])
    return frame


@pytest.fixture(scope="session")
def as_frame() -> Callable[[dict[str, dict[str, list[float]]]], pd.DataFrame]:
    """Turn shifts as they are stored into a frame."""
    return shifts_of


@pytest.fixture(scope="session")
def shifts(results: dict[str, Any]) -> Callable[[str], pd.DataFrame]:
    """Shifts of cells of a case."""
    return lambda case: shifts_of(results[case]["cell"])


@pytest.fixture(scope="session")
def gene_shifts(results: dict[str, Any]) -> Callable[[str], pd.DataFrame]:
    """Shifts of genes of a case."""
    return lambda case: shifts_of(results[case]["gene"])


@pytest.fixture(scope="session")
def screen(golden: Path) -> dict[str, pd.DataFrame]:
    """The simulated screen: shifts to states, of test, of null, of genes."""
    inputs = json.loads((golden / "stats" / "screen_inputs.json").read_text())
    return {"states": shifts_of(inputs["states"])} | {
        part: shifts_of({"none": inputs[part]}) for part in ("test", "null", "gene")
    }
