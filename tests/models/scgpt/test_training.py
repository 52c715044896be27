"""Training scGPT: objectives against the authors' arrays, parts that are added, models written, trimmed and loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.checkpoints import LoadReport
from scfm_scverse.models import Pass, Wanted
from scfm_scverse.models.scgpt.build import pad_value_of
from scfm_scverse.models.scgpt.files import our_name
from scfm_scverse.models.scgpt.generative import Question
from scfm_scverse.models.scgpt.model import LICENCE, Scgpt, spec_of
from scfm_scverse.models.scgpt.network import ScgptConfig, ScgptNetwork
from scfm_scverse.models.scgpt.options import Options
from scfm_scverse.models.scgpt.parts import add_nonzero, tell_batches_apart
from scfm_scverse.models.scgpt.trim import trim
from scfm_scverse.nn import Spans
from scfm_scverse.tokens import Tokens
from scfm_scverse.training.batch import Batch
from scfm_scverse.training.objectives import (
    CellTypes,
    DomainAdversarial,
    DomainNorms,
    ElasticSimilarity,
    GenerativeExpression,
    Joint,
    MaskedExpression,
)

Make = Callable[..., ScgptNetwork]
Check = Callable[[ScgptNetwork, Mapping[str, np.ndarray], str], None]
LOSS = {"rtol": 1e-5, "atol": 0}
CPU = torch.device("cpu")
GENES = [f"GENE{at}" for at in range(40)]


def model_of(network: ScgptNetwork, genes: NDArray[np.str_], kind: type[Scgpt] = Scgpt, **options: Any) -> Scgpt:
    chosen, pad_value = Options(**options), pad_value_of(network.config, {})
    spec = spec_of(genes, network, chosen, pad_value, LICENCE)
    return kind(network, spec, chosen, LoadReport("here", "scGPT", ()), pad_value)


def batch_of(cells: Any, **more: Tensor) -> Batch:
    """The stored cells, nothing hidden."""
    indptr = np.concatenate([[0], np.cumsum(cells.spans.lengths)])
    ids, values = cells.ids.numpy().astype(np.int32), cells.values("target").numpy().astype(np.float32)
    return Batch(Tokens(indptr, ids, values, np.ones(1, bool)), np.arange(len(indptr) - 1), 0, **more)


# The authors' arrays.


class TheirMask(MaskedExpression):
    """Hides what the arrays hide."""

    def __init__(self, masked: Tensor, **options: Any) -> None:
        super().__init__(**options)
        self.masked = masked.numpy()

    def hidden(self, batch: Batch) -> NDArray[np.bool_]:
        assert len(batch.tokens.ids) == len(self.masked)
        return self.masked


class TheirQuestion(GenerativeExpression):
    """Asks what the arrays ask."""

    def __init__(self, question: Question, target: Tensor) -> None:
        super().__init__()
        self.asked = question, target

    def question(self, *_: Any) -> tuple[Question, Tensor]:
        return self.asked


class Padded(Scgpt):
    """Lets the norm by batch see padding, as in the authors' program."""

    padding: Any

    def run(self, minibatch: Tokens, *, batches: Tensor | None = None) -> Pass:
        network, real = self.network, self.padding.real
        assert batches is not None
        everything = torch.from_numpy(self.padding.arrays["gene"].astype(np.int64)).flatten()
        values = torch.full(real.shape, -2.0, dtype=torch.float64)
        values[real] = torch.from_numpy(minibatch.values).double()
        of_tokens = batches.repeat_interleave(real.shape[1])
        x = network.embed(network.encoder(everything), values.flatten(), of_tokens)
        rows = network.transformer_encoder(x[real.flatten()], self.padding.spans)
        return Pass(rows[self.padding.spans.starts], rows)


def test_cell_types(make_network: Make, cells: Any, checkpoint: Any, folder: Path, check_gradients: Check) -> None:
    arrays, network = np.load(folder / "annotation.npz"), make_network("annotation")
    labels = torch.from_numpy(cells.arrays["celltype"])
    losses = Joint(CellTypes(5)).losses(model_of(network, checkpoint.vocabulary), batch_of(cells, labels=labels))
    np.testing.assert_allclose(losses["cell_types"].item(), arrays["loss_cls"], **LOSS)
    losses["cell_types"].backward()
    check_gradients(network, arrays, "grad")


def test_hidden_expression(
    make_network: Make, cells: Any, checkpoint: Any, folder: Path, check_gradients: Check
) -> None:
    arrays, network = np.load(folder / "forward.npz"), make_network()
    objective = Joint(TheirMask(cells.masked))
    model, batch = model_of(network, checkpoint.vocabulary), batch_of(cells)
    objective.prepare(model)
    for name, stored in (("expression", "gep"), ("from_cell", "gepc")):
        losses = objective.losses(model, batch)
        assert set(losses) == {"expression", "from_cell"}
        np.testing.assert_allclose(losses[name].item(), arrays[f"loss_{stored}"], **LOSS)
        losses[name].backward()
        check_gradients(network, arrays, f"grad_{stored}")


@pytest.fixture
def integrating(make_network: Make, cells: Any, checkpoint: Any) -> tuple[Padded, Joint, Batch]:
    model = model_of(make_network("integration"), checkpoint.vocabulary, Padded)
    assert isinstance(model, Padded)
    model.padding = cells
    mask = TheirMask(cells.masked, nonzero=True)
    objective = Joint(DomainNorms(3), mask, ElasticSimilarity(threshold=0.8), DomainAdversarial(3))
    before = {name: id(one) for name, one in model.network.named_parameters()}
    objective.prepare(model)
    assert before == {name: id(one) for name, one in model.network.named_parameters()}
    model.network.train()
    return model, objective, batch_of(cells, batches=torch.ones(len(cells.spans.lengths), dtype=torch.int64))


def test_integration(integrating: tuple[Padded, Joint, Batch], folder: Path, check_gradients: Check) -> None:
    (model, objective, batch), arrays = integrating, np.load(folder / "integration.npz")
    losses = objective.losses(model, batch)
    for name, value in model.network.dsbn.bns.state_dict().items():
        np.testing.assert_allclose(value, arrays[f"bn_after|{name}"], rtol=1e-6, atol=1e-6, err_msg=name)
    names = {
        "expression": "mse",
        "expression_nonzero": "nzlp",
        "from_cell": "mvc",
        "from_cell_nonzero": "mvc_nzlp",
        "similarity": "ecs",
        "batches": "dab",
    }
    assert losses.keys() == names.keys()
    for ours, theirs in names.items():
        weight = 10 if ours == "similarity" else 1
        np.testing.assert_allclose(losses[ours].item(), weight * arrays[f"loss_{theirs}"], **LOSS, err_msg=ours)
    total = sum(losses.values(), torch.zeros(()))
    np.testing.assert_allclose(total.item(), arrays["loss_total"], **LOSS)
    total.backward(retain_graph=True)
    check_gradients(model.network, arrays, "grad_total")
    losses["batches"].backward()
    check_gradients(model.network, arrays, "grad_dab")


def test_steps_of_adam(integrating: tuple[Padded, Joint, Batch], folder: Path) -> None:
    (model, objective, batch), arrays = integrating, np.load(folder / "integration.npz")
    parameters = dict(model.network.named_parameters())
    before = {name: one.detach().clone() for name, one in parameters.items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=1e-4, eps=1e-4)
    for step in range(3):
        optimizer.zero_grad()
        total = sum(objective.losses(model, batch).values(), torch.zeros(()))
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        np.testing.assert_allclose(total.item(), arrays["adam_losses_f64"][step], rtol=1e-8)
        np.testing.assert_allclose(norm.item(), arrays["adam_grad_norms_f64"][step], rtol=1e-6)
        optimizer.step()
        stored = [key for key in arrays if key.startswith(f"adam_delta_step{step + 1}|")]
        assert stored or step == 1
        for key in stored:
            name = our_name(key.partition("|")[2].removesuffix("_f64"))
            change = parameters[name].detach() - before[name]
            np.testing.assert_allclose(change, arrays[key], rtol=1e-4, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("recompute", [False, True])
def test_generative(
    make_network: Make, checkpoint: Any, cells: Any, folder: Path, check_gradients: Check, recompute: bool
) -> None:
    arrays, network = np.load(folder / "generative.npz"), make_network()
    network.transformer_encoder.recompute = recompute
    pad = checkpoint.vocabulary.tolist().index("<pad>")
    known, asked = (torch.from_numpy(arrays[name]) for name in ("pcpt_gene", "gen_gene"))
    spans = [Spans(tuple((ids != pad).sum(1).tolist())) for ids in (known, asked)]
    values = torch.from_numpy(arrays["pcpt_expr"]).double()[known != pad]
    question = Question(known[known != pad], values, spans[0], asked[asked != pad], spans[1])
    objective = TheirQuestion(question, torch.from_numpy(arrays["gen_target"]).double()[asked != pad])
    model = model_of(network, checkpoint.vocabulary)
    objective.prepare(model)
    losses = objective.losses(model, batch_of(cells))
    for name, stored in (("expression", "mse"), ("from_cell", "mvc"), ("from_vector", "gen")):
        np.testing.assert_allclose(losses[name].item(), arrays[f"loss_{stored}"], **LOSS)
    total = sum(losses.values(), torch.zeros(()))
    np.testing.assert_allclose(total.item(), arrays["loss_total"], **LOSS)
    total.backward()
    check_gradients(network, arrays, "grad")


# What training adds.


def small(**config: Any) -> Scgpt:
    """A model with new weights."""
    genes = np.array(["<pad>", "<cls>", "<eoc>", *GENES])
    sizes: dict[str, Any] = {"dim": 8, "n_heads": 2, "dim_hidden": 6, "n_layers": 2, "flags": True}
    torch.manual_seed(0)
    network = ScgptNetwork(ScgptConfig(n_tokens=len(genes), pad=0, **(sizes | config)))
    return model_of(network.eval(), genes)


def some_tokens(lengths: tuple[int, ...] = (5, 9, 7), seed: int = 0, **extra: Any) -> Tokens:
    """Cells of random genes and bins, <cls> in front."""
    rng = np.random.default_rng(seed)
    ids = np.concatenate([[1, *(3 + rng.permutation(len(GENES))[: n - 1])] for n in lengths])
    values = np.where(ids == 1, -2, rng.integers(1, 51, len(ids)))
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return Tokens(indptr, ids.astype(np.int32), values.astype(np.float32), np.ones(43, bool), extra)


def expression(model: Scgpt, tokens: Tokens, batches: Tensor | None = None) -> list[Tensor]:
    """What both decoders tell."""
    seen, spans = model.run(tokens, batches=batches), Spans(tuple(tokens.lengths.tolist()))
    genes = model.network.encoder(torch.from_numpy(tokens.ids))
    told = (
        model.network.expression(seen.rows, spans, batches),
        model.network.from_cell(seen.cell, genes, spans, batches),
    )
    return [number for one in told for number in one if number is not None]


def test_decoders_that_see_the_batch_begin_as_they_were() -> None:
    model, tokens = small(zero_prob=True), some_tokens()
    before = expression(model, tokens)
    tell_batches_apart(model.network, 2, vectors=True)
    batches = torch.tensor([0, 1, 0])
    after = expression(model, tokens, batches)
    assert len(after) == 4
    torch.testing.assert_close(after, before)
    sum(one.square().sum() for one in after).backward()
    for tower in (model.network.decoder.fc[0].weight, model.network.mvc_decoder.W.weight.T):
        assert tower.shape == (8, 16)
    assert (model.network.decoder.fc[0].weight.grad[:, 8:] != 0).any()
    assert (model.network.mvc_decoder.W.weight.grad[8:] != 0).any()


def test_parts_for_as_many_batches_stay_and_others_begin_anew() -> None:
    model = small()
    tell_batches_apart(model.network, 3, norm=True, vectors=True, discriminator=True)
    before = dict(model.network.named_modules())
    tell_batches_apart(model.network, 3, norm=True, vectors=True, discriminator=True, seed=5)
    assert dict(model.network.named_modules()) == before
    tell_batches_apart(model.network, 2, discriminator=True)
    network = model.network
    assert len(network.dsbn.bns) == network.batch_encoder.embedding.num_embeddings == 2
    assert network.grad_reverse_discriminator.out_layer.out_features == network.config.n_batches == 2
    assert network.decoder.fc[0].in_features == 16


@pytest.mark.parametrize(
    ("config", "asked", "message"),
    [
        ({"norm": "batchnorm"}, {"norm": True}, "one norm for all cells"),
        ({"mvc": "sum query"}, {"vectors": True}, "'sum query', which reads no batches"),
    ],
)
def test_networks_that_cannot_tell_batches_apart_are_refused(
    config: dict[str, Any], asked: dict[str, bool], message: str
) -> None:
    model = small(**config)
    with pytest.raises(InputError, match=message):
        tell_batches_apart(model.network, 2, **asked)
    assert model.network.config.n_batches == 0


def test_cells_are_encoded_as_of_their_own_batches() -> None:
    model, tokens = small(), some_tokens()
    tell_batches_apart(model.network, 2, norm=True)
    model.network.dsbn.bns[1].running_mean += 1
    want = Wanted(frozenset({"cell", "expression"}))
    both = model.encode(replace(tokens, extra={"batch": np.array([1, 0, 1])}), want, device=CPU, dtype=torch.float32)
    for batch in (0, 1):
        chosen = model_of(model.network, model.spec.genes, batch=batch)
        alone = chosen.encode(tokens, want, device=CPU, dtype=torch.float32)
        cells = [cell for cell in range(3) if (cell != 1) == batch]
        torch.testing.assert_close(both.cell[cells], alone.cell[cells])
        rows = torch.isin(alone.expression.cell, torch.tensor(cells))
        torch.testing.assert_close(both.expression.values[rows], alone.expression.values[rows])
    assert (both.cell[0] - alone.cell[1]).abs().max() > 1e-3


def test_a_sure_and_wrong_answer_costs_a_finite_sum_in_any_precision() -> None:
    for precision in (torch.float32, torch.bfloat16):
        model = small(zero_prob=True)
        model.network.decoder.zero_logit[4].bias.data.fill_(-100)
        model.network.to(precision)
        tokens = some_tokens()
        objective = Joint(MaskedExpression(nonzero=True))
        objective.prepare(model)
        losses = objective.losses(model, Batch(tokens, np.arange(3), 0))
        sum(losses.values()).backward()
        assert all(one.isfinite() and one.dtype == torch.float32 for one in losses.values())
        assert losses["expression_nonzero"] > 10
        assert all(one.grad is None or one.grad.isfinite().all() for one in model.network.parameters())


# Dropout.


@pytest.mark.parametrize("asked", [{}, {"attention_dropout": 0.3}])
def test_weights_of_attention_are_dropped_only_where_asked(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, float]
) -> None:
    from scfm_scverse.models.scgpt import generative
    from scfm_scverse.nn import attention

    shares: set[float] = set()

    def spy(*args: Tensor, dropout_p: float, **options: Any) -> Tensor:
        shares.add(dropout_p)
        return torch.nn.functional.scaled_dot_product_attention(*args, **options)

    for module in (attention, generative):
        monkeypatch.setattr(module, "scaled_dot_product_attention", spy)
    model = scfm.models.create("scgpt", GENES, dim=8, n_layers=2, n_heads=2, dropout=0.2, **asked)
    model.network.train()
    tokens = some_tokens()
    assert (model.run(tokens).rows - model.run(tokens).rows).abs().max() > 1e-3
    GenerativeExpression().losses(model, Batch(tokens, np.arange(3), 0))
    assert shares == {asked.get("attention_dropout", 0.0)}
    model.network.eval()
    model.run(tokens)
    assert shares == {asked.get("attention_dropout", 0.0), 0.0}


# Models that are written, loaded, trimmed.


@pytest.mark.parametrize(
    "config",
    [
        {"mvc": "inner product, detach", "dropout": 0.2, "attention_dropout": 0.1},
        {"mvc": "concat query"},
        {"mvc": "sum query"},
        {"mvc": None},
        {"norm": "batchnorm", "flags": False},
        {"value_style": "category", "n_values": 23},
        {"value_style": "scaling"},
    ],
    ids=str,
)
def test_networks_are_written_and_loaded(config: dict[str, Any], tmp_path: Path) -> None:
    model = small(**config)
    model.write(tmp_path / "written")
    again = scfm.models.load(tmp_path / "written")
    assert again.spec.id == model.spec.id
    assert replace(again.network.config, n_layers_cls=3) == model.network.config  # there is no head of classes


def test_what_fine_tuning_added_is_written_and_loaded(tmp_path: Path) -> None:
    model, tokens = small(), some_tokens()
    add_nonzero(model.network, 0)
    tell_batches_apart(model.network, 3, norm=True, vectors=True, discriminator=True)
    model.add_classes(4, seed=1)
    model.network.train()
    model.run(tokens, batches=torch.tensor([0, 1, 0]))  # moves the statistics of batches
    model.network.eval()
    before = model.spec.id
    model.renew()
    assert model.spec.id != before
    model.write(tmp_path / "written")
    again = scfm.models.load(tmp_path / "written")
    assert again.spec.id == model.spec.id
    assert not again.report().ignored
    assert again.network.config == model.network.config
    batches = torch.tensor([2, 1, 0])
    torch.testing.assert_close(expression(again, tokens, batches), expression(model, tokens, batches))
    seen = model.run(tokens, batches=batches)
    torch.testing.assert_close(again.class_logits(seen), model.class_logits(seen))
    torch.testing.assert_close(again.network.batches(seen.cell), model.network.batches(seen.cell))


def test_a_folder_remembers_what_the_model_was_trained_with(tmp_path: Path) -> None:
    model = scfm.models.create("scgpt", GENES, dim=8, n_layers=1, n_heads=2, max_length=20)
    model.write(tmp_path / "first")
    tuned = scfm.models.load(tmp_path / "first", cls_value=0)
    assert (tuned.options.max_length, tuned.cls_value) == (20, 0)
    tuned.write(tmp_path / "second")
    again = scfm.models.load(tmp_path / "second")
    assert again.spec.id == tuned.spec.id != model.spec.id
    assert (again.options.max_length, again.cls_value) == (20, 0)
    assert scfm.models.load(tmp_path / "second", max_length=1200).spec.context == 1200


def test_new_weights_are_the_seeds_and_the_table_is_small() -> None:
    def made(seed: int) -> dict[str, Tensor]:
        return scfm.models.create("scgpt", GENES, dim=8, n_layers=1, n_heads=2, seed=seed).network.state_dict()

    torch.testing.assert_close(made(1), made(1), rtol=0, atol=0)
    assert (made(1)["encoder.embedding.weight"] != made(2)["encoder.embedding.weight"]).all()
    assert 0.09 < made(1)["encoder.embedding.weight"].abs().max() <= 0.1


def test_new_weights_are_their_trainers_to_license(tmp_path: Path) -> None:
    model = scfm.models.create("scgpt", GENES, dim=8, n_layers=1, n_heads=2)
    model.renew()
    model.write(tmp_path / "new")
    for one in (model, scfm.models.load(tmp_path / "new")):
        assert one.spec.licence == "that of whoever trained it"
    assert small().spec.licence == "MIT"


def test_a_trimmed_model_makes_the_same_of_the_genes_it_keeps(tmp_path: Path) -> None:
    model, tokens = small(n_classes=3, mvc="inner product, detach"), some_tokens()
    model.network.encoder.requires_grad_(False)
    before = model.spec.id
    keep = np.unique(tokens.ids[tokens.ids > 2])[::-1]
    fewer = trim(model, keep)
    assert fewer.spec.genes.tolist() == ["<pad>", "<cls>", "<eoc>", *model.spec.genes[np.sort(keep)]]
    place = {name: at for at, name in enumerate(fewer.spec.genes.tolist())}
    moved = replace(tokens, ids=np.array([place[model.spec.genes[at]] for at in tokens.ids], np.int32))
    for one, other in zip(expression(model, tokens), expression(fewer, moved), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert fewer.network.config == replace(model.network.config, n_tokens=3 + len(keep))
    assert not fewer.network.encoder.embedding.weight.requires_grad
    assert fewer.network.decoder.fc[0].weight.requires_grad
    with torch.no_grad():
        for one in fewer.network.parameters():
            one.zero_()
    model.renew()
    assert model.spec.id == before
    fewer.renew()
    fewer.write(tmp_path / "trimmed")
    assert scfm.models.load(tmp_path / "trimmed").spec.id == fewer.spec.id


@pytest.mark.parametrize("keep", [[-1, 4], [43]])
def test_positions_outside_the_vocabulary_are_not_kept(keep: list[int]) -> None:
    with pytest.raises(InputError, match="expected some of the vocabulary of 43"):
        trim(small(), np.array(keep))
