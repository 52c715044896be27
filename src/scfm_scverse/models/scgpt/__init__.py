"""scGPT: a cell is its expressed genes, each with the bin of its expression."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...tokens.bins import Sampling, Ties
from .options import OF_TRAINING, Mode, Options

if TYPE_CHECKING:
    from .model import Scgpt


def recognises(path: Path) -> bool:
    """Whether this is a folder with ``args.json`` and ``vocab.json``, or a file of weights in such a folder.

    One of the two is enough beside a ``best_model.pt``, so that loading can say what is missing.
    """
    folder = path.parent if path.suffix in (".pt", ".safetensors") else path
    there = sum((folder / name).is_file() for name in ("args.json", "vocab.json"))
    return there == 2 or (there == 1 and (folder / "best_model.pt").is_file())


def load(
    path: Path,
    *,
    ties: Ties = "hash",
    sampling: Sampling = "hash",
    max_length: int | None = None,
    random_state: int = 0,
    mode: Mode = "default",
    batch: int | None = None,
    cls_value: float | None = None,
) -> Scgpt:
    """Load a scGPT checkpoint, pre-trained or fine-tuned.

    Parameters
    ----------
    path
        Folder with ``args.json``, ``vocab.json`` and ``best_model.pt``, or another ``.pt`` file in such a folder.
    ties
        Many genes of a cell have the same small count, and several edges of bins lie on it; the authors draw one of
        these bins at random. ``"hash"`` draws so that the bin depends on the cell's expressed genes, the gene and
        ``random_state`` alone; ``"middle"`` and ``"high"`` take the middle and the highest one.
    sampling
        Genes that are kept of a cell with more than ``max_length`` tokens: drawn in the same way, as the authors draw
        some, or those of the largest values (``"top"``).
    max_length
        Tokens of a cell at most, <cls> included. ``None`` is what the model was trained with where the folder tells, as
        those do that are written here, and 1,200 otherwise.
    random_state
        Another number draws other bins and other genes.
    mode
        ``"original"`` does what the authors' program does: names are found only as they are written, two columns of
        one name are two tokens, bins and genes that ``"hash"`` would draw are drawn cell after cell from the streams
        of numpy and torch, and means go over <cls> and the padding too, which depends on the minibatch.
    batch
        The batch, by its number in training, that cells are taken for; needed by models fine-tuned to normalise
        batches apart, and to give expression where the decoder sees the batch. Other models take none.
    cls_value
        Value of <cls>. ``None`` is what the model was trained with where the folder tells, and else that of padding, as
        in pre-training and in the authors' embeddings, and 0 where values are categories; the authors' notebooks
        fine-tune with 0.

    Raises
    ------
    CheckpointError
        A file that is missing, damaged, lacks a tensor or does not fit the others; a value of <cls> that the table of
        categories does not have.
    InputError
        An option that has no such value, or a batch for a model that tells none apart.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> model = scfm.models.load("scGPT_human", ties="middle")  # doctest: +SKIP

    References
    ----------
    Cui et al. (2024), Nature Methods 21, 1470-1480.
    """
    given: dict[str, Any] = {"max_length": max_length, "cls_value": cls_value}
    given = {name: value for name, value in given.items() if value is not None}
    options = Options(ties, sampling, random_state=random_state, mode=mode, batch=batch, **given)
    from .model import load_scgpt

    return load_scgpt(path, options, remembered=set(OF_TRAINING) - set(given))
