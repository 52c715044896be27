"""Markers: genes that a label's classes have above all others."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scfm_scverse.genes import load_gene_table
from scfm_scverse.models import load
from scfm_scverse.reference import load_default_reference
from scfm_scverse.reference.ladder import Ladder
from scfm_scverse.reference.markers import class_sums, find_markers, may_be_marker


def test_sums_of_classes_are_those_of_their_cells() -> None:
    rng = np.random.default_rng(0)
    values, code = rng.poisson(1.0, (40, 7)).astype(np.float32), rng.integers(-1, 3, 40)
    found = class_sums(sp.csr_matrix(values), code, 3)
    np.testing.assert_allclose(found, [values[code == one].sum(axis=0) for one in range(3)])


def test_markers_are_higher_inside_in_the_model_and_in_the_cells() -> None:
    members = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0]], bool)
    ladder = Ladder(np.array(["a", "b", "c", "a or b"]), np.full(4, ""), members)
    # genes: of a, of b, of a and b, of c, of a in the model alone
    modelled = np.array([[3, 0, 3, 0, 3], [0, 3, 3, 0, 0], [0, 0, 0, 3, 0]], float)
    mean = np.array([[2, 0, 2, 0, 0], [0, 2, 2, 0, 0], [0, 0, 0, 2, np.nan]], float)
    found = find_markers(ladder, np.array([0, 0, 1]), modelled, mean, np.ones(5, bool))
    listed = {label: found.gene[at][found.score[at] > 0].tolist() for at, label in enumerate(found.label.tolist())}
    assert listed == {"a": [0, 2], "a or b": [2, 0, 1], "b": [1, 2], "c": [3]} or listed["a or b"][0] == 2
    assert listed["c"] == [3]
    assert 4 not in listed["a"]


def test_genes_of_mitochondria_and_ribosomes_are_no_markers() -> None:
    assert may_be_marker(np.array(["MT-CO1", "RPL10", "RPS3", "CD3D", "MRC1"])).tolist() == [False] * 3 + [True] * 2


def test_markers_of_the_default_reference_are_those_of_textbooks() -> None:
    markers = load_default_reference().markers
    assert markers is not None
    symbol = load_gene_table().symbol[load_gene_table().rows_of_ensembl(load("scfm-mini").spec.genes)]
    for label, known in {
        "T cell": {"CD3D", "CD3E", "TRAC"},
        "natural killer cell": {"NKG7", "GNLY"},
        "B cell": {"MS4A1", "CD79A"},
        "endothelial cell": {"KDR", "CDH5"},
        "fibroblast": {"COL1A1", "COL3A1"},
    }.items():
        at = markers.label.tolist().index(label)
        assert known <= set(symbol[markers.gene[at]]), label
