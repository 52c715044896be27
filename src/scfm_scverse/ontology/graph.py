"""Terms of the Cell Ontology: names, parents, ancestors."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files

from .._errors import InputError

ROOT = "CL:0000000"


def _curie(number: int) -> str:
    return f"CL:{number:07d}"


@dataclass(frozen=True)
class CellOntology:
    """Living terms of the Cell Ontology and where retired ones went.

    Attributes
    ----------
    name
        Name of each term, by its id such as ``"CL:0000084"``.
    parents
        Direct ``is_a`` parents of each term.
    synonyms
        Other names of each term.
    replaced
        Successor of a retired term.
    """

    name: dict[str, str]
    parents: dict[str, tuple[str, ...]]
    synonyms: dict[str, tuple[str, ...]]
    replaced: dict[str, str]

    @cached_property
    def _ancestors(self) -> dict[str, frozenset[str]]:
        return {}

    def current(self, term: str) -> str:
        """Return the living term for ``term``, following retired ones to their successor."""
        living = self.replaced.get(term, term)
        if living not in self.name:
            msg = f"{term!r} is not a living term of the Cell Ontology; expected an id such as 'CL:0000084' (T cell)."
            raise InputError(msg)
        return living

    def ancestors(self, term: str) -> frozenset[str]:
        """Return ``term`` itself and everything above it."""
        term = self.current(term)
        known = self._ancestors.get(term)
        if known is None:
            above = [self.ancestors(parent) for parent in self.parents[term]]
            known = frozenset({term}).union(*above)
            self._ancestors[term] = known
        return known

    def is_a(self, term: str, other: str) -> bool:
        """Whether ``term`` is ``other`` or lies below it."""
        return self.current(other) in self.ancestors(term)

    @cached_property
    def term_of_name(self) -> dict[str, str]:
        """Term of each name or synonym in lower case; names win over synonyms, older terms over newer ones."""
        found: dict[str, str] = {}
        for term, name in self.name.items():
            found.setdefault(name.lower(), term)
        for term, names in self.synonyms.items():
            for name in names:
                found.setdefault(name.lower(), term)
        return found


@cache
def load_ontology() -> CellOntology:
    """Read the table that comes with the package (release 2026-03-26)."""
    payload = files(__package__).joinpath("data/cell_ontology.json.gz").read_bytes()
    table = json.loads(gzip.decompress(payload))
    ids = [_curie(number) for number in table["id"]]
    return CellOntology(
        name=dict(zip(ids, table["name"], strict=True)),
        parents={
            term: tuple(_curie(number) for number in parents)
            for term, parents in zip(ids, table["parents"], strict=True)
        },
        synonyms={term: tuple(text.split("|")) for term, text in zip(ids, table["synonyms"], strict=True) if text},
        replaced={_curie(old): _curie(new) for old, new in table["replaced"]},
    )
