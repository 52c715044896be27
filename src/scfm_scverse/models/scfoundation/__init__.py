"""scFoundation: Hao et al., Nature Methods 2024."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...checkpoints import mentions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...tokens.read_depth import Sample
    from .files import Key
    from .model import ScFoundation
    from .options import Mode, PreNormalized

WEIGHTS = "models.ckpt"
_MARK = b"token_emb.mlp2.weight"  # a tensor that no other model has


def recognises(path: Path) -> bool:
    """Whether this is ``models.ckpt``, a folder that holds it, or another torch file with scFoundation's tensors."""
    file = _weights_file(path)
    return (file.name == WEIGHTS and file.is_file()) or mentions(file, _MARK)


def _weights_file(path: Path) -> Path:
    """The file itself, or that in a folder: the authors', else the converted one."""
    if not path.is_dir():
        return path
    return path / WEIGHTS if (path / WEIGHTS).is_file() else path / "model.safetensors"


def load(
    path: Path,
    *,
    key: Key = "cell",
    genes: str | Path | Sequence[str] | None = None,
    target_depth: str = "t4",
    input_type: Sample = "singlecell",
    pre_normalized: PreNormalized = "F",
    target_sum: float = 1e4,
    mode: Mode = "default",
) -> ScFoundation:
    """Load scFoundation's ``models.ckpt``, or a file of one of its three sub-models.

    Parameters
    ----------
    path
        The file, or the folder that holds ``models.ckpt``.
    key
        Which sub-model: ``"cell"`` (the authors' choice for embeddings of cells), ``"rde"`` (read depth enhancement,
        close to it) or ``"gene"``, which gives vectors and expression of genes too. Where a file holds one sub-model
        under its name, that one is taken.
    genes
        Names of the genes in the order of the positions, or a table that holds them (``gene_name`` and ``index``).
        ``None``: a table of as many beside the checkpoint, else the 19,264 of the released model.
    target_depth
        The depth T that cells are read as having: ``"t4"`` 10,000 counts, ``"f2"`` twice the cell's own depth,
        ``"a1"`` one more on the scale of log10.
    input_type
        ``"bulk"`` for samples of many cells: T and S are what the authors' script makes of them.
    pre_normalized
        ``"F"``: counts. ``"T"``: log values, taken as they are; as in the authors' script the total is the sum of the
        logarithms. ``"A"``: log values, and a total for each cell.
    target_sum
        What counts are scaled to. For bulk samples the authors' script takes the median total of the table, on which
        every result then depends; pass that number to repeat it.
    mode
        ``"original"`` repeats the authors' program: key maximum of the decoder over the minibatch, T or S left out
        where it is not above zero, gene names only as they are written, the first of two columns of one gene.

    Raises
    ------
    CheckpointError
        The file is damaged, lacks the sub-model or a tensor, or no list of genes fits.
    InputError
        An option has no such value.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> model = scfm.models.load("models.ckpt", key="rde", target_depth="a5")  # doctest: +SKIP
    """
    from .model import ScFoundation
    from .options import Options

    options = Options(target_depth, input_type, pre_normalized, target_sum, mode)
    return ScFoundation.read(_weights_file(path), key=key, genes=genes, options=options)
