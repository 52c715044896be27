"""From the folder of a checkpoint to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ..._errors import CheckpointError, InputError
from ...nn.identity import hash_network
from ..base import ModelSpec
from ..catalogue import release_fact
from .dictionaries import Dictionaries, Source, Version, find_dictionaries
from .files import load_network, read_sizes, weights_file
from .model import Geneformer
from .network import Network, Sizes

CITATIONS: dict[Version, str] = {
    "V1": "Theodoris et al. 2023, Nature 618:616, doi:10.1038/s41586-023-06139-9",
    "V2": "Chen et al. 2024, bioRxiv, doi:10.1101/2024.08.16.608180",
}


def load_folder(
    folder: Path,
    weights: str | None,
    *,
    version: Version | None,
    dictionaries: tuple[Source | None, Source | None, Source | None],
    mode: Literal["default", "original"],
) -> Geneformer:
    """Read sizes, vocabulary and weights (the file named ``weights``), and see that they belong together."""
    if mode not in ("default", "original"):
        msg = f"Found mode={mode!r}; expected 'default' or 'original'."
        raise InputError(msg)
    path = weights_file(folder) if weights is None else folder / weights
    sizes, config = read_sizes(folder / "config.json")
    tokens, medians, mapping = dictionaries
    vocabulary = find_dictionaries(
        folder,
        sizes.n_genes,
        version=version,
        token_dictionary=tokens,
        gene_medians=medians,
        gene_mapping=mapping,
    )
    facts = {
        "rules": vocabulary.version,
        "vocabulary": f"{sizes.n_genes:,} tokens, dictionaries {vocabulary.source}",
        "network": f"{sizes.n_layers} layers of width {sizes.dim}, {sizes.n_heads} heads, context {sizes.context:,}",
        **release_fact(path),
    }
    network, loaded = load_network(path, sizes, facts)
    millions = round(sum(one.numel() for one in network.parameters()) / 1e6)
    spec = make_spec(network, sizes, vocabulary, f"Geneformer-{millions}M", mode)
    return Geneformer(network, spec, vocabulary, loaded, mode, label_names(folder, config.get("id2label") or {}))


def make_spec(network: Network, sizes: Sizes, vocabulary: Dictionaries, name: str, mode: str) -> ModelSpec:
    """Describe the model."""
    version = vocabulary.version
    return ModelSpec(
        name=name,
        version=version,
        weights_hash=hash_network(network, vocabulary.genes, vocabulary.medians),
        genes=vocabulary.genes,
        organism="mouse" if vocabulary.genes[-1].startswith("ENSMUSG") else "human",
        dim=sizes.dim,
        key_added="X_Geneformer",
        outputs=frozenset({"cell", "gene", "attention"}),
        needs_counts=False,
        licence="Apache-2.0",
        citation=CITATIONS[version],
        description=f"Transformer over ranked genes: {sizes.n_layers} layers, up to {sizes.context:,} tokens a cell.",
        n_layers=sizes.n_layers,
        poolings=("cls", "mean") if version == "V2" else ("mean",),
        context=sizes.context,
        bfloat16=True,
        options=() if mode == "default" else (("mode", mode),),
        minibatch_tokens=2048,
        edits_tokens=True,
        compares_genes=version == "V1",
    )


def label_names(folder: Path, labels: Any) -> tuple[str, ...]:
    """Names of classes in the order of their numbers."""
    if not isinstance(labels, dict) or not all(key.isdecimal() for key in labels):
        msg = f"{folder / 'config.json'} says id2label={labels!r}; expected the name of each class by its number."
        raise CheckpointError(msg)
    return tuple(str(labels[key]) for key in sorted(labels, key=int))
