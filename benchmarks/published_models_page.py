"""The page of the benchmark of published models, written from its results."""

from __future__ import annotations

from typing import Any

WAYS = {
    "original": "the original's way",
    "fixed": "the obvious fix",
    "float32": "this package, float32",
    "bfloat16": "this package, bfloat16",
    "tl.embed": "`tl.embed`, loading included",
}
AIMS = {
    "scGPT": (2.7, 8),
    "Geneformer V1-10M": (2.2, 5.5),
    "Geneformer V2-104M": (None, 4),
    "scFoundation cell": (None, 5),
    "scFoundation gene": (None, 3),
    "scBERT": (None, 2.5),
}


def page(results: dict[str, Any], tokens: dict[str, Any]) -> str:
    """The whole page as Markdown."""
    models = {name: rows for name in AIMS if (rows := results["models"].get(name))}
    parts = [INTRODUCTION, conditions(results, models), "## Ratios", ratios(models)]
    for name, rows in models.items():
        parts += [f"## {name}", rows_table(rows)]
    if gpu := {name: rows for name, rows in models.items() if any(" on " in way for way in rows)}:
        parts += ["## On a GPU", gpu_table(gpu)]
    if tried := {name: rows for name, rows in models.items() if "int8" in rows or "compiled" in rows}:
        parts += ["## int8 and torch.compile", TRIED, tried_table(tried)]
    if tokens:
        parts += ["## Tokenisers", TOKENS, tokens_table(tokens)]
    return "\n\n".join([*parts, "## What the time goes into", NOTES]).rstrip() + "\n"


def conditions(results: dict[str, Any], models: dict[str, Any]) -> str:
    """What the numbers were measured on."""
    rows = [row for every in models.values() for row in every.values()]
    low, mean, high = results["cells"]["expressed"]
    loads = [row["load_average"][0] for row in rows]
    return (
        f"Cells: {results['cells']['source']}; {low:,} to {high:,} expressed genes, {mean:,.0f} on average. Machine: "
        f"{rows[0]['cpus']} cores, {max(row['threads'] for row in rows)} thread(s) used, load average {min(loads):.1f} "
        f"to {max(loads):.1f} while the rows ran."
    )


def done(rows: dict[str, Any]) -> dict[str, Any]:
    """Rows that were measured."""
    return {way: row for way, row in rows.items() if "left out" not in row}


def ratio(rows: dict[str, Any], way: str) -> float | None:
    """How many times the original's CPU time is that of a row."""
    there = done(rows)
    return there["original"]["cpu_ms"] / there[way]["cpu_ms"] if {"original", way} <= set(there) else None


def ratios(models: dict[str, Any]) -> str:
    """CPU time of the original's way over ours, beside the aims."""
    lines = []
    for name, rows in models.items():
        cells = [name]
        for way, aim in zip(("float32", "bfloat16"), AIMS[name], strict=True):
            found = ratio(rows, way)
            cells += ["–" if found is None else f"{found:.1f} x", "–" if aim is None else f"{aim:g} x"]
        fixed = done(rows).get("fixed")
        over = fixed["cpu_ms"] / rows["float32"]["cpu_ms"] if fixed and "float32" in rows else None
        lines.append([*cells, "–" if over is None else f"{over:.1f} x"])
    return table(["model", "float32", "aim", "bfloat16", "aim", "float32 over the fix"], lines)


def rows_table(rows: dict[str, Any]) -> str:
    """Time and memory of every way of one model."""
    lines = []
    for way, title in WAYS.items():
        row = done(rows).get(way)
        if row is None:
            continue
        faster = ratio(rows, way)
        lines.append(
            [title, f"{row['cells']}", f"{row['tokens']:,.0f}" if "tokens" in row else "", f"{row['cpu_ms']:,.0f}",
             f"{row['wall_ms']:,.0f}", f"{row['cells_per_s']:.2f}", f"{row['peak_mb']:,.0f}",
             "–" if faster is None else f"{faster:.1f} x", share(row), cosine(row)]
        )  # fmt: skip
    left = [f"{WAYS[way]}: {row['left out']}" for way, row in rows.items() if "left out" in row]
    head = "way,cells,tokens,CPU ms/cell,wall ms/cell,cells/s,peak MB,ratio,GFLOP/s (of a product),cosine".split(",")
    return table(head, lines) + ("\n\nLeft out: " + "; ".join(left) + "." if left else "")


def share(row: dict[str, Any]) -> str:
    """Arithmetic a second, and that of one large matrix product."""
    return f"{row['gflops']:,.0f} ({row['gflops_of_a_product']:,.0f})" if "gflops" in row else ""


def cosine(row: dict[str, Any]) -> str:
    """Smallest cosine of a cell's vector to that in float32."""
    return f"{row['cosine']:.5f}" if row.get("cosine") is not None else ""


def gpu_table(models: dict[str, Any]) -> str:
    """Cells a second on a GPU."""
    lines = [
        [f"{name}, {way}", f"{row['cells_per_s']:,.0f}", f"{row['gpu_mb']:,.0f}", share(row), cosine(row)]
        for name, rows in models.items()
        for way, row in done(rows).items()
        if " on " in way
    ]
    return table(["model", "cells/s", "peak MB on the GPU", "GFLOP/s (of a product)", "cosine"], lines)


def tried_table(models: dict[str, Any]) -> str:
    """What int8 and torch.compile would give."""
    lines = []
    for name, rows in models.items():
        for way in ("int8", "compiled"):
            if row := done(rows).get(way):
                gain = row["float32_cpu_ms"] / row["cpu_ms"]
                numbers = [f"{row['float32_cpu_ms']:,.0f}", f"{row['cpu_ms']:,.0f}", f"{gain:.2f} x"]
                lines.append([f"{name}, {way}", *numbers, f"{row['prepared_s']:.0f}", cosine(row)])
    return table(["", "float32, CPU ms/cell", "so, CPU ms/cell", "gain", "seconds to prepare", "cosine"], lines)


def tokens_table(tokens: dict[str, Any]) -> str:
    """Cells a second of each tokeniser and of the loop."""
    lines = [
        [rule, f"{row['cells_per_s']:,}", f"{row['loop_cells_per_s']:,}", f"{row['ratio']:.1f} x"]
        for rule, row in tokens["rules"].items()
    ]
    return table(["rule", "cells/s", "loop, cells/s", "ratio"], lines)


def table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table, the first column of words, the others of numbers."""
    rule = ["---", *("--:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *lines])


INTRODUCTION = """\
# How fast published models run

<!-- Written by benchmarks/published_models.py; edit benchmarks/published_models_page.py instead. -->

Networks of published size with random weights, loaded from files in the layouts that their authors release. Time is
that of the network with tokens ready, of the default output: the embedding of a cell, or the vectors of all genes for
"scFoundation gene". CPU time (all threads added up) is the figure to compare: wall time grows with whatever else runs.
Every row ran in a process of its own, and its memory is the largest of that process, libraries and weights included.

- **The original's way**: plain torch modules of the same sizes, run as the authors' programs run theirs. scGPT: torch's
  encoder, which takes its "fast path" by itself, batches of 64 padded to the longest cell. Geneformer: SDPA, all hidden
  states kept, the head over the vocabulary computed, padded batches of 16 sorted by length. scFoundation and scBERT:
  one cell at a time, the features of linear attention written out.
- **The obvious fix**: SDPA in place of torch's encoder, no head. scBERT has neither.
- **This package**: cells one after the other without padding, the layers and the row that are read alone, feature maps
  of linear attention in parts that stay in cache. bfloat16 is what `dtype="auto"` takes where the processor computes in
  it (AVX-512 BF16 or AMX).

The plain networks of "scFoundation gene" and scBERT, whose work is the same for every cell, ran on fewer of them.
GFLOP/s: arithmetic of the layers that run for every row, over the CPU time; in brackets what one large matrix product
reached at that moment. Cosine: the smallest of a cell's vector to that in float32."""

TRIED = """\
All layers of the encoder, on eight cells. int8: `quantize_dynamic` of torch on the linear layers. compiled: what works
row by row through `torch.compile`, for any number of rows; attention is one kernel already. Neither is offered.
Compiling hardly gains anything and has to be paid for first. int8 does save processor time here, on a processor without
bfloat16; but torch announces the removal of that interface, and how much 8 bits cost a trained model was not measured:
the cosines are of random weights, which have no outliers."""

TOKENS = """\
One core, about 1,000 expressed genes a cell. The loop follows the same rule cell by cell in NumPy and does nothing
else; the tokenisers also find the genes in the vocabulary and add up columns of one gene."""

NOTES = """\
- Most of the time is in matrix products and attention, so what is left to gain in float32 is not to compute: no
  padding, no head, no layer behind the one that is read, and in the last layer one row a cell. That row needs neither
  keys nor values of the others: `q . (W_k x) = (W_k^T q) . x`, and values are mixed before they are projected.
- The gain over the original's way is largest where that builds the attention matrix (scGPT) or computes a head over
  the vocabulary (Geneformer V1). A wide network that reads all rows of all layers (scFoundation's cell embedding) gains
  little in float32.

Measured by hand on the machine of the first run (AVX2, one thread, float32), and left out:

- Weights packed once for oneDNN: between as fast as the plain product and a fifth slower at 4,096 rows.
- Queries, keys and values made contiguous: attention between 3 % slower and 8 % faster, the copies not counted.
- Attention in blocks of 64 to 256 queries written in torch: 43 to 59 GFLOP/s; torch's own kernel: 61 to 71.
- Larger minibatches: 1,000 to 4,000 tokens differ by no more than repeated runs do; with 7,000 and 14,000 a network 768
  wide spends an eighth of its time on getting new memory."""
