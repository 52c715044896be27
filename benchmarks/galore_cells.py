"""Real cells and the networks of ``galore.py``: vocabularies, tokens, the objective."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from scfm_scverse.models.trainable import Trainable
    from scfm_scverse.tokens import Tokens
    from scfm_scverse.training.batch import Batch
    from scfm_scverse.training.objectives import Objective

PUBLISHED = 60_697  # rows of scGPT's gene table, three of them special
MEMORY_SOURCE = "pbmc_hao1000_unlabelled"


def read_source(shared: Path, name: str) -> AnnData:
    sys.path.insert(0, str(shared / "tools"))
    from cells import read_cells

    adata: AnnData = read_cells(shared / "data" / "cells" / f"{name}.cells")
    adata.var_names_make_unique()
    return adata


def vocabulary(adata: AnnData, *, trimmed: bool) -> list[str]:
    """Genes that the data express, and with ``trimmed=False`` others up to the size that was published."""
    import numpy as np

    from scfm_scverse.genes import load_gene_table

    seen = np.asarray((adata.X > 0).sum(axis=0)).ravel() > 0
    genes = [str(name) for name in adata.var_names[seen]]
    if trimmed:
        return genes
    known = set(genes)
    others = [name for name in dict.fromkeys(load_gene_table().symbol.tolist()) if name not in known]
    fill = [*others, *(f"unnamed{i}" for i in range(PUBLISHED))]
    return [*genes, *fill][: PUBLISHED - 3]


def tokens_of(adata: AnnData, model: Trainable) -> Tokens:
    from scfm_scverse._query import read_query

    options: dict[str, Any] = {"layer": None, "use_raw": False, "normalized": None, "gene_symbols": None}
    query = read_query(adata, model, organism="human", **options)
    tokens: Tokens = model.tokenizer(query.columns)(query.values.matrix)
    return tokens


def write_tokens(path: Path, tokens: Tokens) -> None:
    import numpy as np

    np.savez(path, indptr=tokens.indptr, ids=tokens.ids, values=tokens.values, measured=tokens.measured)


def read_tokens(path: Path) -> Tokens:
    import numpy as np

    from scfm_scverse.tokens import Tokens

    return Tokens(**np.load(path))


def batch_of(tokens: Tokens, rows: Sequence[int], draw: int) -> Batch:
    import numpy as np

    from scfm_scverse.training.batch import Batch

    cells = np.asarray(rows)
    return Batch(tokens.take(cells), cells, draw)


def objective_of(model: Trainable) -> Objective:
    """What scGPT is trained for here, telling 40 % of the expression of each cell that are hidden; scfm-mini's own."""
    from scfm_scverse.training.objectives import Joint, Reconstruction
    from scfm_scverse.training.objectives.masked_expression import MaskedExpression

    objective = Joint(Reconstruction() if model.spec.name == "scfm-mini" else MaskedExpression(0.4))
    objective.prepare(model)
    return objective
