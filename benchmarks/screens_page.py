"""The page of the benchmark of screens, written from its results."""

from __future__ import annotations

from typing import Any

import numpy as np
from screens_words import CD4, CONCLUSIONS, INTRODUCTION, KANG, LABELS, PAPALEXI

FREQUENCY = "frequency of response"
CD4_SETS = {"zheng": "Sorted CD4 T cells (Zheng et al., 2017)", "kang": "Control CD4 T cells (Kang et al., 2018)"}


def page(results: dict[str, Any]) -> str:
    """The whole page as Markdown."""
    parts = [INTRODUCTION]
    sections = {"papalexi": papalexi, "cd4": cd4, "kang": kang, "labels": labels}
    asked = {question: section for question, section in sections.items() if question in results}
    if len(asked) == len(sections):
        parts += ["## In short", short(results)]
    for question, section in asked.items():
        parts += section(results[question])
    return "\n\n".join([*parts, "## What may be concluded", CONCLUSIONS]).rstrip() + "\n"


def number(values: list[float] | None, digits: int = 3) -> str:
    """Mean over seeds, spread behind ±."""
    if not values or not np.isfinite(values).all():
        return "–"
    spread = f" ± {np.std(values):.{digits}f}" if np.std(values) > 0.5 * 10**-digits else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def mean(values: list[float]) -> float:
    """Mean over seeds."""
    return float(np.mean(values))


def short(results: dict[str, Any]) -> str:
    """One sentence of numbers for each question."""
    every = results["papalexi"]["scores"]["answered by every row"]
    lines = [
        f"- **THP-1 knock-outs**: correlation of predicted and measured changes on the {every['no change']['n'][0]} "
        f"targets that every row answers {listed(every, 'r delta')}."
    ]
    for name, title in (("zheng", "Zheng"), ("kang", "Kang")):
        scores = results["cd4"]["sets"][name]["scores"]
        rows = {row: one["every, known"] for row, one in scores.items() if " and " not in row}
        lines.append(f"- **CD4 knock-downs** ({title}): AUROC of responders {listed(rows, 'AUROC')}.")
    scores = results["kang"]["scores"]
    rows = {
        row.removesuffix(", overexpress"): of_types(one, "AUROC") for row, one in scores.items() if "overexp" in row
    }
    lines.append(
        f"- **Interferon genes**: overexpressed one at a time, AUROC against other genes {listed(rows, 'AUROC')}."
    )
    for title in ("ClinGen", "LOEUF"):
        rows = {row: one[title] for row, one in results["labels"]["scores"].items() if "times" not in row}
        scored = listed(rows, "within tenths")
        lines.append(f"- **Dosage-sensitive genes** ({title}): AUROC within tenths of expression {scored}.")
    return "\n".join(lines)


def listed(rows: dict[str, Any], key: str) -> str:
    """Rows from the best to the worst."""
    found = {row: mean(one[key]) for row, one in rows.items() if key in one}
    return ", ".join(f"{found[row]:.2f} ({row})" for row in sorted(found, key=lambda row: -found[row]))


def papalexi(found: dict[str, Any]) -> list[str]:
    """Sizes and directions of knock-outs."""
    known = "; ".join(f"{name}: {n} of {found['genes']}" for name, n in found["genes known"].items())
    measured, every = found["measured"], found["answered by every row"]
    counts = (
        f"Of {len(found['targets'])} targets {len(measured)} are among the {found['genes']} measured genes and can be "
        f"deleted at all ({', '.join(measured)}); every model answers {len(every)} ({', '.join(every)}). "
        f"Genes known: {known}."
    )
    choices = {
        "answered by every row": "Targets that every row answers, all genes",
        "genes known to all": "The same targets, on the genes that every model knows",
        "measured of 25": "All measured targets",
        "measured of 11": "Measured targets among the 11 strong ones",
        "all of 25": "All 25 targets, for rows that need no measured target",
        "all of 11": "The 11 strong targets, for rows that need no measured target",
    }
    parts = ["## Knock-outs of THP-1 cells", PAPALEXI, counts, "### Size of the effect", sizes_table(found)]
    parts.append("### Direction of the change")
    for key, title in choices.items():
        parts += [f"{title}:", direction_table(found["scores"][key])]
    return [*parts, "r delta of each target:", target_table(found)]


def sizes_table(found: dict[str, Any]) -> str:
    """Rank correlations of predicted with measured sizes."""
    lines = []
    for row, scores in found["sizes"].items():
        cells = [row]
        for among in ("every", "measured", "strong"):
            n = scores[f"{among}, n"][0]
            cells += [str(n), *(number(scores[f"{among}, {of}"]) if n > 2 else "–" for of in ("energy", "l2"))]
        lines.append(cells)
    choices = ("answered by all", f"all {len(found['measured'])}", "strong")
    head = ["row", *(f"{of}, {choice}" for choice in choices for of in ("n", "ρ energy", "ρ length"))]
    return table(head, lines)


def direction_table(rows: dict[str, Any]) -> str:
    """Scores of predicted changes."""
    keys = ("r delta", "r delta DE20", "direction DE20", "pds")
    lines = [[row, str(scores["n"][0]), *(number(scores[key]) for key in keys)] for row, scores in rows.items()]
    return table(["row", "targets", "r delta", "r delta DE20", "direction DE20", "PDS cosine"], lines)


def target_table(found: dict[str, Any]) -> str:
    """Correlation of every target under every row."""
    rows = {row: scores for row, scores in found["by target"].items() if row != "no change"}
    lines = []
    for target in found["measured"]:
        size = found["targets"][target]
        cells = [target, f"{size['cells']:,.0f}", f"{size['energy']:.3f}"]
        lines.append([*cells, *(number(scores.get(target), 2) for scores in rows.values())])
    return table(["target", "cells", "energy", *rows], lines)


def cd4(found: dict[str, Any]) -> list[str]:
    """Responders to knock-downs."""
    alone = found["frequency alone"]
    parts = ["## Responders to knock-downs in CD4 T cells", CD4]
    parts.append(
        f"Without any cells, over all {alone['genes']:,} genes that respond to some knock-down, {FREQUENCY} over the "
        f"other knock-downs has an AUROC of {alone['mean']:.3f} ± {alone['sd']:.3f} (spread of 30 knock-downs)."
    )
    for name, title in (
        ("zheng", "Sorted CD4 T cells (Zheng et al., 2017)"),
        ("kang", "Control CD4 T cells of Kang et al."),
    ):
        one = found["sets"][name]
        parts += [
            f"### {title}",
            f"{one['cells']:,} cells, {one['expressed']:,} genes seen in 1 % of them, {one['responding']:,} of which "
            f"respond to some knock-down. Knocked-down genes that are expressed: {len(one['regulators'])} of 30; "
            f"every model knows {len(one['answered by every row'])} of them "
            f"({', '.join(one['answered by every row'])}) and {one['genes known to all']:,} of the expressed genes.",
            cd4_table(one["scores"]),
        ]
    return parts


def cd4_table(rows: dict[str, Any]) -> str:
    """AUROC on every choice of regulators and genes; right signs."""
    choices = ("every, known", "every, responding", "every", "all, responding", "all")
    lines = []
    for row, scores in rows.items():
        cells = [row]
        for choice in choices:
            one = scores[choice]
            n = f" (n = {one['n'][0]})" if choice.startswith("all") else ""
            cells.append(number(one["AUROC"]) + n)
        signs = scores["every"].get("sign")
        lines.append([*cells, number(signs)])
    head = ["row", "genes known to all", "responding genes", "expressed genes"]
    return table([*head, "all knock-downs, responding genes", "all knock-downs, expressed genes", "right sign"], lines)


def kang(found: dict[str, Any]) -> list[str]:
    """Interferon genes."""
    rows = found["scores"]
    counts = (
        f"{len(found['response'])} of the {found['set']} genes of the set are measured and known to every model; of "
        f"ISGF3 {' and '.join(found['factor'])}. {len(found['types'])} cell types have 20 cells in both conditions."
    )
    parts = ["## Interferon genes in blood cells", KANG, counts, "### One gene at a time"]
    parts += ["Means over cell types.", kang_table(rows), "AUROC of each cell type, overexpressed:"]
    parts += [types_table(rows, "overexpress"), "### Several together", together_table(found["together"])]
    return parts


def of_types(scores: dict[str, Any], key: str) -> dict[str, list[float]]:
    """Mean over cell types of each seed."""
    return {key: np.mean([one[key] for one in scores.values()], axis=0).tolist()}


def kang_table(rows: dict[str, Any]) -> str:
    """Means over cell types."""
    lines = []
    for row, types in rows.items():
        digits = {"AUROC": 3, "mean": 4, "null": 4, "towards": 2, "above null": 2, "genes": 0}
        cells = [number(of_types(types, key)[key], n) for key, n in digits.items()]
        lowest = min(mean(one["AUROC"]) for one in types.values())
        lines.append([row, cells[0], f"{lowest:.3f}", *cells[1:]])
    head = "row,AUROC,lowest type,mean shift,shift of others,towards,above 95 % of others,genes".split(",")
    return table(head, lines)


def types_table(rows: dict[str, Any], kind: str) -> str:
    """AUROC of every cell type."""
    chosen = {row.removesuffix(f", {kind}"): types for row, types in rows.items() if row.endswith(kind)}
    names = next(iter(chosen.values()))
    lines = [[name, *(number(types[name]["AUROC"]) for types in chosen.values())] for name in names]
    return table(["cell type", *chosen], lines)


def together_table(rows: dict[str, Any]) -> str:
    """Shift of each set, mean of cell types; in how many types it is beyond every set of like expression."""
    lines = []
    for row, scores in rows.items():
        cells = [row]
        for title in ("response", "score", "factor"):
            of_set = [one for name, one in scores.items() if name.endswith(f", {title}")]
            there = [one for one in of_set if np.isfinite(one["shift"]).all()]
            if not there:
                cells += ["–", "–", "–"]
                continue
            shift, null = (float(np.mean([mean(one[key]) for one in there])) for key in ("shift", "null"))
            beyond = sum(mean(one["above"]) > 0.95 for one in there)
            cells += [f"{shift:.4f}", f"{null:.4f}", f"{beyond} of {len(there)}"]
        lines.append(cells)
    titles = ("whole set", "six genes", "ISGF3")
    return table(["row", *(f"{title}{of}" for title in titles for of in ("", ", others", ", types beyond"))], lines)


def labels(found: dict[str, Any]) -> list[str]:
    """Genes that tolerate no loss."""
    titles = [*found["classes"]]
    counts = ", ".join(f"{title} {n[0]} and {n[1]}" for title, n in found["classes"].items())
    text = f"{found['cells']:,} cells, {found['genes']:,} labelled genes that every model knows: {counts}."
    lines = [
        [row, *(number(scores[title][key]) for title in titles for key in ("AUROC", "within tenths"))]
        for row, scores in found["scores"].items()
    ]
    head = ["row", *(f"{title}{of}" for title in titles for of in ("", ", within tenths"))]
    return ["## Genes that tolerate no loss", LABELS, text, table(head, lines)]


def table(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table, the first column of words, the others of numbers."""
    rule = ["---", *("--:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *lines])
