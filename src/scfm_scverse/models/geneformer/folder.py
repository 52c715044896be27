"""From the folder of a checkpoint to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ..._errors import CheckpointError, InputError
from ..catalogue import release_fact
from .dictionaries import Source, Version, find_dictionaries
from .files import load_network, read_sizes, weights_file
from .model import Geneformer
from .spec import LICENCE, spec_of


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
    spec = spec_of(network, vocabulary, mode, str(config.get("licence", LICENCE)))
    return Geneformer(network, spec, vocabulary, loaded, mode, label_names(folder, config.get("id2label") or {}))


def label_names(folder: Path, labels: Any) -> tuple[str, ...]:
    """Names of classes in the order of their numbers."""
    if not isinstance(labels, dict) or not all(key.isdecimal() for key in labels):
        msg = f"{folder / 'config.json'} says id2label={labels!r}; expected the name of each class by its number."
        raise CheckpointError(msg)
    return tuple(str(labels[key]) for key in sorted(labels, key=int))
