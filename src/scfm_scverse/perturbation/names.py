"""Names of perturbations as pertpy and GEARS write them: "STAT1", "STAT1+ctrl", "STAT1+JAK2", "control"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError

if TYPE_CHECKING:
    import pandas as pd

JOIN = "+"
GEARS_CONTROL = "ctrl"
# As written: CTRL and Ctrl are genes, chymotrypsin-like of human and mouse.
CONTROLS = (GEARS_CONTROL, "control", "non-targeting")
_SHOWN = 8


def parse_perturbation(perturbation: str | Sequence[str], *, control: str | None = None) -> tuple[str, ...]:
    """Return the genes of one perturbation, in the order given; none for a control.

    Parameters
    ----------
    perturbation
        Text, names joined by "+", or several names, each as it is. Labels of controls are no genes: "STAT1+ctrl" is
        the perturbation of STAT1.
    control
        Label of a control besides "ctrl", "control" and "non-targeting".

    Raises
    ------
    InputError
        An empty name, the same gene twice, a "+" within one of several names, or no text at all.

    Examples
    --------
    >>> from scfm_scverse.perturbation.names import parse_perturbation
    >>> parse_perturbation("STAT1+ctrl"), parse_perturbation(["HLA-A", "B2M"]), parse_perturbation("control")
    (('STAT1',), ('HLA-A', 'B2M'), ())
    """
    genes = [name for name in _members(perturbation, control) if name not in CONTROLS and name != control]
    twice = [name for place, name in enumerate(genes) if name in genes[:place]]
    if twice:
        msg = f"Found {twice[0]!r} twice in the perturbation {perturbation!r}; expected different genes."
        raise InputError(msg)
    return tuple(genes)


def gears_condition(genes: Sequence[str]) -> str:
    """Return the ``condition`` that GEARS has for a perturbation: "A+ctrl", "A+B", or "ctrl" without genes.

    Examples
    --------
    >>> from scfm_scverse.perturbation.names import gears_condition
    >>> gears_condition(["STAT1"]), gears_condition(["STAT1", "JAK2"]), gears_condition([])
    ('STAT1+ctrl', 'STAT1+JAK2', 'ctrl')
    """
    return JOIN.join([*genes, GEARS_CONTROL] if len(genes) < 2 else genes)


def pertpy_name(genes: Sequence[str], control: str = "control") -> str:
    """Return the ``perturbation`` that pertpy has: "A", "A+B", or the label of controls without genes.

    Examples
    --------
    >>> from scfm_scverse.perturbation.names import pertpy_name
    >>> pertpy_name(["STAT1"]), pertpy_name(["STAT1", "JAK2"]), pertpy_name([], control="NT")
    ('STAT1', 'STAT1+JAK2', 'NT')
    """
    return JOIN.join(genes) or control


def perturbations_of(
    column: pd.Series, control: str | None = "control"
) -> tuple[list[tuple[str, ...]], NDArray[np.bool_]]:
    """Return the different perturbations in a column of labels, and which cells [n] are controls.

    Cells without a label are neither.

    Parameters
    ----------
    column
        Label of each cell [n], as pertpy or GEARS write it; text or categories.
    control
        Label of controls. "ctrl", "control" and "non-targeting" stand for each other where the one asked for is not
        there; None asks for any of them.

    Returns
    -------
    Perturbations in the order of their labels, "A+B" and "B+A" once, and the mask of controls [n].

    Raises
    ------
    InputError
        No cell is a control, or a label is no perturbation.

    Examples
    --------
    >>> import pandas as pd
    >>> from scfm_scverse.perturbation.names import perturbations_of
    >>> found, is_control = perturbations_of(pd.Series(["ctrl", "STAT1+ctrl", "JAK2+STAT1", None]))
    >>> found, is_control.tolist()
    ([('JAK2', 'STAT1'), ('STAT1',)], [True, False, False, False])
    """
    labels = sorted(column.dropna().unique(), key=str)
    controls = [label for label in labels if label == control]
    if not controls and (control is None or control in CONTROLS):
        controls = [label for label in labels if label in CONTROLS]
    if not controls:
        there = ", ".join(map(repr, labels[:_SHOWN])) + (f" and {len(labels) - _SHOWN:,} more" * (len(labels) > _SHOWN))
        asked = " or ".join(map(repr, CONTROLS)) if control is None else repr(control)
        msg = (
            f"Found no control {asked} in the column {column.name!r}, whose labels are {there or 'missing'}; "
            "expected cells that nothing was done to. Pass control= with their label."
        )
        raise InputError(msg)
    found: dict[frozenset[str], tuple[str, ...]] = {}
    for label in labels:
        genes = parse_perturbation(label, control=control)
        found.setdefault(frozenset(genes), genes)
    found.pop(frozenset(), None)
    return list(found.values()), column.isin(controls).to_numpy(bool)


def _members(perturbation: object, control: str | None) -> list[str]:
    """Names as they stand, without the blanks around them."""
    if isinstance(perturbation, str):
        names: list[object] = [perturbation] if perturbation == control else list(perturbation.split(JOIN))
    else:
        names = _as_list(perturbation)
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        msg = (
            f"Found {wrong[0]!r} ({type(wrong[0]).__name__}) for a perturbation; expected names of genes as text, "
            "such as 'STAT1', 'STAT1+JAK2' or ['STAT1', 'JAK2']."
        )
        raise InputError(msg)
    genes = [str(name).strip() for name in names]
    if not all(genes):
        msg = f"Found an empty name in the perturbation {perturbation!r}; expected genes, such as 'STAT1+JAK2'."
        raise InputError(msg)
    joined = [name for name in genes if JOIN in name and name != control]
    if joined:
        msg = (
            f"Found {joined[0]!r} among the genes {perturbation!r} of one perturbation; "
            "expected one gene in each name. Several perturbations go to tl.rank_perturbations."
        )
        raise InputError(msg)
    return genes


def _as_list(perturbation: object) -> list[object]:
    if hasattr(perturbation, "tolist"):  # numpy, pandas
        perturbation = perturbation.tolist()
    return list(perturbation) if isinstance(perturbation, list | tuple) else [perturbation]
