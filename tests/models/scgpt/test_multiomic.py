"""Several modalities in one sequence: the original's vocabulary, tokens, outputs, losses and gradients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

import scfm_scverse as scfm
from scfm_scverse.models.scgpt.build import build_network
from scfm_scverse.models.scgpt.collate import tokens_of_bins, with_first
from scfm_scverse.models.scgpt.files import Checkpoint, our_name, read_checkpoint
from scfm_scverse.models.scgpt.losses import squares
from scfm_scverse.models.scgpt.multiomic import Features, join_features, join_tokens
from scfm_scverse.nn import Spans
from scfm_scverse.tokens import Tokens
from scfm_scverse.tokens.bins import Bins

OUTPUT = {"rtol": 1e-6, "atol": 1e-6}  # in double precision; the arrays are stored in single precision
PAD, CLS = 30, 31

Golden = Mapping[str, np.ndarray]


@pytest.fixture
def golden(shared: Path) -> Golden:
    return np.load(shared / "golden" / "scgpt" / "multiomic.npz")


@pytest.fixture
def features(shared: Path, golden: Golden) -> Features:
    known = read_checkpoint(shared / "golden" / "scgpt" / "model").vocabulary.tolist()
    names = [*golden["vocab"][:30].tolist(), *golden["vocab"][33:].tolist()]
    return join_features(names, ["RNA"] * 30 + ["Protein"] * 5, known)


def fine_tuned(shared: Path, golden: Golden, variant: str) -> Checkpoint:
    """The checkpoint as a fine-tuned model of this variant would be saved."""
    start = read_checkpoint(shared / "golden" / "scgpt" / "model")
    extra = np.load(shared / "golden" / "scgpt" / "extra_weights.npz")
    prefix = f"multiomic_{variant}|"
    own = {our_name(key.removeprefix(prefix)): torch.from_numpy(extra[key]) for key in extra if key.startswith(prefix)}
    tensors = {name: tensor for name, tensor in start.tensors.items() if name != "flag_encoder.weight"} | own
    return replace(start, vocabulary=golden["vocab"], tensors=tensors, names={name: name for name in tensors})


def test_vocabulary_puts_known_tokens_first(golden: Golden, features: Features) -> None:
    assert features.vocabulary.tolist() == golden["vocab"].tolist()
    assert features.n_known == golden["n_pretrained"]
    assert features.modalities.tolist() == golden["vocab_mod"].tolist()
    assert (features.ids == golden["gene_ids"]).all()
    assert (features.modality[features.ids] == golden["mod_type"]).all()


def part_of(binned: np.ndarray, ids: np.ndarray, n: int) -> Tokens:
    """Tokens of one modality whose bins are known."""
    return with_first(tokens_of_bins(binned, ids, n, zeros=False), CLS, 0, empty=False)


def test_tokens_of_the_modalities_stand_behind_one_another(golden: Golden, features: Features) -> None:
    parts = [part_of(golden["binned"][:, at], features.ids[at], 38) for at in (slice(0, 30), slice(30, 35))]
    tokens = join_tokens(parts, CLS)
    real = golden["gene"] != PAD
    assert (tokens.lengths == real.sum(axis=1)).all()
    assert (tokens.ids == golden["gene"][real]).all()
    assert (tokens.values == golden["value"][real]).all()
    assert (features.modality[tokens.ids] == golden["mod"][real]).all()
    assert tokens.measured.sum() == 35


def test_bins_are_those_of_the_modality_alone(shared: Path, golden: Golden, features: Features) -> None:
    stored = np.load(shared / "golden" / "scgpt" / "binning.npz")
    # The authors' first 30 genes were binned among 200: those beyond get positions behind the vocabulary here.
    columns = np.concatenate([features.ids[:30], np.arange(38, 208)]).astype(np.int32)
    tokenizer = Bins(columns=columns, n_genes=208, first=CLS, first_value=0, ties="middle")
    tokens = tokenizer(sp.csr_matrix(stored["counts"][[0, 1, 2, 9]].astype(np.float32)))
    for cell, bins in enumerate(golden["binned"]):
        own = slice(tokens.indptr[cell] + 1, tokens.indptr[cell + 1])
        found = dict(zip(tokens.ids[own].tolist(), tokens.values[own].tolist(), strict=True))
        assert [found.get(gene, 0) for gene in features.ids[:30].tolist()] == bins[:30].tolist()


@pytest.mark.parametrize("variant", ["batch_mod", "mod_only"])
def test_outputs_losses_and_gradients(shared: Path, golden: Golden, variant: str) -> None:
    network, report = build_network(fine_tuned(shared, golden, variant))
    assert not report.ignored
    network.double()
    gene, value, masked, modality = (torch.from_numpy(golden[key]) for key in ("gene", "value", "value_masked", "mod"))
    real = gene != PAD
    spans, modality = Spans(tuple(real.sum(1).tolist())), modality[real]
    batch = torch.tensor([0, 1, 1, 0]) if variant == "batch_mod" else None

    genes, rows = network(gene[real], masked[real].double(), spans, batch)
    cell = rows[spans.starts]
    np.testing.assert_allclose(cell.detach(), golden[f"{variant}|cell_emb"], **OUTPUT)
    target, at = value[real].double(), masked[real] == -1
    losses = []
    for name, found in (
        ("mlm", network.expression(rows, spans, batch, modality)),
        ("mvc", network.from_cell(cell, genes, spans, batch, modality)),
    ):
        np.testing.assert_allclose(found.value.detach(), golden[f"{variant}|{name}_output"][real.numpy()], **OUTPUT)
        if found.nonzero is not None:
            expected = golden[f"{variant}|{name}_zero_probs"][real.numpy()]
            np.testing.assert_allclose(found.nonzero.detach(), expected, **OUTPUT)
        assert (found.nonzero is not None) == (variant == "mod_only")
        losses.append(squares(found.value, target)[at].mean())
    if batch is not None:
        logits = network.batches(cell)
        np.testing.assert_allclose(logits.detach(), golden[f"{variant}|dab_output"], **OUTPUT)
        losses.append(cross_entropy(logits, batch))
    total = torch.stack(losses).sum()
    np.testing.assert_allclose(total.item(), golden[f"{variant}|loss_total"], rtol=1e-5)

    total.backward()
    parameters, prefix = dict(network.named_parameters()), f"{variant}|grad|"
    for key in [key for key in golden if key.startswith(prefix)]:
        gradient = parameters[our_name(key.removeprefix(prefix))].grad
        assert gradient is not None
        np.testing.assert_allclose(gradient, golden[key], rtol=1e-3, atol=1e-6, err_msg=key)


def test_a_fine_tuned_folder_is_loaded_whole_and_embeds(shared: Path, golden: Golden, tmp_path: Path) -> None:
    saved = fine_tuned(shared, golden, "mod_only")
    args = (shared / "golden" / "scgpt" / "model" / "args.json").read_bytes()
    (tmp_path / "args.json").write_bytes(args)
    (tmp_path / "vocab.json").write_text(json.dumps({token: at for at, token in enumerate(golden["vocab"].tolist())}))
    torch.save(dict(saved.tensors), tmp_path / "best_model.pt")
    model = scfm.models.load(tmp_path, ties="middle")
    assert not model.report().ignored
    assert "mod_encoder.embedding.weight" in model.report().placed
    assert "expression" not in model.spec.outputs  # its decoder must be told the modality of every token
    counts = np.load(shared / "golden" / "scgpt" / "binning.npz")["counts"][[0, 1, 2], :30]
    adata = AnnData(sp.csr_matrix(counts.astype(np.float32)))
    adata.var_names = golden["vocab"][:30].astype(str)
    scfm.tl.embed(adata, model=model)
    assert np.isfinite(adata.obsm["X_scGPT"]).all()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=5))
def test_a_cell_has_the_tokens_of_what_was_measured_in_it(cells: list[tuple[int, int]]) -> None:
    binned = np.zeros((len(cells), 7), np.float32)
    for row, (n_rna, n_protein) in zip(binned, cells, strict=True):
        row[:n_rna], row[4 : 4 + n_protein] = np.arange(1, n_rna + 1), np.arange(1, n_protein + 1)
    ids = np.arange(7, dtype=np.int32)
    tokens = join_tokens([part_of(binned[:, :4], ids[:4], 32), part_of(binned[:, 4:], ids[4:], 32)], CLS)
    assert tokens.lengths.tolist() == [n_rna + n_protein + 1 if n_rna + n_protein else 0 for n_rna, n_protein in cells]
    for cell, row in enumerate(binned):
        own = slice(tokens.indptr[cell], tokens.indptr[cell + 1])
        expected = [CLS, *np.flatnonzero(row).tolist()] if row.any() else []
        assert tokens.ids[own].tolist() == expected
        assert tokens.values[own].tolist() == ([0, *row[row > 0].tolist()] if row.any() else [])
