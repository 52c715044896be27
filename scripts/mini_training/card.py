"""The model card, written from what was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import f1_score, roc_auc_score

from .evaluate import LeftOut


def metrics(outcomes: list[LeftOut]) -> dict[str, dict[str, float]]:
    """Macro-F1 and accuracy of each study left out; AUROC of the distance where it holds malignant cells."""
    out: dict[str, dict[str, float]] = {}
    for one in outcomes:
        truth, answer = one.truth[one.scored], one.answer[one.scored]
        if len(truth):
            out[one.study] = {
                "cells": len(truth),
                "classes": len(np.unique(truth)),
                "macro_f1": float(f1_score(truth, answer, labels=np.unique(truth), average="macro", zero_division=0)),
                "accuracy": float((truth == answer).mean()),
            }
            if one.malignant.sum() > 5:
                both = one.scored | one.malignant
                out[one.study]["auroc_malignant"] = float(roc_auc_score(one.malignant[both], one.distance[both]))
    return out


def share_of_fine_right(outcomes: list[LeftOut]) -> float:
    """Right fine labels among those that the authors' labels can judge, studies alike."""
    shares = [(one.fine_right[one.scored] == 1)[one.fine_right[one.scored] >= 0] for one in outcomes]
    return float(np.mean([share.mean() for share in shares if len(share)]))


def card(config: dict[str, Any], measured: dict[str, dict[str, float]], fine_right: float, version: str) -> str:
    """The page as Markdown."""
    rows = "\n".join(
        f"| {name} | {m['cells']:,} | {m['classes']} | {m['macro_f1']:.3f} | {m['accuracy']:.3f} | "
        + (f"{m['auroc_malignant']:.3f} |" if "auroc_malignant" in m else "– |")
        for name, m in measured.items()
    )
    studies = ", ".join(f"{name} ({n:,})" for name, n in config["studies"].items())
    profiles = ", ".join(f"{name} ({n:,})" for name, n in config["profiles"].items())
    return TEMPLATE.format(
        version=version,
        fine_right=fine_right,
        rows=rows,
        studies=studies,
        profiles=profiles,
        n_cells=f"{sum(config['studies'].values()):,}",
        n_studies=len(config["studies"]),
        **{
            key: config[key]
            for key in ("model_id", "genes", "dim", "classes", "classes_from_profiles_only", "minutes", "kept_cells")
        },
    )


TEMPLATE = """\
# scfm-mini {version}

<!-- Written by scripts/train_mini.py; edit scripts/mini_training/card.py instead. -->

| | |
|---|---|
| Model id | `{model_id}` |
| Licence of the weights | BSD-3-Clause |
| Vocabulary | {genes:,} human genes (protein-coding, immunoglobulin, T-receptor and some lncRNA), by Ensembl id |
| Embedding | {dim} numbers, unit length |
| Default reference | {classes} classes, {classes_from_profiles_only} of them known from averaged profiles only |
| Rebuild | `python scripts/train_mini.py` ({minutes} minutes on the machine that made it, two cores) |

## What it is

A linear model. Each gene has a vector: the leading eigenvectors of gene-gene correlations that were taken inside each
study and then averaged, so that differences between studies never enter. A cell is the combination of gene vectors
that best explains its standardised log expression, found by ridge regression over the genes that the data set
measured; genes that were not measured are left out, not taken for zero. Names come from linear discriminants on top
and from the labelled cells that lie nearest; {kept_cells:,} of them come along as embeddings.

It needs no labels for the embedding, no GPU and no download. It reads counts, TPM or log-normalised values.

## Intended use

A first look at human single-cell or single-nucleus RNA data: an embedding to cluster and draw, coarse to moderately
fine cell types with a confidence, and a warning where cells are unlike everything it knows. Mouse data is read
through one-to-one orthologs.

## What it cannot do

- It does not know malignancy. Tumour cells get the name of the tissue they resemble, and often a raised unknown score;
  `tl.annotate(..., malignant=True)` looks at copy number besides.
- Fine T cell states, and states inside one type in general, are told apart poorly. Among left-out cells whose label is
  fine enough to tell, {fine_right:.0%} of the fine labels were right; the confidence says how sure each is.
- Classes from averaged profiles are less certain than those from real cells; `tl.annotate` records which they are.
- Panels of fewer than about 500 genes cost much of the accuracy, and a hundred genes with a dozen counts a cell are
  beyond it (see `brain_m1_panel140`).
- Confidence was learnt on the studies below. On other tissues and technologies it may be too high.
- The expression that it decodes is a linear function of the embedding, so a predicted change under a perturbation is
  co-expression and nothing else.

## Trained on

{n_cells} cells of {n_studies} sets (cells in brackets): {studies}.

Averaged profiles (profiles in brackets): {profiles}.

Malignant cells trained the embedding, without their label, but no class.

## Measured

Each study left out of gene embedding, scale and head (with everything of the same donors), broad classes with five
cells at least. The recipe was chosen in earlier trials on the mean over thirteen of these studies, and the weights of
classes against branches, the share of the neighbours' vote, and the shape of the unknown score on nearly all of them,
so expect a point or two less on new data. AUROC: unknown score, malignant against all other cells.
`python scripts/train_mini.py` prints these numbers; `python benchmarks/annotation.py` shows them beside simple methods.

| study left out | cells | classes | macro-F1 | accuracy | AUROC malignant |
|---|---|---|---|---|---|
{rows}
"""
