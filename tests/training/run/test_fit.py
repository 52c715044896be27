"""What a run does when nothing goes wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from scfm_scverse.models import Trainable
from scfm_scverse.training.objectives import CellTypes, Joint
from short_runs import Types, assert_same, minibatches, new_model

Run = Callable[..., tuple[Trainable, pd.DataFrame]]


def test_history_has_a_row_for_every_step(run: Run) -> None:
    _, history = run()
    assert history.index.tolist() == list(range(1, 13))
    assert history["epoch"].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert list(history) == ["epoch", "learning_rate", "train_loss", "validation_loss"]
    assert history["validation_loss"].notna().tolist() == [False, False, False, True] * 3
    assert history["learning_rate"].idxmax() == 1
    assert history["learning_rate"].max() == 1e-3


def test_parts_of_the_loss_stand_beside_their_sum(run: Run) -> None:
    class Twice(Joint):
        def losses(self, model: Any, batch: Any) -> Any:
            parts = super().losses(model, batch)
            return parts | {"again": 2 * parts["cell_types"]}

    _, history = run(objective=Twice(CellTypes(2)), max_steps=4)
    for stage in ("train", "validation"):
        parts = history[[f"{stage}_cell_types", f"{stage}_again"]]
        np.testing.assert_allclose(history[f"{stage}_loss"], parts.sum(axis=1, min_count=1), rtol=1e-12)


def test_step_of_several_minibatches_shows_their_mean(run: Run) -> None:
    # Nothing is learnt, so that losses can be compared.
    one, several = (run(lr=1e-12, accumulate=n, model=new_model(dropout=0), max_epochs=1)[1] for n in (1, 2))
    cells = np.array([16, 16, 16, 12])
    sums = (one["train_loss"].to_numpy() * cells).reshape(2, 2).sum(1)
    np.testing.assert_allclose(several["train_loss"], sums / cells.reshape(2, 2).sum(1), rtol=1e-5)
    assert several.index.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("given", "steps"),
    [({"max_steps": 5}, 5), ({"max_steps": 50, "max_epochs": 1}, 4), ({"max_epochs": -1, "max_steps": 6}, 6)],
)
def test_training_ends_at_the_first_limit_and_validates_there(run: Run, given: dict[str, int], steps: int) -> None:
    _, history = run(**given)
    assert history.index[-1] == steps
    assert history["validation_loss"].notna().iloc[-1]


@pytest.mark.parametrize("kept", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_model_ends_with_the_weights_of_the_best_validation(run: Run, tmp_path: Path, kept: bool) -> None:
    given = {"lr": 1.0, "gradient_clip": None, "max_epochs": 4}
    model, history = run(tmp_path if kept else None, **given)
    best = int(history["validation_loss"].idxmin())
    assert best < history.index[-1], "every validation was better than the last"
    _, validation = minibatches(model)
    objective = Types()
    with torch.no_grad():
        losses = [(float(objective.losses(model, batch)["cell_types"]), len(batch)) for batch in validation]
    found = sum(loss * n for loss, n in losses) / sum(n for _, n in losses)
    assert found == pytest.approx(history.loc[best, "validation_loss"], rel=1e-6)
    assert not list(tmp_path.glob("best_*"))


def test_training_stops_when_patience_ends(run: Run) -> None:
    _, history = run(lr=1.0, max_epochs=30, patience=2)
    losses = history["validation_loss"].dropna()
    assert len(losses) < 30
    assert losses.argmin() == len(losses) - 3


def test_every_fit_trains_with_dropout_and_leaves_the_model_as_inference_wants_it(run: Run) -> None:
    seen: list[tuple[bool, torch.dtype, bool]] = []

    class Watched(Types):
        def losses(self, model: Any, batch: Any) -> Any:
            layers = model.network.transformer_encoder
            seen.append((layers.training, layers.layers[0].in_proj.weight.dtype, layers.recompute))
            return super().losses(model, batch)

    model = new_model()
    for _ in range(2):
        before = model.spec.id
        run(model=model, objective=Watched(), precision="bfloat16", recompute=True, max_epochs=1, validate=False)
        assert model.spec.id != before
        weights = [*model.network.parameters()]
        assert {weight.dtype for weight in weights} == {torch.float32}
        assert all(weight.requires_grad for weight in weights)
        assert not model.network.training
        assert not model.network.transformer_encoder.recompute
    assert set(seen) == {(True, torch.bfloat16, True)}


def test_run_leaves_the_random_numbers_of_torch_alone(run: Run) -> None:
    state = torch.random.get_rng_state()
    run(max_steps=1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_run_is_quiet(run: Run, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(max_steps=2)
    assert capfd.readouterr() == ("", "")
    assert [record.message for record in caplog.records if not record.name.startswith("scfm")] == []


def test_history_is_written_for_people_and_for_tensorboard(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, history = run(tmp_path, max_steps=6)
    written = pd.read_csv(tmp_path / "history.csv", index_col="step")
    pd.testing.assert_frame_equal(written, history, check_exact=False, rtol=1e-12)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("train_loss", "validation_loss", "learning_rate"):
        shown = {event.step: event.value for event in events.Scalars(name)}
        column = history[name].dropna()
        assert list(shown) == column.index.tolist()
        np.testing.assert_allclose(list(shown.values()), column, rtol=1e-6)


@pytest.mark.slow
def test_two_processes_train_as_one(run: Run, tmp_path: Path) -> None:
    given = {"optimizer": "adamw", "optimizer_kwargs": {}}
    _, expected = run(model=new_model(dropout=0), **given)
    halves = tuple(_halved(loader) for loader in minibatches(new_model(dropout=0)))
    for folder in (None, tmp_path):
        both, history = run(folder, model=new_model(dropout=0), data=halves, devices=2, **given)
        np.testing.assert_allclose(history["train_loss"], expected["train_loss"], rtol=1e-4)
        np.testing.assert_allclose(history["validation_loss"], expected["validation_loss"], rtol=1e-4)
    again, _ = run(tmp_path, model=new_model(dropout=0), data=halves, devices=2, resume=True, **given)
    assert_same(again, both)


def _halved(loader: Any) -> Any:
    loader.batch_size //= 2
    return loader
