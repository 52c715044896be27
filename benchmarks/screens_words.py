"""What the page of the benchmark of screens says around its tables."""

from __future__ import annotations

INTRODUCTION = """\
# What predicted perturbations are worth

<!-- Written by benchmarks/screens.py; edit benchmarks/screens_page.py and screens_words.py instead. -->

A model that was trained on unperturbed cells is asked what a perturbation would do; the answer is compared with what
was measured, or with what is known of the genes. Every table holds the simple answers too. Models are asked through
`tl.perturb` and `tl.rank_perturbations`, without any training on perturbed cells. ± is the spread over three draws
of cells. The perturbed gene is left out of every score. Cells of Kang et al. and of Zheng et al. took part in making
scfm-mini; **scfm-mini without Kang** is made in the same way from all others."""

PAPALEXI = """\
ECCITE-seq of THP-1 cells with 25 genes knocked out (Papalexi et al., 2021); confident cells, 299 genes, log1p of
counts scaled to 186. 1,024 of 2,048 control cells are drawn and one target is deleted in them; what was measured
compares all cells of the knock-out with all control cells.

- **r delta**: Pearson correlation of predicted and measured changes over all genes; 0 for a constant. A gene that a
  model does not know counts as unchanged. **DE20**: the 20 genes with the largest Welch t; **direction**: share of
  them with the right sign. **PDS cosine**: share of the other measured knock-outs that the prediction is farther
  from than from its own; 0.5 by chance.
- **Size**: rank correlation of the mean of 1 - cosine with the energy distance to control cells (20 components) and
  with the length of the measured change. With four targets a rank correlation can be no evidence of anything.
- Rows **mean of the other knock-outs** and **half of the truth** (one half of the cells against the other) know
  measured effects, which no screen of unperturbed cells does: they are what training data and replicates are worth.
- **Co-expression**: minus the correlation with the target, or what a regression on it expects at zero. **PCA
  removal**: the target's value set to zero, seen through 50 components; scaled: genes divided by their standard
  deviation first. All from the same control cells.
- **Times share of cells**: the mean over all cells, not only over those that hold the target."""

CD4 = """\
Knock-downs of 30 genes in primary CD4 T cells (CRISPRi, 2025), with the genes that respond robustly. Each gene is
deleted in CD4 T cells of other studies that nothing was done to; genes are ranked by the absolute predicted change,
and true responders should come first (AUROC, mean over knock-downs). 300 cells are drawn three times. Most responses
were measured in stimulated cells, those asked here rest. A gene that a model does not know counts as unchanged;
scfm-mini holds genes that vary, which respond more often, and that is what lifts it in the columns of all expressed
genes. Only the first column compares models with the simple rows on equal terms.

**Frequency of response** is how many of the other 29 knock-downs a gene responds to: it knows nothing of the gene
that is knocked down, and is the baseline to beat. The rows that join it with a model add up ranks: they say whether
the model knows anything that the frequency does not. **Right sign**: share of true responders whose direction is
right, for the frequency that of their mean effect under the others. The first three columns are over the knock-downs
that every row can answer, the others over all that are expressed. Those of scfm-mini are parts of the T cell
receptor's signalling, like others among the 30: the frequency is at its best there."""

KANG = """\
Blood cells with and without interferon beta (Kang et al., 2018). Genes of the interferon alpha response (MSigDB
Hallmark 7.0, a set made elsewhere) are raised in control cells, 50 of each type drawn three times: overexpressed to
the cell's largest value, or doubled where they are expressed. Shift: change of the cosine to the mean of the cells
of that type under interferon beta. Each gene is compared with five others of like expression, drawn from the 25
nearest that are in no set about interferon. AUROC: interferon genes against those others; towards: share with a
shift above zero.

Several together: the whole set; six genes of a clinical interferon score (IFI27, IFI44L, IFIT1, ISG15, RSAD2,
SIGLEC1; Rice et al., 2013); the factor ISGF3. They are compared with 20 sets of like expression.

The goal is made of cells that express these genes, so that any space that keeps expression moves towards it: the
rows **expression itself** (cosine of log values) and **PCA shift** (50 components of all these cells, both
conditions; scaled: genes divided by their standard deviation) say how much of the answer that is."""

LABELS = """\
Does the deletion of a gene that tolerates no loss move cells more? One gene at a time in the control blood cells of
Kang et al., 500 drawn three times: ClinGen's haploinsufficient genes against those with healthy people who lack both
copies; LOEUF below 0.35 against above 1; dosage-sensitive transcription factors against others (the list of
Geneformer's authors). AUROC of the mean effect in the cells that hold the gene; within tenths: only pairs of genes
in the same tenth of mean expression."""

CONCLUSIONS = """\
- **Not what a knock-out does.** By correlation nothing that knows unperturbed cells alone comes near the mean of other
  knock-outs, nor by AUROC the frequency of response: on both sets of measured perturbations scfm-mini loses to them
  by far. It does no better than co-expression or mean expression in the same cells, adds nothing to the frequency,
  and in CD4 T cells less than half of its directions are right. Which of the knock-outs it was (PDS) is told by
  co-expression and components better than by the mean of the others, and not by scfm-mini.
- **Ask first whether the genes are known.** scfm-mini holds 6,000 genes that differ between kinds of cells. Most
  regulators that screens target are not among them, and no row of these tables says anything of those.
- **Which genes belong to a state.** Where a screen is asked which genes move cells towards a state that was
  measured, scfm-mini tells the interferon genes from others better than components of the very cells do, by much in
  lymphocytes, by little in monocytes and dendritic cells, and also when it was made without them. These genes follow
  interferon and do not cause its response: what is found are members of a programme, not its drivers.
- **Sizes do not rank genes by importance.** The effect of a deletion in scfm-mini follows how rarely the gene is
  seen elsewhere (rank correlation with one over its standard deviation in the model: 0.78, looked at by hand); genes
  that tolerate no loss are expressed broadly, so their effects come out smaller than those of others, also of others
  with like expression in the same cells.
- Few targets can be compared: differences between rows on four knock-outs are anecdotes. Models with more genes and
  trained on more cells have their rows here when they are given with `--model`."""
