"""Dynamic int8 and ``torch.compile`` on the layers of this package: what they would give."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

N_CELLS = 8
SIZES = {"scGPT": (12, 512, 8, 512), "Geneformer V1-10M": (6, 256, 4, 512)}


def tried(model: str, way: str, folder: Path, timed: Callable[..., dict[str, float]]) -> dict[str, Any]:
    """Run some cells through all layers, as they are and changed, in turns."""
    import numpy as np
    import torch

    from scfm_scverse.nn import Encoder, Spans

    torch.manual_seed(0)
    encoder = Encoder(*SIZES[model]).eval()
    lengths = np.load(folder / f"{model}.npy")[:N_CELLS].tolist()
    cells = [(torch.randn(length, SIZES[model][1]), Spans((length,))) for length in lengths]
    wall = time.perf_counter()
    changed = (int8 if way == "int8" else compiled)(encoder)
    with torch.inference_mode():
        for cell in cells[:2]:
            changed(*cell)
        prepared = time.perf_counter() - wall
        found: dict[str, list[dict[str, float]]] = {"as it is": [], way: []}
        for _ in range(2):
            for name, network in (("as it is", encoder), (way, changed)):
                found[name].append(timed(lambda network=network: [network(*cell) for cell in cells], N_CELLS))
        cosine = min(
            torch.nn.functional.cosine_similarity(changed(*cell).mean(0), encoder(*cell).mean(0), dim=0).item()
            for cell in cells[:2]
        )
    before, after = (min(one["cpu_ms"] for one in found[name]) for name in ("as it is", way))
    best = min(found[way], key=lambda one: one["cpu_ms"])
    return {**best, "cpu_ms": after, "float32_cpu_ms": before, "prepared_s": prepared, "cosine": cosine}


def int8(encoder: Any) -> Any:
    """Linear layers with weights in 8 bits, activations quantised as they come."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(deepcopy(encoder), {torch.nn.Linear}, dtype=torch.qint8)


def compiled(encoder: Any) -> Any:
    """What works row by row, compiled for any number of rows; attention is one kernel already."""
    import torch

    encoder = deepcopy(encoder)
    for layer in encoder.layers:
        layer.finish = torch.compile(layer.finish, dynamic=True)
        layer.project = torch.compile(layer.project, dynamic=True)
    return encoder
