"""scGPT asked for genes that it does not see: the pre-training branch's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scfm_scverse._errors import InputError
from scfm_scverse.models.scgpt.build import build_network
from scfm_scverse.models.scgpt.files import our_name, read_checkpoint
from scfm_scverse.models.scgpt.generative import Question, encode, generate, generative_losses, split
from scfm_scverse.models.scgpt.losses import elastic_similarity, masked_relative_error
from scfm_scverse.models.scgpt.network import ScgptNetwork
from scfm_scverse.nn import Spans

OUTPUT = {"rtol": 1e-6, "atol": 1e-6}  # in double precision; the arrays are stored in single precision


class Golden:
    """The arrays of one checkpoint, its network, and the question that they answer."""

    def __init__(self, folder: Path) -> None:
        checkpoint = read_checkpoint(folder / "model")
        self.network = build_network(checkpoint)[0].double()
        self.arrays: Mapping[str, np.ndarray] = np.load(folder / "generative.npz")
        self.pad = checkpoint.vocabulary.tolist().index("<pad>")
        self.cls = checkpoint.vocabulary.tolist().index("<cls>")
        known, asked = (torch.from_numpy(self.arrays[name]) for name in ("pcpt_gene", "gen_gene"))
        self.known, self.asked = known != self.pad, asked != self.pad
        self.question = Question(
            ids=known[self.known],
            values=torch.from_numpy(self.arrays["pcpt_expr"]).double()[self.known],
            spans=spans_of(self.known),
            asked_ids=asked[self.asked],
            asked_spans=spans_of(self.asked),
        )
        self.target = torch.from_numpy(self.arrays["gen_target"]).double()[self.asked]

    def assert_equal(self, found: Tensor, name: str, real: Tensor | None = None) -> None:
        expected = self.arrays[name] if real is None else self.arrays[name][real.numpy()]
        np.testing.assert_allclose(found.detach(), expected, **OUTPUT)


def spans_of(real: Tensor) -> Spans:
    return Spans(tuple(real.sum(1).tolist()))


@pytest.fixture
def golden(folder: Path) -> Golden:
    return Golden(folder)


def test_rows_of_every_layer(golden: Golden) -> None:
    for layer in range(golden.network.config.n_layers):
        known, asked = encode(golden.network, golden.question, n_layers=layer + 1)
        golden.assert_equal(known, f"hidden_pcpt_{layer}", golden.known)
        golden.assert_equal(asked, f"hidden_gen_{layer}", golden.asked)


def test_predictions(golden: Golden) -> None:
    answer = generate(golden.network, golden.question)
    golden.assert_equal(answer.cell, "cell_emb")
    golden.assert_equal(answer.known, "pcpt_preds", golden.known)
    golden.assert_equal(answer.asked, "gen_preds", golden.asked)
    n_known = golden.known.shape[1]
    mvc = golden.arrays["mvc_output"]
    assert answer.known_from_cell is not None
    assert answer.asked_from_cell is not None
    np.testing.assert_allclose(answer.known_from_cell.detach(), mvc[:, :n_known][golden.known.numpy()], **OUTPUT)
    np.testing.assert_allclose(answer.asked_from_cell.detach(), mvc[:, n_known:][golden.asked.numpy()], **OUTPUT)
    np.testing.assert_allclose(elastic_similarity(answer.cell, 0.3).item(), golden.arrays["loss_ecs"], rtol=1e-5)


def test_predictions_from_a_vector_in_place_of_the_first_token(golden: Golden) -> None:
    vector = torch.from_numpy(golden.arrays["cell_emb"]).double()
    second = generate(golden.network, golden.question, cell=vector)
    golden.assert_equal(second.cell, "second_cell_emb")
    golden.assert_equal(second.known, "second_pcpt_preds", golden.known)
    golden.assert_equal(second.asked, "second_gen_preds", golden.asked)
    prompt = replace(
        golden.question,
        ids=torch.full((len(vector),), golden.cls),
        values=golden.question.values[golden.question.spans.starts],
        spans=Spans((1,) * len(vector)),
    )
    golden.assert_equal(generate(golden.network, prompt, cell=vector).asked, "prompt_only_gen_preds", golden.asked)


def test_without_genes_to_ask_for_it_is_the_plain_network(golden: Golden) -> None:
    nothing = replace(
        golden.question,
        asked_ids=golden.question.asked_ids[:0],
        asked_spans=Spans((0,) * len(golden.question.spans.lengths)),
    )
    answer = generate(golden.network, nothing)
    golden.assert_equal(answer.cell, "no_gen_cell_emb")
    golden.assert_equal(answer.known, "no_gen_pcpt_preds", golden.known)
    assert answer.known_from_cell is not None
    golden.assert_equal(answer.known_from_cell, "no_gen_mvc", golden.known)
    _, rows = golden.network(nothing.ids, nothing.values, nothing.spans)
    np.testing.assert_allclose(answer.known.detach(), golden.network.expression(rows, nothing.spans).value.detach())


def test_losses_and_gradients(golden: Golden) -> None:
    arrays = golden.arrays
    losses = generative_losses(golden.network, golden.question, golden.target, from_vector=True)
    for name, stored in (("expression", "loss_mse"), ("from_cell", "loss_mvc"), ("from_vector", "loss_gen")):
        np.testing.assert_allclose(losses[name].item(), arrays[stored], rtol=1e-5)
    total = sum(losses.values(), torch.zeros(()))
    np.testing.assert_allclose(total.item(), arrays["loss_total"], rtol=1e-5)
    asked = generate(golden.network, golden.question).asked
    error = masked_relative_error(asked, golden.target, torch.ones(len(asked), dtype=torch.bool))
    np.testing.assert_allclose(error.item(), arrays["loss_mre"], rtol=1e-5)
    total.backward()
    parameters = dict(golden.network.named_parameters())
    stored = [key for key in arrays if key.startswith("grad|")]
    assert stored
    for key in stored:
        gradient = parameters[our_name(key.removeprefix("grad|"))].grad
        assert gradient is not None
        np.testing.assert_allclose(gradient, arrays[key], rtol=1e-3, atol=1e-6, err_msg=key)


def assert_split(found: tuple[Question, Tensor], arrays: Mapping[str, np.ndarray], name: str, pad: int) -> None:
    question, target = found
    known, asked = (arrays[f"{name}|{part}"] for part in ("pcpt_gene", "gen_gene"))
    assert question.spans.lengths == spans_of(torch.from_numpy(known != pad)).lengths
    assert question.asked_spans.lengths == spans_of(torch.from_numpy(asked != pad)).lengths
    assert (question.ids.numpy() == known[known != pad]).all()
    assert (question.values.numpy() == arrays[f"{name}|pcpt_expr"][known != pad]).all()
    assert (question.asked_ids.numpy() == asked[asked != pad]).all()
    assert (target.numpy() == arrays[f"{name}|gen_expr_target"][asked != pad]).all()


def test_cells_are_split_as_the_authors_collator_does(shared: Path) -> None:
    golden = Golden(shared / "golden" / "scgpt")
    stored = np.load(shared / "golden" / "scgpt" / "binning.npz")
    bins, genes = stored["bins_half"], stored["gene_ids"]

    def tokens(cells: list[int]) -> tuple[Tensor, Tensor, Spans]:
        rows = [np.flatnonzero(bins[cell]) for cell in cells]
        ids = np.concatenate([[golden.cls, *genes[row]] for row in rows])
        values = np.concatenate([[-2, *bins[cell][row]] for cell, row in zip(cells, rows, strict=True)])
        return torch.from_numpy(ids), torch.from_numpy(values), Spans(tuple(len(row) + 1 for row in rows))

    seeded = torch.Generator().manual_seed(0)
    found = split(*tokens([0, 1, 8, 9]), 0.5, max_length=30, generator=seeded)
    assert_split(found, golden.arrays, "collate_p0.5_L30_seed0", golden.pad)
    share = np.random.RandomState(0).choice([0.25, 0.5, 0.75])
    found = split(*tokens([0, 1, 8]), share, max_length=1200, generator=seeded.manual_seed(0))
    assert_split(found, golden.arrays, "collate_list_seed0", golden.pad)


def small_network() -> ScgptNetwork:
    from scfm_scverse.models.scgpt.network import ScgptConfig

    torch.manual_seed(0)
    config = ScgptConfig(n_tokens=50, pad=0, dim=12, n_heads=3, dim_hidden=10, n_layers=2, flags=True)
    return ScgptNetwork(config).eval().double()


def test_a_network_that_was_fine_tuned_for_something_else_is_refused(golden: Golden) -> None:
    network = ScgptNetwork(replace(golden.network.config, flags=False)).double()
    with pytest.raises(InputError, match="without flag_encoder"):
        generate(network, golden.question)


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=4), st.integers(0, 1000))
def test_an_answer_depends_on_the_known_tokens_of_the_cell_alone(cells: list[tuple[int, int]], seed: int) -> None:
    network, drawn = small_network(), torch.Generator().manual_seed(seed)
    n_known, n_asked = (tuple(lengths) for lengths in zip(*cells, strict=True))
    question = Question(
        ids=torch.randint(1, 50, (sum(n_known),), generator=drawn),
        values=torch.rand(sum(n_known), generator=drawn, dtype=torch.float64),
        spans=Spans(n_known),
        asked_ids=torch.randint(1, 50, (sum(n_asked),), generator=drawn),
        asked_spans=Spans(n_asked),
    )
    with torch.inference_mode():
        answer = generate(network, question)
        row = asked_row = 0
        for known, asked in cells:
            rows = slice(row, row + known)
            for at in range(asked_row, asked_row + asked):
                alone = Question(
                    question.ids[rows], question.values[rows], Spans((known,)), question.asked_ids[[at]], Spans((1,))
                )
                torch.testing.assert_close(generate(network, alone).asked, answer.asked[[at]])
            row, asked_row = row + known, asked_row + asked


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.floats(0, 1), st.integers(2, 30))
def test_a_split_keeps_every_token_of_cells_that_are_not_too_long(
    lengths: list[int], share: float, longest: int
) -> None:
    ids = torch.arange(sum(lengths))
    spans = Spans(tuple(lengths))
    question, target = split(
        ids, ids.double(), spans, share, max_length=longest, generator=torch.Generator().manual_seed(1)
    )
    assert (question.ids[question.spans.starts] == spans.starts).all()
    assert (target == question.asked_ids).all()
    known, asked = question.ids.split(question.spans.lengths), question.asked_ids.split(question.asked_spans.lengths)
    for one, other, first, length in zip(known, asked, spans.starts.tolist(), lengths, strict=True):
        drawn = sorted(torch.cat([one, other]).tolist())
        assert len(set(drawn)) == len(drawn) <= longest
        assert set(drawn) <= set(range(first, first + length))
        assert len(drawn) == length or length > longest
