"""Training a model."""

from __future__ import annotations

import signal
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ..._errors import InputError
from ..._logging import progress_bar, say
from ...inference.device import choose_device
from ...models.seeded import seeded
from ...models.trainable import Trainable
from ..cells import Minibatches
from ..objectives import Objective
from ..optimizers import prepare_training, release_network
from ..settings import TrainSettings
from .best import Best
from .board import Board
from .checkpoints import Checkpoints
from .files import TensorsOnly, read_tensors
from .history import History, as_table
from .made_from import CHECKPOINT, find_run, leave_run, made_from
from .plan import TrainingPlan, count_steps
from .quiet import quiet

if TYPE_CHECKING:
    import pandas as pd


def fit(
    model: Trainable,
    objective: Objective,
    training: Minibatches,
    validation: Minibatches | None = None,
    *,
    settings: TrainSettings,
    folder: Path | None = None,
    resume: bool = False,
) -> pd.DataFrame:
    """Train a model in place.

    Where there is a validation, the model ends with the weights of the best one. It ends on the CPU, in float32.

    Parameters
    ----------
    model
        The model.
    objective
        What it is trained for.
    training, validation
        Minibatches to learn from, and to measure the loss on after every epoch.
    settings
        How it is trained.
    folder
        Where the run is kept: ``run.ckpt``, from which it can go on, ``history.csv``, and what TensorBoard shows where
        that is installed. ``None`` keeps nothing.
    resume
        Go on with the run that ``folder`` holds, if there is one. On a CPU the end is the same, to the bit, as if it
        had never been cut short. Of a run that is over, the result is taken.

    Returns
    -------
    History: one row a step, indexed by ``step`` from 1, with ``epoch``, ``learning_rate``, ``train_loss``,
    ``validation_loss`` at the last step of each epoch, and their parts where there are several.

    Raises
    ------
    InputError
        The folder holds a run and ``resume=False``, or a run of other settings, data or another model.
    TrainingError
        A loss, a gradient or a weight is not finite. The last checkpoint is whole.
    FileError
        The folder cannot be made, or its checkpoint is damaged.
    """
    depends, found = made_from(model, objective, training, validation, settings), None
    if folder is not None:
        depends, found = find_run(folder, depends, resume=resume)
    prepare_training(model, objective, settings)
    try:
        if found is not None and "result" in found:
            say(f"the run in {folder} is over; its result is taken")
            history = _result_of(model, found)
        else:
            checkpoint = None if folder is None or found is None else folder / CHECKPOINT
            plan = TrainingPlan(model, objective, settings, training)
            history = _train(plan, (training, validation), depends, folder, checkpoint)
    except BaseException:
        _release(model)
        if folder is not None:
            leave_run(folder, model.spec.id)
        raise
    _release(model)
    return history


def _release(model: Trainable) -> None:
    release_network(model.network.cpu())
    model.network.eval()
    model.renew()


def _train(
    plan: TrainingPlan,
    minibatches: tuple[Minibatches, Minibatches | None],
    depends: dict[str, str],
    folder: Path | None,
    checkpoint: Path | None,
) -> pd.DataFrame:
    """Run Lightning; several processes leave the result in a folder."""
    settings = plan.settings
    if settings.devices > 1 and folder is None:
        with TemporaryDirectory() as temporary:
            return _train(plan, minibatches, depends, Path(temporary), None)
    total = count_steps(ceil(len(minibatches[0]) / settings.devices), settings)
    with progress_bar(total, unit="step", label="training") as advance:
        history = History(advance)
        callbacks: list[L.Callback] = [history, best := Best(history, folder, settings.patience)]
        if folder is not None:
            callbacks += [Checkpoints(folder, settings, depends, history, best), Board(history, folder / "tensorboard")]
        with quiet(), seeded(settings.seed):
            _run(_trainer(settings, callbacks), plan, minibatches, checkpoint)
    if settings.devices > 1 and folder is not None:
        return _result_of(plan.model, read_tensors(folder / CHECKPOINT))
    return history.table()


def _trainer(settings: TrainSettings, callbacks: list[L.Callback]) -> L.Trainer:
    cuda = settings.device == "auto" and torch.cuda.is_available()
    device = choose_device("cuda" if cuda else "cpu" if settings.device == "auto" else settings.device)
    where: dict[str, Any] = {"accelerator": "cpu", "devices": settings.devices}
    if device.type != "cpu":
        if settings.devices > 1:
            msg = f"Found devices={settings.devices} on {device}; expected 1 there: pass device='cpu' for several."
            raise InputError(msg)
        where = {"accelerator": {"cuda": "gpu"}.get(device.type, device.type), "devices": [device.index or 0]}
    if settings.devices > 1:
        # Heads that an objective leaves alone have no gradient.
        where["strategy"] = DDPStrategy(start_method="fork", process_group_backend="gloo", find_unused_parameters=True)
    return L.Trainer(
        **where,
        max_epochs=settings.max_epochs,
        min_epochs=0,
        # The plan counts steps: told of them, Lightning counts epochs wrongly in a run that goes on.
        max_steps=-1,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.gradient_clip,
        callbacks=callbacks,
        plugins=[TensorsOnly()],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
    )


def _run(
    trainer: L.Trainer,
    plan: TrainingPlan,
    minibatches: tuple[Minibatches, Minibatches | None],
    checkpoint: Path | None,
) -> None:
    """Let Lightning train; Ctrl-C and the end of a job leave as they came."""
    before = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(plan, *minibatches, ckpt_path=checkpoint, weights_only=True)
    except SIGTERMException as error:
        raise SystemExit(128 + signal.SIGTERM) from error
    except SystemExit as error:
        # What Lightning makes of Ctrl-C, and it leaves the process deaf to the next one.
        signal.signal(signal.SIGINT, before)
        raise KeyboardInterrupt from error


def _result_of(model: Trainable, found: dict[str, Any]) -> pd.DataFrame:
    """Put the result of a run that is over into the network, and return its history."""
    model.network.load_state_dict(found["result"])
    return as_table(found["history"])
