"""Names of a data set -> tokens, our way and the way of the original."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...genes import GeneMatch, load_gene_table, place_names
from ...genes.table import ensembl_numbers
from .dictionaries import Dictionaries

_VERSION = re.compile(r"\.\d+$")


def rows_of_genes(genes: NDArray[np.str_]) -> NDArray[np.int32]:
    """Rows of the gene table of Ensembl ids, those of mouse by their human orthologs; -1 where there is none, [v]."""
    table = load_gene_table()
    numbers, of_mouse = ensembl_numbers(genes.tolist())
    at = table.mouse_rows_of_numbers(np.where(of_mouse, numbers, -1))
    orthologs = np.where(at >= 0, table.mouse_human_row[at], -1)
    return np.where(of_mouse, orthologs, table.rows_of_numbers(np.where(of_mouse, -1, numbers))).astype(np.int32)


def place_genes(
    match: GeneMatch, ids: Sequence[str] | None, dictionaries: Dictionaries, rows: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Token of each name, -1 where there is none, [g].

    An Ensembl id, whatever its version, stands for its own token or for the one that the authors' mapping gives; other
    names stand for the gene that our table finds. A name that is in no table of ours is looked up among the authors'
    names, where no other column is that gene.
    """
    by_id = np.full(len(match), -1, np.int32)
    for names in (match.names, ids or ()):
        keys = [_VERSION.sub("", name.upper()) if name[:3].upper() == "ENS" else "" for name in names]
        at = _tokens(keys, dictionaries) if keys else by_id
        by_id = np.where(by_id < 0, at, by_id)
    found = np.where(by_id >= 0, by_id, place_names(match, ids, dictionaries.genes, rows))
    if match.organism == "human":
        unknown = (found < 0) & (match.rows < 0) & match.is_gene
        at = _tokens([name.upper() for name in match.names], dictionaries)
        found = np.where(unknown & ~np.isin(at, found[found >= 0]), at, found)
    return found.astype(np.int32)


def place_originally(names: Sequence[str], dictionaries: Dictionaries) -> NDArray[np.int32]:
    """Token of each name as the original finds it: in capitals, in its mapping, versions left on, [g]."""
    return _tokens([name.upper() for name in names], dictionaries)


def merges(names: Sequence[str], dictionaries: Dictionaries) -> bool:
    """Whether the original adds up columns of one gene: where names, as they are written, outnumber their genes."""
    known = set(names)
    tokens = _tokens(list(known), dictionaries)
    return int((tokens >= 0).sum()) > len(set(tokens[tokens >= 0].tolist()))


def original_slots(vocabulary: NDArray[np.int32], *, merge: bool) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Slot of each column [g] and token of each slot [s], as the original orders columns.

    Without merging each known column is a slot of its own. Else genes of one column come first, then those of several,
    both in the order of their first column.
    """
    known = np.flatnonzero(vocabulary >= 0)
    slots = np.full(len(vocabulary), -1, np.int32)
    if not merge:
        slots[known] = np.arange(len(known))
        return slots, vocabulary[known]
    tokens, first, which, times = np.unique(
        vocabulary[known], return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, times > 1))
    slots[known] = np.argsort(order)[which]
    return slots, tokens[order].astype(np.int32)


def _tokens(names: Sequence[str], dictionaries: Dictionaries) -> NDArray[np.int32]:
    own, other = dictionaries.token, dictionaries.mapping
    return np.array([own.get(name, other.get(name, -1)) for name in names], np.int32)
