"""Training of networks on the memory people have. Knows nothing of AnnData."""

from .galore import GaLoreAdamW
from .groups import galore_param_groups
from .lora import add_lora, merge_lora
from .memory import MemoryEstimate, estimate_memory
from .settings import TrainSettings

__all__ = [
    "GaLoreAdamW",
    "MemoryEstimate",
    "TrainSettings",
    "add_lora",
    "estimate_memory",
    "galore_param_groups",
    "merge_lora",
]
