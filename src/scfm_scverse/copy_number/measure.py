"""Copy number of all cells of a data set, donor by donor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import GeneMatchError
from .malignant import call_malignant, evidence_of
from .neighbors import neighbor_matrix
from .normals import collect_moments, standards
from .profile import find_profile
from .windows import Windows, make_windows, smooth_cells

MIN_SEEN = 0.05  # share of the cells that express a gene
MIN_GENES = 1000
MOST_NORMALS, MOST_CANDIDATES = 5000, 20_000  # that a profile is learnt from, to bound memory
BLOCK = 10_000  # cells


@dataclass(frozen=True)
class CopyNumber:
    """Outcome for ``n`` cells of ``d`` donors.

    Attributes
    ----------
    genes
        Positions of the genes that were used, in the order along the chromosomes.
    windows
        Where the windows lie.
    values
        float32 [n, w]: cells relative to the normal ones.
    score, distant
        float32 [n]: how far each cell follows the profile of its donor, and its distant neighbourhood (see
        :class:`~scfm_scverse.copy_number.profile.Profile`), in robust standard deviations of the normal cells; NaN
        where there was nothing to compare.
    called
        bool [n]: malignant.
    evidence
        float32 [d]: how far gains and losses of each donor can be relied on, 0 to 1.
    n_normals, n_candidates
        int64 [d]: normal cells (own or borrowed) and candidates of each donor.
    borrowed
        bool [d]: donors that were compared with the normal cells of all donors.
    """

    genes: NDArray[np.intp]
    windows: Windows
    values: NDArray[np.float32]
    score: NDArray[np.float32]
    distant: NDArray[np.float32]
    called: NDArray[np.bool_]
    evidence: NDArray[np.float32]
    n_normals: NDArray[np.int64]
    n_candidates: NDArray[np.int64]
    borrowed: NDArray[np.bool_]


def measure_copy_number(
    read: Callable[[], Iterable[tuple[int, sp.csr_matrix]]],
    chromosome: NDArray[np.integer],
    start: NDArray[np.integer],
    donor: NDArray[np.integer],
    normal: NDArray[np.bool_],
    candidate: NDArray[np.bool_],
) -> CopyNumber:
    """Compare every cell with the normal cells of its donor along the chromosomes.

    Parameters
    ----------
    read
        Gives the position of the first cell and log values [b, g] of one block after the other; read twice. Genes stand
        in the order along the chromosomes.
    chromosome, start
        Of each gene, [g].
    donor
        Position of each cell's donor, [n].
    normal
        Cells that are surely normal, [n].
    candidate
        Cells that may be malignant, [n].

    Raises
    ------
    GeneMatchError
        Fewer than 1,000 genes are expressed by 5 % of the cells.
    """
    every = collect_moments(read(), donor, normal, len(chromosome))
    genes = np.flatnonzero(every.n_seen >= max(MIN_SEEN * every.n_cells, 1))
    if len(genes) < MIN_GENES:
        msg = (
            f"Found {len(genes):,} genes of chromosomes 1 to 22 that 5 % of the cells express; expected "
            f"{MIN_GENES:,} at least, since gains and losses show in runs of genes only."
        )
        raise GeneMatchError(msg)
    moments = every.genes(genes)
    mean, scale, enough = standards(moments)
    windows = make_windows(chromosome[genes], start[genes])
    blocks = ((first, block[:, genes]) for first, block in read())
    values = smooth_cells(blocks, donor, mean, scale, windows)
    return _by_donor(values, genes, windows, donor, normal, candidate, enough)


def _by_donor(
    values: NDArray[np.float32],
    genes: NDArray[np.intp],
    windows: Windows,
    donor: NDArray[np.integer],
    normal: NDArray[np.bool_],
    candidate: NDArray[np.bool_],
    enough: NDArray[np.bool_],
) -> CopyNumber:
    """Learn the profile of each donor; ``values`` are replaced in place by what the scores were computed from."""
    neighbors = neighbor_matrix(windows)
    n_pairs = int(neighbors.sum() / 2)
    present = np.isfinite(values[:, 0])
    everyone = values[_some(normal & present, MOST_NORMALS)]
    score, distant = (np.full(len(values), np.nan, np.float32) for _ in range(2))
    called = np.zeros(len(values), bool)
    summary = np.zeros((3, len(enough)))
    for one in range(len(enough)):
        here = (donor == one) & present
        normals = values[_some(here & normal, MOST_NORMALS)] if enough[one] else everyone
        profile = find_profile(values[_some(here & candidate, MOST_CANDIDATES)], normals, neighbors)
        cells = np.flatnonzero(here)
        for first in range(0, len(cells), BLOCK):
            block = cells[first : first + BLOCK]
            rows = profile.clean(values[block])
            values[block], score[block], distant[block] = rows, profile.along(rows), profile.distant(rows)
        evidence = evidence_of(profile, n_pairs, borrowed=not enough[one])
        called[cells] = call_malignant(score[cells], distant[cells], candidate[cells], profile, evidence)
        summary[:, one] = evidence, len(normals), (here & candidate).sum()
    return CopyNumber(
        genes=genes,
        windows=windows,
        values=values,
        score=score,
        distant=distant,
        called=called,
        evidence=summary[0].astype(np.float32),
        n_normals=summary[1].astype(np.int64),
        n_candidates=summary[2].astype(np.int64),
        borrowed=~enough,
    )


def _some(chosen: NDArray[np.bool_], most: int) -> NDArray[np.intp]:
    """Positions of chosen cells; where they are too many, some from all over."""
    at = np.flatnonzero(chosen)
    return at if len(at) <= most else at[np.linspace(0, len(at) - 1, most).astype(int)]
