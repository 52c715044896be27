"""``tl.finetune``: a model for one's own types of cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .._query import AnyModel, chosen_model

if TYPE_CHECKING:
    from anndata import AnnData

    from ..foundation.model import FoundationModel
    from ..training.settings import OptimizerName


def finetune(
    adata: AnnData,
    *,
    labels_key: str,
    model: AnyModel = "scfm-mini",
    batch_key: str | None = None,
    unlabeled_category: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    gene_symbols: str | None = None,
    organism: Literal["human", "mouse"] | None = None,
    max_epochs: int | None = None,
    optimizer: OptimizerName = "galore",
    validation_size: float = 0.1,
    holdout_key: str | None = None,
    class_weights: Literal["balanced"] | None = "balanced",
    n_frozen_layers: int | None = None,
    folder: str | Path | None = None,
    **settings: Any,
) -> FoundationModel:
    """Fine-tune a model for the types of cells of labelled data.

    It is said how well the labels of the cells that were held out are told. The result goes into every verb as
    ``model=``; its ``predict`` labels other cells, its ``save`` keeps it.

    Parameters
    ----------
    adata
        Cells x genes, no view. scvi-tools writes what it registers: ``obs["_scvi_batch"]``, ``obs["_scvi_labels"]``,
        ``uns["_scvi_uuid"]``, ``uns["_scvi_manager_uuid"]``.
    labels_key
        Column of ``adata.obs`` with the label of each cell; cells without one are left out.
    model
        Where training begins; it is copied and stays as it is. As in :func:`scfm_scverse.tl.embed`.
    batch_key, unlabeled_category
        See :meth:`scfm_scverse.FoundationModel.setup_anndata`.
    layer, use_raw, gene_symbols, organism
        As in :func:`scfm_scverse.tl.embed`.
    max_epochs, optimizer, validation_size, holdout_key, class_weights, n_frozen_layers, folder, **settings
        See :meth:`scfm_scverse.FoundationModel.train`.

    Returns
    -------
    The fine-tuned model.

    Raises
    ------
    InputError
        A model that cannot be trained, fewer than two labels, or an argument that cannot be.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
    >>> start = scfm.models.create("scgpt", adata.var_names.tolist(), dim=16, n_layers=1, n_heads=2, max_length=50)
    >>> tuned = scfm.tl.finetune(adata, labels_key="bulk_labels", model=start, max_epochs=1)
    >>> scfm.tl.embed(adata, model=tuned)
    >>> adata.obsm["X_scGPT"].shape
    (700, 16)

    References
    ----------
    Cui et al. (2024), Nature Methods 21, 1470-1480, and the papers of the other models.
    """
    from ..foundation.model import FoundationModel

    FoundationModel.setup_anndata(
        adata,
        layer,
        batch_key,
        labels_key,
        unlabeled_category,
        use_raw=use_raw,
        gene_symbols=gene_symbols,
        organism=organism,
    )
    start = model if isinstance(model, str | Path) else chosen_model(model)
    tuned = FoundationModel.from_pretrained(start, adata)
    tuned.train(
        max_epochs,
        objective="cell_type",
        optimizer=optimizer,
        validation_size=validation_size,
        holdout_key=holdout_key,
        class_weights=class_weights,
        n_frozen_layers=n_frozen_layers,
        folder=folder,
        **settings,
    )
    return tuned
