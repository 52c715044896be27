"""What the verbs of perturbation share: which genes are meant, what may be done to them, and to which cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError
from .._record import read_record
from ..genes import resolve_genes
from ..inference.device import choose_device, choose_dtype
from ..models import CellModel, Wanted
from ..models.base import check_wanted
from ..perturbation import CountEdits, Edits, Kind, Reading, TokenEdits, special_tokens
from ._embed import embed

if TYPE_CHECKING:
    from anndata import AnnData

    from .._query import Query
    from ..inference.device import Dtype

KINDS: tuple[str, ...] = get_args(Kind)
NOT_MEASURED, NOT_KNOWN = -1, -2
WHY = {NOT_MEASURED: "not in the data", NOT_KNOWN: "not known to the model"}


def check_kind(kind: str, dose: Any) -> None:
    """Stop where what is asked for is no perturbation, or contradicts itself."""
    if kind not in KINDS:
        msg = f"Found kind={kind!r}; expected one of {', '.join(map(repr, KINDS))}: one kind for all genes of a call."
        raise InputError(msg)
    if isinstance(dose, bool) or not isinstance(dose, int | float | np.integer | np.floating):
        msg = f"Found dose={dose!r}; expected a number."
        raise InputError(msg)
    if kind in {"delete", "overexpress"} and dose != 1:
        graded = "inhibit" if kind == "delete" else "activate"
        msg = f"Found kind={kind!r} with dose={dose}; expected dose=1, or kind={graded!r}, which has doses."
        raise InputError(msg)
    if not (0 < dose < np.inf) or (kind == "inhibit" and dose > 1):
        limits = "above 0, 1 (all of it) at most" if kind == "inhibit" else "above 0 (1 doubles the expression)"
        msg = f"Found dose={dose!r} for kind={kind!r}; expected a number {limits}."
        raise InputError(msg)


def find_genes(names: Sequence[str], query: Query) -> NDArray[np.int32]:
    """Position in the model's vocabulary of each named gene; ``NOT_MEASURED`` or ``NOT_KNOWN`` where it has none.

    A name is looked for among the names of the data as they are written, then by the gene it stands for.
    """
    rows = resolve_genes(list(names), organism=query.match.organism).rows
    vocabulary = query.columns.vocabulary
    written: dict[str, int] = {}
    of_gene: dict[int, int] = {}
    for column in np.argsort(vocabulary < 0, kind="stable").tolist():  # columns that the model knows come first
        for name in {query.match.names[column], query.columns.names[column]}:
            written.setdefault(name, column)
        if query.match.rows[column] >= 0:
            of_gene.setdefault(int(query.match.rows[column]), column)
    found = [written.get(name, of_gene.get(int(row), -1)) for name, row in zip(names, rows, strict=True)]
    columns = np.array(found, np.int64)
    known = np.where(vocabulary[columns] >= 0, vocabulary[columns], NOT_KNOWN)
    return np.where(columns < 0, NOT_MEASURED, known).astype(np.int32)


def edits_of(
    model: CellModel, query: Query, block: sp.csr_matrix, kind: Kind, totals: NDArray[np.float64] | None
) -> Edits:
    """Say how copies of the cells of a block are made: by editing tokens where the authors do, else counts."""
    counts = CountEdits(block, model.tokenizer(query.columns), query.columns.vocabulary, query.columns.base, totals)
    if model.spec.edits_tokens and kind in {"delete", "overexpress"}:
        context = model.spec.context or int(counts.tokens.lengths.max(initial=0)) + 1
        return TokenEdits(counts.tokens, special_tokens(model.spec), context)
    return counts


def reading_of(model: CellModel, output_layer: int | None, pooling: str | None) -> Reading:
    """Say how copies are compared with cells: as the model's authors do."""
    compare: Literal["cell", "genes"] = "genes" if model.spec.compares_genes else "cell"
    check_wanted(model.spec, Wanted(layer=output_layer, pooling=pooling))
    return Reading(compare=compare, layer=output_layer, pooling=pooling)


def unperturbed(
    adata: AnnData,
    model: CellModel,
    key: str,
    reading: Reading,
    device: str,
    source: dict[str, Any],
    dtype: Dtype = "float32",
) -> tuple[str, NDArray[np.float32]]:
    """Key and embedding of the cells as they are: one that was made in the same way, else a new one.

    A new one goes under the key of the model where that is free and the model is read as usual.
    """
    usual, own = model.spec.key_added, f"X_{key}_unperturbed"
    how = source | {"output_layer": reading.layer, "pooling": reading.pooling}
    for slot in (usual, own):
        if slot in adata.obsm and _made_so(read_record(adata, "embed", slot) or {}, model, how, device, dtype):
            return slot, adata.obsm[slot]
    slot = usual if usual not in adata.obsm and reading.layer is None and reading.pooling is None else own
    embed(adata, model=model, key_added=slot, device=device, dtype=dtype, **how)
    return slot, adata.obsm[slot]


def _made_so(written: dict[str, Any], model: CellModel, how: dict[str, Any], device: str, dtype: Dtype) -> bool:
    """Whether an embedding was made by this model, in this way and as precisely."""
    if written.get("model_id") != model.spec.id:
        return False
    where = choose_device(device)
    made, asked = (
        choose_dtype(name, where, bears_bfloat16=model.spec.bfloat16) for name in (written.get("dtype", "auto"), dtype)
    )
    # The record names the organism that was found where none was given.
    given = {name: value for name, value in how.items() if (name, value) != ("organism", None)}
    return made == asked and all(written.get(name) == value for name, value in given.items())
