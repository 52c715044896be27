"""The default reference: real cells of all studies, and cells simulated from averaged profiles as one more study."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scfm_scverse.models import Wanted
from scfm_scverse.models.scfm_mini import ScfmMini
from scfm_scverse.ontology import load_ontology
from scfm_scverse.reference.build import Labels, fit_reference
from scfm_scverse.reference.discriminant import Discriminant
from scfm_scverse.reference.reference import Reference
from scfm_scverse.tokens import Tokens

from .labels import BRANCH_NAMES, BROAD, TRIAL_CLASSES, common_term
from .profiles import Profiles, simulate
from .studies import Study

NAME = "human cells and averaged profiles that come with scfm-mini"
CELLS_PER_CLASS = 150
PROFILES_PER_TERM, PER_PROFILE = 6, 4
MIN_CELLS, MIN_SIMULATED = 12, 4
RARE_PRIOR = 0.1  # of branches that hardly any real cell at hand belongs to
TOO_GENERAL = {"CL:0000000", "CL:0000255"}  # cell, eukaryotic cell
NO_HEAD = {"brain_m1_panel140"}  # 130 genes: a test of tiny panels, not a source


@dataclass(frozen=True)
class Rows:
    """Training rows of the head: embedding [n, d], broad class, term and study of each."""

    embedding: NDArray[np.float32]
    broad: NDArray[np.str_]
    term: NDArray[np.str_]
    study: NDArray[np.str_]

    def take(self, kept: NDArray[np.bool_]) -> Rows:
        """Some of the rows."""
        return Rows(self.embedding[kept], self.broad[kept], self.term[kept], self.study[kept])


def embed_study(model: ScfmMini, study: Study) -> NDArray[np.float32]:
    """Cells of a study through the model itself, from their log values."""
    import torch

    position = np.full(int(max(study.rows.max(), model.gene_rows.max())) + 1, -1, np.int32)
    position[model.gene_rows] = np.arange(len(model.gene_rows))
    column = position[study.rows]
    values = study.values[:, column >= 0].tocsr()
    measured = np.zeros(len(model.gene_rows), bool)
    measured[column[column >= 0]] = True
    tokens = Tokens(
        values.indptr.astype(np.int64), column[column >= 0][values.indices], values.data.astype(np.float32), measured
    )
    cell = model.encode(tokens, Wanted(), device=torch.device("cpu"), dtype=torch.float32).cell
    return cell.numpy()


def training_rows(model: ScfmMini, studies: list[Study], profiles: list[Profiles], *, random_state: int) -> Rows:
    """Rows of all parts of :func:`training_parts`."""
    parts = training_parts(studies, profiles, random_state=random_state)
    return Rows(
        embedding=np.concatenate([embed_study(model, part) for part in parts]),
        broad=np.concatenate([part.broad for part in parts]),
        term=np.concatenate([part.term for part in parts]),
        study=np.concatenate(
            [np.full(len(part.broad), part.group if part.group == "profiles" else part.name) for part in parts]
        ),
    )


def training_parts(studies: list[Study], profiles: list[Profiles], *, random_state: int) -> list[Study]:
    """At most 150 cells of each class and study, never malignant ones, and four simulated cells a profile."""
    rng = np.random.default_rng(random_state)
    parts = []
    for study in studies:
        if study.name in NO_HEAD:
            continue
        picked = [
            rng.choice(cells, min(CELLS_PER_CLASS, len(cells)), replace=False)
            for one in np.unique(study.broad)
            if one in BROAD and len(cells := np.flatnonzero((study.broad == one) & ~study.malignant))
        ]
        if picked:
            parts.append(study.take(np.sort(np.concatenate(picked))))
    for collection in profiles:
        simulated = simulate(_spread(collection), per_profile=PER_PROFILE, random_state=random_state)
        parts.append(simulated.take(np.flatnonzero(simulated.broad != "")))
    return parts


def _spread(profiles: Profiles) -> Profiles:
    """At most six profiles of a term, evenly spread over the collection: organs repeat endothelium and macrophages."""
    kept = [
        here[np.unique(np.linspace(0, len(here) - 1, PROFILES_PER_TERM).round().astype(int))]
        for term in np.unique(profiles.term)
        if term and len(here := np.flatnonzero(profiles.term == term))
    ]
    return profiles.take(np.sort(np.concatenate(kept)))


def fit_head(rows: Rows, *, model_id: str) -> tuple[Reference, dict[str, int]]:
    """Classes are ontology terms with enough rows; rarer ones are their branch's rest."""
    simulated = rows.study == "profiles"
    key = np.char.add(np.char.add(rows.broad, "|"), rows.term)
    for one in np.unique(key):
        here = key == one
        if (here & ~simulated).sum() < MIN_CELLS and (here & simulated).sum() < MIN_SIMULATED:
            broad = one.split("|")[0]
            key[here] = f"{broad}|{BROAD[broad][0]}"
    classes, code = np.unique(key, return_inverse=True)
    broad, term = (np.array(part) for part in zip(*(one.split("|") for one in classes), strict=True))
    branches, branch = np.unique(broad, return_inverse=True)
    branch_term = np.array([_branch_term(one, term[branch == at]) for at, one in enumerate(branches)])
    ontology = load_ontology()
    labels = Labels(
        code=code.astype(np.int32),
        name=np.array([ontology.name[one] for one in term]),
        term=term,
        branch=branch.astype(np.int32),
        branch_name=np.array([BRANCH_NAMES[one] for one in branches]),
        branch_term=branch_term,
        branch_prior=np.where(np.isin(branches, TRIAL_CLASSES), 1.0, RARE_PRIOR),
    )
    real = np.bincount(code, ~simulated, minlength=len(classes))
    reference = fit_reference(
        rows.embedding, labels, rows.study, name=NAME, model_id=model_id, from_profiles=real < MIN_CELLS
    )
    return reference, {one: int(at) for at, one in enumerate(branches)}


def _branch_term(broad: str, terms: NDArray[np.str_]) -> str:
    """Deepest term above all classes of a branch; the branch's own where that says no more than "cell"."""
    own = BROAD[broad][0]
    shared = common_term([own, *terms])
    return own if shared in TOO_GENERAL else shared


def rounded(reference: Reference) -> Reference:
    """The same with what half precision holds of its discriminants, which makes a small file."""
    levels = {name: getattr(reference, name) for name in ("fine", "coarse", "overall")}
    return replace(
        reference,
        **{
            name: Discriminant(*(part.astype(np.float16).astype(np.float32) for part in (one.whitening, one.means)))
            for name, one in levels.items()
        },
    )
