"""Names of a data set -> rows of the gene table.

Every name is tried in this order, and the first that fits counts:

1. Ensembl id, of the hint or in the name itself (``CD3D_ENSG00000167286``);
2. mouse symbol, for mouse: it stands for its human ortholog or for no human gene;
3. approved symbol;
4. previous symbol, then alias, unless it is an approved symbol in another writing (``elk1``);
5. the same with another letter case or separator (``cd3d``, ``HLA.A``);
6. approved symbol without the suffix that made names unique (``PNRC2-1``);
7. a date that a spreadsheet made of a symbol (``1-Mar``).

Rule for a name of several genes: genes that the data name otherwise (by id, approved symbol, or a previous symbol of
one gene only) are set aside. Of the rest the only protein-coding one is taken; else the only one that is the name with
a number added (QARS -> QARS1); else the only one; else the name stays unresolved. Dates follow the same rule, but where
it has no answer the first reading counts (``dates.py``). Either way the name is listed in ``GeneMatch.ambiguous``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .dates import symbols_of_date
from .detect import Organism, detect_names
from .match import CODE_OF, GeneMatch
from .table import GeneTable, Rows, ensembl_numbers, load_gene_table, normal_form

_NOT_A_GENE = re.compile(
    r"ERCC[-_.]\d{5}.*|RNA[-_]?SPIKE[-_]?\d+"
    r"|(__)?(no_feature|ambiguous|too_low_aQual|not_aligned|alignment_not_unique)"
    r"|N_(unmapped|multimapping|noFeature|ambiguous)",
    re.IGNORECASE,
)
_ID_IN_NAME = re.compile(r"(?:.+[_|:])?(ENS(?:MUS)?G\d{11}(?:\.\d+)?(?:_PAR_Y)?)(?:[_|:].+)?", re.IGNORECASE)
_SUFFIX = re.compile(r"(.+?)(?:--?|\.)\d{1,3}")


def resolve_genes(
    names: Sequence[str], *, ids: Sequence[str] | None = None, organism: Organism | None = None
) -> GeneMatch:
    """Find the human gene that each name stands for.

    Parameters
    ----------
    names
        Names of genes [g]: symbols, Ensembl ids or both, of human or mouse.
    ids
        A second hint per name [g], used first where it is an Ensembl id that the table knows; may hold "".
    organism
        ``"human"`` or ``"mouse"``; ``None`` detects it. Mouse genes stand for their human orthologs.

    Raises
    ------
    InputError
        If ``ids`` has another length than ``names``, or the organism is neither human nor mouse.

    Examples
    --------
    >>> match = resolve_genes(["CD3D", "MARCH1", "1-Sep", "HLA.A"])
    >>> load_gene_table().symbol[match.rows].tolist()
    ['CD3D', 'MARCHF1', 'SEPTIN1', 'HLA-A']
    """
    names = tuple(str(name) for name in names)
    hints = ("",) * len(names) if ids is None else tuple(str(value) for value in ids)
    if len(hints) != len(names):
        msg = f"ids has {len(hints)} entries for {len(names)} names: give one id per name ('' where there is none)."
        raise InputError(msg)
    if organism not in (None, "human", "mouse"):
        msg = f"organism is {organism!r}; expected 'human', 'mouse', or None to detect it."
        raise InputError(msg)
    kind, detected = detect_names(names)
    has_id = ensembl_numbers(hints)[0] >= 0
    if organism is None and has_id.any():
        _, detected = detect_names(np.where(has_id, np.array(hints, object), np.array(names, object)).tolist())
    is_gene = np.array([bool(name) and not _NOT_A_GENE.fullmatch(name) for name in names], dtype=bool) | has_id
    search = _Search(load_gene_table(), names, organism or detected, open=is_gene.copy())
    search.by_ensembl(hints)
    search.by_symbol()
    search.by_other_name()
    return GeneMatch(
        names=names,
        rows=search.rows,
        how=search.how,
        is_gene=is_gene,
        organism=search.organism,
        kind=kind,
        ambiguous=tuple(search.ambiguous),
        duplicated=_duplicated(names, search.rows),
    )


@dataclass
class _Search:
    """The rows found so far, filled step by step."""

    table: GeneTable
    names: tuple[str, ...]
    organism: Organism
    # An open name is still searched for; known genes without a row are closed without one.
    open: NDArray[np.bool_]
    ambiguous: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows: Rows = np.full(len(self.names), -1, dtype=np.int32)
        self.how: NDArray[np.int8] = np.zeros(len(self.names), dtype=np.int8)

    def by_ensembl(self, hints: Sequence[str]) -> None:
        """Look up the ids of the hints, then the ids inside the names."""
        inside = [_ID_IN_NAME.fullmatch(name) if "ENS" in name.upper() else None for name in self.names]
        for ids in (hints, [match[1] if match else "" for match in inside]):
            numbers, of_mouse = ensembl_numbers(ids)
            if self.organism == "mouse":
                at = self.table.mouse_rows_of_numbers(np.where(of_mouse, numbers, -1))
                orthologs = np.where(at >= 0, self.table.mouse_human_row[at], -1)
                # A mouse gene without an ortholog stays open: its name may be the one that the ortholog table lists.
                self._close(orthologs >= 0, orthologs, "ortholog")
            rows = self.table.rows_of_numbers(np.where(of_mouse, -1, numbers))
            self._close(rows >= 0, rows, "ensembl")

    def by_symbol(self) -> None:
        """Look up mouse symbols (for mouse) and approved symbols; names of genes without a row are closed."""
        mouse = self.table.human_row_of_mouse if self.organism == "mouse" else {}
        none = dict.fromkeys(self.table.taken_names, -1)
        for known, how in ((mouse, "ortholog"), (self.table.row_of_symbol, "exact"), (none, "none")):
            hits = np.array([name in known for name in self.names], dtype=bool)
            rows = np.array([known.get(name, -1) for name in self.names], dtype=np.int32)
            self._close(hits, rows, how)

    def by_other_name(self) -> None:
        """Read the names left over: first those of one gene, then those that need the rule."""
        readings = [(i, *self._read(self.names[i])) for i in np.flatnonzero(self.open).tolist()]
        for i, rows, how in readings:
            if len(rows) == 1:
                self._found(i, rows[0], how)
        named = self.rows[np.isin(self.how, [CODE_OF[how] for how in ("ensembl", "exact", "previous", "ortholog")])]
        present = set(named.tolist())
        for i, rows, how in readings:
            if len(rows) > 1:
                row = _choose(rows, self.names[i], how, present, self.table)
                self._found(i, row, how)
                self.ambiguous.append(f"{self.names[i]} -> {'unresolved' if row < 0 else self.table.symbol[row]}")

    def _close(self, where: NDArray[np.bool_], rows: Rows, how: str) -> None:
        where = where & self.open
        self.rows[where] = rows[where]
        self.how[where & (rows >= 0)] = CODE_OF[how]
        self.open &= ~where

    def _found(self, i: int, row: int, how: str) -> None:
        self.rows[i], self.how[i] = row, CODE_OF[how] if row >= 0 else 0

    def _read(self, name: str) -> tuple[tuple[int, ...], str]:
        """Genes that a name may mean which is no symbol of today, and the way to them."""
        for spelling, how in _spellings(name, self.table):
            rows, level = _genes_of_name(spelling, self.table)
            if level and not (how == "suffix" and level != "exact"):
                return self._of_organism(rows), how or level
        dates = symbols_of_date(name)
        for known in (self.table.rows_of_previous, self.table.rows_of_alias):
            rows = tuple(dict.fromkeys(row for old in dates for row in known.get(old, ())))
            if rows:
                return self._of_organism(rows), "date"
        return (), "none"

    def _of_organism(self, rows: tuple[int, ...]) -> tuple[int, ...]:
        """Leave out what the organism does not have: a mouse name stands for a gene with a mouse ortholog."""
        return rows if self.organism == "human" else tuple(row for row in rows if self.table.has_mouse_ortholog[row])


def _spellings(name: str, table: GeneTable) -> Iterator[tuple[str, str]]:
    """Yield the name, the known name of its normal form, and both without a suffix, each with what was changed."""
    yield from _writings(name, table)
    base = _SUFFIX.fullmatch(name)
    if base:
        for writing, _ in _writings(base[1], table):
            yield writing, "suffix"


def _writings(name: str, table: GeneTable) -> Iterator[tuple[str, str]]:
    known = table.names_of_normal_form.get(normal_form(name), "")
    other = (known, "case" if known.upper() == name.upper() else "separator")
    if known in table.row_of_symbol and name in table.rows_of_alias:
        yield other
    yield name, ""
    if known:
        yield other


def _genes_of_name(name: str, table: GeneTable) -> tuple[tuple[int, ...], str]:
    """Rows of the genes a name stands for, and as which kind of name ("" = not a name of any gene)."""
    if name in table.row_of_symbol:
        return (table.row_of_symbol[name],), "exact"
    if name in table.taken_names:
        return (), "exact"
    if name in table.rows_of_previous:
        return table.rows_of_previous[name], "previous"
    if name in table.rows_of_alias:
        return table.rows_of_alias[name], "alias"
    return (), ""


def _choose(rows: tuple[int, ...], name: str, how: str, present: set[int], table: GeneTable) -> int:
    """One of several genes of a name, by the rule at the top of this file; -1 where it gives none."""
    free = [row for row in rows if row not in present]
    numbered = re.compile(re.escape(name) + r"\d+")
    for choice in (
        [row for row in free if table.biotype[row] == "protein_coding"],
        [row for row in free if numbered.fullmatch(table.symbol[row])],
        free,
    ):
        if len(choice) == 1:
            return choice[0]
    return rows[0] if how == "date" else -1


def _duplicated(names: tuple[str, ...], rows: Rows) -> tuple[str, ...]:
    times = np.bincount(rows[rows >= 0], minlength=1)
    return tuple(name for name, row in zip(names, rows.tolist(), strict=True) if row >= 0 and times[row] > 1)
