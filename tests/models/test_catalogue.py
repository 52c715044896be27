"""The catalogue of released checkpoints."""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path

import pytest

from scfm_scverse import models
from scfm_scverse._errors import CheckpointError, InputError
from scfm_scverse.models.catalogue import Release, release_fact, release_of


def test_every_release_says_what_its_licence_allows() -> None:
    table = models.catalogue()
    assert set(table["family"]) == {"scfm-mini", "scGPT", "Geneformer", "scFoundation", "scBERT"}
    always = ["release", "family", "source", "licence", "allows", "obtain", "files", "citation"]
    assert table[always].notna().all(axis=None)
    assert (table[always] != "").all(axis=None)
    licence = table.drop_duplicates("family").set_index("family")["licence"]
    assert licence["Geneformer"] == "Apache-2.0"
    assert licence["scBERT"] == "GPL-3.0"
    allows = table.drop_duplicates("family").set_index("family")["allows"]
    assert "non-commercial" in allows["scFoundation"]


def test_sizes_and_hashes_are_what_they_look_like() -> None:
    table = models.catalogue()
    hashes = table["sha256"].dropna()
    assert hashes.str.fullmatch("[0-9a-f]{64}").all()
    assert hashes.is_unique
    assert (table["bytes"].dropna() > 10**6).all()
    assert not table.duplicated(["release", "file"]).any()


def test_our_own_model_is_described_by_its_file() -> None:
    own = models.catalogue().iloc[0]
    path = Path(models.__file__).parent / "weights" / own["file"]
    assert own["release"] == models.load("scfm-mini").spec.name
    assert own["bytes"] == path.stat().st_size
    assert own["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_file_is_told_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: tmp_path / name for name in ("right", "other", "longer")}
    for path, content in zip(files.values(), (b"weights", b"stranger"[:7], b"weights."), strict=True):
        path.write_bytes(content)
    module = import_module("scfm_scverse.models.catalogue")
    known = Release("Toy", "scBERT", "right", 7, hashlib.sha256(b"weights").hexdigest())
    monkeypatch.setattr(module, "RELEASES", (known,))
    assert release_of(files["right"]) == "Toy"
    assert release_of(files["other"]) is None
    assert release_fact(files["right"]) == {"release": "Toy, by its SHA-256"}
    assert release_fact(files["longer"]) == {}
    monkeypatch.setattr(module, "hash_of", lambda path: pytest.fail(f"{path} was hashed"))
    assert release_of(files["longer"]) is None
    monkeypatch.setattr(module, "LARGEST_HASHED", 6)
    assert release_of(files["right"]) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("scGPT", "best_model.pt"),
        ("scgpt_human", "github.com/bowang-lab/scGPT"),
        ("Geneformer-V2-104M", "huggingface.co/ctheodoris/Geneformer"),
        ("gf-12L-95M-i4096", "Geneformer"),
        ("scFoundation", "scFoundation model licence"),
        ("scbert", "GPL-3.0"),
    ],
)
def test_published_model_that_is_asked_for_by_name_says_how_to_obtain_it(name: str, expected: str) -> None:
    with pytest.raises(InputError, match=r"do not come with this package; .* then pass the path of the") as error:
        models.load(name)
    assert expected in str(error.value)


def test_path_with_a_published_name_is_a_missing_file() -> None:
    with pytest.raises(InputError, match="no file of that name"):
        models.load("somewhere/scGPT_human")


def test_folder_with_a_link_to_the_outside_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    folder = tmp_path / "model"
    folder.mkdir()
    try:
        (folder / "vocab.json").symlink_to(tmp_path / "secret")
    except OSError:
        pytest.skip("no links here")
    with pytest.raises(CheckpointError, match="outside its folder"):
        models.load(folder)
