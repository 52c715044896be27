"""Markers of the classes of the default reference, from the expression of its cells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scfm_scverse.genes import load_gene_table
from scfm_scverse.models.scfm_mini import ScfmMini
from scfm_scverse.reference.ladder import build_ladder
from scfm_scverse.reference.markers import class_sums, find_markers, may_be_marker, modelled_expression
from scfm_scverse.reference.reference import Reference

from .head import training_parts
from .profiles import Profiles
from .studies import Study


def with_markers(
    reference: Reference, model: ScfmMini, studies: list[Study], profiles: list[Profiles], *, random_state: int
) -> Reference:
    """Set the markers; the cells are those that the head was fitted on, in the same order."""
    if reference.cells is None:
        return reference
    parts = training_parts(studies, profiles, random_state=random_state)
    n_classes, gene_rows = len(reference.label), model.gene_rows
    total, cells = np.zeros((n_classes, len(gene_rows))), np.zeros((n_classes, len(gene_rows)))
    first = 0
    for part in parts:
        code = reference.cells.code[first : first + len(part.broad)]
        first += len(code)
        _, here, there = np.intersect1d(part.rows, gene_rows, assume_unique=True, return_indices=True)
        total[:, there] += class_sums(part.values[:, here].tocsr(), code, n_classes)
        cells[:, there] += np.bincount(code, minlength=n_classes)[:, None]
    mean = np.where(cells > 0, total / np.maximum(cells, 1), np.nan)
    usable = may_be_marker(load_gene_table().symbol[gene_rows].astype(str))
    modelled = modelled_expression(reference.fine, model.weights.embedding)
    return replace(reference, markers=find_markers(build_ladder(reference), reference.branch, modelled, mean, usable))
