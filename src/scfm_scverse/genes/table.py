"""The gene table: every name a human gene goes by, and its mouse ortholog.

One compact file of the package, made by ``scripts/build_gene_table.py``; its sources are told in ``data/SOURCES.md``.
"""

from __future__ import annotations

import io
import lzma
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int32]
Strings = NDArray[np.object_]

_ENSEMBL = re.compile(r"ENS(MUS)?G(\d{11})(?:\.\d+)?(?:_PAR_Y)?", re.IGNORECASE)


def normal_form(name: str) -> str:
    """Name without what converters change: letter case, and which of ``. _ -`` and space separates its parts."""
    return name.upper().replace(".", "-").replace("_", "-").replace(" ", "-")


def ensembl_numbers(ids: Iterable[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Number of each Ensembl gene id (version and ``_PAR_Y`` left out; -1 = no such id) and whether it is of mouse."""
    found = [_ENSEMBL.fullmatch(name) if name[:3] in {"ENS", "ens"} else None for name in ids]
    numbers = np.array([int(match[2]) if match else -1 for match in found], dtype=np.int64)
    mouse = np.array([match is not None and match[1] is not None for match in found], dtype=bool)
    return numbers, mouse


@dataclass(frozen=True, eq=False)
class GeneTable:
    """Human genes in the order of their Ensembl ids, and mouse genes with their human orthologs.

    ``v`` human genes, ``m`` mouse genes. A row is a position in the human arrays; it changes when the table is
    rebuilt, so store Ensembl ids and never rows.

    Attributes
    ----------
    symbol, ensembl, biotype, chromosome, start
        Human genes [v]. The symbol is the approved one, or the Ensembl id where GENCODE gives no symbol.
    canonical
        False where another row owns the same symbol (copies such as Y_RNA) or where there is no symbol [v].
    other_ensembl, other_ensembl_row
        Numbers of further Ensembl ids, and the rows of the genes they belong to.
    previous, previous_row, alias, alias_row
        Earlier and further names, and their rows; a name may be listed for several genes.
    taken
        Approved symbols of genes that GENCODE does not hold: known names without a row.
    mouse_symbol, mouse_ensembl, mouse_human_row
        Mouse genes [m]: symbol ("" = none), Ensembl number, row of the one-to-one human ortholog or -1.
    mouse_older, mouse_older_row
        Earlier mouse symbols and the rows of their human orthologs.
    """

    symbol: Strings
    ensembl: Strings
    biotype: Strings
    chromosome: Strings
    start: NDArray[np.int32]
    canonical: NDArray[np.bool_]
    ensembl_number: NDArray[np.int64]
    other_ensembl: NDArray[np.int64]
    other_ensembl_row: Rows
    previous: Strings
    previous_row: Rows
    alias: Strings
    alias_row: Rows
    taken: Strings
    mouse_symbol: Strings
    mouse_ensembl: NDArray[np.int64]
    mouse_human_row: Rows
    mouse_older: Strings
    mouse_older_row: Rows

    def __post_init__(self) -> None:
        for field in fields(self):
            getattr(self, field.name).setflags(write=False)

    def __len__(self) -> int:
        return len(self.symbol)

    def rows_of_ensembl(self, ids: Iterable[str]) -> Rows:
        """Row of each human Ensembl id, -1 where unknown; versions and ``_PAR_Y`` do not matter.

        Examples
        --------
        >>> table = load_gene_table()
        >>> table.symbol[table.rows_of_ensembl(["ENSG00000167286.9"])].tolist()
        ['CD3D']
        """
        numbers, mouse = ensembl_numbers(ids)
        return self.rows_of_numbers(np.where(mouse, -1, numbers))

    def rows_of_numbers(self, numbers: NDArray[np.int64]) -> Rows:
        """Row of each human Ensembl number, -1 where unknown."""
        rows = _look_up(numbers, self.ensembl_number, np.arange(len(self), dtype=np.int32))
        return np.where(rows >= 0, rows, _look_up(numbers, self.other_ensembl, self.other_ensembl_row))

    def mouse_rows_of_numbers(self, numbers: NDArray[np.int64]) -> Rows:
        """Position among the mouse genes of each mouse Ensembl number, -1 where unknown."""
        return _look_up(numbers, self.mouse_ensembl, np.arange(len(self.mouse_ensembl), dtype=np.int32))

    @cached_property
    def row_of_symbol(self) -> dict[str, int]:
        """Approved symbol -> row."""
        rows = np.flatnonzero(self.canonical)
        return dict(zip(self.symbol[rows].tolist(), rows.tolist(), strict=True))

    @cached_property
    def rows_of_previous(self) -> dict[str, tuple[int, ...]]:
        """Previous symbol -> rows."""
        return _group(self.previous, self.previous_row)

    @cached_property
    def rows_of_alias(self) -> dict[str, tuple[int, ...]]:
        """Alias -> rows."""
        return _group(self.alias, self.alias_row)

    @cached_property
    def taken_names(self) -> frozenset[str]:
        """Approved symbols without a row."""
        return frozenset(self.taken)

    @cached_property
    def names_of_normal_form(self) -> dict[str, str]:
        """Normal form -> the name it came from: approved before previous before alias.

        A normal form that two names of the same standing share stands for "", because it does not tell them apart.
        """
        names: dict[str, str] = {}
        for level in (self.row_of_symbol, self.taken, self.previous, self.alias):
            here: dict[str, str] = {}
            for name in dict.fromkeys(level):
                form = normal_form(name)
                here[form] = "" if form in here else name
            names = here | names
        return names

    @cached_property
    def human_row_of_mouse(self) -> dict[str, int]:
        """Mouse symbol -> row of its one-to-one human ortholog, -1 where it has none."""
        rows = dict(zip(self.mouse_older.tolist(), self.mouse_older_row.tolist(), strict=True))
        for name, row in zip(self.mouse_symbol.tolist(), self.mouse_human_row.tolist(), strict=True):
            if name and rows.get(name, -1) < 0:
                rows[name] = row
        return rows

    @cached_property
    def upper_symbols(self) -> frozenset[str]:
        """Approved symbols in upper case."""
        return frozenset(name.upper() for name in self.row_of_symbol)

    @cached_property
    def upper_mouse_symbols(self) -> frozenset[str]:
        """Mouse symbols in upper case."""
        return frozenset(name.upper() for name in self.human_row_of_mouse)

    @cached_property
    def has_mouse_ortholog(self) -> NDArray[np.bool_]:
        """Whether a human gene has a one-to-one mouse ortholog [v]."""
        known = np.zeros(len(self), dtype=bool)
        known[self.mouse_human_row[self.mouse_human_row >= 0]] = True
        return known


def _look_up(numbers: NDArray[np.int64], known: NDArray[np.int64], rows: Rows) -> Rows:
    at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    return np.where(known[at] == numbers, rows[at], -1).astype(np.int32)


def _group(names: Strings, rows: Rows) -> dict[str, tuple[int, ...]]:
    grouped: dict[str, tuple[int, ...]] = {}
    for name, row in zip(names.tolist(), rows.tolist(), strict=True):
        grouped[name] = (*grouped.get(name, ()), row)
    return grouped


def _strings(joined: NDArray[np.uint8]) -> Strings:
    return np.array(joined.tobytes().decode().split("\n"), dtype=object)


@cache
def load_gene_table() -> GeneTable:
    """Read the gene table that comes with the package, once per process.

    Examples
    --------
    >>> table = load_gene_table()
    >>> table.chromosome[table.row_of_symbol["CD3D"]]
    'chr11'
    """
    packed = files(__package__).joinpath("data", "genes.npz.xz").read_bytes()
    with np.load(io.BytesIO(lzma.decompress(packed)), allow_pickle=False) as stored:
        raw: dict[str, Any] = {name: stored[name] for name in stored.files}
    number = np.cumsum(raw["ensembl"].astype(np.int64))
    ensembl = np.array([f"ENSG{value:011d}" for value in number.tolist()], dtype=object)
    symbol = _strings(raw["symbol"])
    return GeneTable(
        symbol=np.where(symbol == "", ensembl, symbol),
        ensembl=ensembl,
        biotype=_strings(raw["biotype_names"])[raw["biotype"]],
        chromosome=_strings(raw["chromosome_names"])[raw["chromosome"]],
        start=raw["start"],
        canonical=raw["canonical"].astype(bool),
        ensembl_number=number,
        other_ensembl=raw["other_ensembl"].astype(np.int64),
        other_ensembl_row=raw["other_ensembl_row"],
        previous=_strings(raw["previous"]),
        previous_row=raw["previous_row"],
        alias=_strings(raw["alias"]),
        alias_row=raw["alias_row"],
        taken=_strings(raw["taken"]),
        mouse_symbol=_strings(raw["mouse_symbol"]),
        mouse_ensembl=np.cumsum(raw["mouse_ensembl"].astype(np.int64)),
        mouse_human_row=raw["mouse_human_row"],
        mouse_older=_strings(raw["mouse_older"]),
        mouse_older_row=raw["mouse_older_row"],
    )
