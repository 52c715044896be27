"""What the processes of one training have to know of each other."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def place_of_process() -> tuple[int, int]:
    """Return the number of this process, from 0, and how many train together."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def mean_of_all(total: Tensor, count: Tensor) -> Tensor:
    """Return a mean over what all processes have, times its share that came from here and the number of processes.

    The processes' mean of it, and so that of its gradients, is what one process with all the cells would have found.
    All processes must call it, in the same order; nothing to count makes zero.

    Parameters
    ----------
    total
        Sum over what this process has, [].
    count
        How many that is, or the sum of their weights, [].
    """
    world = place_of_process()[1]
    count = count.detach().to(total.device, torch.float32, copy=True)
    if world > 1:
        distributed.all_reduce(count)
    return total * world / count.clamp(min=1e-12)
