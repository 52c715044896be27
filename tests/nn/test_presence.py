"""Tokens that are absent: as if they were not there."""

from __future__ import annotations

import pytest
import torch

from scfm_scverse.nn import Encoder, Spans
from scfm_scverse.nn.presence import encode_present, gradients, max_present, mean_present

SPANS = Spans((4, 6, 6))
GONE = torch.tensor([2, 4, 11])  # one token of each cell
LEFT = torch.tensor([row for row in range(16) if row not in GONE])
WITHOUT = Spans((3, 5, 5))


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(3, 12, 3, 20).eval()


def rows() -> torch.Tensor:
    return torch.randn(16, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("n_layers", [None, 2, 0])
def test_an_encoder_whose_tokens_are_all_there_is_the_encoder(encoder: Encoder, n_layers: int | None) -> None:
    found = encode_present(encoder, rows(), SPANS, torch.zeros(16), n_layers=n_layers)
    torch.testing.assert_close(found, encoder(rows(), SPANS, n_layers=n_layers))


def test_a_token_that_is_quite_absent_is_seen_by_no_other(encoder: Encoder) -> None:
    absent = torch.zeros(16)
    absent[GONE] = 1e4
    found = encode_present(encoder, rows(), SPANS, absent)[LEFT]
    torch.testing.assert_close(found, encoder(rows()[LEFT], WITHOUT))
    assert (found - encoder(rows(), SPANS)[LEFT]).abs().max() > 1e-2


def test_pooling_leaves_absent_rows_out() -> None:
    absent = torch.zeros(16)
    absent[GONE] = 1
    x = rows()
    torch.testing.assert_close(mean_present(x, SPANS, absent), WITHOUT.mean(x[LEFT]))
    expected = torch.stack([part.amax(0) for part in x[LEFT].split(list(WITHOUT.lengths))])
    torch.testing.assert_close(max_present(x, SPANS, absent), expected)
    assert not torch.equal(expected, max_present(x, SPANS, torch.zeros(16)))


def test_the_maximum_of_a_cell_of_one_row_is_that_row() -> None:
    x = rows()[:1]
    torch.testing.assert_close(max_present(x, Spans((1,)), torch.zeros(1)), x)


def test_derivative_is_the_change_of_the_share_of_a_token(encoder: Encoder) -> None:
    absent = torch.zeros(16, requires_grad=True)
    (found,) = gradients(_told(encoder, absent), [absent])
    step = 1e-2
    with torch.no_grad():
        for token in GONE.tolist():
            ahead, behind = (_told(encoder, sign * step * torch.eye(16)[token]) for sign in (1, -1))
            torch.testing.assert_close(found[0, token], (ahead - behind)[0] / (2 * step), rtol=2e-2, atol=2e-4)


def _told(encoder: Encoder, absent: torch.Tensor) -> torch.Tensor:
    weights = torch.randn(3, 12, generator=torch.Generator().manual_seed(2))
    return (mean_present(encode_present(encoder, rows(), SPANS, absent), SPANS, absent) * weights).sum()[None]
