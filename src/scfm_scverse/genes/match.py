"""What became of the names of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .detect import Kind, Organism
from .table import Rows

HOW = ("none", "ensembl", "exact", "previous", "alias", "case", "separator", "suffix", "date", "ortholog")
CODE_OF = {how: code for code, how in enumerate(HOW)}
_LISTED = 10


@dataclass(frozen=True, eq=False)
class GeneMatch:
    """Which gene each name of a data set stands for.

    Attributes
    ----------
    names
        The names as given [g].
    rows
        Row of the ``GeneTable``, -1 where the name stands for no known gene [g].
    how
        Position in ``HOW`` that tells by which way the gene was found [g].
    is_gene
        False for spike-ins, summary rows of read counters and empty names, which belong in no total [g].
    organism, kind
        Organism and kind of the names, as detected or as told.
    ambiguous
        Names of several genes with what was chosen, such as ``"QARS -> QARS1"`` or ``"CD16 -> unresolved"``.
    duplicated
        Names that share their gene with another name; callers sum their values.
    """

    names: tuple[str, ...]
    rows: Rows
    how: NDArray[np.int8]
    is_gene: NDArray[np.bool_]
    organism: Organism
    kind: Kind
    ambiguous: tuple[str, ...]
    duplicated: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def describe(self) -> str:
        """What was found, in a few words for a log line."""
        names = {"ensembl": "Ensembl ids", "symbol": "symbols", "mixed": "symbols and Ensembl ids"}[self.kind]
        found, genes = int((self.rows >= 0).sum()), int(self.is_gene.sum())
        orthologs = ", taken for their human orthologs" if CODE_OF["ortholog"] in self.how else ""
        return f"{found:,} of {genes:,} genes known ({self.organism} {names}{orthologs})"

    def summary(self) -> dict[str, Any]:
        """Numbers and short lists of this match, as plain values that JSON and ``uns`` can hold."""
        counts = np.bincount(self.how, minlength=len(HOW))
        missing = [self.names[i] for i in np.flatnonzero(self.is_gene & (self.rows < 0)).tolist()]
        return {
            "organism": self.organism,
            "kind": self.kind,
            "n_names": len(self.names),
            "n_genes": int(self.is_gene.sum()),
            "n_found": int((self.rows >= 0).sum()),
            "found_by": {how: int(counts[code]) for how, code in CODE_OF.items() if how != "none"},
            "n_ambiguous": len(self.ambiguous),
            "ambiguous": list(self.ambiguous[:_LISTED]),
            "n_duplicated": len(self.duplicated),
            "duplicated": list(self.duplicated[:_LISTED]),
            "n_not_found": len(missing),
            "not_found": missing[:_LISTED],
        }
