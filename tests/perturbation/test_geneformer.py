"""In-silico perturbation of the original against ours, case by case."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from scfm_scverse import models
from scfm_scverse.perturbation import (
    Copies,
    Kind,
    Mode,
    Reading,
    TokenEdits,
    perturb_each,
    perturb_together,
    shift_tables,
    special_tokens,
    stream_shifts,
)
from scfm_scverse.tokens import Tokens

TOLERANCE = 2e-5
CONTEXT = {"v1": 32, "v2": 40}
CASE = re.compile(r"(v1|v2)_(delete|overexpress)_(all|one|common|pair)(_anchor|_states)?(_and_gene)?(_layer0)?")
CASES = [
    f"{version}_{case}"
    for version in ("v1", "v2")
    for case in (
        *("delete_all delete_all_states delete_all_and_gene delete_all_anchor".split()),
        *("overexpress_all overexpress_all_states_layer0 overexpress_all_and_gene".split()),
        *(
            f"{kind}_{genes}{rest}"
            for kind in ("delete", "overexpress")
            for genes in ("one", "common", "pair")
            for rest in ("", "_states", "_and_gene")
        ),
    )
]


@cache
def read_json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@cache
def load(golden: Path, name: str, version: str) -> models.CellModel:
    return models.load(
        golden / name,
        token_dictionary=golden / f"token_dictionary_{version}.json",
        gene_medians=golden / f"gene_median_dictionary_{version}.json",
    )


@cache
def read_tokens(golden: Path, version: str) -> pd.DataFrame:
    """Tokens of each cell that survives the original's tokeniser, with its disease; indexed by cell."""
    stored = np.load(golden / "tokens.npz")
    part = {name: stored[f"unique_{version}_stable_{name}"] for name in ("indptr", "input_ids", "cell_id")}
    ids = np.split(part["input_ids"], part["indptr"][1:-1])
    with h5py.File(golden / "cells_unique.h5ad") as file:
        cells = file["obs"]["cell_id"].asstr()[:]
        disease = file["obs"]["disease"]
        states = disease["categories"].asstr()[:][disease["codes"][:]]
    table = pd.DataFrame({"ids": ids}, index=part["cell_id"])
    return table.assign(disease=pd.Series(states, cells))


def make_tokens(ids: list[np.ndarray], n_genes: int) -> Tokens:
    flat = np.concatenate(ids).astype(np.int32)
    indptr = np.concatenate([[0], np.cumsum([len(one) for one in ids])])
    return Tokens(indptr, flat, np.ones(len(flat), np.float32), np.ones(n_genes, bool))


class Case:
    """What the original was asked for in a case, read from its name."""

    def __init__(self, golden: Path, name: str, model: models.CellModel, inputs: dict[str, Any]) -> None:
        found = CASE.fullmatch(name)
        assert found is not None
        self.version, kind, self.which, rest, genes, last = found.groups()
        self.kind: Kind = "delete" if kind == "delete" else "overexpress"
        self.model, self.inputs = model, inputs
        self.states = ["dcm", "nf", "hcm"] if rest == "_states" else []
        layer = "layer0" if last else "layer-1"
        embedded = inputs["state_embs"]
        embedded = embedded.get(f"{self.version}_{'cls' if self.version == 'v2' else 'cell'}_{layer}", embedded)
        self.reading = Reading(
            compare="cell" if self.version == "v2" else "genes",
            genes=genes is not None,
            layer=-1 if last else -2,
            states=np.array([embedded[state] for state in self.states], np.float32) if self.states else None,
        )
        cells = "cells"
        if self.which == "all" and (genes or rest == "_anchor"):
            cells = "cells_small"
        elif self.version == "v1" and kind == "overexpress" and self.which != "all" and not self.states:
            cells = "cells_v1_single"
        self.anchor = self.genes("common")[0] if rest == "_anchor" else None
        table = read_tokens(golden, self.version)
        table = table.loc[[cell for cell in table.index if cell in inputs.get(cells, inputs["cells"])]]
        if self.states:
            table = table[table["disease"] == "dcm"]
        self.tokens = make_tokens(table["ids"].tolist(), len(model.spec.genes))

    def genes(self, which: str) -> list[int]:
        return [self.model.spec.genes.tolist().index(gene) for gene in self.inputs["genes"][which]]

    def copies(self, mode: Mode) -> Copies:
        if self.which == "all":
            special = special_tokens(self.model.spec)
            return perturb_each(self.tokens, self.kind, special, anchor=self.anchor, mode=mode)
        return perturb_together(self.tokens, self.kind, np.array(self.genes(self.which), np.int32), mode=mode)

    def run(self, mode: Mode) -> tuple[pd.DataFrame, pd.DataFrame]:
        copies = self.copies(mode)
        edits = TokenEdits(self.tokens, special_tokens(self.model.spec), CONTEXT[self.version], mode)
        stream = stream_shifts(self.model, edits, copies, self.reading, mode=mode, device="cpu")
        return shift_tables(copies, stream, self.states)


def check(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """The same values for each perturbed and affected gene, cell by cell in the order of the files."""
    keys = ["perturbed", "affected"] if "affected" in found else ["perturbed"]
    columns = [name for name in expected if name not in ("perturbed", "affected")]
    assert len(found) == len(expected)
    rows = []
    for one in (found, expected):
        at = one.groupby(keys).cumcount().rename("at")
        rows.append(one.assign(at=at).set_index([*keys, "at"])[columns].sort_index())
    assert rows[0].index.tolist() == rows[1].index.tolist()
    np.testing.assert_allclose(rows[0].to_numpy(), rows[1].to_numpy(), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", CASES)
def test_shifts_are_those_of_the_original(
    golden: Path, shifts: Callable[[str], pd.DataFrame], gene_shifts: Callable[[str], pd.DataFrame], name: str
) -> None:
    model = load(golden, f"model_{name[:2]}", name[:2])
    case = Case(golden, name, model, read_json(golden / "perturbation.json"))
    cells, genes = case.run("original")
    check(cells.drop(columns="cell"), shifts(name).drop(columns="affected"))
    if case.reading.genes:
        check(genes.drop(columns="cell"), gene_shifts(name))


@pytest.mark.parametrize("name", CASES)
def test_default_differs_from_the_original_in_the_order_of_cells_only(golden: Path, name: str) -> None:
    case = Case(golden, name, load(golden, f"model_{name[:2]}", name[:2]), read_json(golden / "perturbation.json"))
    own, original = (case.run(mode)[0].set_index(["cell", "perturbed"]) for mode in ("default", "original"))
    assert own.index.get_level_values("cell").is_monotonic_increasing
    lengths = case.tokens.lengths[original.index.get_level_values("cell")]
    assert (np.diff(lengths) <= 0).all()
    # A cell that is a little shorter than the context is cut off too far by the original.
    short = original[(lengths <= CONTEXT[name[:2]] - 2) | (lengths == CONTEXT[name[:2]])]
    assert len(short)
    np.testing.assert_allclose(own.loc[short.index], short, rtol=0, atol=1e-6)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_affected_genes_carry_their_own_names(golden: Path, version: str) -> None:
    """The original names the genes that overexpression affects one place off, and the last one not at all."""
    name = f"{version}_overexpress_all_and_gene"
    case = Case(golden, name, load(golden, f"model_{version}", version), read_json(golden / "perturbation.json"))
    own, original = (dict(list(case.run(mode)[1].groupby(["cell", "perturbed"]))) for mode in ("default", "original"))
    for cell, ids in enumerate(np.split(case.tokens.ids, case.tokens.indptr[1:-1])):
        genes = [gene for gene in ids.tolist() if gene > 3 or version == "v1"]
        for perturbed in genes[1:]:
            rest = [gene for gene in genes if gene != perturbed]
            ours, theirs = own[cell, perturbed], original[cell, perturbed]
            assert ours["affected"].tolist() == rest
            assert theirs["affected"].tolist() == rest[1:]
            np.testing.assert_allclose(ours["shift"].to_numpy()[:-1], theirs["shift"].to_numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "value"), [("original", "cls_cosine_original_code"), ("default", "cls_cosine_against_the_uncut_cell")]
)
def test_cell_just_below_the_context_is_compared_uncut(golden: Path, mode: Mode, value: str) -> None:
    case = read_json(golden / "perturbation.json")["near_limit"]
    model = load(golden, case["model"], "v2")
    tokens = make_tokens([np.array(case["input_ids"])], len(model.spec.genes))
    copies = perturb_together(tokens, "overexpress", np.array([case["overexpressed_token"]], np.int32))
    edits = TokenEdits(tokens, special_tokens(model.spec), CONTEXT["v2"], mode)
    stream = stream_shifts(model, edits, copies, Reading(layer=-2), mode=mode, device="cpu")
    assert shift_tables(copies, stream)[0]["shift"].item() == pytest.approx(case[value], abs=2e-5)


@pytest.mark.holdout
@pytest.mark.parametrize(
    ("name", "layer"),
    [("delete_all_states", ""), ("overexpress_all", "_layer0"), ("overexpress_pair_and_gene", ""), ("delete_pair", "")],
)
def test_shifts_of_the_second_model_are_those_of_the_original(
    golden: Path, as_frame: Callable[[dict[str, Any]], pd.DataFrame], name: str, layer: str
) -> None:
    inputs = read_json(golden / "second" / "perturbation.json")
    case = Case(golden, f"v2_{name}{layer}", load(golden, "second/model", "v2"), inputs)
    cells, genes = case.run("original")
    expected = inputs["results"][name]
    check(cells.drop(columns="cell"), as_frame(expected["cell"]).drop(columns="affected"))
    if case.reading.genes:
        check(genes.drop(columns="cell"), as_frame(expected["gene"]))
