"""From studies and profiles to the model and its default reference, with any group of studies left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scfm_scverse.genes import load_gene_table
from scfm_scverse.models.scfm_mini import ScfmMini, from_tensors
from scfm_scverse.reference.reference import Reference

from .embedding import gene_space, select_genes
from .head import Rows, fit_head, training_rows
from .profiles import Profiles, load_profiles
from .studies import Study, load_studies

N_GENES, WIDTH, RIDGE = 6000, 256, 0.1
VERSION = "0"
NO_EMBEDDING = {"brain_m1_panel140"}


@dataclass(frozen=True)
class Sources:
    """Everything that scfm-mini is made from."""

    studies: list[Study]
    profiles: list[Profiles]

    @classmethod
    def read(cls, shared: Path) -> Sources:
        """Read the shared folder."""
        return cls(load_studies(shared), load_profiles(shared))

    def without(self, group: str) -> Sources:
        """All but one group of studies and the profiles made from it."""
        kept = [study for study in self.studies if study.group != group]
        return Sources(kept, [collection.take(collection.group != group) for collection in self.profiles])

    @cached_property
    def by_name(self) -> dict[str, Study]:
        """Studies by their name."""
        return {study.name: study for study in self.studies}


@dataclass(frozen=True)
class Built:
    """A model, its reference, the rows that made it and the position of each broad class among its branches."""

    tensors: dict[str, NDArray]
    about: dict[str, object]
    model: ScfmMini
    rows: Rows
    reference: Reference
    branch_of: dict[str, int]


def build(sources: Sources, *, random_state: int = 0) -> Built:
    """Make the gene embedding, the scale and the head."""
    table = load_gene_table()
    studies = [study for study in sources.studies if study.name not in NO_EMBEDDING]
    rows = select_genes(studies, table.biotype.astype(str), N_GENES)
    space = gene_space(studies, sources.profiles, rows, width=WIDTH, random_state=random_state)
    tensors: dict[str, NDArray] = {
        "embedding": space.embedding.astype(np.float16),
        "mean": space.mean,
        "sd": space.sd,
        "gene": table.ensembl_number[rows].astype(np.int64),
    }
    about: dict[str, object] = {"version": VERSION, "ridge": RIDGE}
    model = from_tensors(tensors, about)
    head = training_rows(model, sources.studies, sources.profiles, random_state=random_state)
    reference, branch_of = fit_head(head, model_id=model.spec.id)
    return Built(tensors, about, model, head, reference, branch_of)
