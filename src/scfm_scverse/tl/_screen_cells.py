"""Which cells are screened, in groups, and the states that they may move towards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError
from .._query import groups_of
from .._record import check_column
from ..perturbation.names import perturbations_of
from ..perturbation.screen import Weights

if TYPE_CHECKING:
    from anndata import AnnData

EVERYTHING = "all"  # the one group without groupby


@dataclass(frozen=True)
class States:
    """States of cells.

    Attributes
    ----------
    names
        Of the columns of the table: ``goal``, ``start``, then the alternatives as they are called.
    members
        Which cells belong to each, bool [s, n].
    """

    names: tuple[str, ...]
    members: NDArray[np.bool_]

    @property
    def towards(self) -> Weights:
        """Weight of the shift to each state in the score: to the goal, and away from the start if that is told."""
        away = len(self.names) > 1 and self.names[1] == "start"
        return (1.0, *(-1.0 if away and at == 0 else 0.0 for at in range(len(self.names) - 1)))


def read_states(
    adata: AnnData, state_key: str | None, start: str | None, goal: str | None, alternative: str | Sequence[str] | None
) -> States | None:
    """Read which cells are in which state; ``None`` without a goal."""
    check_column(adata, "state_key", state_key)
    others = [alternative] if isinstance(alternative, str) else list(alternative or ())
    if state_key is None:
        given = [name for name, value in (("start", start), ("goal", goal), ("alternative", others)) if value]
        if given:
            msg = f"Found {given[0]}= without state_key=; expected the column of adata.obs that holds the states."
            raise MissingKeyError(msg)
        return None
    if goal is None:
        if others:
            msg = f"Found alternative={alternative!r} without goal=; expected a goal beside which others are watched."
            raise InputError(msg)
        return None
    asked = [goal, *([start] if start is not None else []), *others]
    if len(set(asked)) < len(asked):
        twice = next(name for at, name in enumerate(asked) if name in asked[:at])
        msg = f"Found {twice!r} twice among goal, start and alternative; expected different states."
        raise InputError(msg)
    members = np.array([in_state(adata, state_key, one) for one in asked])
    columns = [str(name).replace("/", "_") for name in others]  # what files bear
    return States(("goal", *(("start",) if start is not None else ()), *columns), members)


def in_state(adata: AnnData, state_key: str, name: str) -> NDArray[np.bool_]:
    """Which cells are in a state [n]; one at least."""
    column = adata.obs[state_key].astype(str)
    mask: NDArray[np.bool_] = (column == str(name)).to_numpy()
    if not mask.any():
        there = ", ".join(map(repr, sorted(column.unique())[:8]))
        msg = f"Found no cell in state {name!r} of adata.obs[{state_key!r}]; its values are {there}."
        raise InputError(msg)
    return mask


def screened_cells(
    adata: AnnData,
    state_key: str | None,
    start: str | None,
    perturbation_key: str | None,
    control: str | None,
) -> tuple[NDArray[np.bool_], list[tuple[str, ...]] | None]:
    """Which cells may be perturbed [n], and which perturbations a column of labels names."""
    mask = np.ones(adata.n_obs, bool) if state_key is None or start is None else in_state(adata, state_key, start)
    check_column(adata, "perturbation_key", perturbation_key)
    if perturbation_key is None:
        return mask, None
    named, controls = perturbations_of(adata.obs[perturbation_key], control)
    return mask & controls, named


def draw_groups(
    adata: AnnData, groupby: str | None, allowed: NDArray[np.bool_], max_cells: int | None, random_state: int
) -> dict[str, NDArray[np.int64]]:
    """Cells of each group, ascending; of more than ``max_cells`` that many are drawn."""
    if max_cells is not None and max_cells < 1:
        msg = f"Found max_cells={max_cells!r}; expected a whole number, 1 at least, or None for all cells."
        raise InputError(msg)
    names, group = groups_of(adata, groupby)
    names = names or [EVERYTHING]
    drawn = {}
    for at, name in enumerate(names):
        cells = np.flatnonzero(allowed & (group == at))
        if max_cells is not None and len(cells) > max_cells:
            rng = np.random.default_rng((random_state, *name.encode()))  # the same whatever other groups there are
            cells = np.sort(rng.choice(cells, max_cells, replace=False))
        if len(cells):
            drawn[name] = cells
    if not drawn:
        msg = "Found no cell to perturb; expected cells that are in the state start=, are controls and have a group."
        raise InputError(msg)
    return drawn


def state_means(
    embedding: NDArray[np.floating], states: States, within: NDArray[np.bool_]
) -> NDArray[np.float32] | None:
    """Mean embedding of the cells of each state among some cells, [s, d]; ``None`` where a state has none of them."""
    known = within & ~np.isnan(embedding[:, 0])
    members = states.members & known
    if not members.any(axis=1).all():
        return None
    return np.array([embedding[one].mean(axis=0, dtype=np.float64) for one in members], np.float32)
