"""``scfm info``: what a file holds and what a model would make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._options import Input

if TYPE_CHECKING:
    from anndata import AnnData

MODEL = "scfm-mini"


def info(file: Input) -> None:
    """Show what FILE holds.

    Cells, genes, matrices and embeddings, and what the default model would read of them.
    """
    from .._settings import settings
    from ..io.files import read_adata
    from ._table import table

    adata = read_adata(file, backed=True)
    print(file)
    # The facts that the verbs would log stand in the table.
    with settings.override(verbosity=0):
        rows = [*_shape(adata), *_reading(adata), *_embeddings(adata)]
    print(table(["", "found"], rows))


def _shape(adata: AnnData) -> list[list[str]]:
    from ..genes import names_and_hints, resolve_genes

    names, ids = names_and_hints(adata.var)
    matrices: dict[str, Any] = {"X": adata.X, **{f"layers[{key!r}]": adata.layers[key] for key in adata.layers}}
    if adata.raw is not None:
        matrices["raw.X"] = adata.raw.X
    return [
        ["cells", f"{adata.n_obs:,}"],
        ["genes", f"{adata.n_vars:,}"],
        *([name, _describe(matrix)] for name, matrix in matrices.items() if matrix is not None),
        ["names", resolve_genes(names, ids=ids).describe() if names else "none"],
    ]


def _describe(matrix: Any) -> str:
    layout = getattr(matrix, "format", None) or "dense"
    return f"{matrix.shape[0]:,} x {matrix.shape[1]:,}, {layout}, {matrix.dtype}"


def _reading(adata: AnnData) -> list[list[str]]:
    """What ``tl.embed`` would read, or why it would stop."""
    from .. import models
    from .._errors import InputError
    from .._query import read_query
    from ._messages import WORDS, in_options

    model = models.load(MODEL)
    try:
        query = read_query(adata, model, layer=None, use_raw=False, normalized=None, gene_symbols=None, organism=None)
    except InputError as error:
        return [[MODEL, f"cannot read it: {in_options(str(error))}"]]
    share = query.coverage
    return [
        [f"{MODEL} reads", f"{WORDS[query.values.kind]} of {query.values.source} ({len(query.values.var):,} genes)"],
        [f"{MODEL} knows", f"{share.n_found:,} of {share.n_genes:,} genes, with {share.counts:.1%} of the values"],
        [f"{MODEL} finds", f"{share.model:.1%} of its {share.n_model:,} genes"],
    ]


def _embeddings(adata: AnnData) -> list[list[str]]:
    return [
        [f"obsm[{key!r}]", f"{' x '.join(map(str, adata.obsm[key].shape))}{_writer(adata, key)}"] for key in adata.obsm
    ]


def _writer(adata: AnnData, key: str) -> str:
    from .._record import read_record

    for verb, name in (("embed", key), ("annotate", key.removesuffix("_probabilities"))):
        written = read_record(adata, verb, name)
        if written is not None:
            return f", tl.{verb} with {written['model_id']}"
    return ""
