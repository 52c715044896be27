"""What of an AnnData is registered with scvi-tools: which matrix, the batch and the label of each cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scvi.data.fields import CategoricalObsField, LayerField, MuDataWrapper

from .._errors import InputError, MissingKeyError
from .data import names_in, numbers_of
from .registered import without

if TYPE_CHECKING:
    from anndata import AnnData


class GenesField(LayerField):  # type: ignore[misc]
    """The matrix. Its values are neither read nor changed, and its genes may be any, in any order."""

    def __init__(self, layer: str | None, *, use_raw: bool = False) -> None:
        super().__init__("X", layer, is_count_data=False, correct_data_format=False)
        self.use_raw = use_raw

    def validate_field(self, adata: AnnData) -> None:
        """Stop where the matrix is not there."""
        if self.attr_key is not None and self.attr_key not in adata.layers:
            there = ", ".join(map(repr, adata.layers)) or "none"
            msg = f"Found no layer {self.attr_key!r}; the layers are: {there}. Pass one of them as layer=."
            raise MissingKeyError(msg)
        if self.use_raw and adata.raw is None:
            msg = "Found no adata.raw; expected one because of use_raw=True."
            raise MissingKeyError(msg)

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """Return the numbers of cells and genes, and the names of the genes."""
        self.validate_field(adata)
        names = np.asarray((adata.raw if self.use_raw else adata).var_names)
        return {self.N_OBS_KEY: adata.n_obs, self.N_VARS_KEY: len(names), self.COLUMN_NAMES_KEY: names}

    def transfer_field(self, _: Mapping[str, Any], adata_target: AnnData, **__: Any) -> dict[str, Any]:
        """Register other data, whose genes need not be those of the first."""
        return self.register_field(adata_target)


class NamesField(CategoricalObsField):  # type: ignore[misc]
    """A column of names, such as labels; missing ones and ``missing`` are -1, where the field allows them."""

    def __init__(self, registry_key: str, key: str | None, *, missing: object = None, required: bool = False) -> None:
        super().__init__(registry_key, key)
        self.missing, self.required = missing, required

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """Number the names that occur."""
        return self._written(adata, [])

    def transfer_field(
        self,
        state_registry: Mapping[str, Any],
        adata_target: AnnData,
        extend_categories: bool = False,  # noqa: FBT001, FBT002 (as in scvi-tools)
        **_: Any,
    ) -> dict[str, Any]:
        """Number the names as they were numbered before; new ones come behind them or are refused."""
        return self._written(
            adata_target, state_registry[self.CATEGORICAL_MAPPING_KEY].tolist(), extend=extend_categories
        )

    def _written(self, adata: AnnData, known: list[Any], *, extend: bool = True) -> dict[str, Any]:
        if self.is_default:
            self._setup_default_attr(adata)
        key = self._original_attr_key
        if key not in adata.obs:
            msg = f"{self.registry_key} are to be in obs[{key!r}]; its columns are {', '.join(map(repr, adata.obs))}."
            raise MissingKeyError(msg)
        column = without(adata.obs[key], self.missing)
        if self.required and column.isna().any():
            msg = f"obs[{key!r}] is missing in {int(column.isna().sum()):,} cells; expected a batch for every cell."
            raise InputError(msg)
        if self.is_default:
            known, extend = [], True
        new = [name for name in names_in(column) if name not in set(known)] if extend else []
        names = [*known, *new]
        adata.obs[self.attr_key] = numbers_of(column, names, where=f"obs[{key!r}]")
        return {self.CATEGORICAL_MAPPING_KEY: np.array(names), self.ORIGINAL_ATTR_KEY: key}


MuDataGenesField = MuDataWrapper(GenesField)
MuDataNamesField = MuDataWrapper(NamesField)
