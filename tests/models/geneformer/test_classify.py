"""Fine-tuned heads against the original's: scores, losses, gradients, predictions, several tasks."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve
from torch.nn.functional import cross_entropy

from scfm_scverse._errors import InputError
from scfm_scverse.metrics import accuracy, macro_f1
from scfm_scverse.models.geneformer.classify import cell_logits, gene_logits, masked_logits
from scfm_scverse.models.geneformer.heads import MultiTaskHead
from scfm_scverse.nn import Spans

from .conftest import CLOSE, WHERE, Golden, Padded, near


def check_gradients(network, stored) -> None:
    names = {
        "classifier.weight": network.head.classifier.weight,
        "classifier.bias": network.head.classifier.bias,
        "bert.embeddings.word_embeddings.weight": network.word.weight,
    }
    if hasattr(network.head, "pooler"):
        names["bert.pooler.dense.weight"] = network.head.pooler.weight
    for name, parameter in names.items():
        near(parameter.grad, stored[f"grad:{name}"])
    value = network.encoder.layers[0].in_proj.weight.grad.chunk(3)[2]
    near(value, stored["grad:bert.encoder.layer.0.attention.self.value.weight"])
    assert len(names) + 1 == sum(name.startswith("grad:") for name in stored)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_cell_classifier_scores_and_learns_as_the_original(golden: Golden, version: str) -> None:
    network = golden.load(f"model_{version}_cell_classifier").network
    stored = golden.arrays(f"forward_{version}_cell_classifier")
    batch = Padded(stored["attention_mask"].astype(bool))
    ids = batch.rows(stored["input_ids"])
    np.testing.assert_allclose(network(ids, batch.spans).detach(), batch.rows(stored["last_hidden_state"]), **CLOSE)
    (logits,) = cell_logits(network, ids, batch.spans)
    near(logits.detach(), stored["logits"])
    loss = cross_entropy(logits, torch.from_numpy(stored["labels"]).long())
    np.testing.assert_allclose(loss.item(), stored["loss"], rtol=0, atol=1e-5)
    loss.backward()
    check_gradients(network, stored)


def test_gene_classifier_scores_and_learns_as_the_original(golden: Golden) -> None:
    network, stored = golden.load("model_v2_gene_classifier").network, golden.arrays("forward_v2_gene_classifier")
    batch = Padded(stored["attention_mask"].astype(bool))
    ids = batch.rows(stored["input_ids"])
    np.testing.assert_allclose(network(ids, batch.spans).detach(), batch.rows(stored["last_hidden_state"]), **CLOSE)
    logits = gene_logits(network, ids, batch.spans)
    near(logits.detach(), batch.rows(stored["logits"]).numpy())
    loss = cross_entropy(logits, batch.rows(stored["labels"]))
    np.testing.assert_allclose(loss.item(), stored["loss"], rtol=0, atol=1e-5)
    loss.backward()
    check_gradients(network, stored)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_classes_of_cells_are_those_of_the_original(golden: Golden, version: str) -> None:
    model, stored = golden.load(f"model_{version}_cell_classifier"), golden.arrays("classifier_predict")
    key = f"{version}_cell_"
    tokens, cells = golden.tokens(f"unique_{version}_stable")
    tokens = tokens.take(np.array([cells.index(cell) for cell in stored[f"{key}id"]]))
    (found,) = model.predict_classes(tokens, **WHERE)
    logits = torch.from_numpy(stored[f"{key}logits"])
    np.testing.assert_allclose(found, logits.softmax(1), **CLOSE)
    assert model.classes == ("LABEL_0", "LABEL_1", "LABEL_2")
    types = anndata.read_h5ad(golden.folder / "cells_unique.h5ad").obs.set_index("cell_id")["cell_type"]
    truth = types.loc[stored[f"{key}id"]].map({"alpha": 0, "beta": 1, "gamma": 2}).to_numpy()
    check_scores(found.argmax(1).numpy(), truth, stored, key, [0, 1, 2])


def check_scores(answer, truth, stored, key: str, classes: list[int]) -> None:
    assert answer.tolist() == stored[f"{key}pred"].tolist()
    assert truth.tolist() == stored[f"{key}true"].tolist()
    assert (confusion_matrix(truth, answer, labels=classes) == stored[f"{key}conf_mat"]).all()
    np.testing.assert_allclose(accuracy(truth.astype(str), answer.astype(str)), stored[f"{key}acc"])
    np.testing.assert_allclose(macro_f1(truth.astype(str), answer.astype(str)), stored[f"{key}macro_f1"])


def test_classes_of_genes_are_those_of_the_original(golden: Golden) -> None:
    model, stored = golden.load("model_v2_gene_classifier"), golden.arrays("classifier_predict")
    tokens, _ = golden.tokens("unique_v2_stable")
    rows = model.predict_gene_classes(tokens, **WHERE)
    classes = [stored[f"v2_gene_class{letter}_tokens"] for letter in "AB"]
    labelled = torch.isin(rows.gene, torch.from_numpy(np.concatenate(classes)))
    found, truth = rows.values[labelled], np.isin(rows.gene[labelled], classes[1]).astype(int)
    expected = torch.from_numpy(stored["v2_gene_logits"]).softmax(1)
    np.testing.assert_allclose(found, expected, **CLOSE)
    check_scores(found.argmax(1).numpy(), truth, stored, "v2_gene_", [0, 1])
    score = found[:, 1].numpy()
    false, true, thresholds = roc_curve(truth, score)
    np.testing.assert_allclose(roc_auc_score(truth, score), stored["v2_gene_auc"], rtol=0, atol=1e-6)
    curve = np.interp(np.linspace(0, 1, 100), false, true)
    curve[0] = 0
    np.testing.assert_allclose(curve, stored["v2_gene_interp_tpr"], rtol=0, atol=1e-6)
    assert len(thresholds) == stored["v2_gene_tpr_wt"]


@pytest.mark.parametrize("pools", [True, False])
def test_several_tasks_are_scored_as_by_the_original(golden: Golden, pools: bool) -> None:
    stored = golden.arrays("multitask")
    hidden = torch.from_numpy(golden.arrays("forward_v2_cell_classifier")["last_hidden_state"])
    head = MultiTaskHead(24, [3, 2], pools=pools)
    with torch.no_grad():
        if pools:
            head.attention.copy_(torch.from_numpy(stored["attention_weights"]))
        for task, layer in enumerate(head.tasks, 1):
            layer.weight.copy_(torch.from_numpy(stored[f"head{task}_weight"]))
            layer.bias.copy_(torch.from_numpy(stored[f"head{task}_bias"]))
        # The original looks at padding too: here that is a cell as long as the padded one.
        spans, rows = Spans((hidden.shape[1],) * len(hidden)), hidden.flatten(0, 1)
        key = "attention" if pools else "cls"
        np.testing.assert_allclose(head.pool(rows, spans), stored[f"{key}_pooled"], **CLOSE)
        losses = []
        for task, logits in enumerate(head(rows, spans), 1):
            near(logits, stored[f"{key}_logits_task{task}"])
            loss = cross_entropy(logits, torch.from_numpy(stored[f"labels_task{task}"]))
            losses.append(loss.item() * stored["task_weights"][task - 1])
            np.testing.assert_allclose(losses[-1], stored[f"{key}_loss_task{task}"], rtol=0, atol=1e-5)
        np.testing.assert_allclose(sum(losses), stored[f"{key}_total_loss"], rtol=0, atol=1e-5)


def test_pooled_cells_do_not_depend_on_their_neighbours(golden: Golden) -> None:
    head = MultiTaskHead(4, [2], pools=True)
    with torch.no_grad():
        head.attention.copy_(torch.tensor([[3.0], [-90], [0], [5]]))
        rows = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
        together = head.pool(rows, Spans((5, 1, 3)))
        apart = [head.pool(part, Spans((len(part),))) for part in rows.split((5, 1, 3))]
        weights = (rows[:5] @ head.attention).softmax(0)
    np.testing.assert_allclose(together, torch.cat(apart), rtol=0, atol=1e-6)
    np.testing.assert_allclose(together[0], (weights * rows[:5]).sum(0), rtol=0, atol=1e-5)
    np.testing.assert_allclose(together[1], rows[5], rtol=0, atol=1e-6)


def test_a_model_without_the_head_says_which_one_it_has(golden: Golden) -> None:
    tokens, _ = golden.tokens("unique_v2_stable")
    with pytest.raises(InputError, match=r"has the head MaskedHead; expected one for classes of cells"):
        golden.load("model_v2").predict_classes(tokens, **WHERE)
    with pytest.raises(InputError, match=r"has the head CellClassifier; expected one for classes of genes"):
        golden.load("model_v2_cell_classifier").predict_gene_classes(tokens, **WHERE)
    with pytest.raises(InputError, match=r"expected one for masked genes"):
        masked_logits(golden.load("model_v2_cell_classifier").network, torch.zeros(1, 24))
