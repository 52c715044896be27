"""The folder that a model is written to: ``config.json``, ``genes.txt``, ``model.safetensors``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from ..._errors import CheckpointError
from ...checkpoints import place, read_json, read_tensors
from ...checkpoints.files import read_bytes
from ...nn import unfilled
from ...nn.identity import hash_network, lasting_tensors
from ..base import ModelSpec
from .network import LatentNetwork, Sizes

if TYPE_CHECKING:
    from .model import ScfmLatent

CONFIG, GENES, WEIGHTS = "config.json", "genes.txt", "model.safetensors"
MARK, LAYOUT = "scfm-latent", "scfm-latent (config.json, genes.txt, model.safetensors)"
FORMAT = 1
MOST = {"n_genes": 2**20, "dim": 2**14, "n_layers": 2**10, "n_heads": 2**10, "n_latents": 2**14, "n_reads": 2**10}
_MOST_BYTES = 32 * 2**20


def write_folder(network: LatentNetwork, spec: ModelSpec, folder: Path) -> None:
    """Write a model into a new folder."""
    config = {"model_type": MARK, "format": FORMAT, "organism": spec.organism, **asdict(network.sizes)}
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")
    (folder / GENES).write_text("\n".join(spec.genes.tolist()), encoding="utf-8")
    save_file(lasting_tensors(network), folder / WEIGHTS)


def read_folder(folder: Path) -> ScfmLatent:
    """Read a model that :func:`write_folder` wrote.

    Raises
    ------
    CheckpointError
        A file is missing or damaged, or does not fit the others.
    """
    from .model import ScfmLatent

    config = read_json(folder / CONFIG)
    sizes, organism = _sizes(folder / CONFIG, config), _organism(folder / CONFIG, config)
    genes = _genes(folder / GENES, sizes.n_genes)
    with unfilled():
        network = LatentNetwork(sizes)
    facts = {
        "vocabulary": f"{sizes.n_genes:,} genes, {organism}",
        "network": f"{sizes.n_layers} layers of width {sizes.dim}, {sizes.n_heads} heads, {sizes.n_latents} latents",
    }
    source = folder / WEIGHTS
    loaded = place(network, read_tensors(source), source=str(source), layout=LAYOUT, facts=facts)
    return ScfmLatent(network.eval(), spec_of(network, genes, organism), loaded)


def _sizes(path: Path, config: Mapping[str, Any]) -> Sizes:
    if config.get("format") != FORMAT:
        msg = f"{path} says format={config.get('format')!r}; expected {FORMAT}: a newer package may have written it."
        raise CheckpointError(msg)
    for one in fields(Sizes):
        least, most = (0, 2**20) if one.name == "n_classes" else (1, MOST[one.name])
        size = config.get(one.name)
        if type(size) is not int or not least <= size <= most:
            msg = f"{path} says {one.name}={size!r}; expected a whole number from {least} to {most:,}."
            raise CheckpointError(msg)
    sizes = Sizes(**{one.name: config[one.name] for one in fields(Sizes)})
    wrong = misfit(sizes)
    if wrong:
        msg = f"{path} says {wrong}"
        raise CheckpointError(msg)
    return sizes


def misfit(sizes: Sizes) -> str | None:
    """Say which sizes do not go together, ``None`` if all do."""
    if sizes.dim % sizes.n_heads:
        return f"dim={sizes.dim} and n_heads={sizes.n_heads}; expected a number of heads that divides the width."
    if not 1 <= sizes.n_reads <= sizes.n_layers:
        return f"n_reads={sizes.n_reads} and n_layers={sizes.n_layers}; expected a read or more, a layer for each."
    return None


def _organism(path: Path, config: Mapping[str, Any]) -> Literal["human", "mouse"]:
    match config.get("organism"):
        case "human":
            return "human"
        case "mouse":
            return "mouse"
    msg = f"{path} says organism={config.get('organism')!r}; expected 'human' or 'mouse'."
    raise CheckpointError(msg)


def _genes(path: Path, n: int) -> NDArray[np.str_]:
    try:
        names = read_bytes(path, most=_MOST_BYTES).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        msg = f"{path} is no text; expected {n:,} names of genes, one a line."
        raise CheckpointError(msg) from error
    n_different = len(set(names))
    if len(names) != n or n_different != n or "" in names:
        msg = f"{path} holds {len(names):,} names, {n_different:,} of them different; expected {n:,} different ones."
        raise CheckpointError(msg)
    return np.array(names, np.str_)


def spec_of(network: LatentNetwork, genes: NDArray[np.str_], organism: Literal["human", "mouse"]) -> ModelSpec:
    """Describe the model."""
    sizes = network.sizes
    told = np.array([sizes.n_heads, sizes.n_reads])  # which the tensors do not tell
    return ModelSpec(
        name="scfm-latent",
        version=f"{sizes.n_layers}x{sizes.dim}",
        weights_hash=hash_network(network, genes, told),
        genes=genes,
        organism=organism,
        dim=sizes.dim,
        key_added="X_scfm_latent",
        outputs=frozenset({"cell", "gene", "expression"}),
        needs_counts=False,
        licence="BSD-3-Clause",
        citation="the scfm-scverse package",
        description=f"Transformer over {sizes.n_latents} latents: {sizes.n_layers} layers of width {sizes.dim}.",
        bfloat16=True,
        minibatch_tokens=2**14,
    )
