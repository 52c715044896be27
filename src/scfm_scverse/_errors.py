"""Every exception of the package, in one tree.

::

    ScfmError
    ├── InputError            (ValueError)  the AnnData or an argument cannot be used as it is
    │   ├── CountsError                     no matrix holds the values that the model needs
    │   ├── GeneMatchError                  too few genes are known to the model
    │   └── FileError                       a file is not what was expected
    ├── MissingKeyError       (KeyError)    a slot is read before anything wrote it
    ├── ModelMismatchError    (ValueError)  a slot was written by another model
    ├── ReferenceMismatchError (ValueError)  a reference belongs to another model
    ├── CheckpointError       (ValueError)  weights are missing, unknown or damaged
    └── TrainingError         (ArithmeticError)  a training met a number that is none and cannot go on

A message says what was found, what was expected and what to do, in that order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ScfmError(Exception):
    """Base of all errors that this package raises on purpose."""


class InputError(ScfmError, ValueError):
    """The AnnData or an argument cannot be used as it is."""


class CountsError(InputError):
    """No matrix holds the values that the model needs."""


class GeneMatchError(InputError):
    """Too few genes of the data are known to the model."""


class FileError(InputError):
    """A file is missing, damaged or of another kind."""


class MissingKeyError(ScfmError, KeyError):
    """A slot of the AnnData is read before anything wrote it."""

    def __str__(self) -> str:
        # KeyError prints the repr of its argument; users should see the sentence.
        return str(self.args[0]) if self.args else ""


class ModelMismatchError(ScfmError, ValueError):
    """A slot was written by another model than the one asked for."""


class ReferenceMismatchError(ScfmError, ValueError):
    """A reference was made by another model than the one asked for."""


class CheckpointError(ScfmError, ValueError):
    """Weights are missing, unknown or damaged."""


class TrainingError(ScfmError, ArithmeticError):
    """A training met a number that is none and cannot go on.

    Attributes
    ----------
    cells
        int64 [n]: positions in the data of the cells that it was found with; empty where they are not known.
    step
        Step, from 1, that could not be taken.
    """

    def __init__(self, message: str, *, cells: NDArray[np.int64], step: int) -> None:
        super().__init__(message)
        self.cells, self.step = cells, step
