"""Tumour cells are found among normal cells of the same type, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scfm_scverse._errors import GeneMatchError
from scfm_scverse.copy_number import measure as measure_file
from scfm_scverse.copy_number.profile import find_profile

Simulate = Callable[..., object]


@pytest.fixture(scope="module")
def tumour(simulate: Simulate):
    return simulate(n_cells=60)


def test_tumour_cells_are_called_and_normal_ones_of_their_type_are_not(tumour) -> None:
    found = tumour.measure(tumour.kind == "normal", tumour.kind != "normal")
    assert found.called[tumour.kind == "tumour"].mean() > 0.95
    assert not found.called[tumour.kind != "tumour"].any()
    assert found.evidence[0] > 0.9
    medians = [np.median(found.score[tumour.kind == kind]) for kind in ("normal", "epithelium", "tumour")]
    assert medians[0] == pytest.approx(0, abs=1e-5)
    assert medians[2] > 5 > abs(medians[1]) + 2


def test_windows_show_what_was_changed(tumour) -> None:
    found = tumour.measure(tumour.kind == "normal", tumour.kind != "normal")
    profile = found.values[tumour.kind == "tumour"].mean(axis=0)
    gained = profile[found.windows.chromosome == 8].mean()
    lost = profile[found.windows.chromosome == 13].mean()
    same = profile[found.windows.chromosome == 2].mean()
    assert lost < same - 0.1 < same + 0.1 < gained
    assert found.values.shape == (len(tumour.kind), len(found.windows))


def test_a_type_without_gains_and_losses_is_never_called(simulate: Simulate) -> None:
    healthy = simulate(n_cells=60, share_changed=0.0)
    found = healthy.measure(healthy.kind == "normal", healthy.kind != "normal")
    assert found.evidence[0] < 0.5
    assert not found.called.any()


def test_only_candidates_are_called(tumour) -> None:
    half = (tumour.kind == "tumour") & (np.arange(len(tumour.kind)) % 2 == 0)
    found = tumour.measure(tumour.kind == "normal", half)
    assert found.called[half].mean() > 0.95
    assert not found.called[~half].any()


def test_result_does_not_depend_on_blocks_nor_on_the_order_of_cells(tumour, monkeypatch: pytest.MonkeyPatch) -> None:
    normal = tumour.kind == "normal"
    whole = tumour.measure(normal, ~normal)
    monkeypatch.setattr(measure_file, "BLOCK", 7)
    pieces = tumour.measure(normal, ~normal, block_size=13)
    np.testing.assert_allclose(pieces.score, whole.score, atol=1e-3)
    order = np.random.default_rng(0).permutation(len(normal))
    mixed = type(tumour)(tumour.values[order], tumour.chromosome, tumour.start, tumour.donor[order], tumour.kind[order])
    np.testing.assert_allclose(mixed.measure(normal[order], ~normal[order]).score, whole.score[order], atol=1e-3)


def test_donors_are_apart_and_those_with_few_normal_cells_borrow(simulate: Simulate) -> None:
    two = simulate(n_cells=40, donors=2)
    normal = (two.kind == "normal") & ((two.donor == 0) | (np.cumsum(two.donor == 1) <= 5))
    found = two.measure(normal, two.kind != "normal")
    assert found.borrowed.tolist() == [False, True]
    assert found.n_normals.tolist() == [40, 45]
    assert found.n_candidates.tolist() == [80, 80]
    assert found.called[two.kind == "tumour"].mean() > 0.9
    alone = two.donor == 0
    one = type(two)(two.values[alone], two.chromosome, two.start, two.donor[alone], two.kind[alone])
    by_itself = one.measure(normal[alone], (two.kind != "normal")[alone])
    np.testing.assert_array_equal(by_itself.called, found.called[alone])


def test_donor_without_candidates_or_without_normal_cells_has_no_score(tumour) -> None:
    normal = tumour.kind == "normal"
    none = np.zeros(len(normal), bool)
    for normals, candidates in ((normal, none), (none, ~normal), (normal & (np.cumsum(normal) < 10), ~normal)):
        found = tumour.measure(normals, candidates)
        assert np.isnan(found.score).all()
        assert not found.called.any()
        assert np.isfinite(found.values).all()


def test_empty_cells_have_neither_score_nor_windows(tumour) -> None:
    kept = tumour.values.copy()
    kept.data[kept.indptr[3] : kept.indptr[4]] = 0
    kept.eliminate_zeros()
    holed = type(tumour)(kept, tumour.chromosome, tumour.start, tumour.donor, tumour.kind)
    found = holed.measure(tumour.kind == "normal", tumour.kind != "normal")
    assert np.flatnonzero(np.isnan(found.score)).tolist() == [3]
    assert np.isnan(found.values[3]).all()


def test_too_few_genes_are_refused_by_number(tumour) -> None:
    few = type(tumour)(tumour.values[:, :900], tumour.chromosome[:900], tumour.start[:900], tumour.donor, tumour.kind)
    with pytest.raises(GeneMatchError, match=r"Found \d+ genes of chromosomes 1 to 22.*expected 1,000"):
        few.measure(tumour.kind == "normal", tumour.kind != "normal")


def test_a_tumour_cell_among_the_normal_ones_does_not_hide_the_profile(tumour) -> None:
    slipped = (tumour.kind == "normal") | (np.arange(len(tumour.kind)) == len(tumour.kind) - 1)
    found = tumour.measure(slipped, tumour.kind != "normal")
    assert found.called[tumour.kind == "tumour"].mean() > 0.9


def test_profile_says_nothing_without_enough_normal_cells() -> None:
    from scipy.sparse import csr_matrix

    rows = np.random.default_rng(0).normal(size=(9, 30)).astype(np.float32)
    profile = find_profile(rows, rows, csr_matrix((30, 30), dtype=np.float32))
    assert np.isnan(profile.along(rows)).all()
    np.testing.assert_array_equal(profile.clean(rows), rows)
