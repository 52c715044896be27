"""What a model says of cells whose genes are deleted or raised, and the statistics of it. Knows nothing of AnnData."""

from .copies import Copies, Kind, Mode, perturb_each, perturb_together, special_tokens
from .count_edits import CountEdits, edit_values
from .edits import delete, overexpress, shorten
from .effects import Reading, Shifts, compare_pairs, shift_tables, stream_shifts
from .holders import copies_of
from .pairs import Edits, Pairs, stream_pairs
from .statistics import (
    aggregate_data,
    aggregate_gene_shifts,
    goal_state_shift,
    mean_goal_state_shift,
    mixture_model,
    vs_null,
)
from .token_edits import TokenEdits

__all__ = [
    "Copies",
    "CountEdits",
    "Edits",
    "Kind",
    "Mode",
    "Pairs",
    "Reading",
    "Shifts",
    "TokenEdits",
    "aggregate_data",
    "aggregate_gene_shifts",
    "compare_pairs",
    "copies_of",
    "delete",
    "edit_values",
    "goal_state_shift",
    "mean_goal_state_shift",
    "mixture_model",
    "overexpress",
    "perturb_each",
    "perturb_together",
    "shift_tables",
    "shorten",
    "special_tokens",
    "stream_pairs",
    "stream_shifts",
    "vs_null",
]
