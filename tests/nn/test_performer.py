"""Linear attention: the path in parts and the path with gradients, beside the formula."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from naive.favor import naive_favor_weights
from scfm_scverse.nn import Performer
from scfm_scverse.nn.favor import answer, attend_plain, draw_projection, n_features, sum_keys, with_one

DIM, HEADS, HEAD, HIDDEN, LAYERS = 20, 3, 10, 32, 3
NEAR = {"rtol": 1e-4, "atol": 2e-5}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def performer(*, bias: bool = True, strength: float = 1.5) -> Performer:
    """Random weights, large enough for the maxima and the epsilon to matter; heads do not add up to the width."""
    made = Performer(LAYERS, DIM, HEADS, HEAD, HIDDEN, bias=bias)
    for seed, (name, parameter) in enumerate(made.named_parameters()):
        spread = 0.2 if parameter.ndim == 1 else strength * parameter.shape[1] ** -0.5
        center = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        parameter.data = center + spread * random(*parameter.shape, seed=seed)
    for seed, layer in enumerate(made.layers):
        generator = torch.Generator().manual_seed(seed)
        layer.attention.projection = draw_projection(n_features(HEAD), HEAD, generator)
    return made.eval()


def qkv(t: int, d: int, strength: float, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    query, key, value = (random(t, 2, d, seed=seed + i) for i in range(3))
    return query * strength, key * strength, value


@given(
    st.integers(1, 30),
    st.sampled_from([3, 8, 16, 64]),
    st.sampled_from([0.01, 1.0, 4.0, 20.0]),
    st.integers(0, 2**31),
    st.integers(1, 30),
)
def test_attention_is_that_of_the_naive_twin(t: int, d: int, strength: float, seed: int, part: int) -> None:
    query, key, value = qkv(t, d, strength, seed)
    projection = draw_projection(n_features(d), d, torch.Generator().manual_seed(seed))
    weights = naive_favor_weights(query, key, projection)
    expected = torch.einsum("qkh,khd->qhd", weights, value.double()).float()
    sums = sum_keys(zip(key.split(part), with_one(value).split(part), strict=True), projection)
    # An exponent of hundreds has few digits behind the point in float32, here as in the original.
    near = {"rtol": 1e-3, "atol": 1e-3 if strength > 4 else 2e-5}
    torch.testing.assert_close(answer(query, sums.table(), projection), expected.flatten(1), **near)
    plain = attend_plain(query[None], key[None], value[None], projection)[0]
    torch.testing.assert_close(plain, expected, **near)


def test_wide_heads_with_long_projections_neither_overflow_nor_vanish() -> None:
    query, key, value = qkv(40, 200, 1.0, 0)
    projection = 1.5 * draw_projection(n_features(200), 200, torch.Generator().manual_seed(0))
    assert projection.square().sum(1).max() / 2 > 100  # exp of it is no float32
    expected = torch.einsum("qkh,khd->qhd", naive_favor_weights(query, key, projection), value.double()).float()
    found = answer(query, sum_keys([(key, with_one(value))], projection).table(), projection)
    torch.testing.assert_close(found, expected.flatten(1), **NEAR)


def test_keys_can_be_exchanged_in_their_sums() -> None:
    projection = draw_projection(n_features(8), 8, torch.Generator().manual_seed(0))
    _, key, value = qkv(50, 8, 2.0, 0)
    _, other, others = qkv(5, 8, 2.0, 7)
    rows = torch.tensor([3, 17, 4, 49, 0])
    new_key, new_value = key.index_copy(0, rows, other), value.index_copy(0, rows, others)
    sums, old, new, expected = (
        sum_keys([(k, with_one(v))], projection)
        for k, v in ((key, value), (key[rows], value[rows]), (other, others), (new_key, new_value))
    )
    found = sums.exchange(rows, old, new)
    torch.testing.assert_close(found.largest, expected.largest)
    torch.testing.assert_close(found.table(), expected.table(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("over_batch", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_path_in_parts_gives_what_the_path_with_gradients_gives(over_batch: bool, bias: bool) -> None:
    made, x = performer(bias=bias), random(3, 600, DIM) * torch.tensor([1.0, 3.0, 0.5])[:, None, None]
    if over_batch:
        made.as_published()
    made, x = made.double(), x.double()
    with torch.inference_mode():
        found = made(x)
    torch.testing.assert_close(found, made(x).detach(), rtol=1e-9, atol=1e-9)


def test_a_cell_depends_on_its_neighbours_only_as_published() -> None:
    made, x = performer(), random(3, 50, DIM) * torch.tensor([1.0, 3.0, 0.5])[:, None, None]
    alone = made(x[:1])
    torch.testing.assert_close(made(x)[:1], alone, **NEAR)
    made.as_published()
    torch.testing.assert_close(made(x[:1]), alone, **NEAR)
    assert float((made(x)[:1] - alone).abs().max().detach()) > 1e-2


def test_gradient_is_that_of_finite_differences() -> None:
    made, x = performer().double(), random(2, 12, DIM).double().requires_grad_()
    assert torch.autograd.gradcheck(made, x, eps=1e-6, atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("gradients", [False, True])
def test_bfloat16_keeps_what_tells_cells_apart(gradients: bool) -> None:
    made, x = performer(strength=1.0), random(1, 200, DIM) + 0.2 * random(2, 200, DIM, seed=9)
    with torch.inference_mode(not gradients):
        exact, short = made(x), performer(strength=1.0).bfloat16()(x.bfloat16())
    assert short.dtype == torch.bfloat16
    for one, other in ((exact, short.float()), (exact[0] - exact[1], (short[0] - short[1]).float())):
        assert float(torch.cosine_similarity(one.flatten(), other.flatten(), dim=0).detach()) > 0.99


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("n_layers", [None, 2, 1, 0])
def test_reading_some_rows_gives_what_the_whole_layer_gives(n_layers: int | None, gradients: bool) -> None:
    made, x, read = performer(), random(2, 600, DIM), torch.tensor([599, 0, 300])
    with torch.inference_mode(not gradients):
        whole = made(x, n_layers=n_layers)[:, read]
        torch.testing.assert_close(made(x, n_layers=n_layers, read=read), whole, **NEAR)


def test_weights_and_their_mean_are_those_of_the_naive_twin() -> None:
    layer, x = performer().layers[1], random(300, DIM)
    inside, normed = layer.attention, layer.norm1(x)
    expected = naive_favor_weights(
        inside.heads(inside.to_q(normed)), inside.heads(inside.to_k(normed)), inside.projection
    ).float()
    with torch.inference_mode():
        read = torch.tensor([5, 299])
        torch.testing.assert_close(layer.weights_of(x, read), expected[read], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(layer.mean_weights(x), expected.mean(0), rtol=1e-4, atol=1e-6)


@given(st.integers(3, 70), st.integers(0, 2**31))
def test_projection_has_blocks_of_orthogonal_rows(dim: int, seed: int) -> None:
    drawn = draw_projection(n_features(dim), dim, torch.Generator().manual_seed(seed)).double()
    assert drawn.shape == (n_features(dim), dim)
    unit = drawn / drawn.norm(dim=1, keepdim=True)
    for block in unit.split(dim):
        torch.testing.assert_close(block @ block.T, torch.eye(len(block)).double(), rtol=0, atol=1e-5)


def test_lengths_of_projection_rows_are_those_of_gaussian_vectors() -> None:
    squares = draw_projection(20_000, 16, torch.Generator().manual_seed(0)).square().sum(1)
    assert float(squares.mean()) == pytest.approx(16, rel=0.02)
    assert float(squares.var()) == pytest.approx(32, rel=0.05)


def test_projections_are_drawn_anew_after_every_n_counted_calls() -> None:
    made, x = performer(), random(1, 4, DIM)
    made.as_published(redraw_every=3)
    drawn = []
    for calls in (False, True):
        made.train(calls)
        for call in range(1, 10):
            before = [layer.attention.projection.clone() for layer in made.layers]
            made(x)
            changed = [
                not torch.equal(layer.attention.projection, old) for layer, old in zip(made.layers, before, strict=True)
            ]
            assert len(set(changed)) == 1
            drawn += [(calls, call)] if changed[0] else []
    assert drawn == [(True, 4), (True, 8)]


def test_projections_stay_as_they_are_by_default() -> None:
    made, x = performer().train(), random(1, 4, DIM)
    before = made.layers[0].attention.projection.clone()
    made.calls += 10_000
    made(x)
    assert torch.equal(made.layers[0].attention.projection, before)
    assert int(made.calls) == 10_000
