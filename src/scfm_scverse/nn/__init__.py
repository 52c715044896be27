"""Bricks that several networks are built of."""

from .attention import Spans, attend, attention_weights
from .encoder import Encoder, EncoderLayer

__all__ = ["Encoder", "EncoderLayer", "Spans", "attend", "attention_weights"]
