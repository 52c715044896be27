"""Names of models and how to load them; other packages add theirs through the entry point scfm_scverse.models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import InputError
from .catalogue import how_to_obtain
from .layouts import create_model, load_checkpoint

if TYPE_CHECKING:
    import pandas as pd

    from .base import CellModel
    from .trainable import Trainable

ENTRY_POINT = "scfm_scverse.models"
_loaders: dict[str, Callable[[], CellModel]] = {}


def register(name: str, loader: Callable[[], CellModel]) -> None:
    """Make a model loadable by name.

    A package does this without being imported by naming its loader under the entry point ``scfm_scverse.models``.

    Parameters
    ----------
    name
        Name for :func:`load`; a name that is taken is refused.
    loader
        Function without arguments that returns the model.

    Raises
    ------
    InputError
        The name is taken.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> scfm.models.register("my-mini", lambda: scfm.models.load("scfm-mini"))
    >>> scfm.models.load("my-mini").spec.dim
    256
    """
    if name in _all_loaders():
        msg = f"A model called {name!r} is registered already; expected a new name."
        raise InputError(msg)
    _loaders[name] = loader
    _load_registered.cache_clear()


def load(model: str | Path, **options: Any) -> CellModel:
    """Load a model by its name, or the checkpoint that its authors released.

    A checkpoint is recognised by its files and read without executing anything. Every tensor finds its place or is
    listed in ``model.report()``.

    Parameters
    ----------
    model
        One of the names that :func:`available` lists (asked twice, the same object is returned), or the path of a
        checkpoint: a scGPT folder, a Geneformer folder, scFoundation's ``models.ckpt``, scBERT's
        ``panglao_pretrain.pth``.
    **options
        Options of a checkpoint's family, such as ``mode="original"``; a wrong one is answered with the right ones.

    Returns
    -------
    A model; ``model.spec`` says what it is, ``model.report()`` what was loaded.

    Raises
    ------
    InputError
        No model has this name, or an option does not exist.
    CheckpointError
        The files are of no known layout, damaged, or lack a tensor.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> scfm.models.load("scfm-mini").spec.organism
    'human'
    """
    name = str(model)
    if name in _all_loaders():
        if options:
            msg = f"Found the option {next(iter(options))!r}; {name} has none."
            raise InputError(msg)
        return _load_registered(name)
    if name and Path(model).exists():
        return load_checkpoint(Path(model), options)
    msg = how_to_obtain(name) or (
        f"There is no model {name!r} and no file of that name; the models are "
        f"{', '.join(map(repr, sorted(_all_loaders())))}, others are loaded by the path of their files."
    )
    raise InputError(msg)


@cache
def _load_registered(name: str) -> CellModel:
    return _all_loaders()[name]()


def create(architecture: str, genes: Sequence[str], **sizes: Any) -> Trainable:
    """Make a model with new weights, to be trained from scratch.

    Parameters
    ----------
    architecture
        One of ``"scgpt"``, ``"geneformer"``, ``"scfoundation"``, ``"scbert"``, ``"scfm-latent"``, ``"scfm-mini"``.
    genes
        Names of the vocabulary, each once: symbols, or Ensembl ids for ``"geneformer"`` and ``"scfm-mini"``.
    **sizes
        ``seed`` of the weights and sizes of the network; a wrong name is answered with the right ones.

    Returns
    -------
    A model as :func:`load` returns it.

    Raises
    ------
    InputError
        There is no such architecture, or it has no such size; a gene is named twice; heads do not divide the width.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> model = scfm.models.create("scgpt", ["CD3E", "LYZ", "MS4A1"], dim=16, n_layers=2, n_heads=2)
    >>> model.spec.n_layers
    2
    """
    return create_model(architecture, genes, sizes)


def available() -> pd.DataFrame:
    """List the models that :func:`load` knows.

    Returns
    -------
    One row a model, indexed by name: version, genes, dim, organism, licence, description.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> scfm.models.available().loc["scfm-mini", "licence"]
    'BSD-3-Clause'
    """
    import pandas as pd

    specs = {name: load(name).spec for name in sorted(_all_loaders())}
    return pd.DataFrame(
        {
            "version": [spec.version for spec in specs.values()],
            "genes": [len(spec.genes) for spec in specs.values()],
            "dim": [spec.dim for spec in specs.values()],
            "organism": [spec.organism for spec in specs.values()],
            "licence": [spec.licence for spec in specs.values()],
            "description": [spec.description for spec in specs.values()],
        },
        index=pd.Index(list(specs), name="model"),
    )


def _all_loaders() -> dict[str, Callable[[], CellModel]]:
    from .scfm_mini import load_scfm_mini

    theirs: dict[str, Callable[[], CellModel]] = {
        point.name: partial(_load_point, point) for point in entry_points(group=ENTRY_POINT)
    }
    return theirs | _loaders | {"scfm-mini": load_scfm_mini}


def _load_point(point: EntryPoint) -> CellModel:
    """Import another package's loader, only when its model is asked for."""
    model: CellModel = point.load()()
    return model
