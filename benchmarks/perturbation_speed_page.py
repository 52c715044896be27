"""The page of the benchmark of perturbation screens, written from its results."""

from __future__ import annotations

from typing import Any

AIMS = {"float32": 1.3, "bfloat16": 3.0, "screening": 30.0, "recall": 0.9}
INTRODUCTION = """# Speed of perturbation screens

<!-- written by benchmarks/perturbation_speed.py -->

A screen that deletes every expressed gene from every cell, one at a time. Three ways:

- **the loop**: one forward pass for each gene and cell, the network as its authors run it: all layers, all hidden
  states, the head of masked genes (Geneformer); torch's own encoder (scGPT). It is timed on {loop_copies} copies and
  scaled to all of them.
- **exact**: `perturbation.stream_shifts`, which `tl.rank_perturbations` runs: the copies of a cell together, without
  heads and layers that are not read, shift to a goal and effect in one pass.
- **screening**: `perturbation.first_order.first_order` on all genes, then the exact mode on the shortlist of
  `tl.rank_perturbations(screen="gradient")`: 100 genes, or 6 % where that is more.

Figures are CPU time, all threads added; a ratio is that of the loop over that of the way. Recall is the share of the
50 genes with the largest absolute scores, means over the cells that hold a gene, that the shortlist holds; in brackets
without the exact pass: among the first 50 of the estimate. The goal is the mean of cells that were stimulated."""

NOTES = """- The loop and the exact mode compute the same vectors; the exact mode gains by what it leaves out and, on
  small networks, by running copies together.
- The largest network was timed on {few} copies of its cell and not screened.
- Networks with random weights show the cost of a network, and not how well a derivative predicts a deletion: their
  vectors of places are unrelated where they are neighbours, so that a deletion, which moves every later token one place
  forward, is no small step. Recall is to be read from the trained one.
- The estimate of the effect has no derivative at the cell itself and is put together from eight random directions,
  which costs about five times the estimate of a shift and has a relative error of one half in a single cell. Where
  effects are much alike, that error decides their order: in the trained network the middle gene of the ranked ones has
  half the effect of the first.
- The effects of the scGPT of random weights are as small as the last digits of a cosine in float32; their order, and
  with it the recall, says nothing.
- With one or a few cells, 100 genes are a large share of the copies, and the gain by screening is small. It grows with
  the number of genes."""


def page(results: dict[str, Any]) -> str:
    """The whole page as Markdown."""
    models = {name: rows for name, rows in results["models"].items() if {"float32", "loop"} <= set(rows)}
    loop_copies = max(rows["loop"]["copies"] for rows in models.values())
    parts = [INTRODUCTION.replace("{loop_copies}", str(loop_copies)), conditions(models)]
    parts += ["## Exact", exact_table(models), "## Screening", screening_table(models), "## Aims", aims(models)]
    few = min(rows["float32"].get("run", rows["float32"]["copies"]) for rows in models.values())
    return "\n\n".join([*parts, "## What to know", NOTES.replace("{few}", str(few))]).rstrip() + "\n"


def conditions(models: dict[str, Any]) -> str:
    """What the numbers were measured on."""
    rows = [row for every in models.values() for row in every.values()]
    loads = [row["load_average"][0] for row in rows]
    return (
        f"Machine: {rows[0]['cpus']} cores, {max(row['threads'] for row in rows)} thread used, load average "
        f"{min(loads):.1f} to {max(loads):.1f} while the rows ran. Cells: control monocytes of the study of Kang et "
        "al. (interferon beta), which the trained network has not seen."
    )


def gain(rows: dict[str, Any], way: str) -> float:
    """How many times the loop's time for a copy is that of the exact mode."""
    return float(rows["loop"]["ms"] / rows[way]["ms"])


def screening_gain(rows: dict[str, Any], score: str) -> float:
    """How many times the loop's time for all copies is that of the screening."""
    found = rows["screening"][score]
    return float(rows["loop"]["ms"] * rows["float32"]["copies"] / 1e3 / (found["first_order_s"] + found["shortlist_s"]))


def exact_table(models: dict[str, Any]) -> str:
    """Times of a copy."""
    lines = [
        "| model | cells | genes | copies | tokens a cell | loop, float32, ms a copy | exact, float32 | ratio | exact, "
        "bfloat16 | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in models.items():
        one = rows["float32"]
        line = f"| {name} | {one['cells']} | {one['genes']:,} | {one['copies']:,} | {one['tokens']:.0f} "
        line += f"| {rows['loop']['ms']:.1f} | {one['ms']:.1f} | {gain(rows, 'float32'):.1f} "
        if "bfloat16" in rows:
            emulated = "" if rows["bfloat16"]["native"] else " (emulated)"
            line += f"| {rows['bfloat16']['ms']:.1f}{emulated} | {gain(rows, 'bfloat16'):.2f} |"
        else:
            line += "| not run | |"
        lines.append(line)
    return "\n".join(lines)


def screening_table(models: dict[str, Any]) -> str:
    """Times and recall of the screening."""
    lines = [
        "| model | score | genes ranked | first order, s | shortlist, s | genes, share of copies | all exact, s "
        "| loop, s | ratio to the loop | recall | rank correlation |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in models.items():
        for score in ("goal", "effect") if "screening" in rows else ():
            found = rows["screening"][score]
            lines.append(
                f"| {name} | {score} | {rows['screening']['genes']:,} | {found['first_order_s']:.1f} "
                f"| {found['shortlist_s']:.1f} | {found['shortlist']}, {100 * found['share_of_copies']:.1f} % "
                f"| {rows['float32']['cpu_s']:.0f} | {rows['loop']['ms'] * rows['float32']['copies'] / 1e3:,.0f} "
                f"| {screening_gain(rows, score):.0f} | {found['recall']:.2f} ({found['recall_without_exact']:.2f}) "
                f"| {found['rank_correlation']:.3f} |"
            )
    return "\n".join(lines)


def aims(models: dict[str, Any]) -> str:
    """What was aimed at, and what came out."""
    exact = ", ".join(f"{name} {gain(rows, 'float32'):.1f}" for name, rows in models.items())
    lines = [f"- Exact, float32, {AIMS['float32']} times the loop: {exact}."]
    native = [name for name, rows in models.items() if rows.get("bfloat16", {}).get("native")]
    told = ", ".join(f"{name} {gain(models[name], 'bfloat16'):.1f}" for name in native)
    unknown = "not measured: this processor has no arithmetic of bfloat16, and emulation is slower than float32"
    lines.append(f"- Exact, bfloat16, {AIMS['bfloat16']:.0f} times the loop: {told or unknown}.")
    screened = [
        f"{name} ({score}) {screening_gain(rows, score):.0f} times at {rows['screening'][score]['recall']:.2f}"
        for name, rows in models.items()
        if "screening" in rows
        for score in ("goal", "effect")
    ]
    wanted = f"{AIMS['screening']:.0f} times the loop at a recall of {AIMS['recall']}"
    lines.append(f"- Screening, {wanted}: {', '.join(screened)}.")
    return "\n".join(lines)
