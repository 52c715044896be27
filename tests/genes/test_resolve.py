"""Names to rows of the gene table: every way, the rules, and what must not matter."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm_scverse._errors import InputError
from scfm_scverse.genes import HOW, GeneMatch, GeneTable, load_gene_table, resolve_genes
from scfm_scverse.genes.table import normal_form


@pytest.fixture(scope="module")
def table() -> GeneTable:
    return load_gene_table()


def symbols(match: GeneMatch) -> list[str]:
    table = load_gene_table()
    return [table.symbol[row] if row >= 0 else "" for row in match.rows]


def ways(match: GeneMatch) -> list[str]:
    return [HOW[code] for code in match.how]


@pytest.mark.parametrize(
    ("name", "symbol", "way"),
    [
        ("ENSG00000167286.9", "CD3D", "ensembl"),
        ("CD3D_ENSG00000167286", "CD3D", "ensembl"),
        ("ENSG00000167286|CD3D", "CD3D", "ensembl"),
        ("CD3D", "CD3D", "exact"),
        ("MARCH1", "MARCHF1", "previous"),
        ("HIST1H4C", "H4C3", "previous"),
        ("hsa-mir-8072", "MIR8072", "alias"),
        ("CD20", "MS4A1", "previous"),
        ("PD-1", "PDCD1", "alias"),
        ("cd3d", "CD3D", "case"),
        ("elk1", "ELK1", "case"),
        ("C9ORF152", "C9orf152", "case"),
        ("HLA.A", "HLA-A", "separator"),
        ("NKX6.1", "NKX6-1", "separator"),
        ("hla_drb1", "HLA-DRB1", "separator"),
        ("PNRC2-1", "PNRC2", "suffix"),
        ("TBCE.1", "TBCE", "suffix"),
        ("SNORA70--5", "SNORA70", "suffix"),
        ("1-Sep", "SEPTIN1", "date"),
        ("NOTAGENE", "", "none"),
        ("RP11-34P13.7", "", "none"),
        ("", "", "none"),
    ],
)
def test_way_to_a_human_gene(name: str, symbol: str, way: str) -> None:
    match = resolve_genes([name], organism="human")
    assert (symbols(match), ways(match)) == ([symbol], [way])


@pytest.mark.parametrize(
    ("name", "symbol", "way"),
    [
        ("Cd3d", "CD3D", "ortholog"),
        ("ENSMUSG00000032094.4", "CD3D", "ortholog"),
        ("Trp53", "TP53", "ortholog"),
        ("Fam64a", "PIMREG", "case"),
        ("1-Mar", "MARCHF1", "date"),
        ("CD3D", "CD3D", "exact"),
        ("H2-K1", "", "none"),
        ("Gm1992", "", "none"),
    ],
)
def test_way_from_a_mouse_gene(name: str, symbol: str, way: str) -> None:
    match = resolve_genes([name], organism="mouse")
    assert (symbols(match), ways(match)) == ([symbol], [way])


def test_mouse_id_means_nothing_in_human_data() -> None:
    match = resolve_genes(["CD3D", "CD3E", "ENSMUSG00000032094"])
    assert match.organism == "human"
    assert symbols(match) == ["CD3D", "CD3E", ""]


def test_known_id_comes_before_the_name() -> None:
    match = resolve_genes(["CD3D", "CD4", "CD8A"], ids=["ENSG00000198851", "", "ENSG99999999999"])
    assert symbols(match) == ["CD3E", "CD4", "CD8A"]
    assert ways(match) == ["ensembl", "exact", "exact"]


def test_id_tells_the_organism() -> None:
    match = resolve_genes(["a", "b"], ids=["ENSMUSG00000032094", "ENSMUSG00000032093"])
    assert match.organism == "mouse"
    assert symbols(match) == ["CD3D", "CD3E"]


def test_approved_symbols_stand_for_themselves(table: GeneTable) -> None:
    names = list(table.row_of_symbol)
    match = resolve_genes(names)
    assert symbols(match) == names
    assert set(ways(match)) == {"exact"}
    assert match.organism == "human"
    assert match.ambiguous == match.duplicated == ()


def test_ensembl_ids_stand_for_themselves(table: GeneTable) -> None:
    match = resolve_genes([f"{gene}.7" for gene in table.ensembl])
    assert np.array_equal(match.rows, np.arange(len(table)))
    assert match.kind == "ensembl"


DAMAGES: dict[str, Callable[[str], str]] = {
    "lower case": str.lower,
    "upper case": str.upper,
    "dots": lambda name: name.replace("-", "."),
    "underscores": lambda name: name.replace("-", "_"),
    "lower case, dashes": lambda name: name.replace(".", "-").lower(),
    "suffix": lambda name: f"{name}--12",
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_to_any_symbol_is_undone(table: GeneTable, kind: str) -> None:
    names = list(table.row_of_symbol)
    assert symbols(resolve_genes([DAMAGES[kind](name) for name in names], organism="human")) == names


def test_suffix_is_left_out_unless_the_name_with_it_is_known(table: GeneTable) -> None:
    names = list(table.row_of_symbol)
    match = resolve_genes([f"{name}-1" for name in names], organism="human")
    known = {normal_form(name) for name in (*table.row_of_symbol, *table.rows_of_previous, *table.rows_of_alias)}
    wrong = [name for name, found in zip(names, symbols(match), strict=True) if name != found]
    assert len(wrong) < 0.01 * len(names)
    assert all(normal_form(f"{name}-1") in known for name in wrong)


def test_previous_symbol_of_one_gene_finds_it(table: GeneTable) -> None:
    single = {name: rows[0] for name, rows in table.rows_of_previous.items() if len(rows) == 1}
    assert resolve_genes(list(single), organism="human").rows.tolist() == list(single.values())


def test_gene_that_the_data_name_otherwise_is_set_aside() -> None:
    # QARS was the symbol of EPRS1 and of QARS1; EPRS is EPRS1.
    assert symbols(resolve_genes(["EPRS", "QARS"])) == ["EPRS1", "QARS1"]
    # MUM1 was the symbol of IRF4 and of PWWP3A.
    match = resolve_genes(["IRF4", "MUM1"])
    assert symbols(match) == ["IRF4", "PWWP3A"]
    assert match.ambiguous == ("MUM1 -> PWWP3A",)


def test_coding_gene_comes_before_others(table: GeneTable) -> None:
    for name, rows in table.rows_of_alias.items():
        coding = [row for row in rows if table.biotype[row] == "protein_coding"]
        if len(rows) > 1 and len(coding) == 1:
            match = resolve_genes([name], organism="human")
            assert match.rows.tolist() == coding
            return
    pytest.fail("no alias of one coding gene and others")


def test_name_with_a_number_added_is_the_gene() -> None:
    assert symbols(resolve_genes(["QARS"], organism="human")) == ["QARS1"]


def test_name_that_no_rule_decides_stays_unresolved_and_is_reported() -> None:
    match = resolve_genes(["CD3D", "CD16"])
    assert symbols(match) == ["CD3D", ""]
    assert match.ambiguous == ("CD16 -> unresolved",)


def test_symbol_of_a_gene_outside_the_table_is_no_alias() -> None:
    match = resolve_genes(["CD3D", "MTRNR2L8"])
    assert symbols(match) == ["CD3D", ""]
    assert match.ambiguous == ()


def test_names_of_one_gene_are_listed_as_duplicated() -> None:
    match = resolve_genes(["MARCHF1", "MARCH1", "CD3D"])
    assert match.duplicated == ("MARCHF1", "MARCH1")
    assert match.rows[0] == match.rows[1]


@pytest.mark.parametrize(
    "name",
    ["ERCC-00002", "ERCC_00130", "ERCC-00002 (spike-in control)", "__no_feature", "no_feature", "__not_aligned",
     "N_unmapped", "RNA-SPIKE-1", ""],
)  # fmt: skip
def test_spike_ins_and_summary_rows_are_no_genes(name: str) -> None:
    match = resolve_genes(["CD3D", name])
    assert match.is_gene.tolist() == [True, False]
    assert match.rows[1] == -1


@pytest.mark.parametrize("name", ["ERCC1", "Ercc2", "tdTomato", "NOTAGENE"])
def test_unknown_names_and_transgenes_are_genes(name: str) -> None:
    assert resolve_genes(["CD3D", name]).is_gene.tolist() == [True, True]


def test_id_without_a_name_is_a_gene() -> None:
    match = resolve_genes(["", "CD3E"], ids=["ENSG00000167286", ""])
    assert match.is_gene.all()
    assert symbols(match) == ["CD3D", "CD3E"]


def test_nothing_is_resolved_to_nothing() -> None:
    match = resolve_genes([])
    assert len(match) == 0
    assert match.summary()["n_found"] == 0


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(InputError, match="ids has 1 entries for 2 names"):
        resolve_genes(["CD3D", "CD4"], ids=["ENSG00000167286"])
    with pytest.raises(InputError, match="organism is 'rat'; expected 'human', 'mouse'"):
        resolve_genes(["CD3D"], organism="rat")  # type: ignore[arg-type]


def test_summary_is_json_and_counts_add_up() -> None:
    names = ["CD3D", "MARCH1", "cd4", "HLA.A", "1-Sep", "CD16", "ERCC-00002", "NOTAGENE", "CD3D-1"]
    summary = resolve_genes(names).summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["n_names"] == 9
    assert summary["n_genes"] == 8
    assert sum(summary["found_by"].values()) == summary["n_found"] == 6
    assert summary["n_genes"] - summary["n_found"] == summary["n_not_found"] == 2
    assert summary["not_found"] == ["CD16", "NOTAGENE"]


def test_description_tells_organism_and_orthologs() -> None:
    assert resolve_genes(["CD3D", "NOTAGENE"]).describe() == "1 of 2 genes known (human symbols)"
    assert "mouse symbols, taken for their human orthologs" in resolve_genes(["Cd3d", "Cd4"]).describe()


def _any_names() -> st.SearchStrategy[list[str]]:
    table = load_gene_table()
    pools = [table.symbol[::50], table.ensembl[::50], table.previous[::20], table.alias[::40], table.mouse_symbol[::50]]
    odd = ["1-Mar", "2-Sep", "QARS", "EPRS", "CD16", "MUM1", "ERCC-00002", "NOTAGENE", "PNRC2-1", "HLA.A", "cd3d", ""]
    return st.lists(st.sampled_from([*np.concatenate(pools).tolist(), *odd]), min_size=1, max_size=40)


@settings(deadline=None)
@given(names=_any_names(), seed=st.integers(0, 99), organism=st.sampled_from(["human", "mouse"]))
def test_order_of_the_names_does_not_matter(names: list[str], seed: int, organism: str) -> None:
    order = np.random.default_rng(seed).permutation(len(names))
    straight = resolve_genes(names, organism=organism)
    shuffled = resolve_genes([names[i] for i in order], organism=organism)
    assert np.array_equal(straight.rows[order], shuffled.rows)
    assert np.array_equal(straight.how[order], shuffled.how)
    assert sorted(straight.ambiguous) == sorted(shuffled.ambiguous)
    assert sorted(straight.duplicated) == sorted(shuffled.duplicated)


@settings(deadline=None)
@given(names=_any_names(), organism=st.sampled_from(["human", "mouse"]))
def test_only_names_of_several_genes_depend_on_the_others(names: list[str], organism: str) -> None:
    together = resolve_genes(names, organism=organism)
    ambiguous = {text.rsplit(" -> ", 1)[0] for text in together.ambiguous}
    for name, row in zip(names, together.rows.tolist(), strict=True):
        if name not in ambiguous:
            assert resolve_genes([name], organism=organism).rows[0] == row


@settings(deadline=None)
@given(names=_any_names())
def test_resolving_what_was_found_changes_nothing(names: list[str]) -> None:
    table = load_gene_table()
    once = resolve_genes(names, organism="human")
    rows = once.rows[once.rows >= 0]
    again = resolve_genes(table.symbol[rows].tolist(), ids=table.ensembl[rows].tolist(), organism="human")
    assert np.array_equal(again.rows, rows)
