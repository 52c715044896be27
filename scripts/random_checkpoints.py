"""Write checkpoints with random weights, laid out as scGPT, Geneformer, scFoundation and scBERT are released.

    python scripts/random_checkpoints.py FOLDER [--layouts NAME ...] [--sizes published] [--genes FILE] [--seed N]

For tests, benchmarks and the tutorial: what such a model says means nothing. With a list of genes, one symbol a line,
the vocabulary is written beside the weights; without one the genes are those of the released model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from scfm_scverse.genes import load_gene_table, resolve_genes
from scfm_scverse.nn.favor import n_features


@dataclass(frozen=True)
class Scgpt:
    """Sizes of a scGPT model; ``spread`` is the standard deviation of its weights."""

    dim: int
    n_layers: int
    n_heads: int
    dim_hidden: int
    spread: float


@dataclass(frozen=True)
class Geneformer:
    """Sizes of a Geneformer model."""

    version: Literal["V1", "V2"]
    context: int
    dim: int
    n_layers: int
    n_heads: int
    dim_hidden: int
    spread: float


@dataclass(frozen=True)
class Performer:
    """Sizes of the layers of linear attention that scBERT and scFoundation's decoder share."""

    dim: int
    n_layers: int
    n_heads: int
    dim_head: int


@dataclass(frozen=True)
class Scfoundation:
    """Sizes of a scFoundation model: of its encoder, its bins of values, its decoder."""

    dim: int
    n_layers: int
    n_heads: int
    n_bins: int
    decoder: Performer
    spread: float


@dataclass(frozen=True)
class Scbert:
    """Sizes of a scBERT model."""

    performer: Performer
    spread: float


Sizes = Scgpt | Geneformer | Scfoundation | Scbert
PUBLISHED: dict[str, Sizes] = {
    "scgpt": Scgpt(512, 12, 8, 512, spread=0.02),
    "geneformer-v1": Geneformer("V1", 2048, 256, 6, 4, 512, spread=0.02),
    "geneformer-v2": Geneformer("V2", 4096, 768, 12, 12, 3072, spread=0.02),
    "scfoundation": Scfoundation(768, 12, 12, 100, Performer(512, 6, 8, 64), spread=0.02),
    "scbert": Scbert(Performer(200, 6, 10, 64), spread=0.02),
}
# Weights so large that cells differ; several layers and heads, and a context that deep cells fill.
TINY: dict[str, Sizes] = {
    "scgpt": Scgpt(32, 3, 2, 48, spread=0.3),
    "geneformer-v1": Geneformer("V1", 64, 16, 3, 2, 32, spread=0.3),
    "geneformer-v2": Geneformer("V2", 64, 24, 4, 3, 48, spread=0.3),
    "scfoundation": Scfoundation(16, 3, 2, 10, Performer(12, 2, 2, 8), spread=0.3),
    "scbert": Scbert(Performer(12, 3, 2, 8), spread=0.3),
}


@dataclass(frozen=True)
class Weights:
    """Random tensors by the names that a file gives them."""

    rng: np.random.Generator
    spread: float

    def matrix(self, *shape: int) -> Tensor:
        """Draw a tensor."""
        return torch.from_numpy(self.rng.standard_normal(shape, np.float32) * np.float32(self.spread))

    def offsets(self, dim: int) -> Tensor:
        """Draw what all cells have in common, small, so that they differ."""
        return self.matrix(dim) / 4

    def linear(self, name: str, dim_in: int, dim_out: int, *, bias: bool = True) -> dict[str, Tensor]:
        """Draw a linear map."""
        found = {f"{name}.weight": self.matrix(dim_out, dim_in)}
        return found | ({f"{name}.bias": self.offsets(dim_out)} if bias else {})

    def norm(self, name: str, dim: int) -> dict[str, Tensor]:
        """Draw a normalisation of a layer."""
        return {f"{name}.weight": 1 + self.offsets(dim), f"{name}.bias": self.offsets(dim)}

    def performer(self, prefix: str, sizes: Performer, *, bias: bool) -> dict[str, Tensor]:
        """Draw layers of linear attention."""
        dim, inner = sizes.dim, sizes.n_heads * sizes.dim_head
        state = {f"{prefix}.calls_since_last_redraw": torch.tensor(0)}
        for i in range(sizes.n_layers):
            attention, feed = (f"{prefix}.net.layers.{i}.{part}" for part in (0, 1))
            projection = self.rng.standard_normal((n_features(sizes.dim_head), sizes.dim_head), np.float32)
            state[f"{attention}.fn.fast_attention.projection_matrix"] = torch.from_numpy(projection)
            for part in ("to_q", "to_k", "to_v"):
                state |= self.linear(f"{attention}.fn.{part}", dim, inner, bias=bias)
            state |= self.linear(f"{attention}.fn.to_out", inner, dim)
            state |= self.norm(f"{attention}.norm", dim) | self.norm(f"{feed}.norm", dim)
            state |= self.linear(f"{feed}.fn.fn.w1", dim, 4 * dim) | self.linear(f"{feed}.fn.fn.w2", 4 * dim, dim)
        return state


def write_checkpoint(
    layout: str, folder: Path, genes: Sequence[str] | None, *, sizes: Mapping[str, Sizes] = TINY, seed: int = 0
) -> Path:
    """Write a checkpoint into a folder and return the path that ``models.load`` takes.

    ``layout`` is a key of ``sizes``: ``TINY``, ``PUBLISHED`` or sizes of your own. ``genes`` are the symbols of the
    vocabulary, without special tokens; ``None`` takes those of the released model. Geneformer, whose vocabulary is
    Ensembl ids, leaves out those that have none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = sizes[layout]
    return _WRITERS[type(chosen)](folder, genes, chosen, Weights(np.random.default_rng(seed), chosen.spread))


def scgpt(folder: Path, genes: Sequence[str] | None, sizes: Scgpt, draw: Weights) -> Path:
    """``args.json``, ``vocab.json`` and ``best_model.pt``, attention under the names of flash-attention."""
    dim, hidden = sizes.dim, sizes.dim_hidden
    vocabulary = [*(_symbols(60_694) if genes is None else genes), "<pad>", "<cls>", "<eoc>"]
    args: dict[str, Any] = {"embsize": dim, "nheads": sizes.n_heads, "d_hid": hidden, "nlayers": sizes.n_layers}
    args |= {"n_layers_cls": 3, "dropout": 0.2, "pad_token": "<pad>", "pad_value": -2, "mask_value": -1, "n_bins": 51}
    args |= {"input_style": "binned", "input_emb_style": "continuous", "max_seq_len": 1200, "fast_transformer": True}
    state = {"encoder.embedding.weight": draw.matrix(len(vocabulary), dim), **draw.norm("encoder.enc_norm", dim)}
    state |= {"flag_encoder.weight": draw.matrix(2, dim), **draw.norm("value_encoder.norm", dim)}
    state |= draw.linear("value_encoder.linear1", 1, dim) | draw.linear("value_encoder.linear2", dim, dim)
    for i in range(sizes.n_layers):
        layer, attention = f"transformer_encoder.layers.{i}", f"transformer_encoder.layers.{i}.self_attn"
        state |= draw.linear(f"{attention}.Wqkv", dim, 3 * dim) | draw.linear(f"{attention}.out_proj", dim, dim)
        state |= draw.linear(f"{layer}.linear1", dim, hidden) | draw.linear(f"{layer}.linear2", hidden, dim)
        state |= draw.norm(f"{layer}.norm1", dim) | draw.norm(f"{layer}.norm2", dim)
    for i, dim_out in enumerate((dim, dim, 1)):
        state |= draw.linear(f"decoder.fc.{2 * i}", dim, dim_out)
    state |= draw.linear("mvc_decoder.gene2query", dim, dim) | draw.linear("mvc_decoder.W", dim, dim, bias=False)
    _write_json(args, folder / "args.json")
    # As in the released files, the names do not stand in the order of their numbers.
    _write_json(dict(sorted((token, i) for i, token in enumerate(vocabulary))), folder / "vocab.json")
    torch.save(state, folder / "best_model.pt")
    return folder


def geneformer(folder: Path, genes: Sequence[str] | None, sizes: Geneformer, draw: Weights) -> Path:
    """``config.json`` and ``model.safetensors``; of other genes than the released ones, both dictionaries too."""
    dim, hidden, special = sizes.dim, sizes.dim_hidden, ["<pad>", "<mask>"]
    special += ["<cls>", "<eos>"] if sizes.version == "V2" else []
    released = {"V1": 25_426, "V2": 20_275}[sizes.version]
    n_tokens = released if genes is None else _write_dictionaries(folder, special, genes, draw.rng)
    config: dict[str, Any] = {"architectures": ["BertForMaskedLM"], "model_type": "bert", "hidden_act": "relu"}
    config |= {"pad_token_id": 0, "position_embedding_type": "absolute", "type_vocab_size": 2, "layer_norm_eps": 1e-12}
    config |= {"vocab_size": n_tokens, "max_position_embeddings": sizes.context, "hidden_size": dim}
    config |= {"num_hidden_layers": sizes.n_layers, "num_attention_heads": sizes.n_heads, "intermediate_size": hidden}
    words, head = "bert.embeddings", "cls.predictions"
    state = {f"{words}.word_embeddings.weight": draw.matrix(n_tokens, dim), **draw.norm(f"{words}.LayerNorm", dim)}
    state |= {f"{words}.position_embeddings.weight": draw.matrix(sizes.context, dim)}
    state |= {f"{words}.token_type_embeddings.weight": draw.matrix(2, dim)}
    if sizes.version == "V1":
        state[f"{words}.position_ids"] = torch.arange(sizes.context)[None]
    for i in range(sizes.n_layers):
        layer = f"bert.encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            state |= draw.linear(f"{layer}.attention.{part}", dim, dim)
        state |= draw.norm(f"{layer}.attention.output.LayerNorm", dim) | draw.norm(f"{layer}.output.LayerNorm", dim)
        state |= draw.linear(f"{layer}.intermediate.dense", dim, hidden)
        state |= draw.linear(f"{layer}.output.dense", hidden, dim)
    state |= draw.linear(f"{head}.transform.dense", dim, dim) | draw.norm(f"{head}.transform.LayerNorm", dim)
    state[f"{head}.bias"] = draw.offsets(n_tokens)
    _write_json(config, folder / "config.json")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _write_dictionaries(folder: Path, special: list[str], genes: Sequence[str], rng: np.random.Generator) -> int:
    """Write tokens, sorted by Ensembl id as the authors have them, and made-up medians; return how many tokens."""
    rows = resolve_genes(genes, organism="human").rows
    ids = sorted(set(load_gene_table().ensembl[rows[rows >= 0]].tolist()))
    medians = {gene: round(float(rng.uniform(1, 3)), 4) for gene in ids}
    _write_json({token: i for i, token in enumerate([*special, *ids])}, folder / "token_dictionary.json")
    _write_json(medians, folder / "gene_median_dictionary.json")
    return len(special) + len(ids)


def scfoundation(folder: Path, genes: Sequence[str] | None, sizes: Scfoundation, draw: Weights) -> Path:
    """``models.ckpt``; of other genes than the released ones, ``genes.tsv`` too."""
    dim, decoder = sizes.dim, sizes.decoder
    n_positions = (19_264 if genes is None else len(genes)) + 2
    state = draw.linear("token_emb.mlp", 1, sizes.n_bins) | draw.linear("token_emb.mlp2", sizes.n_bins, sizes.n_bins)
    state |= {"token_emb.emb.weight": draw.matrix(sizes.n_bins, dim)}
    state |= {"pos_emb.weight": draw.matrix(n_positions + 1, dim)}
    state |= {"token_emb.emb_mask.weight": draw.matrix(1, dim), "token_emb.emb_pad.weight": draw.matrix(1, dim)}
    for i in range(sizes.n_layers):
        layer, attention = f"encoder.transformer_encoder.{i}", f"encoder.transformer_encoder.{i}.self_attn"
        state |= {f"{attention}.in_proj_weight": draw.matrix(3 * dim, dim)}
        state |= {f"{attention}.in_proj_bias": draw.offsets(3 * dim), **draw.linear(f"{attention}.out_proj", dim, dim)}
        state |= draw.linear(f"{layer}.linear1", dim, 4 * dim) | draw.linear(f"{layer}.linear2", 4 * dim, dim)
        state |= draw.norm(f"{layer}.norm1", dim) | draw.norm(f"{layer}.norm2", dim)
    state |= draw.norm("encoder.norm", dim) | draw.linear("decoder_embed", dim, decoder.dim)
    state |= draw.performer("decoder.performer", decoder, bias=True) | draw.linear("to_final", decoder.dim, 1)
    state |= draw.norm("decoder.norm", decoder.dim) | draw.norm("norm", decoder.dim)
    one = {"config": _config(sizes, n_positions), "state_dict": {f"model.{name}": one for name, one in state.items()}}
    # The three sub-models share their tensors here, which the file then holds once.
    torch.save({"cell": one, "rde": one, "gene": one}, folder / "models.ckpt")
    if genes is not None:
        lines = ["gene_name\tindex", *(f"{name}\t{i}" for i, name in enumerate(genes))]
        (folder / "genes.tsv").write_text("\n".join(lines) + "\n")
    return folder / "models.ckpt"


def _config(sizes: Scfoundation, n_positions: int) -> dict[str, Any]:
    heads = sizes.decoder
    encoder = {"hidden_dim": sizes.dim, "depth": sizes.n_layers, "heads": sizes.n_heads, "module_type": "transformer"}
    decoder = {"hidden_dim": heads.dim, "depth": heads.n_layers, "heads": heads.n_heads, "module_type": "performer"}
    model: dict[str, Any] = {"seq_len": n_positions, "gene_num": n_positions, "bin_num": sizes.n_bins, "bin_alpha": 1.0}
    model["encoder"] = {**encoder, "dim_head": sizes.dim // sizes.n_heads}
    model["decoder"] = {**decoder, "dim_head": heads.dim_head}
    model |= {"n_class": 104, "pad_token_id": 103, "mask_token_id": 102, "rawcount": True, "model": "mae_autobin"}
    data = {"bin_num": sizes.n_bins, "bin_type": "auto_bin", "decoder_add_zero": True}
    return {"model": "mae_autobin", "model_config": {"mae_autobin": model}, "dataset_config": {"rnaseq": data}}


def scbert(folder: Path, genes: Sequence[str] | None, sizes: Scbert, draw: Weights) -> Path:
    """``panglao_pretrain.pth``; of other genes than the released ones, ``genes.txt`` too."""
    dim, n_positions = sizes.performer.dim, (16_906 if genes is None else len(genes)) + 1
    vectors = draw.matrix(n_positions, dim).double()
    vectors[-1] = 0
    state = {"token_emb.weight": draw.matrix(7, dim), "pos_emb.emb.weight": vectors}
    state |= draw.performer("performer", sizes.performer, bias=False) | draw.norm("norm", dim)
    state |= draw.linear("to_out", dim, 7)
    training = {"epoch": 1, "optimizer_state_dict": {}, "scheduler_state_dict": {}, "losses": 0.0}
    torch.save({"model_state_dict": state, **training}, folder / "panglao_pretrain.pth")
    if genes is not None:
        (folder / "genes.txt").write_text("\n".join(genes) + "\n")
    return folder / "panglao_pretrain.pth"


_WRITERS: dict[type, Callable[..., Path]]
_WRITERS = {Scgpt: scgpt, Geneformer: geneformer, Scfoundation: scfoundation, Scbert: scbert}


def _symbols(n: int) -> list[str]:
    """As many gene symbols, those of proteins first, and made-up names where there are no more."""
    table = load_gene_table()
    order = np.argsort(table.biotype != "protein_coding", kind="stable")
    known = list(dict.fromkeys(name for name in table.symbol[order].tolist() if name))
    return (known + [f"made-up-{i}" for i in range(n)])[:n]


def _write_json(content: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=0) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layouts", nargs="*", choices=list(TINY), default=list(TINY))
    parser.add_argument("--sizes", choices=["tiny", "published"], default="tiny")
    parser.add_argument("--genes", type=Path, help="symbols, one a line")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    genes = arguments.genes and arguments.genes.read_text().split()
    sizes = {"tiny": TINY, "published": PUBLISHED}[arguments.sizes]
    for layout in arguments.layouts:
        print(write_checkpoint(layout, arguments.folder / layout, genes, sizes=sizes, seed=arguments.seed))


if __name__ == "__main__":
    main()
