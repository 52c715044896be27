"""``FoundationModel`` behaves as a model of scvi-tools does, and meets genes by name."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import scvi
import torch
from anndata import AnnData, read_h5ad

import scfm_scverse as scfm
from scfm_scverse import FoundationModel
from scfm_scverse._errors import GeneMatchError, InputError, MissingKeyError
from scfm_scverse.genes import load_gene_table, resolve_genes
from scfm_scverse.training.objectives import CellTypes, Joint
from support import FAST, TINY, small_counts, tiny_foundation, two_types

if TYPE_CHECKING:
    from collections.abc import Callable

    from scfm_scverse.models import Pass, Trainable
    from scfm_scverse.training.batch import Batch


def test_nothing_is_written_but_what_is_registered() -> None:
    adata, before = two_types(), two_types()
    FoundationModel.setup_anndata(adata, labels_key="kind", batch_key="batch")
    model = FoundationModel(adata, "scgpt", **TINY)
    model.train(1, **FAST)
    model.predict()
    assert set(adata.obs) - set(before.obs) == {"_scvi_batch", "_scvi_labels"}
    assert set(adata.uns) == {"_scvi_uuid", "_scvi_manager_uuid"}
    assert not adata.obsm.keys()
    assert not adata.layers.keys()
    pd.testing.assert_frame_equal(adata.obs[list(before.obs)], before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)
    np.testing.assert_array_equal(adata.X, before.X)


def test_vectors_are_those_that_embed_writes(trained: FoundationModel) -> None:
    adata = two_types(seed=1)
    scfm.tl.embed(adata, model=trained, dtype="float32")
    np.testing.assert_allclose(trained.get_latent_representation(adata), adata.obsm["X_scGPT"], atol=1e-6)


def _permuted(adata: AnnData) -> AnnData:
    return adata[:, np.random.default_rng(0).permutation(adata.n_vars)]


def _with_more(adata: AnnData) -> AnnData:
    more = np.zeros((adata.n_obs, 3), np.float32)
    out = AnnData(np.hstack([more, adata.X]), obs=adata.obs)
    out.var_names = ["MYOD1", "NOTHING1", "INS", *adata.var_names]
    return out


def _by_ensembl(adata: AnnData) -> AnnData:
    out = adata.copy()
    out.var_names = load_gene_table().ensembl[resolve_genes(adata.var_names.tolist()).rows]
    return out


@pytest.mark.parametrize("changed", [_permuted, _with_more, _by_ensembl])
def test_genes_meet_the_model_by_name(trained: FoundationModel, changed: Callable[[AnnData], AnnData]) -> None:
    adata = two_types(seed=1)
    other = changed(adata.copy())
    vectors = trained.get_latent_representation(adata)
    np.testing.assert_allclose(trained.get_latent_representation(other), vectors, atol=1e-6)
    np.testing.assert_allclose(trained.predict(other, soft=True), trained.predict(adata, soft=True), atol=1e-6)


def test_positions_of_genes_matter(trained: FoundationModel) -> None:
    # What would happen if columns were read by position: the test above could not fail without this.
    adata = two_types(seed=1)
    other = adata.copy()
    other.var_names = other.var_names[::-1]
    assert np.abs(trained.get_latent_representation(other) - trained.get_latent_representation(adata)).max() > 0.01


def test_too_few_genes_are_refused(trained: FoundationModel) -> None:
    with pytest.raises(GeneMatchError, match="Found 10 of the 93 genes"):
        trained.get_latent_representation(two_types()[:, :10])


def test_cells_are_chosen_by_position_or_mask(trained: FoundationModel) -> None:
    adata = two_types(seed=1)
    whole = trained.get_latent_representation(adata)
    chosen = trained.get_latent_representation(adata, indices=[7, 3, 7], batch_size=1)
    np.testing.assert_allclose(chosen, whole[[7, 3, 7]], atol=1e-6)
    mask = np.arange(adata.n_obs) % 7 == 0
    soft = trained.predict(adata, mask, soft=True)
    assert soft.index.tolist() == adata.obs_names[mask].tolist()
    np.testing.assert_allclose(soft, trained.predict(adata, soft=True)[mask], atol=1e-6)


def test_a_cell_without_counts_has_no_answer(trained: FoundationModel) -> None:
    adata = two_types(seed=1)
    adata.X[4] = 0
    labels = trained.predict(adata)
    assert pd.isna(labels).nonzero()[0].tolist() == [4]
    assert np.isnan(trained.get_latent_representation(adata)).any(1).nonzero()[0].tolist() == [4]
    assert np.isnan(trained.get_normalized_expression(adata)).any(axis=1).to_numpy().nonzero()[0].tolist() == [4]


def test_probabilities_are_of_the_labels(trained: FoundationModel) -> None:
    soft = trained.predict(soft=True)
    assert soft.columns.tolist() == ["B cell", "T/NK cell"]
    np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-6)
    assert trained.predict().tolist() == soft.idxmax(axis=1).tolist()


@pytest.mark.parametrize(("column", "name"), [("kind", "Martian cell"), ("batch", "three")])
def test_a_name_first_seen_in_predict_is_named(trained: FoundationModel, column: str, name: str) -> None:
    adata = two_types(seed=1)
    adata.obs.iloc[:4, adata.obs.columns.get_loc(column)] = name
    with pytest.raises(InputError, match=rf"obs\['{column}'\] holds '{name}' \(4 cells\).*load_query_data"):
        trained.predict(adata)
    assert len(trained.predict(adata[4:])) == adata.n_obs - 4
    assert len(trained.predict(AnnData(adata.X, var=adata.var))) == adata.n_obs


def test_groups_are_held_out_as_a_whole(trained: FoundationModel) -> None:
    batch = trained.adata.obs["batch"].to_numpy()
    learnt, held = trained.train_indices, trained.validation_indices
    assert len(set(batch[learnt])) == len(set(batch[held])) == 1
    assert sorted([*learnt, *held]) == list(range(len(batch)))


def test_history_is_kept_by_epoch_and_by_step(trained: FoundationModel) -> None:
    assert trained.is_trained
    assert list(trained.history["train_loss"].columns) == ["train_loss"]
    assert trained.history["train_loss"].index.tolist() == [0, 1]
    assert trained.history["validation_loss"].index.tolist() == [0, 1]
    assert trained.history_table["epoch"].tolist() == [0, 1]
    assert "trained for 2 steps, 2 classes; 60 cells x 90 genes" in repr(trained)


def test_training_goes_on_where_it_ended() -> None:
    model = tiny_foundation()
    model.train(1, **FAST)
    head = model.module.cls_decoder
    before = head.out_layer.weight.detach().clone()
    model.train(1, optimizer="adamw", lr=1e-6)
    assert model.module.cls_decoder is head
    assert (head.out_layer.weight - before).abs().max() < 1e-4
    assert model.history["train_loss"].index.tolist() == [0, 1]
    assert model.history_table.index.is_unique


def test_layers_drop_out_in_every_training() -> None:
    training = []

    class Watched(CellTypes):
        def read(self, model: Trainable, batch: Batch, seen: Pass) -> dict[str, torch.Tensor]:
            training.append(model.network.training)
            return super().read(model, batch, seen)

    model = tiny_foundation()
    for _ in range(2):
        model.train(1, objective=Joint(Watched(2)), validation_size=0, batch_size=60, **FAST)
        assert not model.module.training
    assert training == [True, True]
    assert model.device == torch.device("cpu")


@pytest.mark.slow
def test_labels_may_be_numbers(tmp_path: Path) -> None:
    adata = two_types()
    adata.obs["kind"] = pd.Categorical(np.where(adata.obs["kind"] == "B cell", 7, 3))
    FoundationModel.setup_anndata(adata, labels_key="kind")
    model = FoundationModel(adata, "scgpt", **TINY)
    model.train(1, **FAST)
    model.save(tmp_path / "model")
    back = FoundationModel.load(tmp_path / "model", adata)
    assert set(model.predict()) <= {3, 7}
    assert back.predict().tolist() == model.predict().tolist()
    assert back.predict(soft=True).columns.tolist() == [3, 7]


def test_cells_without_a_label_are_left_out() -> None:
    adata = two_types()
    adata.obs["kind"] = adata.obs["kind"].astype(object)
    adata.obs.loc[adata.obs_names[:9], "kind"] = "unknown"
    adata.obs.loc[adata.obs_names[9:20], "kind"] = None
    FoundationModel.setup_anndata(adata, labels_key="kind", unlabeled_category="unknown")
    model = FoundationModel(adata, "scgpt", **TINY)
    model.train(1, **FAST)
    used = np.concatenate([model.train_indices, model.validation_indices])
    assert sorted(used) == list(range(20, 60))
    assert set(model.predict()) <= {"B cell", "T/NK cell"}


def test_the_seed_of_scvi_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for seed in (3, 3, 4):
        monkeypatch.setattr(scvi.settings, "_seed", seed)
        model = tiny_foundation()
        model.train(1, **FAST)
        ids.append((model.cell_model.spec.id, tuple(model.validation_indices)))
    assert ids[0] == ids[1]
    assert ids[0][0] != ids[2][0]
    assert ids[0][1] != ids[2][1]
    assert scvi.settings.seed == 4


def test_a_column_of_labels_that_holds_none_is_told() -> None:
    adata = two_types()
    adata.obs["kind"] = None
    FoundationModel.setup_anndata(adata, labels_key="kind")
    model = FoundationModel(adata, "scgpt", **TINY)
    with pytest.raises(InputError, match=r"no label in any of the 60 cells.*objective=\"pretraining\""):
        model.train(1, **FAST)
    model.train(1, objective="pretraining", **FAST)


def test_labels_of_a_trained_model_go_on_with_a_copy_of_it(trained: FoundationModel) -> None:
    adata = two_types()
    FoundationModel.setup_anndata(adata, labels_key="kind", batch_key="batch")
    copy = FoundationModel.from_pretrained(trained, adata)
    np.testing.assert_array_equal(copy.predict(), trained.predict())
    assert copy.cell_model is not trained.cell_model
    assert len(copy.history_table) == len(trained.history_table)


@pytest.mark.slow
def test_the_model_that_is_tuned_stays_as_it_is() -> None:
    adata = two_types()
    start = scfm.models.create("scgpt", adata.var_names.tolist(), **TINY)
    before = start.spec.id
    FoundationModel.setup_anndata(adata, labels_key="kind")
    model = FoundationModel.from_pretrained(start, adata)
    model.train(1, **FAST)
    start.renew()
    assert start.spec.id == before != model.cell_model.spec.id


def test_frozen_layers_stay_as_they_are() -> None:
    model = tiny_foundation()
    before = {name: param.detach().clone() for name, param in model.module.named_parameters()}
    model.train(1, n_frozen_layers=1, **FAST)
    after = dict(model.module.named_parameters())
    changed = {name.split(".")[0] for name, one in before.items() if not (after[name] == one).all()}
    assert changed == set()
    assert not any(name.startswith("cls_decoder") for name in before)


def test_a_backed_matrix_is_never_dense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adata = two_types()
    adata.X = sp.csr_matrix(adata.X)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = read_h5ad(tmp_path / "cells.h5ad", backed="r")

    def dense(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(sp.csr_matrix, "toarray", dense)
    monkeypatch.setattr(sp.csr_matrix, "todense", dense)
    ids = []
    for data in (adata, backed):
        FoundationModel.setup_anndata(data, labels_key="kind")
        model = FoundationModel(data, "scgpt", **TINY)
        model.train(1, batch_size=64, **FAST)
        ids.append(model.get_latent_representation())
    np.testing.assert_allclose(*ids, atol=1e-6)
    backed.file.close()


def test_a_mudata_is_read_as_its_modality(trained: FoundationModel) -> None:
    from mudata import MuData, set_options

    adata, peaks = two_types(), small_counts(60)
    peaks.var_names = [f"peak {i}" for i in range(peaks.n_vars)]
    with set_options(pull_on_update=False):
        mdata = MuData({"gex": adata, "atac": peaks})
    mdata.obs["kind"] = adata.obs["kind"]
    FoundationModel.setup_mudata(
        mdata, batch_key="batch", labels_key="kind", modalities={"rna_layer": "gex", "batch_key": "gex"}
    )
    model = FoundationModel(mdata, "scgpt", **TINY)
    model.train(2, holdout_key="batch", validation_size=0.5, **FAST)
    assert model.cell_model.spec.id == trained.cell_model.spec.id
    assert model.predict().tolist() == trained.predict().tolist()
    assert model.predict(two_types()).tolist() == trained.predict().tolist()
    with pytest.raises(MissingKeyError, match="Found no modality 'rna'"):
        FoundationModel.setup_mudata(mdata)


def test_vocabulary_is_of_the_data_unless_it_is_named() -> None:
    adata = two_types()
    FoundationModel.setup_anndata(adata)
    own = FoundationModel(adata, "scfm-latent", dim=8, n_layers=1, n_reads=1, n_heads=2, n_latents=4)
    assert own.cell_model.spec.genes[0].startswith("ENSG")
    assert len(own.cell_model.spec.genes) == adata.n_vars
    named = FoundationModel(None, "scgpt", genes=adata.var_names[:30].tolist(), **TINY)
    assert len(named.cell_model.spec.genes) == 33
    assert named.get_latent_representation(adata).shape == (60, 16)


def test_views_are_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match=r"data = data\.copy\(\) first"):
        FoundationModel.setup_anndata(two_types()[:20])


@pytest.mark.parametrize(
    ("setup", "error", "message"),
    [
        ({"layer": "counts"}, MissingKeyError, "Found no layer 'counts'"),
        ({"use_raw": True}, MissingKeyError, "Found no adata.raw"),
        ({"labels_key": "type"}, MissingKeyError, r"labels are to be in obs\['type'\]"),
        ({"batch_key": "donor"}, InputError, "missing in 3 cells"),
    ],
)
def test_what_cannot_be_set_up_is_told(setup: dict[str, object], error: type[Exception], message: str) -> None:
    adata = two_types()
    adata.obs["donor"] = pd.Categorical([None] * 3 + ["d"] * 57)
    with pytest.raises(error, match=message):
        FoundationModel.setup_anndata(adata, **setup)


def test_what_cannot_be_trained_is_told() -> None:
    unlabelled = tiny_foundation(labels_key=None)
    with pytest.raises(InputError, match="Found 0 classes of cells"):
        unlabelled.train(1, objective="cell_type")
    with pytest.raises(InputError, match="Found 0 batches of cells"):
        unlabelled.train(1, objective="integration")
    with pytest.raises(InputError, match="Found objective='celltype'"):
        unlabelled.train(1, objective="celltype")
    with pytest.raises(InputError, match="Found the argument 'learning_rate'"):
        unlabelled.train(1, learning_rate=1)
    with pytest.raises(MissingKeyError, match="holdout_key='donor'"):
        unlabelled.train(1, holdout_key="donor")
    with pytest.raises(InputError, match="without classes"):
        unlabelled.predict()
    with pytest.raises(InputError, match="made without adata"):
        FoundationModel.from_pretrained("scfm-mini").train(1)
    with pytest.raises(InputError, match="neither adata nor genes"):
        FoundationModel()


def test_what_was_trained_is_said(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_foundation()
    with caplog.at_level(logging.INFO, "scfm"):
        model.train(1, **FAST)
    assert "trained scGPT on 54 cells of 2 classes, 1 epochs" in caplog.text
    assert "of their labels right" in caplog.text


def test_the_registry_can_be_seen(trained: FoundationModel, capsys: pytest.CaptureFixture[str]) -> None:
    trained.view_anndata_setup()
    shown = capsys.readouterr().out
    assert "adata.obs['kind']" in shown
    assert "T/NK cell" in shown
    assert trained.registry["setup_args"]["labels_key"] == "kind"


def test_cells_of_a_mudata_that_stand_in_another_order_are_refused() -> None:
    from mudata import MuData, set_options

    peaks = small_counts(60)
    peaks.var_names = [f"peak {i}" for i in range(peaks.n_vars)]
    with set_options(pull_on_update=False):
        mdata = MuData({"atac": peaks, "rna": two_types()[::-1].copy()})
    mdata.obs["kind"] = two_types().obs["kind"]
    FoundationModel.setup_mudata(mdata, labels_key="kind")
    with pytest.raises(InputError, match=r"modality 'rna' than in the MuData, or in another order"):
        FoundationModel(mdata, "scgpt", **TINY)
    with set_options(pull_on_update=False):
        alike = mdata[mdata.mod["rna"].obs_names].copy()
    FoundationModel.setup_mudata(alike, labels_key="kind")
    cells = FoundationModel(alike, "scgpt", **TINY)._cells(alike, labelled=True)
    assert cells.labels.tolist() == (alike.mod["rna"].obs["kind"] == "T/NK cell").astype(int).tolist()


def test_a_training_that_fails_leaves_no_layer_frozen(tmp_path: Path) -> None:
    model = tiny_foundation()
    model.train(1, folder=tmp_path, **FAST)
    with pytest.raises(InputError, match="resume=True"):
        model.train(1, folder=tmp_path, n_frozen_layers=1, **FAST)
    assert all(param.requires_grad for param in model.module.parameters())
    with pytest.raises(InputError, match=r"frozen weights was 0 and is .*pass n_frozen_layers as it was"):
        tiny_foundation().train(1, folder=tmp_path, resume=True, n_frozen_layers=1, **FAST)
    with pytest.raises(InputError, match="n_frozen_layers=1 and lora_rank=2"):
        model.train(1, n_frozen_layers=1, lora_rank=2, **FAST)


def test_what_is_held_out_leaves_something_to_tell_apart() -> None:
    model = tiny_foundation()
    model.adata.obs["donor"] = model.adata.obs["kind"].astype(str)
    with pytest.raises(InputError, match="Found 1 of 2 classes among the cells to learn from"):
        model.train(1, holdout_key="donor", validation_size=0.5, **FAST)
    model.adata.obs.loc[model.adata.obs_names[:20], "donor"] = None
    with pytest.raises(InputError, match="holdout_key='donor' is missing in 20 cells"):
        model.train(1, holdout_key="donor", **FAST)


def test_classes_and_their_weights_are_those_of_the_data() -> None:
    model = tiny_foundation()
    with pytest.raises(InputError, match=r"Found CellTypes\(3\) for data of 2 labels; expected CellTypes\(2\)"):
        model.train(1, objective=Joint(CellTypes(3)), **FAST)
    with pytest.raises(InputError, match="class_weights='balance'; expected 'balanced'"):
        model.train(1, class_weights="balance", **FAST)


def test_a_head_that_a_training_left_unfinished_is_told(
    trained: FoundationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    adata = two_types(seed=1)
    adata.obs["kind"] = np.where(np.arange(60) < 20, "A new cell", adata.obs["kind"])
    query = FoundationModel.load_query_data(adata, trained)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CellTypes, "read", stopped)
        with pytest.raises(KeyboardInterrupt):
            query.train(1, **FAST)
    with pytest.raises(InputError, match="Found a head of 3 classes for 2 labels"):
        query.predict()


@pytest.mark.parametrize("verb", ["predict", "get_latent_representation", "get_normalized_expression"])
def test_minibatches_of_no_cell_are_refused(trained: FoundationModel, verb: str) -> None:
    with pytest.raises(InputError, match="batch_size=0; expected a whole number, 1 at least"):
        getattr(trained, verb)(batch_size=0)
