"""How well the expression after a perturbation is predicted: the correlations that scGPT and GEARS report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError


@dataclass(frozen=True)
class PerturbationScores:
    """Pearson correlation, over genes, of predicted and true means: one number for each perturbation, [p].

    Attributes
    ----------
    perturbation
        Names, sorted.
    pearson
        Of the means themselves, which mostly say what every cell expresses.
    pearson_delta
        Of the changes from the control's mean.
    pearson_de, pearson_de_delta
        Both on the perturbation's own differentially expressed genes.
    """

    perturbation: NDArray[np.str_]
    pearson: NDArray[np.float64]
    pearson_delta: NDArray[np.float64]
    pearson_de: NDArray[np.float64]
    pearson_de_delta: NDArray[np.float64]

    def means(self) -> dict[str, float]:
        """Mean of each number over the perturbations; NaN without any."""
        names = ("pearson", "pearson_delta", "pearson_de", "pearson_de_delta")
        return {
            name: float(values.mean()) if len(values) else float("nan")
            for name, values in zip(names, astuple(self)[1:], strict=True)
        }


def perturbation_scores(
    predicted: NDArray[np.floating],
    truth: NDArray[np.floating],
    perturbation: NDArray[np.str_],
    control_mean: NDArray[np.floating],
    de_genes: Mapping[str, NDArray[np.integer]],
    *,
    expressed_only: bool = False,
) -> PerturbationScores:
    """Compare predicted with measured cells, perturbation by perturbation (Cui et al., 2024; Roohani et al., 2023).

    Parameters
    ----------
    predicted, truth
        Log-normalised expression, [n, g]; the rows need not belong together, only the perturbations.
    perturbation
        Name of each row's perturbation [n], the control not among them.
    control_mean
        Mean expression of the control cells [g].
    de_genes
        Perturbation -> positions of the genes it changes; scGPT takes the 20 that are most significant.
    expressed_only
        Leave genes without any true expression under a perturbation out of the correlations over all genes.

    Returns
    -------
    Correlations; NaN where one side is the same for all genes. A perturbation without true expression is left out.

    Raises
    ------
    InputError
        ``de_genes`` lacks a perturbation.

    Examples
    --------
    >>> import numpy as np
    >>> cells, names = np.array([[1.0, 2, 4], [1, 3, 4]]), np.array(["A", "A"])
    >>> scores = perturbation_scores(cells, cells, names, np.ones(3), {"A": np.array([0, 1])})
    >>> round(scores.means()["pearson_delta"], 6)
    1.0
    """
    names, rows = [], []
    control = np.asarray(control_mean, np.float64)
    for name in np.unique(perturbation).tolist():
        if name not in de_genes:
            msg = f"de_genes lacks the perturbation {name!r}; expected the genes that it changes."
            raise InputError(msg)
        chosen = perturbation == name
        true, found = (cells[chosen].mean(axis=0, dtype=np.float64) for cells in (truth, predicted))
        if not true.any():
            continue
        genes = np.flatnonzero(true) if expressed_only else np.arange(len(true))
        names.append(name)
        rows.append(
            [
                _pearson(found[among] - base[among], true[among] - base[among])
                for among in (genes, de_genes[name])
                for base in (np.zeros_like(control), control)
            ]
        )
    return PerturbationScores(np.array(names, np.str_), *np.array(rows, np.float64).reshape(-1, 4).T)


def _pearson(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    one, other = one - one.mean(), other - other.mean()
    length = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / length if length > 0 else float("nan")
