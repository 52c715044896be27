"""A reference from labelled embeddings: its classes, its scales, what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from scfm_scverse._errors import InputError
from scfm_scverse.reference import Reference, build_reference, score_cells

if TYPE_CHECKING:
    from conftest import Cells


def build(cells: Cells, batch: np.ndarray | None = None, **changes: np.ndarray) -> Reference:
    term = np.where(cells.label == "B cell", "CL:0000236", "")
    parts = {"embedding": cells.embedding, "label": cells.label, "term": term, **changes}
    return build_reference(**parts, batch=batch, name="simulated", model_id="model-1:abc")


def test_classes_are_the_labels_with_their_terms(cells: Cells) -> None:
    reference = build(cells, cells.batch)
    assert reference.label.tolist() == ["B cell", "NK cell", "T cell", "rare"]
    assert reference.term.tolist() == ["CL:0000236", "", "", ""]
    assert reference.branch_label.tolist() == reference.label.tolist()
    assert not reference.from_profiles.any()
    assert reference.model_id == "model-1:abc"


@pytest.mark.parametrize("with_batches", [False, True])
def test_cells_of_the_reference_find_their_class(cells: Cells, with_batches: bool) -> None:
    reference = build(cells, cells.batch if with_batches else None)
    scores = score_cells(reference, cells.embedding)
    assert (reference.label[scores.fine.argmax(axis=1)] == cells.label).mean() > 0.9
    np.testing.assert_allclose(scores.fine.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(scores.branch, scores.fine, atol=1e-5)


def test_confidence_is_lower_where_batches_disagree(cells: Cells) -> None:
    rng = np.random.default_rng(0)
    shuffled = cells.label.copy()
    third = cells.batch == "z"
    shuffled[third] = rng.permutation(shuffled[third])
    sure, unsure = build(cells, cells.batch), build(cells, cells.batch, label=shuffled)
    probability = np.array([0.9])
    near = np.array([0.0])
    assert unsure.scales.confidence(probability, near) < sure.scales.confidence(probability, near)


def test_order_of_the_cells_does_not_matter_where_batches_are_known(cells: Cells) -> None:
    order = np.random.default_rng(0).permutation(len(cells.label))
    term = np.where(cells.label == "B cell", "CL:0000236", "")
    first = build(cells, cells.batch)
    second = build(
        cells, cells.batch[order], embedding=cells.embedding[order], label=cells.label[order], term=term[order]
    )
    np.testing.assert_allclose(second.fine.means, first.fine.means, rtol=1e-4, atol=1e-4)
    assert second.scales.confidence.slope == pytest.approx(first.scales.confidence.slope, abs=1e-3)
    np.testing.assert_allclose(second.scales.unknown.quantiles, first.scales.unknown.quantiles, rtol=1e-3, atol=1e-3)


def test_same_seed_gives_the_same_reference(cells: Cells) -> None:
    first, second = build(cells), build(cells)
    assert first.scales.confidence == second.scales.confidence
    assert (first.scales.unknown.quantiles == second.scales.unknown.quantiles).all()


def test_one_label_is_an_error(cells: Cells) -> None:
    with pytest.raises(InputError, match=r"1 label \(T cell\); expected two at least"):
        build(cells, label=np.full(len(cells.label), "T cell"))


def test_labels_that_never_share_a_batch_are_an_error_that_says_what_to_do(cells: Cells) -> None:
    with pytest.raises(InputError, match=r"No label occurs in two parts.*pass another batch_key"):
        build(cells, cells.label)
