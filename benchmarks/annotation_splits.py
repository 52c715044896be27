"""What is learnt from and what is asked: whole studies left out, finer labels, own references, harder queries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from annotation_builds import with_rows
from mini_training.build import Built, Sources
from mini_training.embedding import dispersion
from mini_training.head import training_parts
from mini_training.labels import TRIAL_CLASSES
from mini_training.studies import Study, log_values
from numpy.typing import NDArray

from scfm_scverse.ontology import load_ontology

THIRTEEN = (
    "kang_ifnb_pbmc", "pbmc3k_10x", "zheng_sorted_pbmc", "symphony_pbmc_3chem_1767genes", "triana_marrow250_462genes",
    "malt_lymphoma_10x", "zilionis_nsclc", "crc_4210genes", "puram_hnscc180", "breast_cells_nuclei_mini",
    "brain_darmanis", "copykat_tnbc302", "oligodendroglioma184",
)  # fmt: skip
LATER = (
    "fetal_7organs_geact", "fetal_gut_geact", "blood_sorted_malbac", "breast_tumour_flex100", "brain_fetal_camp",
    "pancreas_baron_human", "citeseq_pbmc_10k5k", "ding_pbmc_2tech_2000genes", "brain_m1_panel140",
)  # fmt: skip
FINER = (
    "kang_ifnb_pbmc", "pbmc3k_10x", "zheng_sorted_pbmc", "symphony_pbmc_3chem_1767genes", "zilionis_nsclc",
    "triana_marrow250_462genes",
)  # fmt: skip
BLOOD = ("T", "NK", "B", "monocyte", "DC", "pDC", "megakaryocyte/platelet", "HSPC")
PANELS = ("kang_ifnb_pbmc", "zilionis_nsclc", "pancreas_baron_human")
SHALLOW = ("zheng_sorted_pbmc", "kang_ifnb_pbmc", "pancreas_baron_human")
# Classes whose every real cell is taken out of the head, to see what averaged profiles alone are worth.
HIDDEN = {
    "pancreas_baron_human": ("endocrine",),
    "brain_darmanis": ("glia", "neuron"),
    "crc_4210genes": ("endothelial", "epithelial", "fibroblast"),
    "kang_ifnb_pbmc": ("B", "myeloid"),
}
TUMOURS = (
    "breast_tumour_flex100", "copykat_tnbc302", "crc_4210genes", "malt_lymphoma_10x", "oligodendroglioma184",
    "puram_hnscc180", "sade_feldman_til550", "skin_ctcl_unlabelled", "zilionis_nsclc",
)  # fmt: skip
PANEL_SIZE, DEPTH_KEPT = 500, 0.1
SEEN = 0.05  # share of cells in which a gene of a random panel is seen


@dataclass(frozen=True)
class Split:
    """Cells to learn from and cells to name.

    ``broad`` of the studies in ``train`` are the words to learn; that of ``query`` is the truth, '' where none of
    them fits. ``built`` never saw the query. Where ``own`` holds, ``train`` is all that the reference is made of;
    elsewhere it is the default reference. ``batch`` are the donors or studies of an own reference's cells, in order.
    """

    name: str
    kind: str
    train: list[Study]
    query: Study
    built: Built
    own: bool
    batch: NDArray[np.str_] | None = None

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Cells of words that the reference knows and that the query holds five of at least."""
        known = [one.broad for one in self.train] if self.own else [self.built.rows.broad, BLOOD]
        wanted = (self.query.broad != "") & np.isin(self.query.broad, np.concatenate(known)) & ~self.query.malignant
        names, counts = np.unique(self.query.broad[wanted], return_counts=True)
        return wanted & np.isin(self.query.broad, names[counts >= 5])


@dataclass(frozen=True)
class Own:
    """A reference of one's own: which cells of which file, told by a column, and whether authors' words are learnt."""

    kind: str
    reference: tuple[tuple[str, str, tuple[str, ...]], ...]
    query: tuple[str, str, tuple[str, ...]]
    words: str = "author"


EVERY = ("", ())
OWN = {
    "Symphony 3' v1 -> 5'": Own(
        "technology", (("symphony_pbmc_3chem_1767genes", "batch", ("3pv1",)),),
        ("symphony_pbmc_3chem_1767genes", "batch", ("5p",)),
    ),
    "Ding Drop-seq -> inDrops": Own(
        "technology", (("ding_pbmc_2tech_2000genes", "batch", ("Drop-seq",)),),
        ("ding_pbmc_2tech_2000genes", "batch", ("inDrops",)),
    ),
    "Zilionis droplets -> HNSCC Smart-seq2": Own(
        "technology", (("zilionis_nsclc", *EVERY),), ("puram_hnscc180", *EVERY), "broad"
    ),
    "breast cells -> nuclei": Own(
        "technology", (("breast_cells_nuclei_mini", "condition", ("cells",)),),
        ("breast_cells_nuclei_mini", "condition", ("nuclei",)),
    ),
    "Kang, donors 101 and 1488": Own(
        "donor",
        (("kang_ifnb_pbmc", "donor", ("107", "1015", "1016", "1039", "1244", "1256", "unassigned")),),
        ("kang_ifnb_pbmc", "donor", ("101", "1488")),
    ),
    "Sade-Feldman, five patients": Own(
        "donor",
        ((
            "sade_feldman_til550", "donor",
            tuple("P1 P4 P6 P7 P8 P12 P15 P24 P25 P26 P27 P29 P31 P35".split()),
        ),),
        ("sade_feldman_til550", "donor", ("P2", "P3", "P20", "P28", "P33")),
    ),
    "Baron, donor 2 -> 4": Own(
        "donor", (("pancreas_baron_human", "donor", ("human2",)),), ("pancreas_baron_human", "donor", ("human4",))
    ),
    "Darmanis, three donors": Own(
        "donor",
        (("brain_darmanis", "donor", tuple("AB_S8 AB_S5 FB_S3 FB_S6 FB_S1 AB_S1 AB_S2 AB_S3 AB_S4".split())),),
        ("brain_darmanis", "donor", ("AB_S7", "AB_S11", "FB_S2")),
    ),
    "Kang, control -> IFN-beta": Own(
        "condition", (("kang_ifnb_pbmc", "condition", ("control",)),), ("kang_ifnb_pbmc", "condition", ("IFN-beta",))
    ),
    "healthy blood and fetal organs -> Zilionis tumours": Own(
        "tumour", (("pbmc3k_10x", *EVERY), ("fetal_7organs_geact", *EVERY)), ("zilionis_nsclc", *EVERY), "broad"
    ),
    "pancreas, human -> mouse": Own(
        "species", (("pancreas_human_mouse_mini", "species", ("human",)),),
        ("pancreas_human_mouse_mini", "species", ("mouse",)),
    ),
    "pancreas, mouse -> human": Own(
        "species", (("pancreas_human_mouse_mini", "species", ("mouse",)),),
        ("pancreas_human_mouse_mini", "species", ("human",)),
    ),
}  # fmt: skip


def training_cells(studies: list[Study], *, random_state: int) -> list[Study]:
    """The real cells that the model's head is given by the same seed, in the eighteen trial classes."""
    parts = training_parts(studies, [], random_state=random_state)
    kept = [part.take(np.flatnonzero(np.isin(part.broad, TRIAL_CLASSES))) for part in parts]
    return [part for part in kept if len(part.broad)]


def finer(study: Study) -> Study:
    """The same cells with T and NK cells, monocytes, macrophages and dendritic cells told apart."""
    return replace(study, broad=finer_words(study.broad, study.term))


def finer_words(broad: NDArray[np.str_], term: NDArray[np.str_]) -> NDArray[np.str_]:
    """Words of the finer level; the broad one where a term is too general to tell."""
    ontology = load_ontology()
    inside = {
        "T/NK": (("T", "CL:0000084"), ("NK", "CL:0000623")),
        "myeloid": (("DC", "CL:0000451"), ("macrophage", "CL:0000235"), ("monocyte", "CL:0000576")),
    }

    def word(one: str, of: str) -> str:
        below = (name for name, root in inside.get(one, ()) if of and ontology.is_a(of, root))
        return next(below, one)

    return np.array([word(str(one), str(of)) for one, of in zip(broad, term, strict=True)], "<U60")


def default_splits(sources: Sources, rest: Sources, built: Built, group: str, *, random_state: int) -> Iterator[Split]:
    """Everything that is asked of the default reference about the studies of a group."""
    train = training_cells(rest.studies, random_state=random_state)
    for name in (one for one in (*THIRTEEN, *LATER) if sources.by_name[one].group == group):
        query = trial_words(sources.by_name[name])
        kind = "thirteen" if name in THIRTEEN else "later"
        yield Split(name, kind, train, query, built, own=False)
        if name in FINER:
            asked = finer(query)
            asked = replace(asked, broad=np.where(np.isin(asked.broad, BLOOD), asked.broad, ""))
            yield Split(f"{name}, finer", "finer", [finer(one) for one in train], asked, built, own=False)
        if name in PANELS:
            for panel in ("random", "variable"):
                asked = on_panel(query, panel, random_state=random_state)
                yield Split(f"{name}, 500 {panel} genes", "panel", train, asked, built, own=False)
        if name in SHALLOW:
            asked = thinned(query, DEPTH_KEPT, random_state=random_state)
            yield Split(f"{name}, a tenth of the counts", "depth", train, asked, built, own=False)
        if name in HIDDEN:
            hidden = HIDDEN[name]
            kept = ~np.isin(built.rows.broad, hidden) | (built.rows.study == "profiles")
            bare = [one.take(np.flatnonzero(~np.isin(one.broad, hidden))) for one in train]
            bare = [one for one in bare if len(one.broad)]
            yield Split(
                f"{name}, profiles", "profiles", bare, query, with_rows(built, built.rows.take(kept)), own=False
            )
        if name == "crc_4210genes":
            healthy = with_rows(built, built.rows.take(~np.isin(built.rows.study, TUMOURS)))
            bare = [one for one in train if one.name not in TUMOURS]
            yield Split("healthy reference -> CRC tumours", "tumour", bare, query, healthy, own=False)


def own_splits(sources: Sources, built: Built, group: str, shared: Path) -> Iterator[Split]:
    """Everything that is asked of a reference made of the user's own cells, the query of this group."""
    for name, own in OWN.items():
        if sources.by_name[own.query[0]].group == group:
            train, batch = [], []
            for chosen in own.reference:
                cells, donor = _cells(sources, shared, chosen, own.words)
                kept = np.flatnonzero((cells.broad != "") & ~cells.malignant)
                train.append(cells.take(kept))
                batch.append(donor[kept])
            query = _cells(sources, shared, own.query, own.words)[0]
            yield Split(name, own.kind, train, query, built, own=True, batch=np.concatenate(batch))


def trial_words(study: Study) -> Study:
    """Only the eighteen classes are asked for."""
    return replace(study, broad=np.where(np.isin(study.broad, TRIAL_CLASSES), study.broad, ""))


def _cells(
    sources: Sources, shared: Path, chosen: tuple[str, str, tuple[str, ...]], words: str
) -> tuple[Study, NDArray[np.str_]]:
    """Some cells of a file with the words of its authors, or broad ones, in ``broad``; and their donors or file."""
    name, column, values = chosen
    study = sources.by_name[name]
    donor = np.full(len(study.broad), name)
    if column:
        sys.path.insert(0, str(shared / "tools"))
        from cells import read_cells

        adata = read_cells(shared / "data" / "cells" / f"{name}.cells")
        here = np.isin(adata.obs[column].astype(str), values)
        # Cells of other organisms are no part of the sources.
        study = study.take(np.flatnonzero(here)) if len(here) == len(study.broad) else _other(adata[here], study)
        donor = adata.obs[column].astype(str).to_numpy()[here]
    unnamed = np.isin(study.label, ["hybrid", "ND", "unknown", ""]) | (study.broad == "")
    named = replace(study, broad=np.where(unnamed, "", study.label)) if words == "author" else trial_words(study)
    return named, donor


def _other(adata, like: Study) -> Study:
    """Cells of a file by the words and terms that the file's cells among the sources have."""
    values, rows = log_values(adata)
    label = adata.obs["cell_type"].astype(str).to_numpy().astype("<U60")
    first = pd.Series(np.arange(len(like.label)), index=like.label).groupby(level=0).first()
    at = first.reindex(label).to_numpy()
    return Study(like.name, like.group, values, rows, label, like.term[at], like.broad[at], np.zeros(len(at), bool))


def counts_of(study: Study) -> sp.csr_matrix | None:
    """Whole counts, the least value of a cell taken for one count; None where values are no counts."""
    counts = study.values.astype(np.float64)
    counts.data = np.expm1(counts.data)
    least = np.full(counts.shape[0], np.inf)
    np.minimum.at(least, np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr)), counts.data)
    counts = sp.csr_matrix(sp.diags_array(1 / np.where(np.isfinite(least), least, 1)) @ counts)
    whole = np.rint(counts.data)
    if np.mean(np.abs(counts.data - whole) > 0.02 * whole) > 0.01:
        return None
    counts.data = whole
    return counts


def from_counts(study: Study, counts: sp.csr_matrix) -> Study:
    """The same cells with log values of other counts."""
    total = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    values = sp.csr_matrix(sp.diags_array(1e4 / total) @ counts, dtype=np.float32)
    values.data = np.log1p(values.data)
    return replace(study, values=values)


def thinned(study: Study, share: float, *, random_state: int) -> Study:
    """Each count kept with probability ``share``."""
    counts = counts_of(study)
    if counts is None:
        msg = f"{study.name} holds no counts to thin."
        raise ValueError(msg)
    counts.data = np.random.default_rng(random_state).binomial(counts.data.astype(int), share).astype(float)
    counts.eliminate_zeros()
    return from_counts(study, counts)


def on_panel(study: Study, panel: str, *, random_state: int) -> Study:
    """Only 500 genes measured, depth known over these alone: drawn among those seen, or the most variable ones."""
    if panel == "random":
        seen = np.flatnonzero(study.values.getnnz(axis=0) >= SEEN * study.values.shape[0])
        genes = np.random.default_rng(random_state).choice(seen, PANEL_SIZE, replace=False)
    else:
        genes = np.argsort(-dispersion(study.values), kind="stable")[:PANEL_SIZE]
    genes = np.sort(genes)
    part = replace(study, values=sp.csr_matrix(study.values[:, genes]), rows=study.rows[genes])
    linear = part.values.copy()
    linear.data = np.expm1(linear.data)
    return from_counts(part, linear)
