"""``FoundationModel``: a model of cells in the manner of scvi-tools."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import scvi
from numpy.typing import NDArray

from .._errors import InputError
from .._logging import say
from .._query import AnyModel, chosen_model
from ..models import create, load
from ..training.cells import Cells
from ..training.settings import OptimizerName
from .answers import cell_vectors, class_probabilities, likeliest, reads_batches, trainable
from .data import OF_ENSEMBL, chosen_rows, genes_to_model, read_cells
from .expression import expression, genes_to_tell
from .files import Saved, is_saved, read_folder, write_folder
from .objectives import ObjectiveName
from .registered import of_genes, require_same_batches
from .run import by_epoch, continued, train_cells
from .setup import SetUp, seed_of_scvi

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData

    from ..models import CellModel
    from ..training.objectives import Objective


class FoundationModel(SetUp):
    """A model of cells, published or new, to train and use in the manner of scvi-tools.

    Any model of this package can be in it. Genes meet the model by name, whatever their order and number, and are
    refused where too few are known. Matrices stay sparse, backed ones on disk. Of an AnnData, nothing is written but
    what scvi-tools registers: ``obs["_scvi_batch"]``, ``obs["_scvi_labels"]``, ``uns["_scvi_uuid"]`` and
    ``uns["_scvi_manager_uuid"]``. ``scvi.settings.seed`` seeds weights, splits and training (``None`` stands for 0).

    Every verb takes it as ``model=``.

    Parameters
    ----------
    adata
        AnnData or MuData that :meth:`setup_anndata` or :meth:`setup_mudata` has seen.
    architecture
        What is made, with new weights: see :func:`scfm_scverse.models.create`. Or a model, which is trained in place.
    genes
        Vocabulary of a new model; ``None`` takes the genes of the data.
    registry
        Stands for ``adata`` where there is none; for :meth:`load`.
    **sizes
        Sizes of a new network.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced().raw.to_adata()
    >>> scfm.FoundationModel.setup_anndata(adata, labels_key="bulk_labels")
    >>> model = scfm.FoundationModel(adata, "scgpt", dim=16, n_layers=1, n_heads=2, max_length=50)
    >>> model.train(max_epochs=1)
    >>> model.get_latent_representation().shape, model.predict().shape
    ((700, 16), (700,))
    """

    def __init__(
        self,
        adata: AnnData | MuData | None = None,
        architecture: str | CellModel = "scgpt",
        *,
        genes: Sequence[str] | None = None,
        registry: dict[str, Any] | None = None,
        **sizes: Any,
    ) -> None:
        if adata is None and registry is None:
            names = genes if isinstance(architecture, str) else architecture.spec.genes.tolist()
            if names is None:
                msg = "Found neither adata nor genes; expected an AnnData, or the genes of a new model's vocabulary."
                raise InputError(msg)
            registry = of_genes(list(names), scvi_version=scvi.__version__)
        super().__init__(adata, None if adata is not None else registry)
        if isinstance(architecture, str):
            if genes is None:
                told = self._registered
                genes = genes_to_model(told.rna(adata), ensembl=architecture in OF_ENSEMBL, **told.reading)
            architecture = create(architecture, genes, **{"seed": seed_of_scvi(), **sizes})
        self.cell_model: CellModel = architecture
        self.module = getattr(architecture, "network", None)
        self.labels_: list[Any] | None = None
        self.table_: pd.DataFrame | None = None
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    def from_pretrained(cls, model: AnyModel, adata: AnnData | MuData | None = None, **options: Any) -> FoundationModel:
        """Take a model that is trained already.

        Parameters
        ----------
        model
            Name of a model, path of a checkpoint as its authors release it or of a folder that :meth:`save` wrote, or
            a loaded model or ``FoundationModel``. It is copied: training leaves the original as it is.
        adata
            Data that were set up, to train on, and stay set up as they are; to embed cells none are needed.
        **options
            Of the checkpoint's family, see :func:`scfm_scverse.models.load`.
        """
        if isinstance(model, FoundationModel):
            saved = Saved(deepcopy(model.cell_model), model.registry_, model.labels_, model.table_)
        elif isinstance(model, str | Path) and is_saved(Path(model)):
            saved = read_folder(Path(model))
        else:
            loaded = load(model, **options) if isinstance(model, str | Path) else chosen_model(model)
            return cls(adata, deepcopy(loaded))
        made = cls(adata, saved.model, registry=saved.registry)
        if adata is not None and reads_batches(saved.model):
            require_same_batches(made.registry_, saved.registry)
        made._take(saved.labels, saved.history)
        return made

    def train(
        self,
        max_epochs: int | None = None,
        *,
        objective: ObjectiveName | Objective = "auto",
        optimizer: OptimizerName = "galore",
        lr: float | None = None,
        batch_size: int | None = None,
        validation_size: float = 0.1,
        holdout_key: str | None = None,
        class_weights: Literal["balanced"] | None = "balanced",
        n_frozen_layers: int | None = None,
        folder: str | Path | None = None,
        resume: bool = False,
        **settings: Any,
    ) -> None:
        """Train on the data that were set up.

        Parameters
        ----------
        max_epochs
            Rounds over the cells. ``None`` shows the network 200,000 cells, in 1 round at least and 20 at most.
        objective
            ``"cell_type"`` (needs labels), ``"pretraining"`` (what the model's authors train for), ``"integration"``
            (needs batches), or an objective of ``scfm_scverse.training.objectives``. ``"auto"`` takes cell types where
            there are labels, else pre-training.
        optimizer, lr
            See :class:`scfm_scverse.training.TrainSettings`.
        batch_size
            Cells that go through the network together; ``None`` is 32.
        validation_size
            Share of the cells that the loss is validated on; they are not learnt from. 0 for none.
        holdout_key
            Column of ``obs``, of donors say, whose groups are validated on as a whole; every cell has one.
        class_weights
            ``"balanced"`` lets every label count the same, ``None`` every cell.
        n_frozen_layers
            Layers that stay as they are, and the embeddings before them; ``None`` trains everything.
        folder
            Where the run is kept, so that it can go on; ``None`` keeps none.
        resume
            Go on with the run in ``folder``, if there is one.
        **settings
            Other fields of :class:`scfm_scverse.training.TrainSettings`.

        Raises
        ------
        InputError
            No data, or an argument that cannot be.
        """
        data = self._data(None)
        groups = None if holdout_key is None else self._registered.column(data, holdout_key)
        labels, batches = self._registered.names("labels"), self._registered.names("batch")
        told = {"optimizer": optimizer, "lr": lr, "max_epochs": max_epochs, "batch_size": batch_size}
        trained = train_cells(
            trainable(self.cell_model),
            self._cells(data, labelled=True),
            settings={"seed": seed_of_scvi(), **told, **settings},
            n_classes=len(labels),
            n_batches=len(batches),
            objective=objective,
            validation_size=validation_size,
            groups=groups,
            class_weights=class_weights,
            n_frozen_layers=n_frozen_layers,
            keeps_head=labels == self.labels_,
            names=self.adata.obs_names,
            folder=None if folder is None else Path(folder),
            resume=resume,
        )
        self.train_indices_, self.validation_indices_ = trained.learnt, trained.held
        table = trained.table if self.table_ is None else continued(self.table_, trained.table)
        self._take(labels if trained.tells_classes else self.labels_, table)

    @property
    def history_table(self) -> pd.DataFrame | None:
        """The history of all trainings, one row a step; ``history`` has its means by epoch, as in scvi-tools."""
        return self.table_

    def get_latent_representation(
        self,
        adata: AnnData | MuData | None = None,
        indices: Any = None,
        batch_size: int | None = None,
        *,
        device: str = "auto",
    ) -> NDArray[np.float32]:
        """Return a vector for every cell, as :func:`scfm_scverse.tl.embed` writes it.

        Parameters
        ----------
        adata
            Cells of any number and order of genes; ``None`` takes the data that were set up.
        indices
            Cells to embed, by position or as a mask; ``None`` is all.
        batch_size
            Cells that go through the model together; ``None`` decides by their length. Does not change the result.
        device
            ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.

        Returns
        -------
        [n, d]; NaN for a cell without counts on the model's genes.
        """
        data = self._data(adata)
        rows = chosen_rows(data.n_obs, indices)
        return cell_vectors(self.cell_model, self._cells(data), rows, batch_size=batch_size, device=device)

    def get_normalized_expression(
        self,
        adata: AnnData | MuData | None = None,
        indices: Any = None,
        *,
        genes: Sequence[str] | None = None,
        batch_size: int | None = None,
        device: str = "auto",
    ) -> pd.DataFrame:
        """Return the expression that the model tells of genes, in the units that it was trained on.

        Units are bins for scGPT, else natural logarithms of one plus counts per 10,000.

        Parameters
        ----------
        adata, indices, batch_size, device
            As in :meth:`get_latent_representation`.
        genes
            Names of genes, measured or not; ``None`` takes those of the data.

        Returns
        -------
        Cells x genes; NaN for a cell without counts on the model's genes.

        Raises
        ------
        InputError
            The model tells no expression, or does not know a gene.
        """
        data = self._data(adata)
        told = self._registered
        names, where = genes_to_tell(self.cell_model, told.rna(data), genes, **told.reading)
        kept, rows = where >= 0, chosen_rows(data.n_obs, indices)
        cells = self._cells(data)
        values = expression(self.cell_model, cells, rows, where[kept], batch_size=batch_size, device=device)
        return pd.DataFrame(values, data.obs_names[rows], np.array(names)[kept])

    def predict(
        self,
        adata: AnnData | MuData | None = None,
        indices: Any = None,
        *,
        soft: bool = False,
        batch_size: int | None = None,
        device: str = "auto",
    ) -> NDArray[Any] | pd.DataFrame:
        """Return the label of every cell.

        Parameters
        ----------
        adata, indices, batch_size, device
            As in :meth:`get_latent_representation`.
        soft
            Return the probability of every label.

        Returns
        -------
        Labels [n], NaN for a cell without counts on the model's genes; or probabilities, cells x labels.

        Raises
        ------
        InputError
            The model was not trained for cell types, or ``adata`` holds a label or a batch that it has not seen.
        """
        if self.labels_ is None:
            msg = 'Found a model without classes; expected one after train(objective="cell_type").'
            raise InputError(msg)
        data = self._data(adata)
        rows = chosen_rows(data.n_obs, indices)
        told = class_probabilities(
            trainable(self.cell_model),
            self._cells(data, labelled=True),
            rows,
            n_classes=len(self.labels_),
            batch_size=batch_size,
            device=device,
        )
        if soft:
            return pd.DataFrame(told, index=data.obs_names[rows], columns=self.labels_)
        return likeliest(told, self.labels_)

    def save(self, dir_path: str | Path, overwrite: bool = False) -> None:  # noqa: FBT001, FBT002 (as in scvi-tools)
        """Write the model into a folder of safetensors, JSON, text and a table: no pickle.

        The folder also is one that :func:`scfm_scverse.models.load` reads, and every verb by its path.

        Parameters
        ----------
        dir_path
            A new folder.
        overwrite
            Whether it may take the place of a model saved before, which stays whole until the new one is.
        """
        saved = Saved(self.cell_model, self.registry_, self.labels_, self.table_)
        write_folder(Path(dir_path), trainable(self.cell_model), saved, overwrite=overwrite)

    @classmethod
    def load(cls, dir_path: str | Path, adata: AnnData | MuData | None = None) -> FoundationModel:
        """Read a folder that :meth:`save` wrote; nothing in it is executed.

        Parameters
        ----------
        dir_path
            The folder.
        adata
            Data to go on with, set up here as the first were; their genes may be others.

        Raises
        ------
        CheckpointError
            The folder is none of ours, or a file is missing, damaged or changed.
        InputError
            ``adata`` holds a label or a batch that the model has not seen.
        """
        saved = read_folder(Path(dir_path))
        if adata is not None:
            cls._set_up_alike(adata, saved.registry)
        model = cls(adata, saved.model, registry=saved.registry)
        model._take(saved.labels, saved.history)
        return model

    @classmethod
    def load_query_data(cls, adata: AnnData | MuData, reference_model: str | Path | FoundationModel) -> FoundationModel:
        """Take a trained model on to new data, whose batches and labels may be new.

        All its weights stay trainable; ``lora_rank`` of :meth:`train` leaves them and trains beside them. Where the
        labels are those of the reference, training goes on with its head of classes; with new ones among them the head
        is made anew.

        Parameters
        ----------
        adata
            The new data, set up here as those of the reference were.
        reference_model
            A trained model, which is copied, or the folder where it was saved.
        """
        if not isinstance(reference_model, FoundationModel):
            reference_model = cls.load(reference_model)
        cls._set_up_alike(adata, reference_model.registry_, extend_categories=True)
        model = cls(adata, deepcopy(reference_model.cell_model))
        model._take(reference_model.labels_, None)
        say(f"new in these data: {model._registered.new_beside(reference_model._registered)}")
        say(f"all weights of {model.cell_model.spec.name} stay trainable; train(lora_rank=) leaves them as they are")
        return model

    def __repr__(self) -> str:
        what = "not trained here" if self.table_ is None else f"trained for {len(self.table_):,} steps"
        classes = "" if self.labels_ is None else f", {len(self.labels_)} classes"
        size = self.summary_stats
        data = "no data" if self.adata is None else f"{size.n_cells:,} cells x {size.n_vars:,} genes"
        return f"FoundationModel of {self.cell_model.spec.id}: {what}{classes}; {data}"

    def _take(self, labels: list[Any] | None, table: pd.DataFrame | None) -> None:
        self.labels_, self.table_ = labels, table
        self.is_trained_ = table is not None
        self.history_ = None if table is None else by_epoch(table)

    def _cells(self, data: AnnData | MuData, *, labelled: bool = False) -> Cells:
        """Cells of data, those registered or others; labels and batches have numbers where they are read."""
        told, model = self._registered, self.cell_model
        return replace(
            read_cells(told.rna(data), model, **told.reading),
            labels=told.numbers(data, "labels") if labelled else None,
            batches=told.numbers(data, "batch") if labelled or reads_batches(model) else None,
        )
