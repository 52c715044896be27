"""Data that a model of the manner of scvi-tools is set up with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich.pretty  # noqa: F401 (scvi-tools prints by it and does not import it)
import scvi
from scvi.data import AnnDataManager
from scvi.model.base import BaseModelClass

from .._errors import InputError, MissingKeyError
from .data import Organism
from .fields import GenesField, MuDataGenesField, MuDataNamesField, NamesField
from .registered import Registered, check_actual

if TYPE_CHECKING:
    import torch
    from anndata import AnnData
    from mudata import MuData


class SetUp(BaseModelClass):  # type: ignore[misc]
    """What a model knows of its data. Of theirs, nothing is changed but what scvi-tools registers."""

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        layer: str | None = None,
        batch_key: str | None = None,
        labels_key: str | None = None,
        unlabeled_category: str | None = None,
        *,
        use_raw: bool = False,
        gene_symbols: str | None = None,
        organism: Organism | None = None,
        **kwargs: Any,
    ) -> None:
        """Say where an AnnData holds what a model reads.

        Parameters
        ----------
        adata
            Cells x genes, no view.
        layer, use_raw, gene_symbols, organism
            As in :func:`scfm_scverse.tl.embed`.
        batch_key, labels_key
            Columns of ``adata.obs`` with the batch of every cell and with its label, which may be missing.
        unlabeled_category
            A label that stands for none.
        **kwargs
            What scvi-tools passes on: ``source_registry``, ``extend_categories``.

        Raises
        ------
        InputError
            A view, a cell without a batch, or a name that ``source_registry`` does not have.
        MissingKeyError
            A column, the layer or ``raw`` is not there.
        """
        args = cls._get_setup_method_args(**locals())
        check_actual(adata)
        fields = [
            GenesField(layer, use_raw=use_raw),
            NamesField("batch", batch_key, required=True),
            NamesField("labels", labels_key, missing=unlabeled_category),
        ]
        manager = AnnDataManager(fields=fields, setup_method_args=args)
        manager.register_fields(adata, **kwargs)
        cls.register_manager(manager)

    @classmethod
    def setup_mudata(
        cls,
        mdata: MuData,
        rna_layer: str | None = None,
        batch_key: str | None = None,
        labels_key: str | None = None,
        unlabeled_category: str | None = None,
        *,
        modalities: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Say where a MuData holds what a model reads.

        Parameters
        ----------
        mdata
            Modalities of the same cells, no view.
        rna_layer
            Layer of the modality of RNA to read instead of searching.
        batch_key, labels_key, unlabeled_category
            As in :meth:`setup_anndata`, in ``mdata.obs`` or that of a modality.
        modalities
            Modality of each argument, such as ``{"rna_layer": "rna", "batch_key": "rna"}``; ``"rna"`` where
            ``rna_layer`` is not named, ``mdata.obs`` where a key is not.
        **kwargs
            As in :meth:`setup_anndata`.
        """
        modalities = {"rna_layer": "rna", **(modalities or {})}
        args = cls._get_setup_method_args(**locals())
        check_actual(mdata)
        if modalities["rna_layer"] not in mdata.mod:
            msg = f"Found no modality {modalities['rna_layer']!r}; expected one of {', '.join(map(repr, mdata.mod))}."
            raise MissingKeyError(msg)
        of = cls._create_modalities_attr_dict(modalities, args)
        fields = [
            MuDataGenesField(rna_layer, mod_key=of.rna_layer),
            MuDataNamesField("batch", batch_key, mod_key=of.batch_key, required=True),
            MuDataNamesField("labels", labels_key, mod_key=of.labels_key, missing=unlabeled_category),
        ]
        manager = AnnDataManager(fields=fields, setup_method_args=args)
        manager.register_fields(mdata, **kwargs)
        cls.register_manager(manager)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        where: torch.device = next(iter(self.module.parameters())).device
        return where

    @classmethod
    def _set_up_alike(cls, data: AnnData | MuData, registry: dict[str, Any], **kwargs: Any) -> None:
        """Set data up as those of a registry were; a query may have no labels."""
        args = dict(registry["setup_args"])
        if kwargs and args.get("labels_key") not in Registered(registry).obs(data, "labels"):
            args["labels_key"] = None
        getattr(cls, registry["setup_method_name"])(data, source_registry=registry, **args, **kwargs)

    def _data(self, data: AnnData | MuData | None) -> AnnData | MuData:
        data = self.adata if data is None else data
        if data is None:
            msg = "Found no cells: the model was made without adata; expected adata=."
            raise InputError(msg)
        return data

    @property
    def _registered(self) -> Registered:
        return Registered(self.registry_)


def seed_of_scvi() -> int:
    """Return ``scvi.settings.seed``, 0 where it is not set."""
    return 0 if scvi.settings.seed is None else int(scvi.settings.seed)
