"""Models that are made anew, of every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scfm_scverse import models
from scfm_scverse._errors import InputError
from scfm_scverse.models.layouts import FAMILIES
from scfm_scverse.models.trainable import Trainable
from scfm_scverse.training.objectives import DomainAdversarial

IDS = [f"ENSG0000000{at}" for at in range(1000, 1040)]
SMALL: dict[str, dict[str, Any]] = {
    "scgpt": {"dim": 8, "n_layers": 1, "n_heads": 2},
    "geneformer": {"dim": 8, "n_layers": 1, "n_heads": 2, "max_length": 16},
    "scfoundation": {"dim": 8, "n_layers": 1, "n_heads": 2, "decoder_dim": 8, "decoder_layers": 1, "decoder_heads": 2},
    "scbert": {"dim": 8, "n_layers": 1, "n_heads": 2, "dim_head": 4},
    "scfm-latent": {"dim": 8, "n_layers": 2, "n_heads": 2, "n_latents": 4},
    "scfm-mini": {"dim": 8},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("genes", "told"),
    [
        ([*IDS[:4], IDS[2], *IDS[:2]], f"twice: '{IDS[0]}', '{IDS[1]}', '{IDS[2]}'; expected"),
        (IDS * 2, f"twice: '{IDS[0]}', .* and 35 more; expected"),
        ([IDS[0], "", " "], "empty or in the brackets of special tokens: '', ' '; expected"),
        ([IDS[0], "<cls>"], "special tokens: '<cls>'; expected"),
        ([], "without a name"),
    ],
)
def test_genes_that_make_no_vocabulary_are_named(family: str, genes: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        models.create(family, genes, **SMALL[family])


@pytest.mark.parametrize("family", [family for family in FAMILIES if "dim_head" not in SMALL[family]])
def test_sizes_are_whole_and_heads_divide_the_width(family: str) -> None:
    for size in (0, -1, 2.0, "2", None):
        with pytest.raises(InputError, match=f"Found dim={size!r}; expected a whole number above 0"):
            models.create(family, IDS, **SMALL[family] | {"dim": size})
    if "n_heads" in SMALL[family]:
        with pytest.raises(InputError, match="Found dim=8 and n_heads=3; expected heads that divide the width"):
            models.create(family, IDS, **SMALL[family] | {"n_heads": 3})


@pytest.mark.parametrize("family", FAMILIES)
def test_what_training_alone_needs_is_no_part_of_the_model(family: str, tmp_path: Path) -> None:
    model: Trainable = models.create(family, IDS, **SMALL[family])
    before = model.spec.id
    DomainAdversarial(3).prepare(model)
    model.renew()
    assert (model.spec.id == before) == (family != "scgpt")  # whose authors' files hold it
    model.write(tmp_path / "model")
    loaded = models.load(tmp_path / "model")
    assert loaded.spec.id == model.spec.id
    assert not loaded.report().ignored
