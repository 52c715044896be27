"""What every model must do, registered or in a layout that its authors release: results depend on the cell alone."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import CountsError, InputError
from scfm_scverse._query import read_query
from scfm_scverse._record import read_record
from scfm_scverse.checkpoints import read_weights
from scfm_scverse.io.files import read_adata, write_adata
from scfm_scverse.models import Attention, CellModel, Encoded, Wanted
from scfm_scverse.models.base import Output
from support import GENES, small_counts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from random_checkpoints import TINY, write_checkpoint

REGISTERED = list(scfm.models.available().index)
CHECKPOINTS: dict[str, tuple[str, dict[str, Any]]] = {
    "scGPT": ("scgpt", {}),
    "Geneformer V1": ("geneformer-v1", {}),
    "Geneformer V2": ("geneformer-v2", {}),
    "scFoundation, cell": ("scfoundation", {}),
    "scFoundation, gene": ("scfoundation", {"key": "gene"}),
    "scBERT": ("scbert", {}),
}
CREATED: dict[str, dict[str, Any]] = {"scfm-latent": {"dim": 16, "n_layers": 2, "n_heads": 2, "n_latents": 8}}

every_registered = pytest.mark.parametrize("name", REGISTERED)
every_checkpoint = pytest.mark.parametrize("model", CHECKPOINTS, indirect=True)


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each layout, with few random weights."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {layout: write_checkpoint(layout, folder / layout, GENES) for layout in TINY}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks gain nothing by threads, which wait for each other where others compute too."""
    with scfm.settings.override(n_jobs=1):
        yield


@pytest.fixture(scope="module", params=[*REGISTERED, *CREATED, *CHECKPOINTS])
def model(request: pytest.FixtureRequest, paths: dict[str, Path]) -> CellModel:
    """Every model; ``every_checkpoint`` leaves out those that are registered or made anew."""
    if request.param in REGISTERED:
        return scfm.models.load(request.param)
    if request.param in CREATED:
        return scfm.models.create(request.param, GENES, **CREATED[request.param])
    layout, options = CHECKPOINTS[request.param]
    return scfm.models.load(paths[layout], **options)


@pytest.fixture(scope="module")
def expected(model: CellModel) -> np.ndarray:
    """The embedding of ``adata``."""
    return embedding(cells_of_all_depths(), model)


@pytest.fixture
def adata() -> AnnData:
    return cells_of_all_depths()


def cells_of_all_depths() -> AnnData:
    """Forty cells of very different depth."""
    adata = small_counts(40)
    depth = np.geomspace(0.05, 1, adata.n_obs)[np.random.default_rng(0).permutation(adata.n_obs)]
    thinned = np.random.default_rng(1).binomial(adata.X.toarray().astype(int), depth[:, None])
    adata.X = sp.csr_matrix(thinned.astype(np.float32))
    return adata


def embedding(adata: AnnData, model: CellModel | str | Path, **arguments: Any) -> np.ndarray:
    """Embed a copy under a key of its own."""
    adata = adata.copy() if not adata.isbacked and isinstance(adata.X, sp.csr_matrix) else adata
    scfm.tl.embed(adata, model=model, key_added="X_test", **{"dtype": "float32", **arguments})
    return np.asarray(adata.obsm["X_test"])


def assert_same(found: np.ndarray, expected: np.ndarray, model: CellModel) -> None:
    """Compare; sums of attention round a little differently in other company."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 if model.spec.name == "scfm-mini" else 1e-5)


@every_registered
def test_registered_model_has_its_name(name: str) -> None:
    assert scfm.models.load(name).spec.name == name


@pytest.mark.parametrize("name", [name for name, (_, options) in CHECKPOINTS.items() if not options])
def test_verbs_take_the_path_of_a_checkpoint(adata: AnnData, paths: dict[str, Path], name: str) -> None:
    path = paths[CHECKPOINTS[name][0]]
    np.testing.assert_array_equal(embedding(adata, path), embedding(adata, scfm.models.load(path)))


def test_spec_describes_the_model(model: CellModel) -> None:
    spec = model.spec
    assert len(spec.weights_hash) == 16
    assert spec.weights_hash in spec.id
    assert len(set(spec.genes.tolist())) == len(spec.genes)
    assert (model.gene_rows >= 0).mean() > 0.9
    assert "cell" in spec.outputs
    assert spec.key_added.startswith("X_")
    assert all((spec.licence, spec.citation, spec.description))


def test_embedding_is_one_float32_row_a_cell(adata: AnnData, model: CellModel) -> None:
    spec = model.spec
    before = adata.copy()
    scfm.tl.embed(adata, model=model)
    found = adata.obsm[spec.key_added]
    assert found.shape == (adata.n_obs, spec.dim)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert len(np.unique(found.round(4), axis=0)) == adata.n_obs
    record = read_record(adata, "embed", spec.key_added)
    assert record is not None
    assert record["model_id"] == spec.id
    assert (adata.X != before.X).nnz == 0
    assert adata.obs.equals(before.obs)
    assert adata.var.equals(before.var)


def test_embedding_does_not_depend_on_batch_or_block_size(
    adata: AnnData, model: CellModel, expected: np.ndarray
) -> None:
    of_one_minibatch = encode(adata, model, Wanted()).cell  # however many tokens the model takes at once by itself
    assert_same(of_one_minibatch.numpy(), expected, model)
    for batch_size in (1, 7, 1000):
        assert_same(embedding(adata, model, batch_size=batch_size), expected, model)
    for block_size in (1, 13):
        with scfm.settings.override(block_size=block_size):
            assert_same(embedding(adata, model), expected, model)


def test_embedding_does_not_depend_on_the_other_cells(adata: AnnData, model: CellModel, expected: np.ndarray) -> None:
    order = np.random.default_rng(2).permutation(adata.n_obs)
    assert_same(embedding(adata[order].copy(), model), expected[order], model)
    for cell in (0, 17):
        assert_same(embedding(adata[[cell]].copy(), model), expected[[cell]], model)


def test_embedding_does_not_depend_on_the_order_of_genes(
    adata: AnnData, model: CellModel, expected: np.ndarray
) -> None:
    order = np.random.default_rng(3).permutation(adata.n_vars)
    assert_same(embedding(adata[:, order].copy(), model), expected, model)


def test_embedding_does_not_depend_on_threads(adata: AnnData, model: CellModel, expected: np.ndarray) -> None:
    before = torch.get_num_threads()
    for n_jobs in (1, 2, 4):
        with scfm.settings.override(n_jobs=n_jobs):
            assert_same(embedding(adata[:5], model), expected[:5], model)
    assert torch.get_num_threads() == before


def with_x(adata: AnnData, matrix: Any) -> AnnData:
    """The same cells and genes around another matrix."""
    return AnnData(matrix, obs=adata.obs, var=adata.var)


def in_file(adata: AnnData, path: Path) -> AnnData:
    write_adata(adata, path)
    return read_adata(path, backed=True)


def backed(adata: AnnData, path: Path) -> AnnData:
    import anndata

    write_adata(adata, path)
    return anndata.read_h5ad(path, backed="r")


def dask_of(adata: AnnData, kind: Callable[[Any], Any]) -> AnnData:
    import dask.array as da

    return with_x(adata, da.from_array(adata.X.toarray(), chunks=(7, -1)).map_blocks(kind))


def surrounded(adata: AnnData) -> AnnData:
    """A view that shows these cells among others, in another order, of a larger AnnData."""
    import anndata

    other = small_counts(50, seed=9)
    other.obs_names = [f"other{i}" for i in range(other.n_obs)]
    order = np.random.default_rng(4).permutation(adata.n_obs + other.n_obs)
    both = anndata.concat([adata, other])[order].copy()
    return both[adata.obs_names]


STORES: dict[str, Callable[[AnnData, Path], AnnData]] = {
    "csr array": lambda adata, _: with_x(adata, sp.csr_array(adata.X)),
    "csc": lambda adata, _: with_x(adata, adata.X.tocsc()),
    "dense": lambda adata, _: with_x(adata, adata.X.toarray()),
    "dense, column by column": lambda adata, _: with_x(adata, np.asfortranarray(adata.X.toarray())),
    "float64": lambda adata, _: with_x(adata, adata.X.astype(np.float64)),
    "int64": lambda adata, _: with_x(adata, adata.X.astype(np.int64)),
    "uint16": lambda adata, _: with_x(adata, adata.X.astype(np.uint16)),
    "layer of counts": lambda adata, _: AnnData(adata.X * -1, adata.obs, adata.var, layers={"counts": adata.X}),
    "backed h5ad": lambda adata, folder: backed(adata, folder / "cells.h5ad"),
    "backed h5ad, dense": lambda adata, folder: backed(with_x(adata, adata.X.toarray()), folder / "cells.h5ad"),
    "lazy h5ad": lambda adata, folder: in_file(adata, folder / "cells.h5ad"),
    "lazy zarr": lambda adata, folder: in_file(adata, folder / "cells.zarr"),
    "lazy zarr, csc": lambda adata, folder: in_file(with_x(adata, adata.X.tocsc()), folder / "cells.zarr"),
    "dask": lambda adata, _: dask_of(adata, np.asarray),
    "dask csr": lambda adata, _: dask_of(adata, sp.csr_matrix),
    "view": lambda adata, _: surrounded(adata),
}


@pytest.mark.parametrize("store", STORES)
def test_embedding_does_not_depend_on_how_the_matrix_is_stored(
    adata: AnnData, model: CellModel, expected: np.ndarray, store: str, tmp_path: Path
) -> None:
    stored = STORES[store](adata, tmp_path)
    assert stored.obs_names.equals(adata.obs_names)
    found = embedding(stored, model)
    if store.startswith("dask"):  # whose chunks are the blocks, so that cells come in other company
        assert_same(found, expected, model)
    else:
        np.testing.assert_array_equal(found, expected)


def test_cells_without_counts_get_nan_and_keep_their_place(
    adata: AnnData, model: CellModel, expected: np.ndarray
) -> None:
    empty = [3, 30]
    counts = adata.X.toarray()
    counts[empty] = 0
    adata.X = sp.csr_matrix(counts)
    scfm.tl.embed(adata, model=model, key_added="X_test", dtype="float32")
    found = adata.obsm["X_test"]
    assert np.isnan(found[empty]).all()
    rest = np.setdiff1d(np.arange(adata.n_obs), empty)
    assert_same(found[rest], expected[rest], model)
    record = read_record(adata, "embed", "X_test")
    assert record is not None
    assert record["n_empty_cells"] == 2


def test_log_values_are_read_or_refused_as_the_model_says(
    adata: AnnData, model: CellModel, expected: np.ndarray
) -> None:
    totals = np.asarray(adata.X.sum(axis=1))
    logs = with_x(adata, sp.csr_matrix(np.log1p(adata.X.toarray() / totals * 1e4)))
    if model.spec.needs_counts:
        with pytest.raises(CountsError, match="needs counts"):
            embedding(logs, model)
    else:
        np.testing.assert_allclose(embedding(logs, model), expected, rtol=0, atol=1e-5)


@every_registered
def test_real_cells_of_one_type_are_nearer_than_those_of_others(
    read_cells: Callable[[str], AnnData], name: str
) -> None:
    adata = read_cells("pbmc3k_10x")[::5].copy()
    vectors = embedding(adata, name).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = vectors @ vectors.T
    np.fill_diagonal(near, -1)
    label = adata.obs["cell_type"].to_numpy(str)
    assert (label[near.argmax(axis=1)] == label).mean() > 2 * (
        np.unique(label, return_counts=True)[1].max() / len(label)
    )


@every_checkpoint
def test_report_says_what_became_of_every_tensor(model: CellModel) -> None:
    report = model.report()
    told = "\n".join([*report.placed, *report.ignored])  # queries, keys and values of Geneformer under one name
    stored = {
        re.sub(r"self\.(key|value)", "self.query", name) for name in tensor_names(read_weights(Path(report.source)))
    }
    assert len(stored) > 40
    assert [name for name in stored if name not in told] == []
    assert not report.made
    assert "unknown to this model" not in report.ignored.values()
    assert str(report).startswith(report.source)


def tensor_names(stored: Any) -> list[str]:
    """Names of the tensors of a file, its sub-models one after the other."""
    found = [name.removeprefix("model.") for name, one in stored.items() if isinstance(one, torch.Tensor)]
    return found + [name for one in stored.values() if isinstance(one, dict) for name in tensor_names(one)]


def encode(adata: AnnData, model: CellModel, want: Wanted) -> Encoded:
    """Ask for a minibatch of all cells."""
    words = {"layer": None, "use_raw": False, "normalized": None, "gene_symbols": None, "organism": "human"}
    query = read_query(adata, model, **words)
    tokens = model.tokenizer(query.columns)(query.values.matrix)
    return model.encode(tokens, want, device=torch.device("cpu"), dtype=torch.float32)


@every_checkpoint
def test_model_gives_what_is_wanted_and_nothing_else(adata: AnnData, model: CellModel) -> None:
    genes = np.flatnonzero(model.gene_rows >= 0)
    for output in get_args(Output):
        wanted = Wanted(frozenset({output}), attention=Attention((int(genes[0]),)) if output == "attention" else None)
        if output not in model.spec.outputs:
            with pytest.raises(InputError, match="was asked for"):
                encode(adata, model, wanted)
            continue
        answer = vars(encode(adata, model, wanted))
        assert [name for name, one in answer.items() if one is not None] == [output]
        if output in {"gene", "expression"}:
            rows = answer[output]
            assert len(rows.cell) == len(rows.gene) == len(rows.values) > adata.n_obs
            assert set(rows.gene.tolist()) <= set(genes.tolist())
            assert torch.isfinite(rows.values).all()


@every_checkpoint
def test_layers_and_poolings_can_be_chosen(adata: AnnData, model: CellModel, expected: np.ndarray) -> None:
    spec = model.spec
    np.testing.assert_array_equal(embedding(adata, model, pooling=spec.poolings[0]), expected)
    of_layers = [embedding(adata, model, output_layer=-1 - i) for i in range(spec.n_layers + 1)]
    assert sum(np.array_equal(one, expected) for one in of_layers) == 1
    every = [*of_layers, *(embedding(adata, model, pooling=how) for how in spec.poolings[1:])]
    assert all(np.isfinite(one).all() for one in every)
    assert not any(
        one.shape == other.shape and np.allclose(one, other) for one in every for other in every if one is not other
    )
    for wrong in ({"output_layer": 0}, {"output_layer": -2 - spec.n_layers}, {"pooling": "no such"}):
        with pytest.raises(InputError, match="expected"):
            embedding(adata, model, **wrong)


@pytest.mark.parametrize("model", [name for name in CHECKPOINTS if name != "scFoundation, cell"], indirect=True)
def test_vectors_of_genes_in_a_group_are_those_in_its_cells_alone(adata: AnnData, model: CellModel) -> None:
    adata.var_names = ["no gene", *adata.var_names[1:]]
    adata.obs["group"] = np.where(np.arange(adata.n_obs) < 15, "few", "many")
    arguments = {"model": model, "kind": "contextual", "key_added": "genes", "dtype": "float32"}
    scfm.tl.embed_genes(adata, groupby="group", **arguments)
    found = scfm.get.gene_embedding(adata, key="genes")
    assert "no gene" not in found.index
    assert len(found) > 0.8 * adata.n_vars
    assert len(np.unique(found.round(4), axis=0)) == len(found)
    for group in ("few", "many"):
        alone = adata[adata.obs["group"] == group].copy()
        scfm.tl.embed_genes(alone, batch_size=7, **arguments)
        one, other = (scfm.get.gene_embedding(adata, group, key="genes"), scfm.get.gene_embedding(alone, key="genes"))
        assert one.index.equals(other.index)
        assert_same(one.to_numpy(), other.to_numpy(), model)
        assert not np.allclose(one, found.loc[one.index])


def attention(adata: AnnData, model: CellModel, genes: list[str], **arguments: Any) -> np.ndarray:
    """Shares of every gene [g, len(genes)], zero where no cell holds both."""
    scfm.tl.gene_attention(adata, genes, model=model, key_added="shares", dtype="float32", **arguments)
    found = scfm.get.gene_attention(adata, key="shares")
    assert list(found.columns) == genes
    return found.fillna(0).to_numpy()


@every_checkpoint
def test_attention_of_a_gene_is_shared_out_among_the_others(adata: AnnData, model: CellModel) -> None:
    deepest = int(np.asarray(adata.X.sum(axis=1)).argmax())
    genes = adata.var_names[np.argsort(-adata.X[deepest].toarray().ravel())[:2]].tolist()
    of_cell = attention(adata[[deepest]].copy(), model, genes)
    assert (of_cell >= 0).all()
    assert ((of_cell.sum(axis=0) > 0.5) & (of_cell.sum(axis=0) < 1 + 1e-5)).all()
    of_all = attention(adata, model, genes)
    assert ((of_all >= 0) & (of_all <= 1)).all()
    assert not np.allclose(of_all, attention(adata, model, genes, output_layer=-2))
    wanted = Wanted(frozenset({"attention"}), attention=Attention((int(np.flatnonzero(model.gene_rows >= 0)[0]),)))
    rows = encode(adata, model, wanted).attention
    by_head = [attention(adata, model, genes, heads=[head]) for head in range(rows.weights.shape[1])]
    assert len(by_head) > 1
    assert_same(np.mean(by_head, axis=0), of_all, model)
    assert_same(np.mean(by_head[:2], axis=0), attention(adata, model, genes, heads=[0, 1], batch_size=7), model)


@every_checkpoint
def test_bfloat16_is_near_float32(adata: AnnData, model: CellModel, expected: np.ndarray) -> None:
    near = embedding(adata, model, dtype="bfloat16")
    assert not np.array_equal(near, expected)
    near, exact = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (near, expected))
    cosine = near @ exact.T
    assert np.diag(cosine).min() >= 0.999
    assert (cosine.argmax(axis=1) == np.arange(adata.n_obs)).all()
