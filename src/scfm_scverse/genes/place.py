"""Names of a data set -> positions in the vocabulary of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .match import CODE_OF, GeneMatch
from .table import Rows, load_gene_table

# Found by a guess at what a program did to the name: such a column gives way to one that names the gene.
_GUESSED = tuple(CODE_OF[how] for how in ("case", "separator", "date"))


def place_names(
    match: GeneMatch, ids: Sequence[str] | None, vocabulary: NDArray[np.str_], rows: Rows
) -> NDArray[np.int32]:
    """Position in a vocabulary of each name of a data set.

    A human name, or its Ensembl id, that is written exactly as in the vocabulary stands for that entry. Any other name
    stands for the entry of its gene, as :func:`resolve_genes` found it; one that was found by letter case, separator
    or date only where no other column is that gene.

    Parameters
    ----------
    match
        The names and what they stand for [g].
    ids
        A second name of each [g], as from :func:`names_and_hints`.
    vocabulary
        Names of the vocabulary [v].
    rows
        Row of the gene table of each entry of the vocabulary, -1 where there is none [v].

    Returns
    -------
    int32 [g]: position, -1 where the vocabulary does not hold the gene. Columns may share a position.
    """
    found = np.full(len(match), -1, np.int32)
    if match.organism == "human":
        exact = {name: at for at, name in enumerate(vocabulary.tolist()) if not name.startswith("<")}
        for names in (match.names, ids or ()):
            at = np.array([exact.get(name, -1) for name in names], np.int32)
            found = np.where(found < 0, at, found) if len(at) else found
    guessed = np.isin(match.how, _GUESSED)
    by_row = _entry_of_rows(vocabulary, rows)[match.rows]
    found = np.where((found < 0) & ~guessed, by_row, found)
    taken = np.isin(by_row, found[found >= 0])
    return np.where((found < 0) & guessed & ~taken, by_row, found).astype(np.int32)


def place_written(names: Sequence[str], vocabulary: Sequence[str], *, once: bool) -> NDArray[np.int32]:
    """Position in a vocabulary of each name that is written exactly as there, -1 for the others [g].

    ``once``: of two columns of one name the second finds nothing.
    """
    known = {name: at for at, name in enumerate(vocabulary)}
    find = known.pop if once else known.get
    return np.array([find(name, -1) for name in names], np.int32)


def _entry_of_rows(vocabulary: NDArray[np.str_], rows: Rows) -> NDArray[np.int32]:
    """Entry of each row of the gene table, and one -1 more, which rows of -1 read.

    Of several entries for one gene the one that is written as its symbol counts, else the first.
    """
    symbol = load_gene_table().symbol
    entry = np.full(len(symbol) + 1, -1, np.int32)
    known = np.flatnonzero(rows >= 0)
    entry[rows[known[::-1]]] = known[::-1]
    named = known[vocabulary[known] == symbol[rows[known]].astype(str)]
    entry[rows[named[::-1]]] = named[::-1]
    return entry
