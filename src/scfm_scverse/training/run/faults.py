"""What a training that cannot go on tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..._errors import TrainingError
from ..batch import Batch
from ..settings import TrainSettings

_SHOWN = 8  # cells that a message names


def not_finite(step: int, batches: Sequence[Batch], settings: TrainSettings, *, what: str) -> TrainingError:
    """Return the error of a number that is none: where, with which cells, and what to do."""
    cells = np.concatenate([batch.cells for batch in batches]) if batches else np.zeros(0, np.int64)
    names = [str(cell) for cell in cells[:_SHOWN]] + ["..."] * (len(cells) > _SHOWN)
    among = f", with the {len(cells):,} cells at the positions {', '.join(names)} of the data" if len(cells) else ""
    clip = "gradient_clip=1.0" if settings.gradient_clip is None else f"gradient_clip below {settings.gradient_clip:g}"
    lr = "its default" if settings.lr is None else f"{settings.lr:g}"
    msg = (
        f"Found NaN or an infinite number as {what} at step {step:,}{among}; expected finite numbers. "
        f"Pass a smaller lr (it is {lr}), {clip}, or precision='float32', and look for extreme values in these cells."
    )
    return TrainingError(msg, cells=cells, step=step)
