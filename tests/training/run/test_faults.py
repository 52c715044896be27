"""What goes wrong in a run is told, and the last good checkpoint stays."""

from __future__ import annotations

import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from scfm_scverse._errors import TrainingError
from scfm_scverse.models import Trainable
from short_runs import CutShort, Types, assert_same, new_model

Run = Callable[..., tuple[Trainable, pd.DataFrame]]


class Strange(Types):
    """Two types of cells, and a loss or a gradient that is none at one of its calls."""

    def __init__(self, at: int, *, gradient: bool) -> None:
        super().__init__()
        self.at, self.gradient, self.cells = at, gradient, np.zeros(0)

    def losses(self, model: Any, batch: Any) -> Any:
        parts = super().losses(model, batch)
        self.at -= 1
        if self.at == 0:
            self.cells = batch.cells
            zero = (parts["cell_types"] * 0).sqrt()  # 0, of which the gradient is infinite times 0
            parts["cell_types"] = parts["cell_types"] + (zero if self.gradient else np.nan)
        return parts


@pytest.mark.parametrize(("optimizer", "gradient"), [("galore", True), ("adamw", True), ("galore", False)])
def test_number_that_is_none_stops_the_run_and_names_step_and_cells(
    run: Run, tmp_path: Path, gradient: bool, optimizer: str
) -> None:
    objective = Strange(3, gradient=gradient)
    told = "the gradient of the loss" if gradient else r"the loss \(cell_types\)"
    with pytest.raises(TrainingError, match=f"{told} at step 3, with the 16 cells at the positions ") as caught:
        run(tmp_path, objective=objective, optimizer=optimizer)
    assert str(objective.cells[0]) in str(caught.value)
    assert "smaller lr" in str(caught.value)
    np.testing.assert_array_equal(caught.value.cells, objective.cells)
    assert caught.value.step == 3
    kept = torch.load(tmp_path / "run.ckpt", weights_only=True)
    assert kept["global_step"] == 2
    assert all(tensor.isfinite().all() for tensor in kept["state_dict"].values())


def test_weights_that_are_none_are_not_kept(run: Run, tmp_path: Path) -> None:
    options = {"in_backward": "update"}
    with pytest.raises(TrainingError, match="a weight"):
        run(tmp_path, objective=Strange(3, gradient=True), gradient_clip=None, optimizer_kwargs=options)
    assert torch.load(tmp_path / "run.ckpt", weights_only=True)["global_step"] == 2


def test_validation_that_is_none_stops_the_run(run: Run, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"20 cells|16 cells"):
        run(tmp_path, objective=Strange(5, gradient=False))


class Full(Types):
    """Two types of cells; the disk is full between two of its calls."""

    def losses(self, model: Any, batch: Any) -> Any:
        self.calls = getattr(self, "calls", 0) + 1
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000 if 3 <= self.calls <= 9 else hard, hard))
        if self.calls == 8 and self.left:
            raise CutShort
        return super().losses(model, batch)


@pytest.fixture
def limit() -> Any:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("limit")
def test_full_disk_leaves_the_checkpoint_before_and_the_run_goes_on(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected, _ = run()
    with pytest.raises(CutShort):
        run(tmp_path, objective=Full(100))
    assert "the checkpoint of step 3 could not be kept, the one before is whole" in caplog.text
    assert "File too large" in caplog.text
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
    assert torch.load(tmp_path / "run.ckpt", weights_only=True)["global_step"] == 2
    assert {path.name for path in tmp_path.iterdir()} <= {"run.ckpt", "history.csv", "tensorboard", "left_as.txt"}
    found, _ = run(tmp_path, resume=True, objective=Full())
    assert_same(found, expected)


class Stopped(Types):
    """Two types of cells; Ctrl-C at one of its calls."""

    def losses(self, model: Any, batch: Any) -> Any:
        try:
            return super().losses(model, batch)
        except CutShort:
            raise KeyboardInterrupt from None


def test_ctrl_c_keeps_the_last_checkpoint_and_says_how_to_go_on(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handler, model = signal.getsignal(signal.SIGINT), new_model()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, objective=Stopped(3), model=model)
    assert signal.getsignal(signal.SIGINT) is handler
    assert "run.ckpt holds the run up to step 3: with resume=True" in caplog.text
    assert not model.network.training


def test_ctrl_c_behind_the_end_is_no_other_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("scfm_scverse.training.run.board.Board.on_train_end", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, max_epochs=1)
    assert "stopped" not in caplog.text
    _, history = run(tmp_path, max_epochs=1, resume=True)
    assert len(history) == 4
