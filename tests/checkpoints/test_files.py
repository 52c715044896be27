"""What every reader does with something that is no file for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scfm_scverse._errors import CheckpointError
from scfm_scverse.checkpoints.files import check_links

from .conftest import READERS, write_good

posix = pytest.mark.skipif(sys.platform == "win32", reason="makes files as POSIX does")


def refuse(path: Path) -> str:
    """Read, and return the one line of the error, which names the file."""
    with pytest.raises(CheckpointError) as error:
        READERS[path.name](path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 500
    return message


def test_good_file_is_read(good: Path) -> None:
    assert READERS[good.name](good)


def test_missing_file(good: Path) -> None:
    good.unlink()
    assert "cannot be read (No such file or directory)" in refuse(good)


def test_folder(good: Path) -> None:
    good.unlink()
    good.mkdir()
    refuse(good)


def test_empty_file(good: Path) -> None:
    good.write_bytes(b"")
    assert "is empty" in refuse(good)


def test_git_lfs_pointer(good: Path) -> None:
    good.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 1000\n")
    assert "git lfs pull" in refuse(good)


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_file_that_may_not_be_read(good: Path) -> None:
    good.chmod(0)
    assert "Permission denied" in refuse(good)


@posix
def test_pipe_is_not_waited_for(good: Path) -> None:
    good.unlink()
    os.mkfifo(good)
    assert "no regular file" in refuse(good)


@posix
def test_endless_device_is_not_read(good: Path) -> None:
    good.unlink()
    good.symlink_to("/dev/zero")
    assert "no regular file" in refuse(good)


@posix
def test_link_that_the_user_names_is_followed(good: Path, tmp_path: Path) -> None:
    link = tmp_path / "links" / good.name
    link.parent.mkdir()
    link.symlink_to(good)
    assert READERS[good.name](link)


@posix
def test_link_out_of_a_folder_is_refused(tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "model"
    secret.write_text("{}")
    folder.mkdir()
    (folder / "real.json").write_text("{}")
    (folder / "config.json").symlink_to(folder / "real.json")
    check_links(folder)
    (folder / "vocab.json").symlink_to("../secret")
    with pytest.raises(CheckpointError, match=r"vocab\.json is a link to .*secret, outside"):
        check_links(folder)


@posix
def test_download_cache_of_hugging_face_is_fine(tmp_path: Path) -> None:
    cache = tmp_path / "models--someone--model"
    (cache / "blobs").mkdir(parents=True)
    (cache / "blobs" / "0123").write_text("{}")
    folder = cache / "snapshots" / "abc" / "V2"
    folder.mkdir(parents=True)
    (folder / "config.json").symlink_to("../../../blobs/0123")
    check_links(folder)
    outside = tmp_path / "blobs"
    outside.mkdir()
    (folder / "vocab.json").symlink_to(outside / "0123")
    with pytest.raises(CheckpointError, match="outside its folder"):
        check_links(folder)


def outcome(path: Path) -> None:
    """Read: a result or a CheckpointError, and nothing else."""
    message = str(path)
    try:
        READERS[path.name](path)
    except CheckpointError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message


often = settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)


@often
@given(data=st.data())
def test_changed_bytes(good: Path, data: st.DataObject) -> None:
    write_good(good)
    content = bytearray(good.read_bytes())
    places = st.integers(0, len(content) - 1)
    for at, value in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)):
        content[at] = value
    good.write_bytes(content)
    outcome(good)


@often
@given(data=st.data())
def test_cut_and_pasted_bytes(good: Path, data: st.DataObject) -> None:
    write_good(good)
    content = good.read_bytes()
    start, stop, to = (data.draw(st.integers(0, len(content))) for _ in range(3))
    good.write_bytes(content[:to] + content[start:stop] + data.draw(st.sampled_from([b"", content[to:]])))
    outcome(good)


@often
@given(content=st.binary(max_size=200), keep=st.integers(0, 40))
def test_random_bytes(good: Path, content: bytes, keep: int) -> None:
    write_good(good)
    good.write_bytes(good.read_bytes()[:keep] + content)
    outcome(good)


def test_every_truncation_is_refused(good: Path) -> None:
    content = good.read_bytes()
    for n in range(1, len(content), 7):
        good.write_bytes(content[:n])
        refuse(good)


_GOLDEN = (
    "scgpt/model/best_model.pt",
    "scfoundation/models.ckpt",
    "scbert/panglao_pretrain.pth",
    "geneformer/model_v1/pytorch_model.bin",
    "geneformer/model_v1/model.safetensors",
    "geneformer/token_dictionary_v1.pkl",
    "scbert/label_dict",
    "geneformer/model_v1/config.json",
)


@pytest.mark.parametrize("name", _GOLDEN)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_damaged_checkpoints_of_authors(shared: Path, tmp_path: Path, name: str, data: st.DataObject) -> None:
    kinds = {".safetensors": "model.safetensors", ".pkl": "tokens.pkl", "": "tokens.pkl", ".json": "config.json"}
    path = tmp_path / kinds.get(Path(name).suffix, "model.pt")
    content = bytearray((shared / "golden" / name).read_bytes())
    # Most of a checkpoint is numbers, in which nothing can be wrong: what describes them stands at both ends.
    near = st.integers(0, min(len(content) - 1, 8000))
    for from_end, at, value in data.draw(st.lists(st.tuples(st.booleans(), near, st.integers(0, 255)), max_size=3)):
        content[-1 - at if from_end else at] = value
    path.write_bytes(content[: len(content) - data.draw(st.sampled_from([0, 0, 1, 30, 5000]))])
    outcome(path)


def test_nothing_is_imported_from_torch_before_a_tensor_is_asked_for() -> None:
    from support import run_python

    code = "import sys, scfm_scverse.checkpoints; print('torch' in sys.modules)"
    assert run_python(code) == "False"
