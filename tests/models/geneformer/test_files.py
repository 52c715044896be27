"""Loading: every tensor is placed or listed, dictionaries fit or are refused, whatever lies in the folder."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from scfm_scverse._errors import CheckpointError, InputError
from scfm_scverse.models import geneformer, load
from scfm_scverse.models.geneformer.dictionaries import Dictionaries, find_dictionaries, shipped

from .conftest import Golden

VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])
KINDS = ("token_dictionary", "gene_median_dictionary", "ensembl_mapping_dict")


@pytest.fixture
def copied(golden, tmp_path: Path):
    """Copy a checkpoint and the dictionaries of a version to a folder of its own, as users have them."""

    def of(name: str, version: str = "v2") -> Path:
        folder = tmp_path / "model"
        shutil.copytree(golden.folder / name, folder, copy_function=shutil.copyfile)
        folder.chmod(0o755)
        for kind in KINDS:
            shutil.copyfile(golden.folder / f"{kind}_{version}.json", tmp_path / f"{kind}_{version}.json")
        return folder

    return of


def change(folder: Path, **entries: object) -> None:
    config = json.loads((folder / "config.json").read_text()) | entries
    (folder / "config.json").write_text(json.dumps(config))


def change_tensors(folder: Path, edit) -> None:
    tensors = dict(load_file(folder / "model.safetensors"))
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_both_files_of_weights_give_the_same_network(golden: Golden, copied: Callable[..., Path]) -> None:
    folder = copied("model_v1", "v1")
    first = load(folder)
    (folder / "model.safetensors").unlink()
    second = load(folder)
    for (name, ours), theirs in zip(
        first.network.state_dict().items(), second.network.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    assert first.report().ignored == {"bert.embeddings.position_ids": "positions are counted, not stored"}
    assert set(second.report().ignored) - set(first.report().ignored) == {
        "cls.predictions.decoder.weight",
        "cls.predictions.decoder.bias",
    }


@pytest.mark.parametrize(
    ("name", "kind", "n_placed"),
    [
        ("model_v1", "masked genes", 5 + 3 * 12 + 5),
        ("model_v2", "masked genes", 5 + 4 * 12 + 5),
        ("model_v1_cell_classifier", "cell classifier", 5 + 3 * 12 + 4),
        ("model_v2_cell_classifier", "cell classifier", 5 + 4 * 12 + 4),
        ("model_v2_gene_classifier", "gene classifier", 5 + 4 * 12 + 2),
    ],
)
def test_report_names_every_tensor(golden: Golden, name: str, kind: str, n_placed: int) -> None:
    report = golden.load(name).report()
    in_file = set(load_file(golden.folder / name / "model.safetensors"))
    assert report.layout == f"Geneformer, {kind}"
    assert len(report.placed) == n_placed
    named = {one.split(" + ")[0] for one in report.placed} | set(report.ignored)
    parts = {one for one in in_file if ".self.key." in one or ".self.value." in one}
    assert named == in_file - parts
    assert report.made == {}


def test_weights_file_is_recognised_as_its_folder(golden: Golden) -> None:
    assert golden.load("model_v1/pytorch_model.bin").spec.weights_hash == golden.load("model_v1").spec.weights_hash


def test_the_file_that_is_named_is_the_one_that_is_read(copied: Callable[..., Path]) -> None:
    folder = copied("model_v1", "v1")
    stored = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save(
        {name: 2 * one if one.is_floating_point() else one for name, one in stored.items()},
        folder / "pytorch_model.bin",
    )
    named, usual = load(folder / "pytorch_model.bin"), load(folder)
    assert torch.equal(named.network.word.weight, 2 * usual.network.word.weight)
    assert "pytorch_model.bin" in named.report().source
    assert named.spec.id != usual.spec.id


def test_other_folders_and_files_are_not_recognised(golden: Golden, tmp_path: Path) -> None:
    assert not geneformer.recognises(golden.folder)
    assert not geneformer.recognises(golden.folder / "model_v1" / "config.json")
    assert not geneformer.recognises(tmp_path / "nothing")
    (tmp_path / "config.json").write_bytes(b"\xff\x00")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert not geneformer.recognises(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "bert.embeddings.word_embeddings.weight",
        "bert.encoder.layer.2.attention.self.key.weight",
        "bert.encoder.layer.0.output.LayerNorm.bias",
        "cls.predictions.transform.dense.bias",
    ],
)
def test_a_missing_tensor_is_named_as_in_the_file(copied: Callable[..., Path], name: str) -> None:
    folder = copied("model_v2")
    change_tensors(folder, lambda tensors: tensors.pop(name))
    with pytest.raises(CheckpointError, match=f"lacks the tensor '{name}'"):
        load(folder)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"num_hidden_layers": 5}, "holds 4 layers; expected 5"),
        ({"num_hidden_layers": 10**12}, "holds 4 layers; expected 1000000000000"),
        ({"hidden_size": 48}, r"of shape \(64, 24\); expected \(64, 48\)"),
        ({"hidden_size": "24"}, "says hidden_size='24'; expected a whole number"),
        ({"num_attention_heads": 5}, "expected a multiple of the heads"),
        ({"hidden_act": "gelu"}, "says hidden_act='gelu'; expected 'relu'"),
        ({"vocab_size": 63}, "checkpoint of 63 tokens"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps='small'"),
        ({"layer_norm_eps": -1}, "layer_norm_eps=-1"),
        ({"hidden_dropout_prob": 5}, "hidden_dropout_prob=5"),
        ({"num_attention_heads": True}, "num_attention_heads=True"),
        ({"id2label": ["a", "b"]}, "id2label="),
        ({"id2label": {"first": "a"}}, "id2label="),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    copied: Callable[..., Path], entries: dict[str, object], message: str
) -> None:
    folder = copied("model_v2")
    change(folder, **entries)
    with pytest.raises(CheckpointError, match=message):
        load(folder)


def test_damaged_files_are_refused(copied: Callable[..., Path]) -> None:
    folder = copied("model_v2")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[:-1], whole[:100], b""):
        weights.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load(folder)
    weights.write_bytes(whole)
    config = folder / "config.json"
    config.write_text(config.read_text()[:-20])
    with pytest.raises(CheckpointError, match="config"):
        load(folder)


def test_a_decoder_of_its_own_is_refused(copied: Callable[..., Path]) -> None:
    folder = copied("model_v2")
    change_tensors(folder, lambda tensors: tensors.update({"cls.predictions.decoder.weight": torch.ones(64, 24)}))
    with pytest.raises(CheckpointError, match=r"expected it to be 'bert\.embeddings.word_embeddings.weight'"):
        load(folder)


def test_a_checkpoint_of_several_tasks_is_loaded_with_its_heads(copied: Callable[..., Path]) -> None:
    folder = copied("model_v2_cell_classifier")
    generator = torch.Generator().manual_seed(0)

    def edit(tensors) -> None:
        del tensors["classifier.weight"], tensors["classifier.bias"]
        tensors["attention_pool.attention_weights"] = torch.randn(24, 1, generator=generator)
        for task, n in enumerate((3, 2)):
            tensors[f"classification_heads.{task}.weight"] = torch.randn(n, 24, generator=generator)
            tensors[f"classification_heads.{task}.bias"] = torch.randn(n, generator=generator)

    change_tensors(folder, edit)
    model = load(folder)
    assert model.report().layout == "Geneformer, several tasks"
    assert set(model.report().ignored) == {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
    assert [task.out_features for task in model.network.head.tasks] == [3, 2]


@VERSIONS
@pytest.mark.parametrize("suffix", [".json", ".pkl"])
def test_dictionaries_are_read_alike_from_json_and_pickle(golden: Golden, version: str, suffix: str) -> None:
    found = golden.load(f"model_{version}")
    options = ("token_dictionary", "gene_medians", "gene_mapping")
    files = {option: golden.folder / f"{kind}_{version}{suffix}" for option, kind in zip(options, KINDS, strict=True)}
    given = golden.load(f"model_{version}", **files)
    same_dictionaries(given.dictionaries, found.dictionaries)
    contents = {option: json.loads(path.with_suffix(".json").read_text()) for option, path in files.items()}
    same_dictionaries(golden.load(f"model_{version}", **contents).dictionaries, found.dictionaries)


def same_dictionaries(one: Dictionaries, other: Dictionaries) -> None:
    assert one.version == other.version
    assert one.genes.tolist() == other.genes.tolist()
    np.testing.assert_array_equal(one.medians, other.medians)
    assert one.mapping == other.mapping


@VERSIONS
def test_dictionaries_near_the_checkpoint_are_found(golden: Golden, version: str) -> None:
    found = golden.load(f"model_{version}").dictionaries
    medians = json.loads((golden.folder / f"gene_median_dictionary_{version}.json").read_text())
    assert found.source == str(golden.folder / f"token_dictionary_{version}.json")
    special = {"v1": ["<pad>", "<mask>"], "v2": ["<pad>", "<mask>", "<cls>", "<eos>"]}[version]
    assert found.genes[: len(special)].tolist() == special
    assert found.special.sum() == len(special)
    assert found.medians[len(special) :].tolist() == [medians[name] for name in found.genes[len(special) :]]


def test_medians_of_another_name_are_found_where_they_are_the_only_ones(
    golden: Golden, copied: Callable[..., Path]
) -> None:
    folder = copied("model_v2")
    (folder.parent / "gene_median_dictionary_v2.json").rename(folder.parent / "mouse_medians.json")
    assert load(folder).dictionaries.version == "V2"
    (folder.parent / "mouse_medians.json").unlink()
    with pytest.raises(CheckpointError, match="pass gene_medians= as well"):
        load(folder)


def test_a_dictionary_of_the_wrong_version_is_refused(golden: Golden) -> None:
    of_v1 = {
        "token_dictionary": golden.folder / "token_dictionary_v1.json",
        "gene_medians": golden.folder / "gene_median_dictionary_v1.json",
    }
    with pytest.raises(CheckpointError, match="has 62 tokens, the highest 61; expected 64"):
        golden.load("model_v2", **of_v1)
    with pytest.raises(InputError, match="Found version='V1'"):
        golden.load("model_v2", version="V1")
    with pytest.raises(InputError, match="expected 'V1' or 'V2'"):
        golden.load("model_v2", version="V3")
    with pytest.raises(InputError, match="expected the two together"):
        golden.load("model_v2", token_dictionary=of_v1["token_dictionary"])
    with pytest.raises(InputError, match="expected 'default' or 'original'"):
        golden.load("model_v2", mode="theirs")


@pytest.mark.parametrize("entry", [{"<cls>": 4}, {"ENSG00000900001": 5}, {"ENSG00000900001": 64}, {"<other>": 4}])
def test_tokens_out_of_place_are_refused(golden: Golden, entry: dict[str, int]) -> None:
    tokens = json.loads((golden.folder / "token_dictionary_v2.json").read_text())
    moved = {name: token for name, token in tokens.items() if token not in entry.values()} | entry
    with pytest.raises(CheckpointError, match="expected"):
        golden.load("model_v2", token_dictionary=moved, gene_medians=golden.folder / "gene_median_dictionary_v2.json")


@pytest.mark.parametrize("median", [None, 0, -1.0, float("nan"), "1"])
def test_a_gene_without_a_median_is_named(golden: Golden, median: object) -> None:
    medians = json.loads((golden.folder / "gene_median_dictionary_v2.json").read_text())
    medians["ENSG00000900008"] = median
    with pytest.raises(CheckpointError, match=r"no median above 0 for 1 genes.*ENSG00000900008"):
        golden.load("model_v2", token_dictionary=golden.folder / "token_dictionary_v2.pkl", gene_medians=medians)


def test_a_pickle_with_code_is_not_run(golden: Golden, tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "token_dictionary.pkl"
    path.write_bytes(pickle.dumps({"<pad>": Hostile()}))
    with pytest.raises(CheckpointError):
        golden.load("model_v2", token_dictionary=path, gene_medians=golden.folder / "gene_median_dictionary_v2.json")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("version", "n_genes"), [("V1", 25_426), ("V2", 20_275)])
def test_shipped_tables_are_the_published_ones(shared: Path, version: str, n_genes: int) -> None:
    import lzma

    def rows(name: str) -> list[list[str]]:
        text = lzma.decompress((shared / "vocab" / f"geneformer_{name}.tsv.xz").read_bytes()).decode()
        return [line.split("\t") for line in text.removesuffix("\n").split("\n") if not line.startswith("# ")][1:]

    tables, published = shipped(version), rows(f"{version.lower()}_genes")
    assert len(tables.genes) == n_genes
    assert tables.genes.tolist() == [row[1] for row in published]
    assert [str(one) for one in tables.medians if one == one] == [row[2] for row in published if row[2]]
    mapping = rows("v2_mapping") if version == "V2" else []
    assert {name: tables.genes[token] for name, token in tables.mapping.items()} == {row[0]: row[1] for row in mapping}
    found = find_dictionaries(
        Path("nowhere"), n_genes, version=None, token_dictionary=None, gene_medians=None, gene_mapping=None
    )
    assert found is tables
