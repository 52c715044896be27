"""Optimizers alone on the weights of a scGPT-size network: bytes of their state, seconds of a step and of a refresh.

    python benchmarks/galore_optimizer.py

50.8 million weights, 31 million of them one gene embedding of which a step sees 3,731 rows. Random gradients and no
network: the time of a step does not depend on values, and Gaussian matrices are the hardest ones to find leading
directions of. CPU seconds of one thread, the least of five steps; every row is a process of its own. The row of
galore-torch is there where that is installed. Writes ``benchmarks/results/galore_optimizer.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from embed import in_process, machine, save

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

GENES, WIDTH, LAYERS, SEEN = 60_697, 512, 12, 3_731
RANK, STEPS = 128, 5
LOW_RANK = {"rank": RANK, "update_proj_gap": 200, "scale": 0.25, "proj_type": "std"}

# Which optimizer, its options, the type of the weights and whether the gradient of the embedding is sparse.
ROWS: dict[str, tuple[str, dict[str, Any], str, bool]] = {
    "AdamW": ("torch", {}, "float32", False),
    "AdamW, fused": ("torch", {"fused": True}, "float32", False),
    "galore-torch": ("galore-torch", {"no_deprecation_warning": True}, "float32", False),
    "ours, as released": ("ours", {"compat": "released", "embedding": "adamw"}, "float32", False),
    "ours, embedding by AdamW": ("ours", {"embedding": "adamw"}, "float32", False),
    "ours, embedding of low rank": ("ours", {"embedding": "lowrank"}, "float32", True),
    "ours, dense gradient": ("ours", {}, "float32", False),
    "ours": ("ours", {}, "float32", True),
    "ours, 8-bit": ("ours", {"moments": "8bit"}, "float32", True),
    "ours, bfloat16": ("ours", {}, "bfloat16", True),
    "ours, bfloat16, 8-bit": ("ours", {"moments": "8bit"}, "bfloat16", True),
}


def make_network() -> nn.Module:
    """The weights of the network, never called."""
    from torch import nn

    d = WIDTH
    shapes = [(d, 3 * d), (d, d), (d, d), (d, d)]
    layers = [[*(nn.Linear(*shape) for shape in shapes), nn.LayerNorm(d), nn.LayerNorm(d)] for _ in range(LAYERS)]
    values = [nn.Linear(1, d), nn.Linear(d, d), nn.LayerNorm(d), nn.LayerNorm(d)]
    decoder = [nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, 1)]
    return nn.Sequential(nn.Embedding(GENES, d), *values, *decoder, *(one for layer in layers for one in layer))


def make_optimizer(kind: str, options: dict[str, Any], network: nn.Module) -> Optimizer:
    import torch

    if kind == "torch":
        return torch.optim.AdamW(network.parameters(), **options)
    if kind == "galore-torch":
        from galore_torch import GaLoreAdamW as Released

        layers = {id(param) for module in network[8:] for param in module.parameters() if param.ndim == 2}
        split: list[list[Tensor]] = [[], []]
        for param in network.parameters():
            split[id(param) in layers].append(param)
        return Released([{"params": split[0]}, {"params": split[1], **LOW_RANK}], **options)
    from scfm_scverse.training import GaLoreAdamW, galore_param_groups

    groups = galore_param_groups(network, embedding=options.pop("embedding", "rowwise"), **LOW_RANK)
    return GaLoreAdamW(groups, **options)


def set_gradients(network: nn.Module, *, sparse: bool) -> None:
    import torch

    torch.manual_seed(0)
    for param in network.parameters():
        param.grad = torch.randn(param.shape, dtype=param.dtype) / 100
    table = next(network.parameters())
    rows = torch.randperm(GENES)[:SEEN].sort().values
    if sparse:
        table.grad = torch.sparse_coo_tensor(rows[None], table.grad[rows], table.shape, check_invariants=True)
    else:
        seen = torch.zeros(GENES, 1, dtype=table.dtype)
        seen[rows] = 1
        table.grad.mul_(seen)


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def state_bytes(state: Any) -> int:
    """Bytes of the storages of all tensors in a state, also of those that are attributes of an object in it."""
    import torch

    if isinstance(state, torch.Tensor):
        return state.untyped_storage().nbytes()
    values = state.values() if isinstance(state, dict) else vars(state).values() if hasattr(state, "__dict__") else ()
    return sum(state_bytes(value) for value in values)


def measure_optimizer(row: str) -> dict[str, float]:
    import torch

    kind, options, dtype, sparse = ROWS[row]
    network = make_network().to(getattr(torch, dtype))
    optimizer = make_optimizer(kind, dict(options), network)
    set_gradients(network, sparse=sparse)
    first = seconds(optimizer.step)
    steps = [seconds(optimizer.step) for _ in range(STEPS)]
    held = sum(state_bytes(state) for state in optimizer.state.values())
    return {"state_mib": held / 2**20, "step_s": min(steps), "first_step_s": first, "median_step_s": sorted(steps)[2]}


def refresh_ways() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """Ways to the leading columns of a gradient, given it and those of the gradient before."""
    import torch

    from scfm_scverse.training.subspace import leading_columns

    rng = torch.Generator()
    return {
        "exact": lambda grad, _: torch.linalg.svd(grad, full_matrices=False).Vh[:RANK].T.contiguous(),
        "svd_lowrank": lambda grad, _: torch.svd_lowrank(grad, RANK, niter=2)[2],
        "cold": lambda grad, _: leading_columns(grad, None, RANK, rng),
        "warm": lambda grad, before: leading_columns(grad, before, RANK, rng),
        "old": lambda _, before: before,
    }


def measure_refresh() -> dict[str, Any]:
    """Seconds for the 48 matrices of the layers, and the energy kept, as a share of what the exact basis keeps."""
    import torch

    torch.manual_seed(0)
    shapes = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH), (WIDTH, WIDTH)] * LAYERS
    found: dict[str, Any] = {way: {"s": 0.0, "energy": 0.0} for way in refresh_ways()}
    for shape in shapes:
        before = torch.randn(shape)
        grad = before + 0.5 * torch.randn(shape)
        old = torch.linalg.svd(before, full_matrices=False).Vh[:RANK].T.contiguous()
        energies: dict[str, float] = {}
        for way, call in refresh_ways().items():
            kept: list[Tensor] = []
            found[way]["s"] += seconds(lambda call=call, kept=kept, grad=grad, old=old: kept.append(call(grad, old)))
            energies[way] = float((grad @ kept[0]).square().sum())
            found[way]["energy"] += energies[way] / energies["exact"] / len(shapes)
    return found


def print_rows(rows: dict[str, dict[str, float]], refresh: dict[str, Any], names: Sequence[str]) -> None:
    for row in names:
        found = rows[row]
        print(f"{row:28s} state {found['state_mib']:7.1f} MiB  step {found['step_s']:6.3f} s")
    for way, one in refresh.items():
        print(f"refresh {way:12s} {one['s']:6.3f} s  energy {one['energy']:.4f}")


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    names = [row for row in ROWS if row != "galore-torch" or find_spec("galore_torch")]
    rows = {row: in_process(__file__, row) for row in names}
    refresh = in_process(__file__, "refresh")
    print_rows(rows, refresh, names)
    save("galore_optimizer", {"optimizers": rows, "refresh": refresh, **machine()})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(measure_refresh() if sys.argv[2] == "refresh" else measure_optimizer(sys.argv[2])))
    else:
        main()
