"""Continuous tokens with two numbers beside them: the read depth of the cell and the depth that is aimed at."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError
from .blocks import log_of_one_more, measured_genes, parts_of
from .ordered import ordered_tokens
from .tokens import Tokens

TARGET_SUM = 1e4

Sample = Literal["singlecell", "bulk"]
"""What a row is: a cell, or a mixture of many."""


@dataclass(frozen=True)
class TargetDepth:
    """The depth T that a cell is read as having, log10 of counts.

    Attributes
    ----------
    rule
        ``"t"``: ``number`` for every cell; ``"f"``: that many times the cell's own depth, ``log10(total * number)``;
        ``"a"``: so much more on the logarithmic scale, ``log10(total) + number``.
    number
        Number of the rule.
    """

    rule: Literal["t", "f", "a"]
    number: float

    @classmethod
    def parse(cls, text: str) -> TargetDepth:
        """Read ``"t4"``, ``"f1.5"``, ``"a0.5"``.

        Raises
        ------
        InputError
            The text is none of these, or asks for a depth of no counts.
        """
        found = re.fullmatch(r"([tfa])(-?\d+(?:\.\d+)?)", text)
        if found is None or (found[1] == "f" and float(found[2]) <= 0):
            msg = (
                f"Found target_depth={text!r}; expected 't4' (10,000 counts), 'f2' (twice the cell's own depth) or "
                "'a1' (ten times, on the logarithmic scale), with another number if you like."
            )
            raise InputError(msg)
        return cls(found[1], float(found[2]))  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.rule}{self.number:g}"

    def __call__(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Depth T that cells with these totals are read as having, [n]."""
        if self.rule == "t":
            return np.full(len(total), self.number)
        depth: NDArray[np.float64] = (
            np.log10(total * self.number) if self.rule == "f" else np.log10(total) + self.number
        )
        return depth


@dataclass(frozen=True)
class ReadDepth:
    """Tokeniser of scFoundation: ln(1 + counts per 10,000 of the model's genes), total, T and S = log10(total).

    Attributes
    ----------
    columns
        int32 [g]: vocabulary position of each column of the matrix, -1 for columns that the model does not know.
        Columns of one gene are added before the logarithm.
    n_genes
        Size of the vocabulary.
    target
        The depth T; not used for bulk samples.
    base
        Base of the logarithm that the matrix is in, 0 for counts and other linear values. Logarithms are taken as
        they are, those of another base than e brought to it; their total is the sum of the logarithms, unless totals
        are given.
    sample
        ``"bulk"``: T and S are both log10 of the sum of the tokens' values; where the matrix holds logarithms, both
        are that sum itself. So the authors' script has it.
    target_sum
        What the linear values of a row are scaled to before the logarithm.
    needs_totals
        Whether to stop where no totals are given.
    """

    columns: NDArray[np.int32]
    n_genes: int
    target: TargetDepth
    base: float = 0.0
    sample: Sample = "singlecell"
    target_sum: float = TARGET_SUM
    needs_totals: bool = False

    def __call__(self, block: sp.csr_matrix, totals: NDArray[np.float64] | None = None) -> Tokens:
        """Tokenise a canonical CSR block of non-negative values, [n, g].

        Parameters
        ----------
        block
            The rows.
        totals
            Counts of each cell over all genes of the model [n], where the matrix does not hold them all. ``None``
            adds up what the matrix holds.

        Raises
        ------
        InputError
            Totals are needed and not given, or are not above zero for a cell that has tokens.
        """
        if totals is None and self.needs_totals:
            msg = (
                "Found no totals; expected the counts of each cell, which log values do not tell: pass total_key= of "
                "tl.embed."
            )
            raise InputError(msg)
        indptr, ids, values, total = ordered_tokens(*parts_of(block), self.columns, self.n_genes)
        if self.base:
            values *= np.float32(math.log(self.base))
            total *= math.log(self.base)
        if totals is not None:
            total = np.asarray(totals, np.float64)
            _check_totals(total, np.diff(indptr) > 0)
        if self.base == 0:
            _log_of_shares(indptr, values, total, self.target_sum)
        measured = measured_genes(self.columns, self.n_genes)
        return Tokens(indptr, ids, values, measured, self._depths(indptr, values, total))

    def _depths(
        self, indptr: NDArray[np.int64], values: NDArray[np.float32], total: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float32] | NDArray[np.float64]]:
        with np.errstate(divide="ignore"):  # a cell without counts has no depth; nothing reads it
            if self.sample == "bulk":
                cells = np.repeat(np.arange(len(total)), np.diff(indptr))
                sums = np.bincount(cells, weights=values, minlength=len(total))
                depth = sums if self.base else np.log10(sums)
                t, s = depth, depth
            else:
                t, s = self.target(total), np.log10(total)
        return {"total": total, "T": t.astype(np.float32), "S": s.astype(np.float32)}


def counts_of(tokens: Tokens, target_sum: float = TARGET_SUM) -> NDArray[np.float64]:
    """Return the counts that the values of tokens were made of, rounded to whole numbers, [t].

    Single precision tells whole counts up to some 300,000 apart.
    """
    shares = np.expm1(tokens.values.astype(np.float64)) / target_sum
    counts: NDArray[np.float64] = np.rint(shares * np.repeat(tokens.extra["total"], tokens.lengths))
    return counts


def with_counts(
    tokens: Tokens, counts: NDArray[np.float64], total: NDArray[np.float64], target_sum: float = TARGET_SUM
) -> Tokens:
    """Return tokens of the same cells with other counts of their genes [t] and other totals [n].

    Genes without a count are left out. The depth T is that of the tokens before: the cell is still to be read as
    having it.
    """
    expressed, cells = counts > 0, np.repeat(np.arange(len(tokens)), tokens.lengths)[counts > 0]
    values = np.log1p(counts[expressed] / total[cells] * target_sum).astype(np.float32)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=len(tokens)))])
    extra = {"total": total, "T": tokens.extra["T"], "S": np.log10(total).astype(np.float32)}
    return Tokens(indptr, tokens.ids[expressed], values, tokens.measured, extra)


def _check_totals(total: NDArray[np.float64], expressed: NDArray[np.bool_]) -> None:
    wrong = total[expressed & ~(total > 0)]
    if len(wrong):
        msg = (
            f"Found a total of {wrong[0]:g} for {len(wrong):,} cells that express genes of the model; expected counts "
            "above 0: pass total_key= with a column that holds them."
        )
        raise InputError(msg)


def _log_of_shares(
    indptr: NDArray[np.int64], values: NDArray[np.float32], total: NDArray[np.float64], target: float
) -> None:
    """Turn counts into ln(1 + count / total * target), in place."""
    scale = np.divide(target, total, out=np.zeros(len(total)), where=total > 0).astype(np.float32)
    values *= np.repeat(scale, np.diff(indptr))
    log_of_one_more(values)
