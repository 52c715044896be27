"""Tokens of V1 and V2 against the original's: which genes, in which order, and what is cut off."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
import scipy.sparse as sp

from scfm_scverse.genes import resolve_genes
from scfm_scverse.models import Columns
from scfm_scverse.models.geneformer.dictionaries import shipped
from scfm_scverse.models.geneformer.names import merges, original_slots, place_originally
from scfm_scverse.tokens.ranks import Ranks

from .conftest import Golden

VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


def read(golden, name: str):
    """Matrix and ids of a file of cells, without those that the original's filter drops."""
    adata = anndata.read_h5ad(golden.folder / f"{name}.h5ad")
    return adata[adata.obs.get("filter_pass", np.ones(adata.n_obs)) == 1].copy()


def tokenizer_of(model, ids: list[str]):
    """The tokeniser of a data set with these Ensembl ids."""
    match = resolve_genes([f"g{i}" for i in range(len(ids))], ids=ids, organism="human")
    return model.tokenizer(Columns(model.positions(match, ids), match.is_gene, 0.0, tuple(ids or match.names)))


def tokenize(model, adata):
    """Tokens of every cell, with the zeros that the file stores."""
    return tokenizer_of(model, list(adata.var["ensembl_id"]))(adata.X)


def check(tokens, adata, stored, case: str) -> None:
    kept = np.flatnonzero(tokens.lengths)
    found = tokens.take(kept)
    assert adata.obs["cell_id"].astype(str).to_numpy()[kept].tolist() == stored[f"{case}_cell_id"].tolist()
    assert found.indptr.tolist() == stored[f"{case}_indptr"].tolist()
    assert found.ids.tolist() == stored[f"{case}_input_ids"].tolist()
    assert found.lengths.tolist() == stored[f"{case}_length"].tolist()


@VERSIONS
@pytest.mark.parametrize("cells", ["unique", "duplicates", "exact_duplicate"])
def test_tokens_in_original_mode_are_those_of_the_original(golden: Golden, version: str, cells: str) -> None:
    adata = read(golden, {"unique": "cells_unique", "duplicates": "cells_duplicates"}.get(cells, f"cells_{cells}"))
    model = golden.load(f"model_{version}", mode="original")
    ranks = tokenizer_of(model, list(adata.var["ensembl_id"]))
    if cells != "unique":
        ranks = replace(ranks, context=4096)
    check(ranks(adata.X), adata, golden.arrays("tokens"), f"{cells}_{version}_stable")


@VERSIONS
def test_untruncated_tokens_are_those_of_the_original(golden: Golden, version: str) -> None:
    adata = read(golden, "cells_unique")
    ranks = tokenizer_of(golden.load(f"model_{version}", mode="original"), list(adata.var["ensembl_id"]))
    check(replace(ranks, context=4096)(adata.X), adata, golden.arrays("tokens"), f"unique_{version}_untruncated")


@VERSIONS
def test_unstable_order_of_the_original_differs_only_among_equal_values(golden: Golden, version: str) -> None:
    adata, stored = read(golden, "cells_unique"), golden.arrays("tokens")
    model = golden.load(f"model_{version}", mode="original")
    tokens = tokenize(model, adata)
    tokens = tokens.take(np.flatnonzero(tokens.lengths))
    theirs = stored[f"unique_{version}_original_input_ids"]
    assert tokens.indptr.tolist() == stored[f"unique_{version}_original_indptr"].tolist()
    assert tokens.lengths.tolist() == stored[f"unique_{version}_original_length"].tolist()
    assert stored[f"unique_{version}_original_cell_id"].tolist() == stored[f"unique_{version}_stable_cell_id"].tolist()
    column = {token: at for at, token in enumerate(model.positions(*names_of(adata)).tolist())}
    levels, n_different = model.dictionaries.medians, 0
    rows = adata.X.toarray()
    cells = adata.obs["cell_id"].tolist()
    for cell, start, stop in zip(
        stored[f"unique_{version}_stable_cell_id"], tokens.indptr, tokens.indptr[1:], strict=False
    ):
        row = rows[cells.index(cell)]
        for ours, other in zip(tokens.ids[start:stop].tolist(), theirs[start:stop].tolist(), strict=True):
            if ours != other:
                values = [float(row[column[token]]) / levels[token] for token in (ours, other)]
                assert values[0] == values[1]
                n_different += 1
    assert n_different > 0


def names_of(adata):
    ids = list(adata.var["ensembl_id"])
    return resolve_genes([f"g{i}" for i in range(len(ids))], ids=ids, organism="human"), ids


@VERSIONS
def test_values_over_the_total_are_the_counts_of_the_original(golden: Golden, version: str) -> None:
    adata, stored = read(golden, "cells_unique"), golden.arrays("tokens")
    tokens = tokenize(golden.load(f"model_{version}", mode="original"), adata)
    total = np.repeat(adata.obs["n_counts"].to_numpy(), tokens.lengths)
    np.testing.assert_allclose(tokens.values / total * 1e4, stored[f"unique_{version}_stable_counts"], rtol=1e-6)


@VERSIONS
def test_default_tokens_strip_versions_and_add_up_columns_of_one_gene(golden: Golden, version: str) -> None:
    adata = read(golden, "cells_duplicates")
    model = golden.load(f"model_{version}")
    assert model.spec.genes.tolist() == model.dictionaries.genes.tolist()
    ids = list(adata.var["ensembl_id"])
    tokens = replace(tokenizer_of(model, ids), context=4096)(adata.X)
    alternatives = {"ENSG00000800001": 71, "ENSG00000800002": 71, "ENSG00000800003": 211} if version == "v2" else {}
    plain = {name: f"ENSG00000900{number:03d}" for name, number in alternatives.items()}
    genes = [plain.get(name, name.split(".")[0].upper()) for name in ids]
    counts = adata.X.toarray()
    for cell, found in enumerate(np.split(tokens.ids, tokens.indptr[1:-1])):
        known = {
            gene for gene, count in zip(genes, counts[cell], strict=True) if count and gene in model.dictionaries.token
        }
        names = model.spec.genes[found].tolist()
        assert len(set(names)) == len(names)
        assert {name for name in names if not name.startswith("<")} == known


@VERSIONS
def test_default_ties_stand_in_the_order_of_the_vocabulary(golden: Golden, version: str) -> None:
    adata = read(golden, "cells_unique")
    model = golden.load(f"model_{version}")
    order = np.random.default_rng(0).permutation(adata.n_vars)
    found = tokenize(model, adata)
    turned = tokenize(model, adata[:, order].copy())
    assert found.ids.tolist() == turned.ids.tolist()
    original = tokenize(golden.load(f"model_{version}", mode="original"), adata)
    assert found.ids.tolist() != original.ids.tolist()


@VERSIONS
def test_tokens_of_real_cells_are_those_of_the_original(golden: Golden, shared: Path, version: str) -> None:
    sys.path.insert(0, str(shared / "tools"))
    from cells import read_cells

    adata = read_cells(golden.folder / "real_pbmc20.cells")
    stored, tables = golden.arrays("real_pbmc20_tokens"), shipped(version.upper())
    names = adata.var["ensembl"].tolist()
    columns, genes = original_slots(place_originally(names, tables), merge=merges(names, tables))
    ranks = Ranks(
        columns=columns,
        genes=genes,
        medians=tables.medians[genes],
        n_genes=len(tables.genes),
        context={"v1": 2048, "v2": 4096}[version],
        around=(2, 3) if version == "v2" else None,
    )
    tokens = ranks(sp.csr_matrix(adata.X).astype(np.float32))
    assert adata.obs_names.tolist() == stored["cell_id"].tolist()
    assert tokens.indptr.tolist() == stored[f"{version}_indptr"].tolist()
    assert tokens.ids.tolist() == stored[f"{version}_input_ids"].tolist()
