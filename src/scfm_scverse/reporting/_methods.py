"""What was done, in words to paste into a paper: made of the records, so that it says what happened and no more."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from .._record import ROOT, read_record
from ..get._tables import embedding_of

if TYPE_CHECKING:
    from anndata import AnnData

PACKAGES = ("scfm-scverse", "anndata", "numpy", "scipy", "pandas", "numba", "torch", "matplotlib", "umap-learn")
LISTED = 12  # entries of a record's list that are shown
WORDS = {"counts": "counts", "linear": "linear values", "log": "log-normalised values"}

PAPERS = {
    "scverse": (
        "I. Virshup et al. The scverse project provides a computational ecosystem for single-cell omics data analysis. "
        "Nature Biotechnology 41, 604–606 (2023).",
        "https://doi.org/10.1038/s41587-023-01733-8",
    ),
    "ontology": (
        "A. D. Diehl et al. The Cell Ontology 2016: enhanced content, modularization, and ontology interoperability. "
        "Journal of Biomedical Semantics 7, 44 (2016).",
        "https://doi.org/10.1186/s13326-016-0088-7",
    ),
    "umap": (
        "L. McInnes, J. Healy, J. Melville. UMAP: uniform manifold approximation and projection for dimension "
        "reduction (2018).",
        "https://arxiv.org/abs/1802.03426",
    ),
    "conformal": (
        "A. N. Angelopoulos, S. Bates. Conformal prediction: a gentle introduction. "
        "Foundations and Trends in Machine Learning 16, 494–591 (2023).",
        "https://doi.org/10.1561/2200000101",
    ),
    "copy number": (
        "I. Tirosh et al. Dissecting the multicellular ecosystem of metastatic melanoma by single-cell RNA-seq. "
        "Science 352, 189–196 (2016).",
        "https://doi.org/10.1126/science.aad0501",
    ),
}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that were there when the page was made."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from the source tree
            found[package] = "unknown"
    return found


def records(adata: AnnData) -> list[tuple[str, dict[str, str]]]:
    """Return every record in ``uns["scfm"]`` as text: where it lies, and its entries with long lists cut."""
    out = []
    for verb, kept in adata.uns.get(ROOT, {}).items():
        for key in kept if isinstance(kept, dict) else ():
            found = read_record(adata, verb, key)
            if found is not None:
                out.append((f"{verb} / {key}", {name: _text(value) for name, value in found.items()}))
    return out


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_text(item)}" for name, item in value.items())
    if isinstance(value, list):
        shown = ", ".join(map(str, value[:LISTED]))
        return shown + (f", … ({len(value):,} in all)" if len(value) > LISTED else "")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def methods(
    adata: AnnData, *, key: str, has_sets: bool, has_copy_number: bool
) -> tuple[list[str], list[tuple[str, str]]]:
    """Return paragraphs for a methods section, and the papers to cite: reference and link."""
    made = read_record(adata, "annotate", key) or {}
    slot, read = embedding_of(adata, key)
    cited = ["scverse", "ontology", "umap"]
    text = [_about_embedding(adata, read, slot), _about_labels(made)]
    if has_sets and made.get("alpha") is not None:
        cited.append("conformal")
        text.append(
            f"Prediction sets were made by conformal prediction at an error rate of {made['alpha']:g}: among cells "
            "like those that the reference was calibrated on, a set misses the right class at most that often. "
            + (
                f"The top class was put into {made['share_forced']:.1%} of the sets, which had been empty. "
                if made.get("share_forced")
                else ""
            )
        )
    if has_copy_number:
        cited.append("copy number")
        text.append(
            "Copy-number changes were scored from expression smoothed along the chromosomes, against cells of the same "
            "sample that were confidently named as normal types."
        )
    text.append("The map is a UMAP of the embedding (15 neighbours, minimal distance 0.5, fixed random state).")
    return [part.strip() for part in text if part], [PAPERS[name] for name in cited]


def _about_embedding(adata: AnnData, read: dict[str, Any], slot: str) -> str:
    if not read:
        return f"Cells were embedded ({slot}; the record of how was lost)."
    share = read.get("share_of_counts_known")
    return (
        f"Cells ({adata.n_obs:,}) were embedded with {read['model_id']} of the Python package scfm-scverse "
        f"{read['package_version']}, from {WORDS.get(read['values'], read['values'])} in {read['source']} "
        f"({read['organism']}); {read['n_genes_known']:,} genes of the data are known to the model"
        + (f" and hold {share:.0%} of the values." if share is not None else ".")
    )


def _about_labels(made: dict[str, Any]) -> str:
    if not made:
        return "Cell types were assigned with scfm-scverse; the record of how was lost."
    n_classes, n_profiles = len(made["labels"]), sum(map(bool, made["labels_from_profiles"]))
    text = (
        f"Cell types were assigned with scfm-scverse {made['package_version']}: each cell was compared with the "
        f"{n_classes} classes of the reference “{made['reference']}” ({n_profiles} of them known from averaged "
        "profiles only). Its label is the narrowest class, Cell Ontology term or branch that holds its best class and "
        "collects enough of the probability. Confidence is the chance that the label is right, calibrated on cells "
        "that were left out of the reference. "
    )
    if made.get("refuse_above") is not None:
        text += (
            "Cells farther from every class than nearly all known cells are (unknown score above "
            f"{made['refuse_above']:.3f}), and cells without an answer that is certain enough, were called unknown. "
        )
    if made.get("groupby"):
        text += f"Labels of groups are the consensus of the cells of each group in “{made['groupby']}”. "
    if made.get("malignant"):
        text += (
            "Cells were called malignant where they share gains and losses along the chromosomes with other cells of "
            "their sample, in lineages that tumours arise from. "
        )
    return text
