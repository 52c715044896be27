"""Train the small transformer that the benchmarks of perturbations run on: Geneformer's layout, 5,000 genes, 1.2 M.

    python benchmarks/small_transformer.py [--shared ../shared] [--steps N] [--threads N]

Masked genes are told from the others of their cell, in 10,000 cells of blood of six studies from the shared data
folder. Word vectors begin as the leading singular vectors of these cells. Takes eleven minutes on one core. A run
that was cut short goes on from ``benchmarks/small_transformer/training.pt``, which is removed at the end. Writes a
checkpoint in Geneformer's layout, float16, and ``curve.json`` beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import scipy.sparse as sp
import torch
from embed import ROOT
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from scfm_scverse.genes import load_gene_table, resolve_genes
from scfm_scverse.models.geneformer.files import name_in_file
from scfm_scverse.models.geneformer.heads import MaskedHead
from scfm_scverse.models.geneformer.network import Network, Sizes
from scfm_scverse.nn import Spans
from scfm_scverse.tokens.ranks import Ranks

if TYPE_CHECKING:
    from scfm_scverse.tokens import Tokens

FOLDER = ROOT / "benchmarks" / "small_transformer"
STUDIES = (
    "pbmc3k_10x",
    "pbmc_frozen_A_unlabelled",
    "pbmc_hao1000_unlabelled",
    "zheng_sorted_pbmc",
    "malt_lymphoma_10x",
    "tcells_10x_5p_1k",
)
PER_STUDY = 2000
SPECIAL, MASK = ("<pad>", "<mask>"), 1
SIZES = Sizes(n_genes=5000, context=512, dim=128, n_layers=4, n_heads=4, dim_hidden=256, eps=1e-12, dropout=0.0)
STEPS, CELLS, HELD_OUT = 1200, 6, 120
SHARE = 0.15
RATE, WARM_UP = 3e-3, 100
SEED = 0


def read_counts(shared: Path) -> tuple[list[str], list[sp.csr_matrix]]:
    """Ensembl ids of the vocabulary, the genes that most cells express, and counts of them in each study."""
    sys.path.insert(0, str(shared / "tools"))
    from cells import read_cells

    rng, table, studies = np.random.default_rng(SEED), load_gene_table(), []
    for name in STUDIES:
        adata = read_cells(shared / "data" / "cells" / f"{name}.cells")
        kept = np.sort(rng.permutation(adata.n_obs)[:PER_STUDY])
        rows = resolve_genes(adata.var_names.tolist(), organism="human").rows
        known = np.flatnonzero(rows >= 0)
        into = sp.csr_matrix((np.ones(len(known)), (known, rows[known])), shape=(adata.n_vars, len(table.ensembl)))
        studies.append(sp.csr_matrix(adata.X[kept] @ into))
    seen = np.mean([np.asarray((counts > 0).mean(axis=0)).ravel() for counts in studies], axis=0)
    genes = np.sort(np.argsort(-seen, kind="stable")[: SIZES.n_genes - len(SPECIAL)])
    return table.ensembl[genes].tolist(), [counts[:, genes].tocsr() for counts in studies]


def typical(counts: sp.csr_matrix) -> np.ndarray:
    """Median of each gene's counts per 10,000 over the cells that express it [g]."""
    scaled = sp.csc_matrix(sp.diags_array(1e4 / np.maximum(1, counts.sum(axis=1)).A1) @ counts)
    columns = np.split(scaled.data, scaled.indptr[1:-1])
    return np.array([np.median(one) if len(one) else 1.0 for one in columns])


def first_words(counts: sp.csr_matrix) -> Tensor:
    """Vectors of words to begin with: singular vectors of the cells' log values, as long as random ones [v, d]."""
    scaled = sp.diags_array(1e4 / np.maximum(1, counts.sum(axis=1)).A1) @ counts
    dense = np.log1p(scaled.toarray()).astype(np.float32)
    dense = (dense - dense.mean(0)) / np.maximum(dense.std(0), 0.1)
    values, vectors = np.linalg.eigh(dense.T @ dense)
    leading = vectors[:, -SIZES.dim :] * values[-SIZES.dim :] ** 0.25
    words = np.concatenate([np.zeros((len(SPECIAL), SIZES.dim)), leading])
    return torch.from_numpy((words * 0.02 / leading.std()).astype(np.float32))


def masked(tokens: Tokens, cells: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Spans, Tensor, Tensor]:
    """Ids of a minibatch with some hidden, where its cells stand, which tokens are asked for, and what they are."""
    taken = tokens.take(cells)
    ids = taken.ids.astype(np.int64)
    asked = np.flatnonzero(rng.random(len(ids)) < SHARE)
    draw, told = rng.random(len(asked)), ids.copy()
    told[asked[draw < 0.8]] = MASK
    other = asked[draw > 0.9]
    told[other] = rng.integers(len(SPECIAL), SIZES.n_genes, len(other))
    return (
        torch.from_numpy(told),
        Spans(tuple(taken.lengths.tolist())),
        torch.from_numpy(asked),
        torch.from_numpy(ids[asked]),
    )


def minibatches(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Cells of like length, in an order that only the seed tells, without end."""
    rng = np.random.default_rng(SEED)
    while True:
        order = rng.permutation(len(lengths))
        order = order[np.argsort(lengths[order] // 32, kind="stable")]
        groups = np.array_split(order, len(order) // CELLS)
        yield from (groups[at] for at in rng.permutation(len(groups)))


def loss_of(network: Network, batch: tuple[Tensor, Spans, Tensor, Tensor]) -> Tensor:
    """Cross-entropy of the hidden genes."""
    ids, spans, asked, answer = batch
    head = cast(MaskedHead, network.head)
    return cross_entropy(head(network(ids, spans)[asked], network.word.weight), answer)


def rate(step: int, steps: int) -> float:
    """Share of the learning rate: up in a line, down along a cosine."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    return 0.5 * (1 + np.cos(np.pi * (step - WARM_UP) / max(1, steps - WARM_UP)))


def train(network: Network, tokens: Tokens, steps: int) -> list[dict[str, float]]:
    """Train, and return the curve: loss on the way and on cells that were held out."""
    rng = np.random.default_rng(SEED)
    cells = rng.permutation(len(tokens))
    held_out, seen = tokens.take(cells[:HELD_OUT]), tokens.take(cells[HELD_OUT:])
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps))
    state = FOLDER / "training.pt"
    done, curve = 0, []
    if state.is_file():
        saved = torch.load(state, weights_only=True)
        for part, name in ((network, "network"), (optimizer, "optimizer"), (schedule, "schedule")):
            part.load_state_dict(saved[name])
        done, curve = saved["done"], saved["curve"]
    began, recent = time.process_time(), []
    for step, group in zip(range(steps), minibatches(seen.lengths), strict=False):
        if step < done:
            continue
        loss = loss_of(network, masked(seen, group, np.random.default_rng([SEED, step])))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            with torch.no_grad():
                parts = np.array_split(np.arange(len(held_out)), HELD_OUT // CELLS)
                told = [loss_of(network, masked(held_out, one, np.random.default_rng([1, *one[:1]]))) for one in parts]
            curve.append(
                {"step": step + 1, "loss": float(np.mean(recent)), "held_out": float(torch.stack(told).mean())}
            )
            curve[-1]["cpu_s"] = time.process_time() - began
            print(" ".join(f"{key} {value:,.3f}" for key, value in curve[-1].items()), flush=True)
            recent = []
            parts_of = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save({**parts_of, "schedule": schedule.state_dict(), "done": step + 1, "curve": curve}, state)
    state.unlink(missing_ok=True)
    return curve


def in_layout(network: Network) -> dict[str, Tensor]:
    """Tensors under the names that Geneformer's files have, float16."""
    tensors = {}
    for name, tensor in network.state_dict().items():
        short = tensor.to(torch.float16)
        layer, found, part = name.partition(".in_proj.")
        if not found:
            tensors[name_in_file(name)] = short
            continue
        where = f"bert.encoder.layer.{layer.rpartition('.')[2]}.attention.self"
        parts = zip(("query", "key", "value"), short.chunk(3), strict=True)
        tensors |= {f"{where}.{kind}.{part}": one.clone() for kind, one in parts}
    return tensors


def write(network: Network, genes: list[str], medians: np.ndarray, curve: list[dict[str, float]]) -> None:
    """Write the checkpoint."""
    config: dict[str, Any] = {"architectures": ["BertForMaskedLM"], "model_type": "bert", "hidden_act": "relu"}
    config |= {"pad_token_id": 0, "position_embedding_type": "absolute", "type_vocab_size": 2}
    config |= {"layer_norm_eps": SIZES.eps, "vocab_size": SIZES.n_genes, "max_position_embeddings": SIZES.context}
    config |= {"hidden_size": SIZES.dim, "num_hidden_layers": SIZES.n_layers, "num_attention_heads": SIZES.n_heads}
    config |= {"intermediate_size": SIZES.dim_hidden}
    levels = dict(zip(genes, medians.round(4).tolist(), strict=True))
    files = {
        "config": config,
        "token_dictionary": {token: i for i, token in enumerate([*SPECIAL, *genes])},
        "gene_median_dictionary": levels,
        "curve": {"studies": STUDIES, "cells_a_study": PER_STUDY, "seed": SEED, "curve": curve},
    }
    for name, content in files.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")
    save_file(in_layout(network), FOLDER / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(SEED)
    FOLDER.mkdir(exist_ok=True)
    genes, studies = read_counts(options.shared)
    counts = sp.csr_matrix(sp.vstack(studies))
    medians = typical(counts)
    places = np.arange(len(SPECIAL), SIZES.n_genes, dtype=np.int32)
    ranks = Ranks(
        columns=np.arange(len(genes), dtype=np.int32),
        genes=places,
        medians=medians,
        n_genes=SIZES.n_genes,
        context=SIZES.context,
        around=None,
        base=0.0,
        keep_zeros=False,
    )
    tokens = ranks(counts.astype(np.float32))
    print(f"{len(tokens):,} cells, {tokens.lengths.mean():.0f} genes a cell", flush=True)
    network = Network(SIZES, MaskedHead(SIZES.n_genes, SIZES.dim, SIZES.eps))
    for name, parameter in network.named_parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.02)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    network.word.weight.data.copy_(first_words(counts))
    write(network, genes, medians, train(network, tokens, options.steps))


if __name__ == "__main__":
    main()
