"""Bricks that several networks are built of."""

from .attention import Spans, attend, attention_weights
from .copies import Copies, state_of
from .encoder import Encoder, EncoderLayer
from .performer import Performer, PerformerLayer
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
    "state_of",
    "unfilled",
]
