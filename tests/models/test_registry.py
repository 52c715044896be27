"""Names of models: listed, loaded once, registered by others, refused."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

from scfm_scverse import models
from scfm_scverse._errors import InputError
from scfm_scverse.models import registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave no trace in the registry."""
    monkeypatch.setattr(registry, "_loaders", {})
    registry._load_registered.cache_clear()
    yield
    registry._load_registered.cache_clear()


def test_unknown_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"no model 'scgtp'.*'scfm-mini'"):
        models.load("scgtp")


def test_model_is_loaded_once() -> None:
    assert models.load("scfm-mini") is models.load("scfm-mini")


def test_registered_model_is_found_by_its_name() -> None:
    mini = models.load("scfm-mini")
    models.register("another", lambda: mini)
    assert models.load("another") is mini
    assert list(models.available().index) == ["another", "scfm-mini"]


@pytest.mark.parametrize("name", ["scfm-mini", "another"])
def test_taken_name_is_refused(name: str) -> None:
    mini = models.load("scfm-mini")
    models.register("another", lambda: mini)
    with pytest.raises(InputError, match=f"{name!r} is registered already"):
        models.register(name, lambda: mini)


def test_models_of_other_packages_are_imported_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    there = EntryPoint("theirs", "scfm_scverse.models.scfm_mini:load_scfm_mini", registry.ENTRY_POINT)
    broken = EntryPoint("broken", "no_such_package:load", registry.ENTRY_POINT)
    monkeypatch.setattr(registry, "entry_points", lambda group: [there, broken])
    assert models.load("theirs").spec.name == "scfm-mini"
    with pytest.raises(InputError, match="'broken', 'scfm-mini', 'theirs'"):
        models.load("absent")
    with pytest.raises(ModuleNotFoundError):
        models.load("broken")


def test_available_describes_every_model() -> None:
    table = models.available()
    assert table.loc["scfm-mini", "organism"] == "human"
    assert not table.isna().any().any()
    assert table.loc["scfm-mini", ["genes", "dim"]].tolist() == [
        len(models.load("scfm-mini").spec.genes),
        models.load("scfm-mini").spec.dim,
    ]
