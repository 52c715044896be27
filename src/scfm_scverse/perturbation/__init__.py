"""What a model says of cells whose genes are deleted or raised, and the statistics of it. Knows nothing of AnnData."""

from .copies import Copies, Kind, Mode, perturb_each, perturb_together, special_tokens
from .edits import delete, overexpress, shorten
from .effects import Reading, Shifts, shift_tables, stream_shifts
from .statistics import (
    aggregate_data,
    aggregate_gene_shifts,
    goal_state_shift,
    mean_goal_state_shift,
    mixture_model,
    vs_null,
)

__all__ = [
    "Copies",
    "Kind",
    "Mode",
    "Reading",
    "Shifts",
    "aggregate_data",
    "aggregate_gene_shifts",
    "delete",
    "goal_state_shift",
    "mean_goal_state_shift",
    "mixture_model",
    "overexpress",
    "perturb_each",
    "perturb_together",
    "shift_tables",
    "shorten",
    "special_tokens",
    "stream_shifts",
    "vs_null",
]
