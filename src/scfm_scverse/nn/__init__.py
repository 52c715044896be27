"""Bricks that several networks are built of."""

from .attention import Spans, attend, attention_weights
from .copies import Copies
from .encoder import Encoder, EncoderLayer

__all__ = ["Copies", "Encoder", "EncoderLayer", "Spans", "attend", "attention_weights"]
