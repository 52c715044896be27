"""Order of genes, windows, and cells averaged over them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from naive.windows import smooth
from scfm_scverse.copy_number.windows import SIZE, STEP, make_windows, order_genes, smooth_cells
from scfm_scverse.genes import load_gene_table


def test_genes_stand_in_the_order_along_the_chromosomes_without_hla_sex_and_mitochondria() -> None:
    table = load_gene_table()
    names = ["TP53", "HLA-A", "XIST", "MT-CO1", "EGFR", "SOX2", "MYC", "CD3D"]
    rows = np.array([*(table.row_of_symbol[name] for name in names), -1, table.row_of_symbol["MYC"]], np.int32)
    assert table.symbol[order_genes(table, rows)].tolist() == ["SOX2", "EGFR", "MYC", "CD3D", "TP53"]


def test_no_genes_give_no_windows() -> None:
    none = order_genes(load_gene_table(), np.array([-1], np.int32))
    assert len(none) == 0
    assert len(make_windows(none, none)) == 0


@given(st.lists(st.integers(1, 200), min_size=1, max_size=5))
def test_windows_stay_inside_a_chromosome_and_cover_it(sizes: list[int]) -> None:
    chromosome = np.repeat(np.arange(1, len(sizes) + 1), sizes)
    windows = make_windows(chromosome, np.arange(len(chromosome)))
    for number, size in enumerate(sizes, start=1):
        mine = windows.chromosome == number
        genes = [np.arange(*pair) for pair in zip(windows.first[mine], windows.stop[mine], strict=True)]
        assert (chromosome[np.concatenate(genes)] == number).all()
        assert {len(one) for one in genes} == {min(size, SIZE)}
        assert size - len(np.unique(np.concatenate(genes))) < STEP
    np.testing.assert_array_equal(windows.start, windows.first)


@pytest.mark.parametrize("block_size", [1, 3, 100])
def test_sparse_windows_are_those_of_dense_values(block_size: int) -> None:
    rng = np.random.default_rng(block_size)
    values = rng.gamma(1.0, 1.0, (10, 150)) * (rng.random((10, 150)) < 0.3)
    values[4] = 0
    windows = make_windows(np.repeat([1, 2], [100, 50]), np.arange(150))
    donor = np.array([0, 1] * 5)
    mean, scale = rng.random((2, 150)).astype(np.float32), rng.uniform(0.1, 1, (2, 150)).astype(np.float32)
    matrix = sp.csr_matrix(values.astype(np.float32))
    blocks = ((at, matrix[at : at + block_size]) for at in range(0, 10, block_size))
    found = smooth_cells(blocks, donor, mean, scale, windows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, smooth(values, donor, mean, scale, windows), atol=1e-5)
    assert np.isnan(found[4]).all()
