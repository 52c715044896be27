"""What is known of a Geneformer without running it."""

from __future__ import annotations

from ...nn.identity import hash_network, lasting_tensors
from ..base import ModelSpec
from .dictionaries import Dictionaries, Version
from .network import Network

CITATIONS: dict[Version, str] = {
    "V1": "Theodoris et al. 2023, Nature 618:616, doi:10.1038/s41586-023-06139-9",
    "V2": "Chen et al. 2024, bioRxiv, doi:10.1101/2024.08.16.608180",
}
LICENCE = "Apache-2.0"


def spec_of(network: Network, vocabulary: Dictionaries, mode: str, licence: str = LICENCE) -> ModelSpec:
    """Describe the model."""
    version, sizes = vocabulary.version, network.sizes
    lasting = lasting_tensors(network)
    millions = round(sum(one.numel() for one in lasting.values()) / 1e6)
    return ModelSpec(
        name=f"Geneformer-{millions}M",
        version=version,
        weights_hash=hash_network(network, vocabulary.genes, vocabulary.medians),
        genes=vocabulary.genes,
        organism="mouse" if vocabulary.genes[-1].startswith("ENSMUSG") else "human",
        dim=sizes.dim,
        key_added="X_Geneformer",
        outputs=frozenset({"cell", "gene", "attention"}),
        needs_counts=False,
        licence=licence,
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
