"""Leaving the first layers of a network as they are."""

from __future__ import annotations

from ..._errors import InputError
from ...models.trainable import Trainable

# Where the layers of a family stand in its network, and what comes before them.
_STACKS = {
    "transformer_encoder.layers": ("encoder", "value_encoder", "flag_encoder", "bn"),
    "transformer.encoder.layers": ("embedding",),
    "performer.layers": ("token_emb",),
    "encoder.layers": ("word", "position", "kind", "norm"),
}


def freeze_layers(model: Trainable, n_layers: int) -> None:
    """Freeze the embeddings of genes and values and the first layers of a network; its heads go on being trained.

    Parameters
    ----------
    model
        A scGPT, Geneformer, scFoundation or scBERT.
    n_layers
        How many layers to freeze; 0 freezes the embeddings alone.

    Raises
    ------
    InputError
        The network has fewer layers, or is of another kind.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> from scfm_scverse.training.objectives import freeze_layers
    >>> model = scfm.models.create("scgpt", ["CD3E", "LYZ", "MS4A1"], dim=16, n_layers=2, n_heads=2)
    >>> freeze_layers(model, 2)
    >>> sorted({name.split(".")[0] for name, one in model.network.named_parameters() if one.requires_grad})
    ['decoder', 'mvc_decoder']
    """
    parts = dict(model.network.named_modules())
    path = next((path for path in _STACKS if path in parts), None)
    if path is None:
        msg = f"Found {model.spec.name}; expected a scGPT, Geneformer, scFoundation or scBERT, whose layers are known."
        raise InputError(msg)
    layers = list(parts[path].children())
    if not 0 <= n_layers <= len(layers):
        msg = f"Found {n_layers} layers to freeze; expected 0 to {len(layers)}, as many as {model.spec.name} has."
        raise InputError(msg)
    before = [parts[name] for name in _STACKS[path] if name in parts]
    for part in (*before, *layers[:n_layers]):
        part.requires_grad_(requires_grad=False)
