"""Cells with several kinds of features (RNA, protein, open chromatin): one vocabulary, one sequence of tokens.

The network is :class:`~.network.ScgptNetwork` with ``n_modalities``: the transformer sees no modality, the decoders do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...tokens import Tokens
from .files import CLS, EOC, PAD

SPECIAL = (PAD, CLS, EOC)


@dataclass(frozen=True)
class Features:
    """Vocabulary of a data set of several modalities.

    Attributes
    ----------
    vocabulary
        Tokens: features and special tokens that a pre-trained model knows, then the new features, [v].
    n_known
        How many of them it knows: their vectors can be taken over.
    ids
        int32 [g]: position in the vocabulary of each feature.
    modalities
        Names of the modalities, sorted, then the special ones.
    modality
        int64 [v]: modality of each token of the vocabulary; that of a special token is its own.
    """

    vocabulary: NDArray[np.str_]
    n_known: int
    ids: NDArray[np.int32]
    modalities: NDArray[np.str_]
    modality: NDArray[np.int64]


def join_features(names: Sequence[str], modality: Sequence[str], known: Sequence[str]) -> Features:
    """Make the vocabulary of a data set as scGPT's authors do.

    Parameters
    ----------
    names
        Features of all modalities, one after the other [g], no name twice; the authors call proteins ``"p_CD3"``.
    modality
        Modality of each [g].
    known
        Vocabulary of the pre-trained model.

    Examples
    --------
    >>> joined = join_features(["p_CD3", "CD3E"], ["Protein", "RNA"], ["CD3E", "<pad>", "<cls>", "<eoc>"])
    >>> joined.vocabulary.tolist()
    ['CD3E', '<pad>', '<cls>', '<eoc>', 'p_CD3']
    """
    there = set(known)
    every = [*names, *SPECIAL]
    kept, new = [one for one in every if one in there], [one for one in every if one not in there]
    vocabulary = np.array([*kept, *new])
    at = {name: position for position, name in enumerate(vocabulary.tolist())}
    modalities = np.array([*sorted(set(modality)), *SPECIAL])
    number = {name: position for position, name in enumerate(modalities.tolist())}
    of = {**dict(zip(names, modality, strict=True)), **{name: name for name in SPECIAL}}
    return Features(
        vocabulary=vocabulary,
        n_known=len(kept),
        ids=np.array([at[name] for name in names], np.int32),
        modalities=modalities,
        modality=np.array([number[of[name]] for name in vocabulary.tolist()], np.int64),
    )


def join_tokens(parts: Sequence[Tokens], cls: int) -> Tokens:
    """Put the tokens of each cell's modalities behind one <cls>.

    Parameters
    ----------
    parts
        Tokens of one modality each, of the same cells and vocabulary, binned by themselves, <cls> in front. A cell
        that was not measured in a modality has none there.
    cls
        Position of <cls> in the vocabulary.
    """
    n = len(parts[0])
    cell = np.concatenate([np.repeat(np.arange(n), part.lengths) for part in parts])
    order = np.argsort(cell, kind="stable")
    cell = cell[order]
    ids, values = (np.concatenate([getattr(part, name) for part in parts])[order] for name in ("ids", "values"))
    kept = (ids != cls) | (np.diff(cell, prepend=-1) > 0)
    return Tokens(
        indptr=np.concatenate([[0], np.cumsum(np.bincount(cell[kept], minlength=n))]),
        ids=ids[kept],
        values=values[kept],
        measured=np.logical_or.reduce([part.measured for part in parts]),
    )
