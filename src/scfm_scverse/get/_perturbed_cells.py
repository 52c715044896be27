"""``get.perturbed_cells``: cells before and after a perturbation, labelled as pertpy and GEARS label them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError, MissingKeyError
from .._record import ROOT, keys_written, read_record, record

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def perturbed_cells(
    adata: AnnData, *, key: str = "scfm", control: str = "control", only_changed: bool = False
) -> AnnData:
    """Lay the cells of :func:`scfm_scverse.tl.perturb` out as a screen: as they are, then as they would be.

    For tools that compare groups of cells by a column of ``obs``, such as ``pertpy.tl.Distance``. No expression is made
    up for perturbed cells, there is no ``X``: what the model says of them is their embedding and, where it decodes
    expression, the predicted change. Both rows of a cell are one cell: tests that take the groups as independent, as
    permutations of cells do, see small shifts badly; :func:`scfm_scverse.tl.rank_perturbations` compares in pairs.

    Parameters
    ----------
    adata
        Perturbed cells. Stays as it is.
    key
        The ``key_added`` of the perturbation.
    control
        Label of the unperturbed cells in ``obs["perturbation"]``.
    only_changed
        Leave out cells that the perturbation does not change, before and after.

    Returns
    -------
    A new AnnData, two rows a cell, named ``"cell-control"`` and ``"cell-STAT1"``. Cells without an embedding before or
    after are left out.

    ``obs["perturbation"]``
        As pertpy has it: ``control``, "STAT1" or "STAT1+JAK2".
    ``obs["condition"]``
        As GEARS has it: "ctrl", "STAT1+ctrl" or "STAT1+JAK2".
    ``obs``
        All columns of the cells; columns of these two names become "measured_perturbation" and "measured_condition".
        ``"{key}_effect"`` is 0 before the perturbation.
    ``obsm[embedding_key]``
        Embedding before and after, under the key that the embedding of the cells has.
    ``layers["{key}_delta"]``
        Where it was written: predicted change of expression, 0 before. Without it there are no genes.
    ``uns["scfm"]["perturb"][key]``
        How it was made.

    Raises
    ------
    MissingKeyError
        Nothing was written under ``key``, or a part of it is gone.
    InputError
        ``control`` is the name of the perturbation, or no cell is left.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.perturb(adata, "CD74")
    >>> screen = scfm.get.perturbed_cells(adata)
    >>> screen.obs["perturbation"].value_counts().to_dict()
    {'control': 700, 'CD74': 700}
    """
    from anndata import AnnData

    from ..perturbation.names import gears_condition, pertpy_name

    made = perturbation_record(adata, key)
    embedding_key, delta = made["embedding_key"], f"{key}_delta"
    name = pertpy_name(made["genes"])
    if control == name:
        msg = f"Found control={control!r}, the name of the perturbation; expected another label, such as 'control'."
        raise InputError(msg)
    before, after = np.asarray(adata.obsm[embedding_key]), np.asarray(adata.obsm[f"X_{key}_perturbed"])
    rows = _rows(before, after, only_changed=only_changed)
    if not len(rows):
        msg = f"Found no cell with an embedding before and after {name}{' that changes' * only_changed}; expected one."
        raise InputError(msg)
    labels = {"perturbation": (control, name), "condition": ("ctrl", gears_condition(made["genes"]))}
    cells = AnnData(obs=_obs(adata.obs.iloc[rows], f"{key}_effect", labels))
    if delta in adata.layers:
        cells = AnnData(obs=cells.obs, var=adata.var.copy(), layers={delta: _below_zeros(adata.layers[delta], rows)})
    cells.obsm[embedding_key] = np.concatenate([before[rows], after[rows]])
    record(cells, "perturb", key, made)
    return cells


def perturbation_record(adata: AnnData, key: str) -> dict[str, Any]:
    """Return the record of the perturbation; all that belongs to it must be there."""
    made = read_record(adata, "perturb", key)
    wanted = {"obsm": [f"X_{key}_perturbed", *([made["embedding_key"]] if made else [])], "obs": [f"{key}_effect"]}
    missing = [
        f"{attr}[{slot!r}]" for attr, slots in wanted.items() for slot in slots if slot not in getattr(adata, attr)
    ]
    if made is None or missing:
        keys = keys_written(adata, "perturb")
        msg = (
            f"adata.{missing[0] if missing else f'uns[{ROOT!r}]'} is missing; expected what tl.perturb writes "
            f"(perturbations found: {keys}). Run scfm.tl.perturb(adata, ..., key_added={key!r}) first, or pass key=."
        )
        raise MissingKeyError(msg)
    return made


def _rows(before: NDArray[np.float32], after: NDArray[np.float32], *, only_changed: bool) -> NDArray[np.int64]:
    kept = ~(np.isnan(before).any(axis=1) | np.isnan(after).any(axis=1))
    if only_changed:
        kept &= (before != after).any(axis=1)
    return np.flatnonzero(kept)


def _obs(cells: pd.DataFrame, effect: str, labels: dict[str, tuple[str, str]]) -> pd.DataFrame:
    """Columns of the cells twice, and the labels before and after; what has the name of a label steps aside."""
    import pandas as pd
    from anndata.utils import make_index_unique

    renamed = cells.rename(columns={name: f"measured_{name}" for name in labels})
    unperturbed = renamed.copy()
    unperturbed[effect] = np.zeros(len(cells), np.float32)
    obs = pd.concat([unperturbed, renamed])
    for column, both in labels.items():
        obs[column] = pd.Categorical(np.repeat(np.array(both, object), len(cells)), categories=list(both))
    obs.index = make_index_unique(obs.index.astype(str) + "-" + obs["perturbation"].astype(str))
    return obs


def _below_zeros(changes: Any, rows: NDArray[np.int64]) -> sp.csr_matrix:
    """Rows of a matrix below as many rows of zeros."""
    changed = sp.csr_matrix(changes[rows])
    both: sp.csr_matrix = sp.vstack([sp.csr_matrix(changed.shape, dtype=changed.dtype), changed], format="csr")
    return both
