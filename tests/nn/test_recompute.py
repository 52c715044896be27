"""Layers that are computed a second time give the gradients of layers that are kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from scfm_scverse.nn import Encoder, Performer, Spans, set_recompute

SPANS = Spans((5, 9, 9))


def gradients(stack: nn.Module, x: Tensor, *, recompute: bool) -> list[Tensor]:
    """Gradients of all weights and of what entered; the same numbers are dropped every time."""
    set_recompute(nn.ModuleList([stack]), recompute=recompute)
    stack.zero_grad()
    torch.manual_seed(0)
    entered = x.clone().requires_grad_()
    out = stack(entered, SPANS) if isinstance(stack, Encoder) else stack(entered)
    out.square().mean().backward()
    return [entered.grad, *(param.grad for param in stack.parameters())]  # type: ignore[list-item]


def bytes_kept(stack: nn.Module, x: Tensor, *, recompute: bool) -> int:
    set_recompute(stack, recompute=recompute)
    sizes = []

    def note(kept: Tensor) -> Tensor:
        sizes.append(kept.nbytes)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept):
        stack(x, SPANS) if isinstance(stack, Encoder) else stack(x)
    return sum(sizes)


STACKS = {
    "encoder": (lambda: Encoder(3, 16, 2, 24, dropout=0.3), (23, 16)),
    "performer": (lambda: Performer(3, 16, 2, 8, 32), (2, 11, 16)),
}


@pytest.mark.parametrize("name", list(STACKS))
def test_gradients_are_those_of_layers_that_are_kept(name: str) -> None:
    make, shape = STACKS[name]
    torch.manual_seed(1)
    stack, x = make().train(), torch.randn(shape)
    for ours, theirs in zip(gradients(stack, x, recompute=True), gradients(stack, x, recompute=False), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.parametrize("name", list(STACKS))
def test_little_is_kept(name: str) -> None:
    make, shape = STACKS[name]
    stack, x = make().train(), torch.randn(shape, requires_grad=True)
    assert bytes_kept(stack, x, recompute=True) < bytes_kept(stack, x, recompute=False) / 10


def test_without_gradients_nothing_is_different() -> None:
    stack, x = Encoder(2, 16, 2, 24).eval(), torch.randn(23, 16)
    with torch.inference_mode():
        expected = stack(x, SPANS)
        stack.recompute = True
        assert torch.equal(stack(x, SPANS), expected)
