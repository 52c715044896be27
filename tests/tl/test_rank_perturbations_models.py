"""``tl.rank_perturbations`` with every model: each number of a row is what a slow, plain computation gives."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from scipy.stats import false_discovery_control, rankdata, ttest_1samp, ttest_ind

import scfm_scverse as scfm
from scfm_scverse.models import CellModel
from scfm_scverse.perturbation import Kind
from support import GENES, small_counts
from test_all_models import CHECKPOINTS, REGISTERED

EVERY = [*REGISTERED, *CHECKPOINTS]
DOSES: dict[Kind, float] = {"delete": 1, "inhibit": 0.6, "activate": 2.5, "overexpress": 1}
MEASURED, LONE = [gene for gene in GENES[::2] if gene not in ("RPLP1", "TRBC1")], "IL7R"
MIN_CELLS, MATCHED = 8, 20
CASES: dict[tuple[Kind, bool, str | None], list[str]] = {
    ("delete", True, "donor"): EVERY,
    ("delete", False, None): ["scfm-mini", "Geneformer V1"],
    ("inhibit", True, None): ["scfm-mini", "Geneformer V2"],
    ("activate", False, "donor"): ["scfm-mini", "scGPT"],
    ("overexpress", True, None): ["scfm-mini", "Geneformer V2", "scFoundation, cell"],
}
SLOW = ("scBERT", "scFoundation, gene")  # read 16,906 and 19,264 genes of every cell
RUNS = [
    pytest.param(
        model, *case, marks=[pytest.mark.slow] * (model in SLOW or (case[0] != "delete" and model != "scfm-mini"))
    )
    for case, models in CASES.items()
    for model in models
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks gain nothing by threads, which wait for each other where others compute too."""
    with scfm.settings.override(n_jobs=1):
        yield


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each layout, with few random weights."""
    from random_checkpoints import TINY, write_checkpoint

    folder = tmp_path_factory.mktemp("ranked")
    return {layout: write_checkpoint(layout, folder / layout, GENES) for layout in TINY}


@pytest.fixture(scope="module")
def model(request: pytest.FixtureRequest, paths: dict[str, Path]) -> CellModel:
    if request.param in REGISTERED:
        return scfm.models.load(request.param)
    layout, options = CHECKPOINTS[request.param]
    # What is drawn for a copy is drawn as for its cell, which embedding the edited counts would not do.
    drawn_by_none = {"ties": "middle"} if layout == "scgpt" else {}
    return scfm.models.load(paths[layout], **options, **drawn_by_none)


@cache
def stored_cells() -> AnnData:
    adata = small_counts(40)[:, MEASURED].copy()
    depth = np.geomspace(0.2, 1, 40)[np.random.default_rng(0).permutation(40), None]
    counts = np.random.default_rng(1).binomial(adata.X.toarray().astype(int), depth).astype(np.float32)
    counts[3] = 0  # a cell without counts
    counts[5] = 0
    counts[5, MEASURED.index(LONE)] = 7  # one that has nothing left without this gene
    adata.X = sp.csr_matrix(counts)
    adata.obs["donor"] = np.array(["a", "b", "c", "d"])[np.arange(40) % 4]
    adata.obs["state"] = np.where(np.arange(40) < 28, "sick", np.where(np.arange(40) < 34, "well", "worse"))
    return adata


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = (np.atleast_2d(x).astype(np.float64) for x in (one, other))
    return np.asarray((one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1))


class Plain:
    """The screen of single genes by one call of ``tl.perturb`` for each, and textbook formulas."""

    def __init__(self, model: CellModel, kind: Kind, towards: bool) -> None:
        self.model, self.kind, self.dose = model, kind, DOSES[kind]
        self.goal = "well" if towards else None
        self.adata = stored_cells().copy()
        scfm.tl.embed(self.adata, model=model, dtype="float32")
        self.cells = np.flatnonzero(self.adata.obs["state"] == "sick")
        self.counts = self.adata.X.toarray().astype(np.float64)
        scaled = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1) * 1e4
        self.scaled, self.logs = scaled, np.log1p(scaled)
        self.perturbed: dict[str, tuple[np.ndarray, dict[str, np.ndarray]]] = {}

    def run(self, gene: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Effect, and shift to each state, in each cell [n]; NaN where nothing is perturbed or nothing is left."""
        if gene not in self.perturbed:
            adata, key = self.adata, self.model.spec.key_added
            scfm.tl.perturb(adata, gene, kind=self.kind, dose=self.dose, model=self.model, genes_out=0)
            before, after = adata.obsm[key], adata.obsm["X_scfm_perturbed"]
            effect = adata.obs["scfm_effect"].to_numpy(np.float64)
            touched = np.isin(np.arange(adata.n_obs), self.cells)
            if self.kind != "overexpress":
                touched &= self.counts[:, MEASURED.index(gene)] > 0
            shifts = {}
            for state in ("well", "sick", "worse"):
                mean = np.nanmean(before[(adata.obs["state"] == state).to_numpy()].astype(np.float64), axis=0)
                shift = cosine(after, mean[None]) - cosine(before, mean[None])
                shifts[state] = np.where(touched, shift, np.nan)
            self.perturbed[gene] = np.where(touched, effect, np.nan), shifts
        return self.perturbed[gene]

    def score(self, gene: str) -> np.ndarray:
        effect, shifts = self.run(gene)
        return effect if self.goal is None else shifts[self.goal] - shifts["sick"]

    def candidates(self) -> list[str]:
        held = (self.counts[self.cells] > 0).sum(axis=0)
        return [gene for gene, n in zip(MEASURED, held.tolist(), strict=True) if n >= MIN_CELLS]

    def matched(self, gene: str) -> list[str]:
        """The genes of like rank and expression."""
        cells, ranks = self.cells, np.full((len(self.cells), len(MEASURED)), np.nan)
        for row, cell in zip(ranks, cells, strict=True):
            held = np.flatnonzero(self.counts[cell])
            if len(held):
                row[held] = (rankdata(-self.counts[cell, held]) - 1) / max(len(held) - 1, 1)
        held = ~np.isnan(ranks)
        features = np.column_stack(
            [
                np.where(held, ranks, 0).sum(axis=0) / np.maximum(held.sum(axis=0), 1),
                np.where(held, self.logs[cells], 0).sum(axis=0) / np.maximum(held.sum(axis=0), 1),
            ]
        )
        others = [other for other in self.candidates() if other != gene]
        of_others = features[[MEASURED.index(other) for other in others]]
        away = (of_others - features[MEASURED.index(gene)]) / of_others.std(axis=0)
        return [others[at] for at in np.argsort((away**2).sum(axis=1), kind="stable")[:MATCHED]]

    def p_value(self, gene: str, donor_key: str | None) -> float:
        alternative = "greater" if self.goal is None else "two-sided"
        values, null = self.score(gene), np.array([self.score(other) for other in self.matched(gene)])
        means = np.nanmean(null, axis=1)
        if self.goal is None:
            p = float(ttest_ind([np.log(np.nanmean(values))], np.log(means), alternative="greater").pvalue)
        else:
            p = float(ttest_ind([np.nanmean(values)], means).pvalue)
        if donor_key is None:
            return p
        donors, differences = self.adata.obs[donor_key].to_numpy(), []
        for donor in np.unique(donors):
            own, of_null = values[donors == donor], null[:, donors == donor]
            differences.append(np.nanmean(own) - np.nanmean(of_null))
        return max(p, float(ttest_1samp(differences, 0, alternative=alternative).pvalue))

    def baseline(self, gene: str) -> tuple[float, float]:
        """Effect and shift to the goal of the edited value in principal components, mean of the cells."""
        center = self.logs.mean(axis=0)
        _, _, loadings = np.linalg.svd(self.logs - center, full_matrices=False)
        n_components = min(50, len(self.logs) - 1, len(MEASURED) - 1)
        edited, column = self.scaled.copy(), MEASURED.index(gene)
        factor = {"delete": 0.0, "inhibit": 1 - self.dose, "activate": 1 + self.dose}.get(self.kind)
        edited[:, column] = self.scaled.max(axis=1) if factor is None else self.scaled[:, column] * factor
        before, after = ((x - center) @ loadings[:n_components].T for x in (self.logs, np.log1p(edited)))
        known = ~np.isnan(self.score(gene))
        effect = (1 - cosine(after, before))[known].mean()
        shift = np.zeros(len(before))
        for name, sign in (("well", 1), ("sick", -1)):
            state = before[(self.adata.obs["state"] == name).to_numpy()].mean(axis=0)[None]
            shift += sign * (cosine(after, state) - cosine(before, state))
        return float(effect), float(shift[known].mean())


@pytest.mark.parametrize(("model", "kind", "towards", "donor_key"), RUNS, indirect=["model"])
def test_every_number_is_that_of_a_plain_computation(
    model: CellModel, kind: Kind, towards: bool, donor_key: str | None
) -> None:
    plain, adata = Plain(model, kind, towards), stored_cells().copy()
    states: dict[str, Any] = {"goal": "well", "alternative": ["worse"]} if towards else {}
    asked = [LONE, *plain.candidates()[1:6]]
    table = scfm.tl.rank_perturbations(
        adata,
        asked,
        kind=kind,
        dose=DOSES[kind],
        state_key="state",
        start="sick",
        donor_key=donor_key,
        min_cells=MIN_CELLS,
        n_null=100,
        model=model,
        **states,
    ).set_index("perturbation")
    assert sorted(table.index) == sorted(asked)
    assert (table["status"] == "tested").all()
    for gene, row in table.iterrows():
        check_row(row, str(gene), plain, donor_key)
    fdr = false_discovery_control(table["p_value"])
    np.testing.assert_allclose(table["fdr"], fdr, rtol=1e-12)
    assert table["p_value"].is_monotonic_increasing


def check_row(row: pd.Series, gene: str, plain: Plain, donor_key: str | None) -> None:
    effect, shifts = plain.run(gene)
    scores = plain.score(gene)
    known = ~np.isnan(scores)
    means = np.array([np.nanmean(plain.score(other)) for other in plain.matched(gene)])
    assert row["n_cells"] == known.sum()
    assert row["n_donors"] == (0 if donor_key is None else 4)
    expected = {
        "expression": plain.logs[known, MEASURED.index(gene)].mean(),
        "effect": effect[known].mean(),
        "effect_sd": effect[known].std(),
        "score": scores[known].mean(),
        "score_sd": scores[known].std(),
        "null_mean": means.mean(),
        "null_sd": means.std(),
        "baseline_effect": plain.baseline(gene)[0],
    }
    if plain.goal is not None:
        expected |= {f"shift_{name}": shifts[state][known].mean() for name, state in COLUMNS.items()}
        expected["baseline_shift"] = plain.baseline(gene)[1]
    for name, value in expected.items():
        np.testing.assert_allclose(row[name], value, rtol=1e-4, atol=2e-6, err_msg=name)
    assert row["null_sd"] > 0
    np.testing.assert_allclose(row["z"], (row["score"] - row["null_mean"]) / row["null_sd"], rtol=1e-6)
    np.testing.assert_allclose(row["p_value"], plain.p_value(gene, donor_key), rtol=0.05, atol=1e-3)


COLUMNS = {"goal": "well", "start": "sick", "worse": "worse"}
