"""Cells, and checkpoints of published size in the layouts that the authors release, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed import cell_blocks

if TYPE_CHECKING:
    import torch

N_CELLS = 64
EXPRESSED, LOW, HIGH = 850, 600, 1200
FEATURES = 266


def make_cells(path: Path, shared: Path) -> dict[str, Any]:
    """Write ``N_CELLS`` cells with 600 to 1,200 expressed genes."""
    import numpy as np
    import scipy.sparse as sp
    from anndata import AnnData

    names, word, blocks = cell_blocks(10 * N_CELLS, EXPRESSED, shared)
    counts = sp.vstack(list(blocks), format="csr")
    expressed = np.diff(counts.indptr)
    kept = np.flatnonzero((expressed >= LOW) & (expressed <= HIGH))[:N_CELLS]
    adata = AnnData(counts[kept])
    adata.var_names = names
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    adata.write_h5ad(path)
    spread = expressed[kept]
    return {"source": word, "expressed": [int(spread.min()), round(float(spread.mean())), int(spread.max())]}


def make_checkpoint(name: str, folder: Path) -> Path:
    """Write a checkpoint and return the path that ``models.load`` takes."""
    import torch

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "scGPT": scgpt,
        "Geneformer V1-10M": lambda folder: geneformer(folder, 25_426, 2048, 256, 6, 512),
        "Geneformer V2-104M": lambda folder: geneformer(folder, 20_275, 4096, 768, 12, 3072),
        "scFoundation": scfoundation,
        "scBERT": scbert,
    }[name](folder)


def matrix(*shape: int) -> torch.Tensor:
    import torch

    return torch.randn(*shape) * 0.02


def norm(name: str, dim: int) -> dict[str, torch.Tensor]:
    import torch

    return {f"{name}.weight": torch.ones(dim), f"{name}.bias": torch.zeros(dim)}


def linear(name: str, dim_in: int, dim_out: int, *, bias: bool = True) -> dict[str, torch.Tensor]:
    import torch

    return {f"{name}.weight": matrix(dim_out, dim_in)} | ({f"{name}.bias": torch.zeros(dim_out)} if bias else {})


def symbols(n: int) -> list[str]:
    """As many gene symbols, those of proteins first."""
    import numpy as np

    from scfm_scverse.genes import load_gene_table

    table = load_gene_table()
    order = np.argsort(table.biotype != "protein_coding", kind="stable")
    known = [name for name in dict.fromkeys(table.symbol[order].tolist()) if name]
    return (known + [f"made-up-{i}" for i in range(n)])[:n]


def scgpt(folder: Path) -> Path:
    dim, n_layers = 512, 12
    vocabulary = [*symbols(60_694), "<pad>", "<cls>", "<eoc>"]
    args = {"embsize": dim, "nheads": 8, "d_hid": dim, "nlayers": n_layers, "n_layers_cls": 3, "dropout": 0.2}
    args |= {"pad_token": "<pad>", "pad_value": -2, "n_bins": 51, "input_emb_style": "continuous", "max_seq_len": 1200}
    state = {"encoder.embedding.weight": matrix(len(vocabulary), dim), **norm("encoder.enc_norm", dim)}
    state |= {"flag_encoder.weight": matrix(2, dim), **norm("value_encoder.norm", dim)}
    state |= linear("value_encoder.linear1", 1, dim) | linear("value_encoder.linear2", dim, dim)
    for i in range(n_layers):
        layer = f"transformer_encoder.layers.{i}"
        state |= linear(f"{layer}.self_attn.Wqkv", dim, 3 * dim) | linear(f"{layer}.self_attn.out_proj", dim, dim)
        state |= linear(f"{layer}.linear1", dim, dim) | linear(f"{layer}.linear2", dim, dim)
        state |= norm(f"{layer}.norm1", dim) | norm(f"{layer}.norm2", dim)
    for i, dim_out in enumerate((dim, dim, 1)):
        state |= linear(f"decoder.fc.{2 * i}", dim, dim_out)
    state |= linear("mvc_decoder.gene2query", dim, dim) | linear("mvc_decoder.W", dim, dim, bias=False)
    (folder / "args.json").write_text(json.dumps(args))
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    write(state, folder / "best_model.pt")
    return folder


def geneformer(folder: Path, n_tokens: int, context: int, dim: int, n_layers: int, hidden: int) -> Path:
    from safetensors.torch import save_file

    config = {"architectures": ["BertForMaskedLM"], "model_type": "bert", "hidden_act": "relu", "pad_token_id": 0}
    config |= {"vocab_size": n_tokens, "max_position_embeddings": context, "hidden_size": dim, "layer_norm_eps": 1e-12}
    config |= {"num_hidden_layers": n_layers, "num_attention_heads": dim // 64, "intermediate_size": hidden}
    words = "bert.embeddings"
    state = {f"{words}.word_embeddings.weight": matrix(n_tokens, dim), **norm(f"{words}.LayerNorm", dim)}
    state |= {f"{words}.position_embeddings.weight": matrix(context, dim)}
    state |= {f"{words}.token_type_embeddings.weight": matrix(2, dim)}
    for i in range(n_layers):
        layer = f"bert.encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            state |= linear(f"{layer}.attention.{part}", dim, dim)
        state |= norm(f"{layer}.attention.output.LayerNorm", dim) | norm(f"{layer}.output.LayerNorm", dim)
        state |= linear(f"{layer}.intermediate.dense", dim, hidden) | linear(f"{layer}.output.dense", hidden, dim)
    head = "cls.predictions"
    state |= linear(f"{head}.transform.dense", dim, dim) | norm(f"{head}.transform.LayerNorm", dim)
    state[f"{head}.bias"] = state[f"{words}.word_embeddings.weight"].new_zeros(n_tokens)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(state, folder / "model.safetensors")
    return folder


def performer(prefix: str, n_layers: int, dim: int, n_heads: int, *, bias: bool) -> dict[str, torch.Tensor]:
    """The linear-attention stack that scBERT and scFoundation's decoder share; heads are 64 wide."""
    import torch

    inner = 64 * n_heads
    state: dict[str, Any] = {f"{prefix}.calls_since_last_redraw": torch.tensor(0)}
    for i in range(n_layers):
        layer = f"{prefix}.net.layers.{i}"
        state |= norm(f"{layer}.0.norm", dim) | norm(f"{layer}.1.norm", dim)
        state[f"{layer}.0.fn.fast_attention.projection_matrix"] = torch.randn(FEATURES, 64)
        for part in ("to_q", "to_k", "to_v"):
            state |= linear(f"{layer}.0.fn.{part}", dim, inner, bias=bias)
        state |= linear(f"{layer}.0.fn.to_out", inner, dim)
        state |= linear(f"{layer}.1.fn.fn.w1", dim, 4 * dim) | linear(f"{layer}.1.fn.fn.w2", 4 * dim, dim)
    return state


def scfoundation(folder: Path) -> Path:
    dim, dim_decoder, n_positions = 768, 512, 19_266
    blocks: dict[str, Any] = {
        "encoder": {"hidden_dim": dim, "depth": 12, "heads": 12, "dim_head": 64, "module_type": "transformer"},
        "decoder": {"hidden_dim": dim_decoder, "depth": 6, "heads": 8, "dim_head": 64, "module_type": "performer"},
    }
    model = {**blocks, "seq_len": n_positions, "n_class": 104, "pad_token_id": 103, "mask_token_id": 102}
    model |= {"bin_num": 100, "bin_alpha": 1.0, "rawcount": True, "model": "mae_autobin", "gene_num": n_positions}
    config = {"model": "mae_autobin", "model_config": {"mae_autobin": model}, "dataset_config": {"rnaseq": {}}}
    state = linear("token_emb.mlp", 1, 100) | linear("token_emb.mlp2", 100, 100)
    state |= {"token_emb.emb.weight": matrix(100, dim), "pos_emb.weight": matrix(n_positions + 1, dim)}
    state |= {"token_emb.emb_mask.weight": matrix(1, dim), "token_emb.emb_pad.weight": matrix(1, dim)}
    for i in range(12):
        layer = f"encoder.transformer_encoder.{i}"
        state |= {f"{layer}.self_attn.in_proj_weight": matrix(3 * dim, dim)}
        state |= {f"{layer}.self_attn.in_proj_bias": matrix(3 * dim), **linear(f"{layer}.self_attn.out_proj", dim, dim)}
        state |= linear(f"{layer}.linear1", dim, 4 * dim) | linear(f"{layer}.linear2", 4 * dim, dim)
        state |= norm(f"{layer}.norm1", dim) | norm(f"{layer}.norm2", dim)
    state |= norm("encoder.norm", dim) | linear("decoder_embed", dim, dim_decoder)
    state |= performer("decoder.performer", 6, dim_decoder, 8, bias=True)
    state |= norm("decoder.norm", dim_decoder) | norm("norm", dim_decoder) | linear("to_final", dim_decoder, 1)
    one = {"config": config, "state_dict": {f"model.{name}": tensor for name, tensor in state.items()}}
    # The three sub-models share their tensors here, which the file then holds once.
    write({"cell": one, "rde": one, "gene": one}, folder / "models.ckpt")
    return folder / "models.ckpt"


def scbert(folder: Path) -> Path:
    dim, n_positions = 200, 16_907
    state = {"token_emb.weight": matrix(7, dim), "pos_emb.emb.weight": matrix(n_positions, dim).double()}
    state |= performer("performer", 6, dim, 10, bias=False) | norm("norm", dim) | linear("to_out", dim, 7)
    write({"epoch": 1, "model_state_dict": state, "losses": 0.0}, folder / "panglao_pretrain.pth")
    return folder / "panglao_pretrain.pth"


def write(state: dict[str, Any], path: Path) -> None:
    import torch

    torch.save(state, path)
