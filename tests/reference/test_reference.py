"""What references say of cells, and the default one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse.models import load
from scfm_scverse.ontology import load_ontology
from scfm_scverse.reference import Reference, load_default_reference, score_cells
from scfm_scverse.reference.answer import UNKNOWN, name_cells, name_groups
from scfm_scverse.reference.ladder import build_ladder


def unit_vectors(n: int, d: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def refusing(reference: Reference, *, above: float) -> Reference:
    """The same reference, with another limit of the unknown score."""
    scales = reference.scales
    return replace(reference, scales=replace(scales, unknown=replace(scales.unknown, refuse_above=above)))


def test_default_reference_belongs_to_the_default_model_and_is_whole() -> None:
    reference, cl = load_default_reference(), load_ontology()
    assert reference.model_id == load("scfm-mini").spec.id
    n_classes, n_branches = len(reference.label), len(reference.branch_label)
    assert len(set(reference.label.tolist())) == n_classes
    assert len(set(reference.branch_label.tolist())) == n_branches
    assert set(reference.branch.tolist()) == set(range(n_branches))
    assert reference.fine.means.shape == (n_classes, load("scfm-mini").spec.dim)
    assert len(reference.coarse.means) == len(reference.branch_prior) == n_branches
    terms = [*reference.term, *reference.branch_term]
    assert [term for term in terms if term and term not in cl.name] == []
    assert UNKNOWN not in {*reference.label, *reference.branch_label}
    assert 0 < reference.from_profiles.mean() < 1


@given(st.integers(0, 1000))
def test_probabilities_of_any_cell_add_up_and_agree_over_the_levels(seed: int) -> None:
    reference = load_default_reference()
    scores = score_cells(reference, unit_vectors(5, len(reference.fine.whitening), seed))
    np.testing.assert_allclose(scores.fine.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(scores.branch.sum(axis=1), 1, atol=1e-5)
    for branch in range(len(reference.branch_label)):
        np.testing.assert_allclose(
            scores.fine[:, reference.branch == branch].sum(axis=1), scores.branch[:, branch], atol=1e-5
        )
    assert np.isfinite(scores.distance).all()


def test_answers_of_a_cell_do_not_contradict_each_other() -> None:
    reference = load_default_reference()
    vectors = unit_vectors(300, len(reference.fine.whitening))
    answer = name_cells(refusing(reference, above=2.0), vectors)
    known = answer.label != UNKNOWN
    assert known.any()
    ladder = build_ladder(reference)
    for label, fine in zip(answer.label[known], answer.fine[known], strict=True):
        assert ladder.members[reference.label == fine][:, ladder.label == label].any()
    assert ((answer.confidence >= 0) & (answer.confidence <= 1)).all()


def test_refused_cells_keep_their_best_label_and_their_numbers() -> None:
    reference = load_default_reference()
    strict = refusing(reference, above=-1.0)
    vectors = unit_vectors(20, len(reference.fine.whitening))
    answer, lenient = name_cells(strict, vectors), name_cells(reference, vectors)
    assert (answer.label == UNKNOWN).all()
    assert (answer.term == UNKNOWN).all()
    assert (answer.fine == lenient.fine).all()
    assert (answer.confidence == lenient.confidence).all()


def test_cells_without_an_embedding_are_unknown_and_disturb_nobody() -> None:
    reference = load_default_reference()
    vectors = unit_vectors(6, len(reference.fine.whitening))
    holes = vectors.copy()
    holes[[0, 4]] = np.nan
    whole, found = name_cells(reference, vectors), name_cells(reference, holes)
    rest = [1, 2, 3, 5]
    for name in ("label", "fine", "term"):
        assert getattr(found, name)[[0, 4]].tolist() == [UNKNOWN, UNKNOWN]
        assert getattr(found, name)[rest].tolist() == getattr(whole, name)[rest].tolist()
    for name in ("confidence", "unknown_score", "probabilities"):
        assert np.isnan(getattr(found, name)[[0, 4]]).all()
        np.testing.assert_allclose(getattr(found, name)[rest], getattr(whole, name)[rest], atol=1e-6)


def test_a_group_is_named_by_the_mean_of_its_cells() -> None:
    reference = load_default_reference()
    assert reference.cells is not None
    held = reference.cells.embedding.astype(np.float32)
    cells = np.concatenate(
        [held[reference.cells.code == code][:12] for code in np.bincount(reference.cells.code).argsort()[-3:]]
    )
    answer = name_cells(refusing(reference, above=2.0), cells)
    group = np.repeat([0, 1, 2], 12)
    label, share = name_groups(refusing(reference, above=2.0), answer, group)
    assert (share > 0.5).all()
    for one in range(3):
        assert (answer.fine[group == one] == label[one]).any() or label[one] in build_ladder(reference).label


def test_a_group_of_refused_cells_is_unknown_and_cells_without_a_group_take_no_part() -> None:
    reference = load_default_reference()
    vectors = unit_vectors(20, len(reference.fine.whitening))
    strict = refusing(reference, above=-1.0)
    group = np.array([-1] * 5 + [0] * 15)
    label, share = name_groups(strict, name_cells(strict, vectors), group)
    assert label.tolist() == [UNKNOWN]
    assert np.isnan(share).all()
