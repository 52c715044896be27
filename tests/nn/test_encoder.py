"""The encoder without padding, beside torch's own with padding."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from scfm_scverse.nn import Encoder, EncoderLayer, Spans

DIM, HEADS, HIDDEN, LAYERS = 24, 3, 40, 3
LENGTHS = (7, 1, 12, 12, 3)


def encoder(dropout: float = 0.0, dim: int = DIM, n_heads: int = HEADS, hidden: int = HIDDEN) -> Encoder:
    """Random weights, large enough for attention to be far from even, and biases that are not zero."""
    made = Encoder(LAYERS, dim, n_heads, hidden, dropout=dropout)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in made.named_parameters():
        spread = 0.2 if parameter.ndim == 1 else 1.5 * parameter.shape[1] ** -0.5
        center = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        parameter.data = center + spread * torch.randn(parameter.shape, generator=generator)
    return made.eval()


def rows(lengths: tuple[int, ...] = LENGTHS, dim: int = DIM) -> torch.Tensor:
    return torch.randn(sum(lengths), dim, generator=torch.Generator().manual_seed(1))


def padded_by_torch(made: Encoder, x: torch.Tensor, lengths: tuple[int, ...] = LENGTHS) -> torch.Tensor:
    """The same numbers from ``torch.nn.TransformerEncoder`` on a padded batch."""
    layer = nn.TransformerEncoderLayer(DIM, HEADS, HIDDEN, dropout=0.0, batch_first=True)
    torchs = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
    renamed = {
        f"layers.{name}".replace("in_proj.", "self_attn.in_proj_"): one
        for name, one in made.layers.state_dict().items()
    }
    torchs.load_state_dict({name.replace("out_proj", "self_attn.out_proj"): one for name, one in renamed.items()})
    batch = nn.utils.rnn.pad_sequence(list(x.split(lengths)), batch_first=True)
    out = torchs(batch, src_key_padding_mask=torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None])
    return torch.cat([one[:length] for one, length in zip(out, lengths, strict=True)])


def test_output_is_that_of_torch_with_padding() -> None:
    made, x = encoder(), rows()
    torch.testing.assert_close(made(x, Spans(LENGTHS)), padded_by_torch(made, x), rtol=1e-5, atol=1e-5)


def test_gradient_is_that_of_torch_with_padding() -> None:
    weight = torch.randn(sum(LENGTHS), DIM, generator=torch.Generator().manual_seed(2))
    grads = []
    for run in (lambda made, x: made(x, Spans(LENGTHS)), padded_by_torch):
        x = rows().requires_grad_()
        (run(encoder(), x) * weight).sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_layers", [None, 2, 1])
@pytest.mark.parametrize("at", ["first", "last"])
def test_reading_one_row_gives_what_the_whole_layer_gives(n_layers: int | None, at: str) -> None:
    made, x, spans = encoder(), rows(), Spans(LENGTHS)
    read = spans.starts if at == "first" else spans.starts + torch.tensor(LENGTHS) - 1
    whole = made(x, spans, n_layers=n_layers)[read]
    torch.testing.assert_close(made(x, spans, n_layers=n_layers, read=read), whole, rtol=1e-5, atol=1e-5)


def test_gradients_of_reading_one_row_are_those_of_the_whole_layer() -> None:
    spans, grads = Spans(LENGTHS), []
    for short in (True, False):
        made, x = encoder(), rows().requires_grad_()
        out = made(x, spans, read=spans.starts) if short else made(x, spans)[spans.starts]
        out.square().sum().backward()
        grads.append({"x": x.grad} | {name: one.grad for name, one in made.named_parameters()})
    for name, expected in grads[1].items():
        torch.testing.assert_close(grads[0][name], expected, rtol=1e-3, atol=1e-4, msg=name)


def test_no_layer_gives_the_input_back() -> None:
    made, x, spans = encoder(), rows(), Spans(LENGTHS)
    assert made(x, spans, n_layers=0) is x
    torch.testing.assert_close(made(x, spans, n_layers=0, read=spans.starts), x[spans.starts], rtol=0, atol=0)


def test_layers_compose() -> None:
    made, x, spans = encoder(), rows(), Spans(LENGTHS)
    half = made(x, spans, n_layers=1)
    for layer in list(made.layers)[1:]:
        half = layer(half, spans)
    torch.testing.assert_close(made(x, spans), half, rtol=0, atol=0)


@pytest.mark.parametrize("read", [True, False])
def test_a_cell_does_not_depend_on_its_neighbours(read: bool) -> None:
    lengths = (301, 1, 64, 64, 7, 500)
    made, x = encoder(dim=128, n_heads=4, hidden=256), rows(lengths, 128)
    spans = Spans(lengths)
    with torch.inference_mode():
        together = made(x, spans, read=spans.starts) if read else made(x, spans)
        for i, start in enumerate(spans.starts.tolist()):
            alone = Spans(lengths[i : i + 1])
            cell = x[start : start + lengths[i]]
            found = made(cell, alone, read=alone.starts) if read else made(cell, alone)
            expected = together[[i]] if read else together[start : start + lengths[i]]
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=3e-6)


@pytest.mark.parametrize("read", [True, False])
def test_bfloat16_stays_near_float32(read: bool) -> None:
    made, x, spans = encoder(dim=64, n_heads=4, hidden=64), rows(dim=64), Spans(LENGTHS)
    with torch.inference_mode():
        expected = made(x, spans, read=spans.starts) if read else spans.mean(made(x, spans))
        made, x = made.to(torch.bfloat16), x.to(torch.bfloat16)
        found = made(x, spans, read=spans.starts) if read else spans.mean(made(x, spans))
    assert cosine_similarity(found.float(), expected).min() > 0.999


@pytest.mark.parametrize("read", [True, False])
def test_dropout_acts_in_training_alone(read: bool) -> None:
    made, x, spans = encoder(dropout=0.3), rows(), Spans(LENGTHS)

    def run() -> torch.Tensor:
        out: torch.Tensor = made(x, spans, read=spans.starts if read else None)
        return out

    torch.testing.assert_close(run(), run(), rtol=0, atol=0)
    still = run()
    made.train()
    assert not torch.allclose(run(), run())
    assert not torch.allclose(run(), still)


def test_dropout_of_attention_is_right_on_average_when_one_row_is_read() -> None:
    layer = EncoderLayer(8, 2, 8, dropout=0.2).train()
    x, spans = torch.randn(500, 8, generator=torch.Generator().manual_seed(3)), Spans((500,))
    torch.manual_seed(0)
    read = torch.zeros(64, dtype=torch.int64)
    many = Spans((500,) * 64)
    drawn = layer._attend_from(x.repeat(64, 1), many, read).mean(0)
    expected = layer.eval()._attend_from(x, spans, spans.starts)[0]
    torch.testing.assert_close(drawn, expected, rtol=0, atol=0.02)


def test_input_is_left_as_it_was() -> None:
    made, x, spans = encoder(), rows(), Spans(LENGTHS)
    before = x.clone()
    with torch.inference_mode():
        made(x, spans)
        made(x, spans, read=spans.starts)
        made.layers[0].finish(x, x.clone())
    torch.testing.assert_close(x, before, rtol=0, atol=0)
