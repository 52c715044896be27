"""Records of what made a result: safe to write, equal after reading, guarding what others wrote."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from scfm_scverse._errors import InputError, ModelMismatchError
from scfm_scverse._record import check_free, read_record, record
from scfm_scverse.io.files import read_adata, write_adata

PARAMS: dict[str, Any] = {
    "model_id": "scfm-mini:0123456789abcdef",
    "none": None,
    "flag": True,
    "number": 3,
    "share": 0.5,
    "infinite": float("inf"),
    "numpy": np.float32(0.25),
    "numpy flag": np.bool_(True),
    "numpy text": np.str_("T"),
    "huge": 2**70,
    "tuple": (1, 2),
    "set": {"b", "a"},
    "path": Path("a") / "b",
    "mixed": [1, "a", None],
    "numbers": [1, 2.5],
    "flags": [True, False],
    "nested lists": [[1], [2, 3]],
    "empty": [],
    "array": np.arange(3),
    "names": np.array(["a", "b"], dtype=object),
    "index": pd.Index(["x", "y"]),
    "series": pd.Series([1, 2]),
    "matrix": np.eye(2),
    "date": np.datetime64("2026-01-02"),
    "bytes": b"raw",
    "fraction": Fraction(1, 3),
    "B/NK cell": {"T/NK": 1, 2: "two"},
    "nothing": {},
}


def small() -> AnnData:
    """Three cells, two genes."""
    return AnnData(np.ones((3, 2), np.float32))


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_record_is_the_same_after_a_way_through_a_file(tmp_path: Path, suffix: str) -> None:
    adata = small()
    record(adata, "embed", "X_B/NK", PARAMS)
    before = read_record(adata, "embed", "X_B/NK")
    write_adata(adata, tmp_path / f"cells.{suffix}")
    assert before is not None
    assert read_record(read_adata(tmp_path / f"cells.{suffix}"), "embed", "X_B/NK") == before


def test_record_holds_plain_values() -> None:
    adata = small()
    record(adata, "embed", "X_scfm", PARAMS)
    found = read_record(adata, "embed", "X_scfm")
    assert found is not None
    assert found.pop("package_version")
    assert found["tuple"] == [1, 2]
    assert found["set"] == ["a", "b"]
    assert found["path"] == str(Path("a/b"))
    assert found["numpy"] == 0.25
    assert found["numpy text"] == "T"
    assert found["none"] is None
    assert found["flag"] is True
    assert found["huge"] == str(2**70)
    assert found["mixed"] == ["1", "a", "None"]
    assert found["names"] == ["a", "b"]
    assert found["index"] == ["x", "y"]
    assert found["series"] == [1, 2]
    assert found["matrix"] == [[1, 0], [0, 1]]
    assert found["B_NK cell"] == {"T_NK": 1, "2": "two"}


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="ascii", exclude_characters="\0")),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/ ", min_size=1), inner, max_size=3)
)


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values)
def test_any_record_can_be_written(tmp_path: Path, value: Any) -> None:
    adata = small()
    record(adata, "embed", "key", {"value": value})
    before = read_record(adata, "embed", "key")
    write_adata(adata, tmp_path / "cells.h5ad")
    assert read_record(read_adata(tmp_path / "cells.h5ad"), "embed", "key") == before


def test_records_do_not_disturb_each_other() -> None:
    adata = small()
    adata.uns["scfm"] = {"genes": {"kept": 1}}
    record(adata, "embed", "a", {"x": 1})
    record(adata, "embed", "b", {"x": 2})
    record(adata, "annotate", "a", {"x": 3})
    record(adata, "embed", "a", {"y": 4})
    assert adata.uns["scfm"]["genes"] == {"kept": 1}
    assert read_record(adata, "embed", "b")["x"] == 2
    assert read_record(adata, "annotate", "a")["x"] == 3
    assert set(read_record(adata, "embed", "a")) == {"y", "package_version"}


def test_record_does_not_share_memory_with_the_arguments() -> None:
    adata, weights = small(), np.zeros((2, 2))
    record(adata, "embed", "a", {"weights": weights})
    weights += 1
    assert read_record(adata, "embed", "a")["weights"] == [[0, 0], [0, 0]]


def test_absent_records_are_none() -> None:
    adata = small()
    assert read_record(adata, "embed", "a") is None
    adata.uns["scfm"] = "mine"
    assert read_record(adata, "embed", "a") is None
    with pytest.raises(InputError, match=r"str in adata\.uns"):
        record(adata, "embed", "a", {})
    assert adata.uns["scfm"] == "mine"


def test_free_and_own_keys_may_be_written() -> None:
    adata = small()
    check_free(adata, "obsm", ["X_scfm"], verb="embed", record_key="X_scfm", model_id="m1")
    adata.obsm["X_scfm"] = np.ones((3, 2))
    record(adata, "embed", "X_scfm", {"model_id": "m1"})
    check_free(adata, "obsm", ["X_scfm"], verb="embed", record_key="X_scfm", model_id="m1")


def test_keys_of_others_are_not_overwritten() -> None:
    adata = small()
    adata.obsm["X_scfm"] = np.ones((3, 2))
    adata.obs["scfm_cell_type"] = "T"
    with pytest.raises(InputError, match=r'adata\.obsm\["X_scfm"\].*key_added='):
        check_free(adata, "obsm", ["X_scfm"], verb="embed", record_key="X_scfm", model_id="m1")
    with pytest.raises(InputError, match=r'adata\.obs\["scfm_cell_type"\]'):
        check_free(adata, "obs", ["scfm_score", "scfm_cell_type"], verb="annotate", record_key="scfm")


def test_keys_of_another_model_are_not_overwritten() -> None:
    adata = small()
    adata.obsm["X_scfm"] = np.ones((3, 2))
    record(adata, "embed", "X_scfm", {"model_id": "m1"})
    with pytest.raises(ModelMismatchError, match=r"with model m1; expected m2\. Pass key_added="):
        check_free(adata, "obsm", ["X_scfm"], verb="embed", record_key="X_scfm", model_id="m2")
    check_free(adata, "obsm", ["X_scfm"], verb="embed", record_key="X_scfm")
