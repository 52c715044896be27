"""How far an annotation agrees with labels of the authors, counted along the Cell Ontology."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

from .._errors import InputError, MissingKeyError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from ..ontology import CellOntology
    from ..reference import Reference

# Labels of scanpy's pbmc68k_reduced. Its cytotoxic T cells are those most like everything that was sorted as CD8+.
BULK_LABELS = {
    "CD14+ Monocyte": "CL:0001054",
    "CD19+ B": "CL:0000236",
    "CD34+": "CL:0008001",
    "CD4+/CD25 T Reg": "CL:0000792",
    "CD4+/CD45RA+/CD25- Naive T": "CL:0000895",
    "CD4+/CD45RO+ Memory": "CL:0000897",
    "CD56+ NK": "CL:0000623",
    "CD8+ Cytotoxic T": "CL:0000625",
    "CD8+/CD45RA+ Naive Cytotoxic": "CL:0000900",
    "Dendritic": "CL:0000451",
}


@dataclass(frozen=True)
class Judge:
    """Decides whether an answer from a reference fits a term of the Cell Ontology."""

    reference: Reference
    ontology: CellOntology

    @cached_property
    def term_of_class(self) -> dict[str, str]:
        """Term of each class, "" where none fits."""
        return dict(zip(self.reference.label.tolist(), self.reference.term.tolist(), strict=True))

    @cached_property
    def branch_of_answer(self) -> dict[str, str]:
        """Branch of each possible answer, class or branch."""
        branches = self.reference.branch_label
        classes = zip(self.reference.label.tolist(), branches[self.reference.branch].tolist(), strict=True)
        return {branch: branch for branch in branches.tolist()} | dict(classes)

    def branch_of_term(self, term: str) -> str | None:
        """Branch of the nearest class at or above a term; None where no class is."""
        above = self.ontology.ancestors(term)
        classes = [label for label, own in self.term_of_class.items() if own and self.ontology.current(own) in above]
        depth = {label: len(self.ontology.ancestors(self.term_of_class[label])) for label in classes}
        return self.branch_of_answer[max(classes, key=lambda label: depth[label])] if classes else None

    def same_branch(self, answer: str, term: str) -> bool:
        """Whether the answer lies in the term's branch."""
        return answer in self.branch_of_answer and self.branch_of_answer[answer] == self.branch_of_term(term)

    def compatible(self, answer: str, term: str) -> bool:
        """Whether the answer is the term, lies below it, or above it inside the same branch, or is the branch."""
        same_branch = self.same_branch(answer, term)
        if answer not in self.term_of_class:
            return same_branch
        own = self.term_of_class[answer]
        return own != "" and (self.ontology.is_a(own, term) or (same_branch and self.ontology.is_a(term, own)))


@cache
def default_judge() -> Judge:
    """The judge of answers from the reference that comes with the package."""
    from ..ontology import load_ontology
    from ..reference import load_default_reference

    return Judge(load_default_reference(), load_ontology())


def terms_of_labels(adata: AnnData, labels_key: str) -> dict[str, str]:
    """Look the labels of a column up among the names of the Cell Ontology.

    Left out are labels that are no such name, and those as broad as "cell", which any answer would fit.
    """
    if labels_key not in adata.obs:
        msg = f"labels_key={labels_key!r} is not in obs; its columns are {', '.join(map(repr, adata.obs.columns))}."
        raise MissingKeyError(msg)
    names = sorted(map(str, adata.obs[labels_key].dropna().unique()))
    judge = default_judge()
    terms = {name: judge.ontology.term_of_name.get(name.lower()) for name in names}
    found = {name: term for name, term in terms.items() if term is not None and judge.branch_of_term(term) is not None}
    if not found:
        msg = (
            f"None of the {len(names)} labels in obs[{labels_key!r}], such as {', '.join(map(repr, names[:3]))}, "
            "is the Cell Ontology's name of a type that the reference knows; expected names such as 'B cell'. "
            "Leave labels_key= out or rename them."
        )
        raise InputError(msg)
    return found


def agreement(adata: AnnData, key: str, labels_key: str, term_of_label: Mapping[str, str]) -> tuple[str, str]:
    """Two shares over all cells, and a table with a row for each label of the authors."""
    from ._table import table

    cells = _judged(adata, key, labels_key, term_of_label)
    rows = []
    for label, group in cells.groupby("label"):
        answer, n = next(iter(group["answer"].value_counts().items()))
        shares = [f"{group[column].mean():.0%}" for column in ("compatible", "branch")]
        rows.append([str(label), f"{len(group):,}", *shares, f"{answer} ({n:,})"])
    header = ["authors' label", "cells", "compatible", "right branch", "most frequent answer"]
    summary = f"""\
Agreement with the authors' labels, obs[{labels_key!r}], over {len(cells):,} of {adata.n_obs:,} cells:
  {cells["compatible"].mean():6.1%}  compatible: the same type, or one above or below it in the Cell Ontology, at most
          as broad as a branch such as 'T or NK cell' ({cells["only_branch"].mean():.1%} name just the branch)
  {cells["branch"].mean():6.1%}  compatible, or of the right branch (B cells and plasma cells are two branches)"""
    return summary, table(header, rows, right=header[1:4])


def _judged(adata: AnnData, key: str, labels_key: str, term_of_label: Mapping[str, str]) -> pd.DataFrame:
    """One row for each cell whose label has a term: label, answer, and three verdicts."""
    judge = default_judge()
    columns = adata.obs[[labels_key, f"{key}_cell_type"]].astype(str).set_axis(["label", "answer"], axis=1)
    cells: pd.DataFrame = columns[columns["label"].isin(list(term_of_label))].copy()
    pairs = list(zip(cells["answer"], cells["label"].map(term_of_label), strict=True))
    compatible, same_branch = cache(judge.compatible), cache(judge.same_branch)
    cells["compatible"] = [compatible(*pair) for pair in pairs]
    cells["branch"] = [compatible(*pair) or same_branch(*pair) for pair in pairs]
    cells["only_branch"] = cells["compatible"] & ~cells["answer"].isin(list(judge.term_of_class))
    return cells
