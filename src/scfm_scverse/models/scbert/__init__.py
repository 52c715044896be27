"""scBERT: Yang et al., Nature Machine Intelligence 2022."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...checkpoints import mentions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .model import ScBERT

WEIGHTS = "panglao_pretrain.pth"
_MARKS = (b"model_state_dict", b"pos_emb.emb.weight", b"fast_attention.projection_matrix")


def recognises(path: Path) -> bool:
    """Whether this is ``panglao_pretrain.pth``, a folder that holds it, or another torch file with scBERT's tensors."""
    file = _weights_file(path)
    return (file.name == WEIGHTS and file.is_file()) or mentions(file, *_MARKS)


def _weights_file(path: Path) -> Path:
    """The file itself, or that in a folder: the authors', else the converted one."""
    if not path.is_dir():
        return path
    return path / WEIGHTS if (path / WEIGHTS).is_file() else path / "model.safetensors"


def load(
    path: Path,
    *,
    genes: str | Path | Sequence[str] | None = None,
    classes: str | Path | Sequence[str] | None = None,
    mode: Literal["default", "original"] = "default",
) -> ScBERT:
    """Load scBERT's ``panglao_pretrain.pth``, or a file that its fine-tuning wrote (``*_best.pth``).

    Parameters
    ----------
    path
        The file, or the folder that holds ``panglao_pretrain.pth``.
    genes
        Names of the genes in the order of the positions, or a file of them: one a line, or a table with the columns
        gene_name and index. ``None``: those that a file of ours names itself, else such a file beside the checkpoint
        (``genes.txt``, ``genes.tsv``), else the 16,906 of the released model.
    classes
        Names of the classes of a fine-tuned file, or the pickle that holds them. ``None``: those that a file of ours
        names itself, else the file ``label_dict`` beside it, else their numbers.
    mode
        ``"original"`` repeats the authors' program: key maximum over the minibatch, attention of what stands behind a
        layer's attention, gene names only as they are written, the first of two columns of one gene, new projections
        after every 1,000 calls in training.

    Raises
    ------
    CheckpointError
        The file is damaged or lacks a tensor, or no list of genes fits.
    InputError
        An option has no such value.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> model = scfm.models.load("panglao_pretrain.pth")  # doctest: +SKIP

    References
    ----------
    Yang et al. (2022), Nature Machine Intelligence 4, 852-866.
    """
    from .model import ScBERT

    return ScBERT.read(_weights_file(path), genes=genes, classes=classes, mode=mode)
