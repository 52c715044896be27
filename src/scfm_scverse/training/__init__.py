"""Training of networks on the memory people have. Knows nothing of AnnData."""

from .galore import GaLoreAdamW
from .groups import galore_param_groups
from .lora import add_lora, merge_lora

__all__ = ["GaLoreAdamW", "add_lora", "galore_param_groups", "merge_lora"]
