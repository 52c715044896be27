"""Arguments of a screen, read and checked before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError, ModelMismatchError
from .._query import check_batch_size
from .._record import check_column, read_record
from ..perturbation.summary import Test
from ._perturbation import check_kind
from ._screen_statistics import check_statistics

if TYPE_CHECKING:
    from anndata import AnnData

    from ..models import CellModel


def read_doses(kind: str, dose: Any) -> list[float]:
    """Read the dose, or the doses; each must make sense."""
    several = dose.tolist() if isinstance(dose, np.ndarray) else dose
    doses = list(several) if isinstance(several, list | tuple) else [several]
    for one in doses:
        check_kind(kind, one)
    if not doses or len(set(doses)) < len(doses):
        msg = f"Found dose={dose}; expected a number, or different numbers."
        raise InputError(msg)
    return [float(one) for one in doses]


def check_arguments(given: dict[str, Any], model: CellModel, *, all_genes: bool) -> None:
    """Stop before any work where arguments make no sense or contradict each other."""
    for name, least in (("n_null", 2), ("n_permutations", 1), ("min_cells", 1), ("n_exact", 1), ("combinations", 1)):
        number = given[name]
        if number is not None and (not isinstance(number, int | np.integer) or number < least):
            msg = f"Found {name}={number!r}; expected a whole number, {least} at least."
            raise InputError(msg)
    check_batch_size(given["batch_size"])
    if given["test"] not in get_args(Test):
        msg = f"Found test={given['test']!r}; expected 'genes', 'ranksum' or 'permutation'."
        raise InputError(msg)
    if given["combinations"] > 1 and all_genes:
        msg = f"Found combinations={given['combinations']} without genes=; expected genes to combine."
        raise InputError(msg)
    _check_screen(given["screen"], given["kind"], given["n_exact"], model)
    check_statistics(given["statistics"], model, given)


def _check_screen(screen: str | None, kind: str, n_exact: int | None, model: CellModel) -> None:
    """Stop where perturbations cannot be ranked first in the way that is asked for."""
    if screen not in {None, "gradient", "bfloat16"} or (screen == "gradient" and kind not in {"delete", "inhibit"}):
        msg = (
            f"Found screen={screen!r} with kind={kind!r}; expected None, 'bfloat16' or, to delete or inhibit genes, "
            "'gradient'."
        )
        raise InputError(msg)
    if screen is None and n_exact is not None:
        msg = f"Found n_exact={n_exact} without screen=; expected a way to choose them, such as screen='bfloat16'."
        raise InputError(msg)
    if screen == "gradient" and not hasattr(model, "sensitivity"):
        msg = f"Found screen='gradient' with {model.spec.name}, which has no sensitivity(); expected screen='bfloat16'."
        raise InputError(msg)


def check_kept(adata: AnnData, verb: str, key: str, model: CellModel) -> None:
    """Stop before the screen of another model is overwritten."""
    written = read_record(adata, verb, key)
    if written is not None and written.get("model_id") != model.spec.id:
        msg = (
            f"Found a screen under {key!r} made with model {written.get('model_id')}; expected {model.spec.id}. "
            "Pass key_added= to keep both."
        )
        raise ModelMismatchError(msg)


def read_donors(adata: AnnData, donor_key: str | None) -> NDArray[np.int64] | None:
    """Donor of each cell [n], -1 for none."""
    check_column(adata, "donor_key", donor_key)
    if donor_key is None:
        return None
    codes: NDArray[np.int64] = adata.obs[donor_key].astype("category").cat.codes.to_numpy().astype(np.int64)
    n_donors = len(np.unique(codes[codes >= 0]))
    if n_donors < 3:
        msg = (
            f"Found {n_donors} donors in adata.obs[{donor_key!r}] (donor_key); expected three at least. "
            "Without donor_key= the cells are the units of the test."
        )
        raise InputError(msg)
    return codes
