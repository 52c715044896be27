"""Layers that are left as they are."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from scfm_scverse import models
from scfm_scverse._errors import InputError
from scfm_scverse.training.objectives import freeze_layers

SYMBOLS = [f"GENE{at}" for at in range(30)]
IDS = [f"ENSG0000000{at}" for at in range(1000, 1030)]
HEADS = {
    "scgpt": {"decoder", "mvc_decoder", "cls_decoder"},
    "geneformer": {"head"},
    "scfoundation": {"decoder", "classifier"},
    "scbert": {"norm", "to_out"},
}


def small(family: str) -> Any:
    genes = IDS if family == "geneformer" else SYMBOLS
    sizes = {"dim": 16, "n_heads": 2, "n_layers": 3}
    if family == "scfoundation":
        sizes |= {"decoder_dim": 16, "decoder_heads": 2, "decoder_layers": 1}
    model = models.create(family, genes, **sizes)
    model.add_classes(2, seed=0)
    return model


@pytest.mark.parametrize("family", HEADS)
@pytest.mark.parametrize("n_layers", [0, 2])
def test_embeddings_and_first_layers_are_frozen_and_heads_are_not(family: str, n_layers: int) -> None:
    model = small(family)
    freeze_layers(model, n_layers)
    layers = {"scgpt": "transformer_encoder.layers", "geneformer": "encoder.layers"}
    layers |= {"scfoundation": "transformer.encoder.layers", "scbert": "performer.layers"}
    trained = [name for name, one in model.network.named_parameters() if one.requires_grad]
    inside = {name.removeprefix(f"{layers[family]}.")[0] for name in trained if name.startswith(layers[family])}
    assert inside == {"0", "1", "2"} - {str(layer) for layer in range(n_layers)}
    outside = {name.partition(".")[0] for name in trained if not name.startswith(layers[family])}
    assert outside - {"transformer"} <= HEADS[family]
    assert outside
    tables = [one for one in model.network.modules() if isinstance(one, torch.nn.Embedding)]
    assert not any(one.weight.requires_grad for one in tables)


def test_frozen_parameters_get_no_gradient() -> None:
    import numpy as np

    from scfm_scverse.tokens import Tokens

    model = small("scgpt")
    freeze_layers(model, 2)
    ids = np.array([1, 3, 4, 1, 5], np.int32)
    tokens = Tokens(np.array([0, 3, 5]), ids, np.ones(5, np.float32), np.ones(33, bool))
    model.class_logits(model.run(tokens)).sum().backward()
    for name, one in model.network.named_parameters():
        reads = name.startswith(("transformer_encoder.layers.2", "cls_decoder"))
        assert (one.grad is not None) == reads, name


@pytest.mark.parametrize("n_layers", [-1, 4])
def test_more_layers_than_there_are_cannot_be_frozen(n_layers: int) -> None:
    model = small("scgpt")
    with pytest.raises(InputError, match=f"Found {n_layers} layers to freeze; expected 0 to 3"):
        freeze_layers(model, n_layers)
    assert all(one.requires_grad for one in model.network.parameters())


def test_a_network_of_unknown_layers_is_refused() -> None:
    model = small("scgpt")
    model.network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="whose layers are known"):
        freeze_layers(model, 1)
