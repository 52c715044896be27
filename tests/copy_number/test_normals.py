"""Means and scales of normal cells, own or borrowed."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from scfm_scverse.copy_number.normals import MIN_NORMALS, SCALE_FLOOR, collect_moments, standards


def test_moments_are_those_of_the_normal_cells_of_each_donor() -> None:
    rng = np.random.default_rng(0)
    values = rng.gamma(1.0, 1.0, (90, 7)) * (rng.random((90, 7)) < 0.5)
    values[7] = 0
    donor = np.repeat([0, 1], [40, 50])
    normal = rng.random(90) < 0.7
    normal[7] = True
    matrix = sp.csr_matrix(values)
    moments = collect_moments(((at, matrix[at : at + 13]) for at in range(0, 90, 13)), donor, normal, 7)
    mean, scale, enough = standards(moments)
    assert enough.all()
    for one in (0, 1):
        cells = values[normal & (donor == one) & values.any(axis=1)]
        assert len(cells) >= MIN_NORMALS
        np.testing.assert_allclose(mean[one], cells.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(scale[one], cells.std(axis=0) + SCALE_FLOOR, rtol=1e-5)
    np.testing.assert_array_equal(moments.n_seen, (values > 0).sum(axis=0))
    assert moments.n_cells == (values.sum(axis=1) > 0).sum()


def test_donor_with_few_normal_cells_borrows_those_of_all() -> None:
    values = np.random.default_rng(0).gamma(1.0, 1.0, (60, 5))
    donor = np.repeat([0, 1], [50, 10])
    moments = collect_moments([(0, sp.csr_matrix(values))], donor, np.ones(60, bool), 5)
    mean, _, enough = standards(moments)
    assert enough.tolist() == [True, False]
    np.testing.assert_allclose(mean[0], values[:50].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(mean[1], values.mean(axis=0), rtol=1e-5)
