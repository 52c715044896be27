"""Bricks that several networks are built of."""

from .attention import Spans, attend, attention_weights
from .copies import Copies, state_of
from .encoder import Encoder, EncoderLayer
from .performer import Performer, PerformerLayer
from .recompute import run_layer, set_recompute
from .unfilled import unfilled

__all__ = [
    "Copies",
    "Encoder",
    "EncoderLayer",
    "Performer",
    "PerformerLayer",
    "Spans",
    "attend",
    "attention_weights",
    "run_layer",
    "set_recompute",
    "state_of",
    "unfilled",
]
