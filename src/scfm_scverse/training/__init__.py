"""Training of networks on the memory people have. Knows nothing of AnnData."""

from .galore import GaLoreAdamW
from .groups import galore_param_groups

__all__ = ["GaLoreAdamW", "galore_param_groups"]
