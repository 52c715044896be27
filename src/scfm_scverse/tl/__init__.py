"""Tools: compute and write into the AnnData."""

from ._annotate import annotate
from ._build_reference import build_reference
from ._copy_number import score_copy_number
from ._embed import embed
from ._embed_genes import embed_genes
from ._finetune import finetune
from ._gene_attention import gene_attention
from ._perturb import perturb
from ._rank_perturbations import rank_perturbations

__all__ = [
    "annotate",
    "build_reference",
    "embed",
    "embed_genes",
    "finetune",
    "gene_attention",
    "perturb",
    "rank_perturbations",
    "score_copy_number",
]
