"""Whether a perturbation does more than those it is compared with: p-values, and how many of them are false.

Cells of one donor are not independent, and neither are values of one cell under several perturbations. The tests over
cells (:func:`rank_sum_p`, :func:`permutation_p`) take them for independent and are too sure of themselves where donors
or genes differ; :func:`donor_p` asks whether an effect repeats from donor to donor.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr
from scipy.stats import false_discovery_control, mannwhitneyu

from .._errors import InputError
from ..tokens.kernels import _compiled

Alternative = Literal["two-sided", "greater"]

EXACT_VALUES = 8  # on one side at most
EXACT_PAIRS = 4000  # beyond which the exact rank-sum test takes seconds
EXACT_DONORS = 12
SAMPLED_FLIPS = 10_000
MIN_DONORS = 3
MIN_NULL = 3  # numbers that have a spread to speak of
RANDOM_NUMBERS = 1 << 20  # held at a time
_ROUNDING = 1e-10  # two sums of the same numbers differ by less, relative to the largest


def among_genes_p(mean: float, null_means: NDArray[np.floating], alternative: Alternative = "two-sided") -> float:
    """Test whether the mean of a perturbation is unusual among those of its null: genes, not cells, are the units.

    A t test of one new number against a sample. Cells cannot make it surer than the genes of the null allow, which is
    what a screen needs: genes differ among themselves, and with many cells each of them differs from their average.

    Parameters
    ----------
    mean
        Mean score of the perturbation over its cells.
    null_means
        [m]: those of the perturbations that it is compared with; NaN are left out.
    alternative
        ``"greater"`` asks whether the perturbation does more than its null.

    Returns
    -------
    The p-value; NaN with fewer than 3 perturbations to compare with.
    """
    known = _known(null_means)
    if len(known) < MIN_NULL or np.isnan(mean):
        return np.nan
    away, spread = mean - known.mean(), known.std(ddof=1) * np.sqrt(1 + 1 / len(known))
    return _t_p(away, spread, len(known) - 1, alternative)


def rank_sum_p(
    values: NDArray[np.floating], null: NDArray[np.floating], alternative: Alternative = "two-sided"
) -> float:
    """Rank-sum test (Mann and Whitney) of values of cells against values of the null; NaN are left out.

    With at most 8 values on one side, no ties and at most 4,000 pairs the p-value is exact; otherwise it is that of the
    normal approximation with corrections for ties and continuity, which is conservative for very few values.

    Parameters
    ----------
    values, null
        [n] and [k]: of the perturbation, and of the perturbations that it is compared with.
    alternative
        ``"greater"`` asks whether values are greater than those of the null.

    Returns
    -------
    The p-value; NaN if a side has no values.
    """
    values, null = _known(values), _known(null)
    if not len(values) or not len(null):
        return np.nan
    if min(values.min(), null.min()) == max(values.max(), null.max()):
        return 1.0
    if min(len(values), len(null)) <= EXACT_VALUES and len(values) * len(null) <= EXACT_PAIRS:
        return float(mannwhitneyu(values, null, alternative=alternative).pvalue)
    return _approximate_rank_sum_p(values, null, alternative)


def _approximate_rank_sum_p(values: NDArray[np.float64], null: NDArray[np.float64], alternative: Alternative) -> float:
    """Rank-sum test by the normal approximation: what scipy computes, at a tenth of its time."""
    n, k = len(values), len(null)
    null, pool = np.sort(null), np.sort(np.concatenate([values, null]))
    below = np.searchsorted(null, values, "left") + np.searchsorted(null, values, "right")
    starts = np.flatnonzero(np.append(pool[1:] != pool[:-1], True))
    tied = np.diff(starts, prepend=-1).astype(np.float64)
    spread = np.sqrt(n * k / 12 * (n + k + 1 - (tied**3 - tied).sum() / ((n + k) * (n + k - 1))))
    above = below.sum() / 2 - n * k / 2
    z = ((above if alternative == "greater" else abs(above)) - 0.5) / spread
    return float(ndtr(-z) if alternative == "greater" else min(1.0, 2 * ndtr(-z)))


def permutation_p(
    values: NDArray[np.floating],
    null: NDArray[np.floating],
    n_permutations: int,
    rng: np.random.Generator,
    *,
    alternative: Alternative = "two-sided",
) -> float:
    """Permutation test of the mean of the values against those of the null; NaN are left out.

    Draws as many numbers as there are values out of values and null together, without replacement, as if labels were
    dealt out anew: p = (1 + draws with a mean as far off) / (1 + draws), never 0. Right for any sizes if all numbers
    come from one distribution. Called with the mean of a perturbation as the only value and the means of its null, it
    asks whether the perturbation stands out among others, whatever the number of cells.

    Parameters
    ----------
    values, null
        [n] and [k]: of the perturbation, and of the perturbations that it is compared with.
    n_permutations
        Number of draws.
    rng
        Source of random numbers.
    alternative
        ``"two-sided"`` counts draws whose mean is as far from the mean of all, ``"greater"`` those as great.

    Returns
    -------
    The p-value; NaN if a side has no values.
    """
    values, null = _known(values), _known(null)
    if not len(values) or not len(null):
        return np.nan
    pool = np.concatenate([values, null])
    pool -= pool.mean()
    observed, rounding = pool[: len(values)].sum(), _ROUNDING * np.abs(pool).max() * len(values)
    n_drawn = min(len(values), len(null))
    # Numbers that are left over sum to minus the drawn ones.
    sign = 1 if n_drawn == len(values) else -1
    hits, step = 0, max(1, RANDOM_NUMBERS // n_drawn)
    for start in range(0, n_permutations, step):
        sums = sign * _sums_of_draws(pool, rng.random((min(step, n_permutations - start), n_drawn)))
        far = sums >= observed - rounding if alternative == "greater" else np.abs(sums) >= abs(observed) - rounding
        hits += int(far.sum())
    return (1 + hits) / (1 + n_permutations)


@_compiled("float64[::1](float64[::1], float64[:, ::1])")
def _sums_of_draws(pool: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of draws without replacement, one for each row of random numbers in [0, 1).

    The first steps of a shuffle; the order that the last draw left is as good a start as any.
    """
    sums = np.zeros(len(uniform))
    for row in range(uniform.shape[0]):
        for place in range(uniform.shape[1]):
            other = place + int(uniform[row, place] * (len(pool) - place))
            pool[place], pool[other] = pool[other], pool[place]
            sums[row] += pool[place]
    return sums


def donor_p(
    values: NDArray[np.floating],
    donors: NDArray[np.integer],
    null_values: NDArray[np.floating],
    null_donors: NDArray[np.integer],
    *,
    alternative: Alternative = "two-sided",
    test: Literal["t", "permutation"] = "t",
) -> float:
    """Test whether an effect repeats over donors, each of which counts once.

    For each donor with numbers on both sides, the mean of the perturbation less the mean of its null in the same donor.
    These differences are compared with 0.

    Parameters
    ----------
    values, donors
        [n]: of the cells of the perturbation, and the donor of each, from 0; -1 for none. NaN are left out.
    null_values, null_donors
        [k]: the same for the perturbations that it is compared with.
    alternative
        ``"greater"`` asks whether the perturbation does more than its null.
    test
        ``"t"``: one-sample t test. ``"permutation"``: differences change their signs, in all ways up to 12 donors and
        in 10,000 drawn ones beyond. With few donors its p-value cannot be small: at best ``2 / 2^donors`` two-sided.

    Returns
    -------
    The p-value; NaN with fewer than 3 donors.
    """
    n = 1 + max(donors.max(initial=-1), null_donors.max(initial=-1))
    difference = _known(_donor_means(values, donors, n) - _donor_means(null_values, null_donors, n))
    if len(difference) < MIN_DONORS:
        return np.nan
    if test == "permutation":
        return _flip_p(difference, alternative)
    mean, error = difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))
    return _t_p(mean, error, len(difference) - 1, alternative)


def _t_p(away: float, error: float, freedom: int, alternative: Alternative) -> float:
    """p-value of a distance in units of its standard error, of this many degrees of freedom."""
    if error == 0:
        return float(away == 0 or (away < 0 and alternative == "greater"))
    t = away / error
    below = stdtr(freedom, -t if alternative == "greater" else -abs(t))
    return float(below if alternative == "greater" else 2 * below)


def _donor_means(values: NDArray[np.floating], donors: NDArray[np.integer], n: int) -> NDArray[np.float64]:
    """Mean of each donor's values [n], NaN for a donor without."""
    kept = (donors >= 0) & ~np.isnan(values)
    count = np.bincount(donors[kept], minlength=n)
    total = np.bincount(donors[kept], values[kept], minlength=n)
    return np.asarray(np.divide(total, count, out=np.full(n, np.nan), where=count > 0))


def _flip_p(difference: NDArray[np.float64], alternative: Alternative) -> float:
    """Share of changes of sign that leave the sum as far from 0; the given signs are among them."""
    sums, observed = _signs(len(difference)) @ difference, difference.sum()
    rounding = _ROUNDING * np.abs(difference).sum()
    far = sums >= observed - rounding if alternative == "greater" else np.abs(sums) >= abs(observed) - rounding
    return float(far.mean())


@lru_cache
def _signs(n: int) -> NDArray[np.int8]:
    """Signs that ``n`` differences may have: all, or drawn ones after the given."""
    if n <= EXACT_DONORS:
        return (1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)).astype(np.int8)
    drawn = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (SAMPLED_FLIPS, n))
    return np.concatenate([np.ones((1, n), np.int8), drawn])


def false_discovery(p: NDArray[np.floating], n_tests: int | None = None) -> NDArray[np.float64]:
    """False discovery rates of Benjamini and Hochberg (1995); NaN stay NaN and do not count.

    Parameters
    ----------
    p
        [p]: p-values.
    n_tests
        Number of perturbations that were asked about, where some were screened out before they were tested. They
        count as tested with p = 1, so that screening does not make the others look better.

    Raises
    ------
    InputError
        Fewer tests than p-values.

    Examples
    --------
    >>> import numpy as np
    >>> from scfm_scverse.perturbation import false_discovery
    >>> false_discovery(np.array([0.01, np.nan, 0.5]), n_tests=4)
    array([0.04,  nan, 1.  ])
    """
    known = ~np.isnan(p)
    n_known = int(known.sum())
    n_tests = n_known if n_tests is None else n_tests
    if n_tests < n_known:
        msg = f"Found n_tests={n_tests} with {n_known} p-values; expected at least as many tests."
        raise InputError(msg)
    rates = np.full(len(p), np.nan)
    rates[known] = false_discovery_control(np.concatenate([p[known], np.ones(n_tests - n_known)]))[:n_known]
    return rates


def _known(values: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(values[~np.isnan(values)], np.float64)
