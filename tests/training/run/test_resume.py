"""A run that was cut short ends as if it had not been, or is not gone on with."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from scfm_scverse._errors import FileError, InputError
from scfm_scverse.models import Trainable
from scfm_scverse.training.objectives import CellTypes, Joint
from scfm_scverse.training.settings import TrainSettings
from short_runs import SMALL, CutShort, Told, Types, assert_same, minibatches, new_model, train_telling

Run = Callable[..., tuple[Trainable, pd.DataFrame]]

# Calls of the objective: four minibatches to learn from, then two to validate on, and so on.
IN_EPOCH, IN_VALIDATION, AFTER_EPOCH = 2, 5, 6


@pytest.mark.parametrize(
    ("ends_at", "given"),
    [
        pytest.param(IN_EPOCH, {}, marks=pytest.mark.slow),
        pytest.param(IN_VALIDATION, {}, marks=pytest.mark.slow),
        pytest.param(AFTER_EPOCH, {}, marks=pytest.mark.slow),
        (AFTER_EPOCH + 3, {"optimizer": "adamw", "precision": "bfloat16"}),
        pytest.param(3, {"accumulate": 2}, marks=pytest.mark.slow),
        (4, {"validate": False, "max_steps": 7}),
        pytest.param(6, {"lora_rank": 2, "checkpoint_every": 3}, marks=pytest.mark.slow),
        pytest.param(12, {"patience": 1, "lr": 1.0, "max_epochs": 10}, marks=pytest.mark.slow),
    ],
)
def test_run_that_was_cut_short_ends_the_same_to_the_bit(
    run: Run, tmp_path: Path, ends_at: int, given: dict[str, Any]
) -> None:
    expected, history = run(**given)
    with pytest.raises(CutShort):
        run(tmp_path, ends_at=ends_at, **given)
    found, again = run(tmp_path, resume=True, **given)
    assert_same(found, expected)
    pd.testing.assert_frame_equal(again, history, check_exact=True)
    assert found.spec.id == expected.spec.id


LONGER = {"max_epochs": 5, "checkpoint_every": 2}


def kill_at(call: int, folder: Path, given: dict[str, Any]) -> None:
    """Train in a process of its own and kill it somewhere in a step."""
    # Not forked: threads of this process might hold what the other one waits for.
    new = multiprocessing.get_context("spawn")
    ours, theirs = new.Pipe(duplex=False)
    process = new.Process(target=train_telling, args=(folder, given, theirs))
    process.start()
    for _ in range(call):
        assert ours.poll(120)
        ours.recv()
    time.sleep(random.random() * 0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("optimizer", ["galore", "adamw"])
def test_process_that_was_killed_goes_on_to_the_same_end(run: Run, tmp_path: Path, optimizer: str) -> None:
    given: dict[str, Any] = LONGER | {"optimizer": optimizer}
    expected, history = run(objective=Told(), **given)
    calls = random.sample(range(2, 12), 2)  # of the 30 of a whole run, and it starts again from a checkpoint
    for call in calls:
        kill_at(call, tmp_path, given)
    found, again = run(tmp_path, resume=True, objective=Told(), **given)
    assert_same(found, expected)
    pd.testing.assert_frame_equal(again, history, check_exact=True)


def test_run_that_is_over_gives_its_result_again(run: Run, tmp_path: Path) -> None:
    expected, history = run(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"run.ckpt", "history.csv"}
    found, again = run(tmp_path, resume=True, ends_at=0)
    assert_same(found, expected)
    pd.testing.assert_frame_equal(again, history, check_exact=True)


def test_checkpoint_holds_tensors_and_nothing_that_is_executed(run: Run, tmp_path: Path) -> None:
    with pytest.raises(CutShort):
        run(tmp_path, ends_at=3)
    assert torch.load(tmp_path / "run.ckpt", weights_only=True)["global_step"] == 3


@pytest.mark.slow
def test_model_that_a_run_had_begun_to_train_may_go_on(run: Run, tmp_path: Path) -> None:
    expected, _ = run()
    model = new_model()
    with pytest.raises(CutShort):
        run(tmp_path, ends_at=3, model=model)
    assert model.spec.id != new_model().spec.id
    found, _ = run(tmp_path, resume=True, model=model)
    assert_same(found, expected)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"lr": 0.5}, "lr was None and is 0.5. To go on with it pass lr as it was"),
        ({"max_epochs": 9, "accumulate": 2}, "max_epochs was 3 and is 9; accumulate was 1 and is 2"),
        ({"optimizer_kwargs": {"rank": 3}}, "optimizer_kwargs was {} and is {rank: 3}"),
        ({"model": new_model(1)}, "model was scGPT-1x16:.* load or make it as it was"),
        ({"objective": Joint(CellTypes(2, weight=0.5))}, "objective was Types and is Joint"),
        ({"data": minibatches(new_model(), n=44)}, "cells to train on was 60 cells .* and is 44 cells"),
        ({"data": minibatches(new_model(), seed=3)}, "cells to train on was 60 cells"),
        ({"validate": False}, "cells to validate on was 20 cells .* and is none"),
    ],
)
def test_run_is_not_gone_on_with_by_something_else(run: Run, cut: Path, given: dict[str, Any], told: str) -> None:
    before = (cut / "run.ckpt").read_bytes()
    with pytest.raises(InputError, match=told):
        run(cut, resume=True, **given)
    assert (cut / "run.ckpt").read_bytes() == before


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that was cut short."""
    from scfm_scverse.training.run import fit

    folder, model = tmp_path_factory.mktemp("cut"), new_model()
    with pytest.raises(CutShort):
        fit(model, Types(2), *minibatches(model), settings=TrainSettings(**SMALL), folder=folder)
    return folder


def test_folder_with_a_run_is_not_written_into_unasked(run: Run, cut: Path) -> None:
    with pytest.raises(InputError, match="pass resume=True to go on with that run"):
        run(cut)


def test_damaged_checkpoint_is_told(run: Run, tmp_path: Path) -> None:
    for damaged in (b"", b"no checkpoint", (b"PK\x03\x04" + bytes(200))):
        (tmp_path / "run.ckpt").write_bytes(damaged)
        with pytest.raises(FileError, match="remove it to start anew"):
            run(tmp_path, resume=True)


def test_folder_that_cannot_be_made_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="Cannot make the folder"):
        run(tmp_path / "file" / "run")
