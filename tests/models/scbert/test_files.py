"""Files of scBERT: what is read, what is refused, and the way from a path to embeddings."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import CheckpointError, InputError
from scfm_scverse.models.panel import shipped_panel
from scfm_scverse.models.scbert import recognises
from scfm_scverse.models.scbert.files import file_name
from scfm_scverse.models.scbert.network import Network, Sizes
from support import small_counts

from .conftest import WHERE, Golden


def changed(golden: Golden, folder: Path, change: Callable[[dict[str, Any]], object], name: str = "x_best.pth") -> Path:
    """A copy of the pretrained file after a change of what is in it."""
    stored = torch.load(golden.folder / "panglao_pretrain.pth", weights_only=True)
    change(stored)
    torch.save(stored, folder / name)
    return folder / name


def test_every_tensor_is_placed_and_the_report_says_what_was_found(golden: Golden) -> None:
    for name in ("panglao_pretrain.pth", "finetune_best.pth"):
        report = golden.load(name).report()
        stored = torch.load(golden.folder / name, weights_only=True)["model_state_dict"]
        assert sorted(report.placed) == sorted(stored)
        assert not report.ignored
        assert not report.made
        assert "optimizer_state_dict" in report.facts["not read"]
        assert "classes" in str(report)


def test_gene_vectors_are_those_of_the_file(golden: Golden) -> None:
    stored = torch.load(golden.folder / "panglao_pretrain.pth", weights_only=True)["model_state_dict"]
    found = golden.load().gene_vectors()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, stored["pos_emb.emb.weight"], rtol=1e-7)
    assert not found[-1].any()


def test_file_of_several_devices_and_in_half_precision_is_read(golden: Golden, tmp_path: Path) -> None:
    def prefix(stored: dict[str, Any]) -> None:
        tensors = stored["model_state_dict"]
        stored["model_state_dict"] = {f"module.{name}": one for name, one in tensors.items()}

    genes = golden.arrays("inputs")["model_genes"].tolist()
    model = scfm.models.load(changed(golden, tmp_path, prefix), genes=genes)
    assert model.spec.id == golden.load().spec.id


def test_files_are_recognised_by_name_or_content(golden: Golden, tmp_path: Path) -> None:
    assert recognises(golden.folder)
    assert recognises(golden.folder / "panglao_pretrain.pth")
    assert recognises(golden.folder / "finetune_best.pth")
    assert not recognises(golden.folder / "label_dict")
    assert not recognises(golden.folder / "inputs.npz")
    assert not recognises(golden.folder.parent.parent / "scfoundation" / "models.ckpt")
    assert not recognises(tmp_path)
    torch.save({"model_state_dict": {}}, tmp_path / "other.pth")
    assert not recognises(tmp_path / "other.pth")


def test_damaged_files_are_errors(golden: Golden, tmp_path: Path) -> None:
    whole = (golden.folder / "panglao_pretrain.pth").read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "panglao_pretrain.pth").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"panglao_pretrain\.pth"):
            scfm.models.load(tmp_path)


LACKING = [
    ("model_state_dict", "model_state_dict"),
    ("token_emb.weight", "token_emb.weight"),
    ("norm.bias", "norm.bias"),
    ("performer.net.layers.1.1.fn.fn.w2.weight", "w2.weight"),
    ("performer.net.layers.1.0.fn.fast_attention.projection_matrix", "projection_matrix"),
    ("performer.net.layers.0.0.fn.to_q.weight", "to_q.weight"),
]


@pytest.mark.parametrize(("name", "told"), LACKING)
def test_file_that_lacks_a_tensor_is_an_error_that_names_it(
    golden: Golden, tmp_path: Path, name: str, told: str
) -> None:
    def drop(stored: dict[str, Any]) -> None:
        (stored if name in stored else stored["model_state_dict"]).pop(name)

    path = changed(golden, tmp_path, drop, "panglao_pretrain.pth")
    with pytest.raises(CheckpointError, match=told):
        scfm.models.load(path, genes=golden.arrays("inputs")["model_genes"].tolist())


SHAPES = {
    "token_emb.weight": (7,),
    "norm.bias": (19,),
    "performer.net.layers.0.0.fn.to_q.weight": (33, 20),
    "performer.net.layers.0.0.fn.fast_attention.projection_matrix": (5, 1),
    "performer.net.layers.1.0.fn.fast_attention.projection_matrix": (44, 15),
    "norm.weight": (0,),
}


@pytest.mark.parametrize("name", SHAPES)
def test_tensor_of_another_shape_is_an_error_that_names_it(golden: Golden, tmp_path: Path, name: str) -> None:
    def reshape(stored: dict[str, Any]) -> None:
        stored["model_state_dict"][name] = torch.zeros(SHAPES[name])

    path = changed(golden, tmp_path, reshape)
    told = "projections" if SHAPES[name] in {(33, 20), (5, 1)} else name
    with pytest.raises(CheckpointError, match=told):
        scfm.models.load(path, genes=golden.arrays("inputs")["model_genes"].tolist())


def test_genes_come_from_a_list_or_a_file_and_must_fit(golden: Golden, tmp_path: Path) -> None:
    path, names = golden.folder / "panglao_pretrain.pth", golden.arrays("inputs")["model_genes"].tolist()
    (tmp_path / "genes.txt").write_text("\n".join(names) + "\n")
    model = scfm.models.load(path, genes=tmp_path / "genes.txt")
    assert model.spec.genes.tolist() == [*names, "<cell>"]
    assert len(model.gene_rows) == len(model.spec.genes)
    assert (model.gene_rows[:-1] >= 0).mean() > 0.9
    assert model.gene_rows[-1] == -1
    for wrong in (names[:-1], [*names[:-1], names[0]], tmp_path / "absent.txt"):
        with pytest.raises(CheckpointError, match="expected"):
            scfm.models.load(path, genes=wrong)
    with pytest.raises(CheckpointError, match="pass genes="):
        scfm.models.load(path)


def test_shipped_genes_are_the_list_in_its_order() -> None:
    names = shipped_panel("scfm_scverse.models.scbert").tolist()
    assert len(names) == len(set(names)) == 16906
    assert names[:4] == ["A1BG", "A1CF", "A2ML1", "A2M"]
    assert names[-1] == "ZBED1"
    assert sum(a > b for a, b in pairwise(names)) == 1393
    assert not any(name.startswith("MT-") for name in names)


def test_classes_come_from_the_file_beside_or_the_caller(golden: Golden, tmp_path: Path) -> None:
    genes, stored = golden.arrays("inputs")["model_genes"].tolist(), golden.arrays("finetune")["label_dict"].tolist()
    path = shutil.copy(golden.folder / "finetune_best.pth", tmp_path / "mine_best.pth")
    numbered = scfm.models.load(path, genes=genes)
    assert numbered.classes == tuple(map(str, range(len(stored))))
    named = scfm.models.load(path, genes=genes, classes=[f"type {i}" for i in range(len(stored))])
    assert named.classes[1] == "type 1"
    assert scfm.models.load(path, genes=genes, classes=golden.folder / "label_dict").classes == tuple(stored)
    (tmp_path / "label_dict").write_bytes(pickle.dumps(np.array(stored[:-1])))
    with pytest.raises(CheckpointError, match="pass classes="):
        scfm.models.load(path, genes=genes)


def test_wrong_options_are_errors(golden: Golden) -> None:
    with pytest.raises(InputError, match="mode='exact'"):
        golden.load(mode="exact")
    with pytest.raises(InputError, match="'bins'"):
        golden.load(bins=5)


def cells(golden: Golden) -> AnnData:
    stored = golden.arrays("inputs")
    adata = AnnData(sp.csr_matrix(stored["raw_counts"].astype(np.float32)))
    adata.obs_names, adata.var_names = stored["raw_cells"].tolist(), stored["raw_genes"].tolist()
    return adata


# Half of the genes of these sets have names of no gene.
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_embedding_from_the_path_keeps_every_cell(golden: Golden) -> None:
    model, adata, stored = golden.load(), cells(golden), golden.arrays("forward")
    scfm.tl.embed(adata, model=model)
    found = adata.obsm["X_scBERT"]
    assert found.shape == (adata.n_obs, model.spec.dim)
    empty = np.isin(adata.obs_names, ["empty", "only_foreign"])
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), empty)
    kept = adata.obs_names.get_indexer(golden.arrays("inputs")["kept_cells"][:6])
    expected = stored["encodings_batch_of_one_first6"].mean(1)
    np.testing.assert_allclose(found[kept], expected, rtol=0, atol=2e-5)
    few = adata[adata.obs_names == "few_genes"].copy()
    scfm.tl.embed(few, model=model, pooling="last", output_layer=-2)
    assert np.isfinite(few.obsm["X_scBERT"]).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_log_values_give_the_embedding_of_their_counts(golden: Golden) -> None:
    model, adata = golden.load(), cells(golden)[:10].copy()
    logs = adata.copy()
    logs.X = sp.csr_matrix(np.log1p(adata.X.toarray() / adata.X.sum(1).A1[:, None] * 1e4))
    for one in (adata, logs):
        scfm.tl.embed(one, model=model)
    np.testing.assert_allclose(logs.obsm["X_scBERT"], adata.obsm["X_scBERT"], rtol=0, atol=1e-6)


def test_spec_says_what_the_licence_is(golden: Golden) -> None:
    spec = golden.load().spec
    assert "GPL-3.0" in spec.licence
    assert spec.version == "pretrained"
    tuned = golden.load("finetune_best.pth", mode="original").spec
    assert tuned.version == "fine-tuned"
    assert tuned.id.endswith(",mode=original")
    tokens = golden.tokens(golden.load(), [0])
    assert golden.load().encode(tokens, scfm.models.Wanted(), **WHERE).cell.shape == (1, spec.dim)


def test_file_of_the_released_length_takes_the_shipped_genes(tmp_path: Path) -> None:
    sizes = Sizes(n_positions=16907, n_tokens=7, dim=8, n_layers=1, n_heads=2, dim_head=5, dim_hidden=6)
    tensors = {file_name(name): tensor for name, tensor in Network(sizes).state_dict().items()}
    torch.save({"epoch": 1, "model_state_dict": tensors, "losses": 0.5}, tmp_path / "panglao_pretrain.pth")
    adata = small_counts(3)
    scfm.tl.embed(adata, model=tmp_path)
    assert adata.obsm["X_scBERT"].shape == (3, 8)
    model = scfm.models.load(tmp_path)
    assert model.spec.genes[:-1].tolist() == shipped_panel("scfm_scverse.models.scbert").tolist()
    assert (model.gene_rows >= 0).mean() > 0.97
