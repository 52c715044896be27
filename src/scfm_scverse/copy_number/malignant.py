"""From copy number and unknown score to a malignant score and a call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .profile import Profile

# Evidence that a donor has gains and losses at all. Among 92 normal types of eleven data sets, each tried as if it
# might be malignant, the mean over the distant neighbourhood reached 3.4, 2.8 and 2.5 at most, and no cell was called.
MIN_PAIRS = 500  # of windows: with fewer genes, a cell type cannot be told from gains and losses
MIN_CELLS = 3
MIN_STRETCH, MIN_DISTANT, MIN_DISTANT_BORROWED = 0.15, 2.5, 3.75
ENOUGH = 0.5
# Robust standard deviations of the normal cells, beyond which a cell is called.
FAR_ALONG, FAR_DISTANT = 5.0, 3.0
TRUST = 0.9  # in gains and losses at the best evidence; the rest stays with the unknown score


def call_malignant(
    along: NDArray[np.float32],
    distant: NDArray[np.float32],
    candidate: NDArray[np.bool_],
    profile: Profile,
    evidence: float,
) -> NDArray[np.bool_]:
    """Call the malignant cells of one donor, [n]: none unless its candidates share gains and losses.

    Parameters
    ----------
    along, distant
        Of each cell, on the two axes of the profile, [n].
    candidate
        Cells of a lineage that may be malignant, [n].
    profile
        Of the donor.
    evidence
        From :func:`evidence_of`.
    """
    called = (
        candidate
        & (along > max(FAR_ALONG, profile.mean_along / 2))
        & (distant > max(FAR_DISTANT, profile.mean_distant / 2))
    )
    proven = evidence >= ENOUGH and profile.stretch >= MIN_STRETCH
    return called if proven and called.sum() >= MIN_CELLS else np.zeros(len(called), bool)


def evidence_of(profile: Profile, n_pairs: int, *, borrowed: bool) -> float:
    """How far the gains and losses of a donor can be relied on, 0 to 1.

    Parameters
    ----------
    profile
        Of the donor.
    n_pairs
        Pairs of neighbouring windows.
    borrowed
        Compared with normal cells of other donors, from which it may differ for other reasons.
    """
    if n_pairs < MIN_PAIRS:
        return 0.0
    least = MIN_DISTANT_BORROWED if borrowed else MIN_DISTANT
    return float(np.clip(ENOUGH * profile.mean_distant / least, 0, 1))


def malignant_score(
    unknown_score: NDArray[np.floating],
    along: NDArray[np.floating],
    distant: NDArray[np.floating],
    evidence: NDArray[np.floating],
    lineage: NDArray[np.floating],
) -> NDArray[np.float32]:
    """Join what is known of each cell, [n], into a score between 0 and 1.

    Where gains and losses are plain the unknown score hardly counts; where there are none it counts for half.

    Parameters
    ----------
    unknown_score
        0 to 1.
    along, distant
        Of each cell, on the two axes of the profile of its donor; a missing value counts as 0.
    evidence
        Of the cell's donor, from :func:`evidence_of`.
    lineage
        Probability that the cell's lineage may be malignant.
    """
    followed, around = (np.maximum(np.nan_to_num(z), 0) for z in (along, distant))
    trust = TRUST * evidence
    parts = followed / (followed + FAR_ALONG) + trust * around / (around + FAR_DISTANT)
    parts = parts + (1 - trust) * np.nan_to_num(unknown_score)
    out: NDArray[np.float32] = (np.nan_to_num(lineage) * parts / 2).astype(np.float32)
    return out
