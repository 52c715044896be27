"""Genes generated in rounds."""

from __future__ import annotations

from math import ceil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scfm_scverse._errors import InputError
from scfm_scverse.models.scgpt.generative import Question, generate
from scfm_scverse.models.scgpt.network import ScgptConfig, ScgptNetwork
from scfm_scverse.models.scgpt.rounds import generate_in_rounds
from scfm_scverse.nn import Spans


def network(**config: object) -> ScgptNetwork:
    torch.manual_seed(0)
    return ScgptNetwork(ScgptConfig(50, 0, 12, 3, 10, 2, flags=True, **config)).eval().double()


def question_of(cells: list[tuple[int, int]], seed: int) -> Question:
    drawn = torch.Generator().manual_seed(seed)
    n_known, n_asked = (tuple(lengths) for lengths in zip(*cells, strict=True))
    return Question(
        ids=torch.randint(1, 50, (sum(n_known),), generator=drawn),
        values=torch.rand(sum(n_known), generator=drawn, dtype=torch.float64),
        spans=Spans(n_known),
        # Two of one gene would be equally sure, and the one that is known first would depend on rounding.
        asked_ids=torch.cat([1 + torch.randperm(49, generator=drawn)[:n] for n in n_asked]),
        asked_spans=Spans(n_asked),
    )


def naive_rounds(net: ScgptNetwork, ids: list[int], values: list[float], asked: list[int], rounds: int) -> list[float]:
    """One cell, gene after gene."""
    told, left = [0.0] * len(asked), list(range(len(asked)))
    for round_ in range(rounds):
        if not left:
            break
        question = Question(
            torch.tensor(ids),
            torch.tensor(values, dtype=torch.float64),
            Spans((len(ids),)),
            torch.tensor([asked[at] for at in left]),
            Spans((len(left),)),
        )
        with torch.inference_mode():
            answer = generate(net, question)
        sure = answer.asked.abs() if answer.asked_nonzero is None else (answer.asked_nonzero - 0.5).abs()
        for at, value in zip(left, answer.asked.tolist(), strict=True):
            told[at] = value
        order = sorted(range(len(left)), key=lambda at: -sure[at].item())[: ceil(len(left) / (rounds - round_))]
        for at in order:
            ids, values = [*ids, asked[left[at]]], [*values, max(0.0, told[left[at]])]
        left = [one for at, one in enumerate(left) if at not in order]
    return told


def parts(x: Tensor, spans: Spans) -> list[list[float]]:
    return [part.tolist() for part in x.split(spans.lengths)]


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 7)), min_size=1, max_size=4),
    st.integers(1, 5),
    st.booleans(),
    st.integers(0, 1000),
)
def test_rounds_are_those_of_each_cell_alone(
    cells: list[tuple[int, int]], rounds: int, zero_prob: bool, seed: int
) -> None:
    net, question = network(zero_prob=zero_prob), question_of(cells, seed)
    found = generate_in_rounds(net, question, rounds=rounds)
    known = zip(parts(question.ids, question.spans), parts(question.values, question.spans), strict=True)
    for (ids, values), asked, told in zip(
        known, parts(question.asked_ids, question.asked_spans), parts(found, question.asked_spans), strict=True
    ):
        assert told == pytest.approx(naive_rounds(net, ids, values, asked, rounds), abs=1e-9)


def test_one_round_is_one_pass_and_more_are_not() -> None:
    net, question = network(), question_of([(3, 6), (2, 4)], 1)
    once = generate(net, question).asked
    torch.testing.assert_close(generate_in_rounds(net, question), once)
    assert (generate_in_rounds(net, question, rounds=3) - once).abs().max() > 1e-6
    vectors = torch.randn(2, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    prompted = generate(net, question, cell=vectors).asked
    torch.testing.assert_close(generate_in_rounds(net, question, cell=vectors), prompted)


def test_what_cannot_be_done_in_rounds_is_refused() -> None:
    question = question_of([(3, 6)], 1)
    with pytest.raises(InputError, match="rounds=0; expected 1 at least"):
        generate_in_rounds(network(), question, rounds=0)
    with pytest.raises(InputError, match="values by category"):
        generate_in_rounds(network(value_style="category", n_values=60), question, rounds=2)
