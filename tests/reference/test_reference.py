"""References in files, and the default one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse._errors import CheckpointError
from scfm_scverse.io.safetensors import load_tensors, save_tensors
from scfm_scverse.models import load
from scfm_scverse.ontology import load_ontology
from scfm_scverse.reference import (
    build_reference,
    load_default_reference,
    load_reference,
    save_reference,
    score_cells,
)
from scfm_scverse.reference.answer import UNKNOWN, name_cells

if TYPE_CHECKING:
    from conftest import Cells


def unit_vectors(n: int, d: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_reference_is_read_back_as_it_was_up_to_half_precision(cells: Cells, tmp_path: Path) -> None:
    label = np.char.replace(cells.label, "NK cell", "NK/T cell, naïve")
    reference = build_reference(
        cells.embedding, label, np.full(len(label), ""), cells.batch, name="simulated", model_id="model-1:abc"
    )
    save_reference(reference, tmp_path / "mine.safetensors")
    found = load_reference(tmp_path / "mine.safetensors")
    for name in ("name", "model_id", "temperature", "fine_calibration", "branch_calibration"):
        assert getattr(found, name) == getattr(reference, name)
    for name in ("label", "term", "from_profiles", "branch", "branch_label", "branch_term", "branch_prior"):
        assert getattr(found, name).tolist() == getattr(reference, name).tolist()
    assert found.unknown.refuse_above == reference.unknown.refuse_above
    first, second = (name_cells(r, cells.embedding) for r in (reference, found))
    assert (first.fine == second.fine).mean() > 0.99
    np.testing.assert_allclose(second.confidence, first.confidence, atol=0.02)
    save_reference(found, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "mine.safetensors").read_bytes()


def test_files_of_other_formats_are_errors(cells: Cells, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    with pytest.raises(CheckpointError, match="no file"):
        load_reference(path)
    save_reference(load_default_reference(), path)
    tensors, about = load_tensors(path)
    save_tensors(path, tensors, {**about, "format": 99})
    with pytest.raises(CheckpointError, match="format 99"):
        load_reference(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_reference(path)


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
    assert (scores.nearest >= 0).all()


def test_answers_of_a_cell_do_not_contradict_each_other() -> None:
    reference = load_default_reference()
    vectors = unit_vectors(300, len(reference.fine.whitening))
    lenient = replace(reference, unknown=replace(reference.unknown, refuse_above=2.0))
    answer = name_cells(lenient, vectors)
    assert (answer.label != UNKNOWN).all()
    place = {label: i for i, label in enumerate(reference.label)}
    branch = reference.branch_label[reference.branch[[place[label] for label in answer.fine]]]
    assert ((answer.label == answer.fine) | (answer.label == branch)).all()
    assert ((answer.confidence >= 0) & (answer.confidence <= 1)).all()


def test_refused_cells_keep_their_best_label_and_their_numbers() -> None:
    reference = load_default_reference()
    strict = replace(reference, unknown=replace(reference.unknown, refuse_above=-1.0))
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
