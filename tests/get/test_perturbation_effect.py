"""Mean effect of a perturbation in each group."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import MissingKeyError
from support import small_counts


@pytest.fixture
def adata() -> AnnData:
    """Cells of three groups and some of none; those of one express no LYZ."""
    cells = small_counts(40)
    counts = cells.X.toarray()
    counts[:10, cells.var_names.get_loc("LYZ")] = 0
    cells.X = type(cells.X)(counts)
    names = np.repeat(np.array(["without", "T/NK", "B", None], object), 10)
    cells.obs["kind"] = pd.Categorical(names, ["without", "T/NK", "absent", "B"])
    return cells


def test_groups_have_the_means_of_their_changed_cells(adata: AnnData) -> None:
    scfm.tl.perturb(adata, "LYZ", groupby="kind")
    table = scfm.get.perturbation_effect(adata)
    assert table.columns.tolist() == ["group", "n_cells", "n_affected", "mean_effect"]
    assert table["group"].tolist() == ["all", "without", "T/NK", "B"]
    assert table["n_cells"].tolist() == [40, 10, 10, 10]
    effect = adata.obs["scfm_effect"].astype(float)
    for group, n_affected, mean in table[["group", "n_affected", "mean_effect"]].itertuples(index=False):
        of_group = effect if group == "all" else effect[adata.obs["kind"] == group]
        changed = of_group[of_group > 0]
        assert n_affected == len(changed)
        assert mean == pytest.approx(changed.mean(), nan_ok=True)
    assert table["n_affected"].tolist()[1] == 0
    assert np.isnan(table["mean_effect"][1])


def test_table_without_groups_has_one_row(adata: AnnData) -> None:
    scfm.tl.perturb(adata, "LYZ", key_added="mine")
    table = scfm.get.perturbation_effect(adata, key="mine")
    assert table["group"].tolist() == ["all"]
    assert table["mean_effect"][0] == pytest.approx(adata.obs["mine_effect"][adata.obs["mine_effect"] > 0].mean())


def test_missing_perturbation_is_an_error_that_names_what_is_there(adata: AnnData) -> None:
    with pytest.raises(MissingKeyError, match=r"perturbations found: none\)\. Run scfm\.tl\.perturb"):
        scfm.get.perturbation_effect(adata)
    scfm.tl.perturb(adata, "LYZ", key_added="mine", genes_out=0)
    with pytest.raises(MissingKeyError, match=r"is missing; .*perturbations found: 'mine'\)"):
        scfm.get.perturbation_effect(adata)
