"""``scfm.report``: one page that holds everything, escapes everything, and replaces nothing by half a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import FileError, MissingKeyError
from scfm_scverse._record import record
from scfm_scverse.reporting._sections import term_link
from support import annotated_by_hand

EVIL = {'<script>alert("1")</script>': "CL:0000236", "T/NK & co": 'CL:0000084" onclick="x', "{{ 7 * 7 }}": "unknown"}
VOID = {"br", "img", "meta"}


class Page(HTMLParser):
    """Elements of a page, their attributes and the text that a reader sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def page_of(adata: AnnData, **arguments: str | None) -> Page:
    text = scfm.report(adata, **arguments)
    assert isinstance(text, str)
    return Page(text)


def sections(page: Page) -> list[str | None]:
    return [attributes.get("id") for tag, attributes in page.elements if tag == "section"]


def test_page_shows_types_evidence_samples_and_how_it_was_made() -> None:
    page = page_of(annotated_by_hand(), sample_key="sample", name="my cells")
    assert sections(page) == ["types", "unknown", "sets", "samples", "quality", "methods", "limits"]
    for words in (
        "my cells",
        "cells 60",
        "B cell CL:0000236",
        "MS4A1 100 /",
        "15 cells (25 %) are called unknown. 15 of them for their distance",
        "They come nearest to B cell (15)",
        "the top class was put in for 2.0 % of the cells",
        "toy reference",
        "toy:1",
        "At the stated error rate of 10 %",
    ):
        assert words in page.text
    assert sum(attributes.get("class") == "flag" for _, attributes in page.elements) == 1


def test_page_needs_no_other_file_and_runs_nothing() -> None:
    page = page_of(annotated_by_hand(), sample_key="sample")
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "iframe", "object"}
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/")
            assert attributes["alt"]
        if tag == "a":
            assert re.match(r"#\w+$|https?://(doi|arxiv|purl\.obolibrary)\.org/", str(attributes["href"]))
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    inner = {
        str(attributes["href"])[1:] for tag, attributes in page.elements if tag == "a" and "#" in attributes["href"]
    }
    assert inner <= ids


def test_whatever_comes_from_the_data_is_escaped() -> None:
    adata = annotated_by_hand(EVIL)
    bad = "<img src=x onerror=alert(1)>"
    adata.obs[bad] = pd.Categorical(np.where(np.arange(adata.n_obs) % 2, bad, "b/c"))
    adata.uns["scfm"]["annotate"]["scfm"]["reference"] = bad
    adata.uns["scfm"]["annotate"]["scfm"][bad] = [bad] * 3
    page = page_of(adata, sample_key=bad, name=bad)
    tags = {tag for tag, _ in page.elements}
    assert "script" not in tags
    assert all(str(attributes["src"]).startswith("data:") for tag, attributes in page.elements if tag == "img")
    for shown in (*EVIL, bad):
        assert shown in page.text
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert "http://purl.obolibrary.org/obo/CL_0000236" in links
    assert not any("onclick" in str(link) for link in links)


def test_only_terms_of_the_ontology_are_links() -> None:
    assert term_link("CL:0000236") == "http://purl.obolibrary.org/obo/CL_0000236"
    assert {term_link(term) for term in ("unknown", "CL:1", "javascript:x", "CL:0000236\n", "xCL:0000236")} == {""}


def test_page_of_the_same_cells_is_the_same_and_small() -> None:
    first, second = (scfm.report(annotated_by_hand(), sample_key="sample") for _ in range(2))
    assert first == second
    assert first is not None
    assert len(first.encode()) < 5e5


def test_page_is_written_and_replaced_and_no_figure_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    plt.close("all")
    assert scfm.report(annotated_by_hand(), path) is None
    assert path.read_text(encoding="utf-8") == scfm.report(annotated_by_hand())
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", ["cells.h5ad", "cells", "folder.html", "nowhere/page.html"])
def test_place_that_cannot_take_a_page_is_an_error_and_stays_as_it_was(tmp_path: Path, name: str) -> None:
    (tmp_path / "cells.h5ad").write_text("data")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(FileError, match=r"\.html"):
        scfm.report(annotated_by_hand(), tmp_path / name)
    assert (tmp_path / "cells.h5ad").read_text() == "data"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cells.h5ad", "folder.html"]


def test_cells_without_annotation_are_an_error_that_says_what_to_run() -> None:
    with pytest.raises(MissingKeyError, match=r"Run scfm\.tl\.annotate\(adata, key_added='scfm'\) first"):
        scfm.report(AnnData(np.ones((2, 2), np.float32)))


def test_missing_sample_column_is_an_error_in_the_words_of_the_caller() -> None:
    with pytest.raises(MissingKeyError, match=r"sample_key='donor' is not in adata\.obs"):
        scfm.report(annotated_by_hand(), sample_key="donor")


def test_older_annotation_without_sets_and_markers_is_shown() -> None:
    adata = annotated_by_hand()
    del adata.obs["scfm_prediction_set"]
    for entry in ("markers", "alpha", "share_forced"):
        del adata.uns["scfm"]["annotate"]["scfm"][entry]
    page = page_of(adata)
    assert sections(page) == ["types", "unknown", "quality", "methods", "limits"]
    assert "conformal" not in page.text


def test_lost_records_are_said() -> None:
    adata = annotated_by_hand()
    del adata.uns["scfm"]
    assert "the record of how was lost" in page_of(adata).text


def test_one_sample_and_one_type_are_shown() -> None:
    adata = annotated_by_hand()[:15].copy()
    adata.obs["sample"] = "the only one"
    page = page_of(adata, sample_key="sample")
    assert "No cells are called unknown" in page.text
    assert "the only one 15" in page.text


def test_cells_without_counts_are_told_apart_from_unknown_ones() -> None:
    adata = annotated_by_hand()
    values = adata.X.toarray()
    values[-2:] = 0
    adata.X = sp.csr_matrix(values)
    adata.obsm["X_scfm"][-2:] = np.nan
    adata.obs.loc[adata.obs_names[-2:], ["scfm_confidence", "scfm_unknown_score"]] = np.nan
    page = page_of(adata, sample_key="sample")
    assert "13 cells (22 %)" in page.text
    assert "2 more have no counts" in page.text


def test_consensus_of_groups_and_malignant_cells_are_shown_where_there_are_any() -> None:
    adata = annotated_by_hand()
    adata.uns["scfm"]["annotate"]["scfm"] |= {"groupby": "sample", "malignant": True}
    adata.obs["scfm_group_cell_type"] = pd.Categorical(["B/T cell"] * adata.n_obs)
    adata.obs["scfm_group_share"] = np.float32(0.42)
    adata.obs["scfm_malignant_score"] = np.float32(0.1)
    adata.obs["scfm_cell_type"] = adata.obs["scfm_cell_type"].cat.rename_categories({"T cell": "malignant"})
    page = page_of(adata, sample_key="sample")
    assert {"groups", "malignant"} <= set(sections(page))
    assert "s0 20 B/T cell 42 %" in page.text
    assert "15 cells are called malignant" in page.text
    assert "Copy number could not be measured" in page.text
    assert "Tirosh" not in page.text


def test_copy_number_is_drawn_where_it_was_measured() -> None:
    adata = with_copy_number(annotated_by_hand())
    page = page_of(adata)
    assert "malignant" in sections(page)
    assert "Copy number along the chromosomes, by cell" in {attributes.get("alt") for _, attributes in page.elements}
    assert "called malignant" not in page.text
    assert "Tirosh" in page.text
    adata.obsm["X_scfm_copy_number"][:] = np.nan
    assert "malignant" not in sections(page_of(adata))


def with_copy_number(adata: AnnData) -> AnnData:
    """Noise in 600 windows."""
    adata.obsm["X_scfm_copy_number"] = np.random.default_rng(0).normal(size=(adata.n_obs, 600)).astype(np.float32)
    adata.obs["scfm_copy_number"] = np.float32(1)
    places = {"window_chromosome": np.repeat([str(i) for i in range(1, 21)], 30), "window_start": np.arange(600) % 30}
    record(adata, "copy_number", "scfm", places)
    return adata


def test_nothing_but_colours_is_written_beside_the_map() -> None:
    adata = annotated_by_hand()
    before = adata.copy()
    scfm.report(adata, sample_key="sample")
    assert adata.obs.equals(before.obs)
    assert set(adata.obsm) == set(before.obsm)
    assert set(adata.uns) - set(before.uns) == {"scfm_cell_type_colors"}


@pytest.mark.slow
def test_page_of_a_hundred_thousand_cells_stays_below_two_megabytes() -> None:
    labels = {f"type {i:02d}": "CL:0000236" for i in range(40)} | {"unknown": "unknown"}
    adata = annotated_by_hand(labels, per_label=2440)
    adata.obs["sample"] = [f"sample {i % 40}" for i in range(adata.n_obs)]
    page = scfm.report(with_copy_number(adata), sample_key="sample")
    assert page is not None
    assert len(page.encode()) < 2e6


def test_group_without_a_consensus_has_no_share() -> None:
    adata = annotated_by_hand()
    adata.uns["scfm"]["annotate"]["scfm"] |= {"groupby": "sample"}
    adata.obs["scfm_group_cell_type"] = pd.Categorical(["unknown"] * adata.n_obs)
    adata.obs["scfm_group_share"] = np.float32(np.nan)
    text = page_of(adata).text
    assert "s0 20 unknown –" in text
    assert "nan %" not in text
    adata.obs["sample"] = np.nan
    assert "groups" not in sections(page_of(adata))
