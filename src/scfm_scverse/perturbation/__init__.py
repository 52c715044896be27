"""What a model says of cells whose genes are deleted or raised, and the statistics of it. Knows nothing of AnnData."""

from .copies import Copies, Kind, Mode, copies_of, perturb_each, perturb_together, special_tokens
from .count_edits import CountEdits, edit_values
from .edits import delete, overexpress, shorten
from .effects import Reading, Shifts, compare_pairs, shift_tables, stream_shifts
from .expression_space import ExpressionSpace, PlacedCells, log_normalized
from .matching import ExpressionRanks, draw_null, expression_ranks, match_null
from .pairs import Edits, Pairs, stream_pairs
from .significance import donor_p, false_discovery, permutation_p, rank_sum_p
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
    "ExpressionRanks",
    "ExpressionSpace",
    "Kind",
    "Mode",
    "Pairs",
    "PlacedCells",
    "Reading",
    "Shifts",
    "TokenEdits",
    "aggregate_data",
    "aggregate_gene_shifts",
    "compare_pairs",
    "copies_of",
    "delete",
    "donor_p",
    "draw_null",
    "edit_values",
    "expression_ranks",
    "false_discovery",
    "goal_state_shift",
    "log_normalized",
    "match_null",
    "mean_goal_state_shift",
    "mixture_model",
    "overexpress",
    "permutation_p",
    "perturb_each",
    "perturb_together",
    "rank_sum_p",
    "shift_tables",
    "shorten",
    "special_tokens",
    "stream_pairs",
    "stream_shifts",
    "vs_null",
]
