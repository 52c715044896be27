"""Build the gene table of the package from GENCODE, HGNC and the ortholog table.

    python scripts/build_gene_table.py [--shared ../shared]

Writes ``src/scfm_scverse/genes/data/genes.npz.xz``: one xz stream around an uncompressed npz of integer arrays and
newline-joined UTF-8 text. The same input gives the same bytes. What the arrays mean is told in ``genes/table.py``.
"""

from __future__ import annotations

import argparse
import io
import lzma
import re
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "src" / "scfm_scverse" / "genes" / "data" / "genes.npz.xz"
SAME_LOCUS = 1_000_000
CLONE = re.compile(r"[A-Z]{1,2}\d{5,8}\.\d+")
PRIMARY = {f"chr{name}" for name in [*range(1, 23), "X", "Y", "M"]}


def read_human(folder: Path) -> pd.DataFrame:
    """GENCODE genes by Ensembl number; an unnamed gene has the symbol ""."""
    genes = pd.read_parquet(folder / "human_genes.parquet")
    genes["number"] = genes["ensembl"].str.slice(4).astype(np.int64)
    genes["symbol"] = genes["symbol"].where(~genes["symbol"].str.startswith("ENSG"), "")
    genes["chromosome"] = genes["chromosome"].astype(object).where(genes["chromosome"].notna(), "")
    genes["start"] = genes["start"].fillna(0).astype(np.int32)
    return genes.sort_values("number", ignore_index=True)


def merge_twins(genes: pd.DataFrame) -> tuple[pd.DataFrame, dict[int, int]]:
    """Join ids that name one gene: X/Y twins, and unlinked ids at the locus of the id that HGNC links to the symbol.

    Families of copies elsewhere in the genome (Y_RNA, SNORA70, ...) stay apart. Returns the genes that stay, and the
    number that replaces each number that goes.
    """
    named = genes[genes["symbol"] != ""]
    shared = named[named["symbol"].duplicated(keep=False)]
    replaced: dict[int, int] = {}
    for _, twins in shared.groupby("symbol", sort=True):
        linked = twins[twins["hgnc_id"] != ""]
        if len(linked) != 1:
            continue
        main = linked.iloc[0]
        for twin in twins[twins["hgnc_id"] == ""].itertuples():
            near = twin.chromosome == main.chromosome and abs(twin.start - main.start) < SAME_LOCUS
            if near or {twin.chromosome, main.chromosome} == {"chrX", "chrY"}:
                replaced[int(twin.number)] = int(main.number)
    return genes[~genes["number"].isin(list(replaced))].reset_index(drop=True), replaced


def rows_of_symbols(genes: pd.DataFrame) -> dict[str, int]:
    """Approved symbol -> row; among copies the one HGNC links, then coding, then on a chromosome, then the oldest."""
    named = genes[genes["symbol"] != ""]
    order = pd.DataFrame(
        {
            "unlinked": named["hgnc_id"] == "",
            "noncoding": named["biotype"] != "protein_coding",
            "scaffold": ~named["chromosome"].isin(PRIMARY),
            "number": named["number"],
        }
    ).sort_values(["unlinked", "noncoding", "scaffold", "number"])
    rows: dict[str, int] = {}
    for row in order.index:
        rows.setdefault(named.at[row, "symbol"], int(row))
    return rows


def first_rows(keys: pd.Series) -> dict[str, int]:
    """Non-empty key -> the first row that carries it."""
    rows: dict[str, int] = {}
    for row, key in keys.items():
        if key:
            rows.setdefault(key, int(row))
    return rows


def read_hgnc(folder: Path, genes: pd.DataFrame) -> pd.DataFrame:
    """Approved HGNC genes with their GENCODE row: linked by HGNC id, else by Ensembl id, else by symbol; -1 = none."""
    hgnc = pd.read_parquet(folder / "hgnc.parquet")
    hgnc = hgnc[hgnc["status"] == "Approved"]
    unlinked = genes[genes["hgnc_id"] == ""]
    row = hgnc["hgnc_id"].map(first_rows(genes["hgnc_id"]))
    row = row.fillna(hgnc["ensembl_gene_id"].map(first_rows(unlinked["ensembl"])))
    row = row.fillna(hgnc["symbol"].map(first_rows(unlinked["symbol"])))
    return hgnc.assign(row=row.fillna(-1).astype(int)).reset_index(drop=True)


def earlier_ids(hgnc: pd.DataFrame, genes: pd.DataFrame) -> dict[int, int]:
    """Ensembl numbers of 2020 that GENCODE no longer has -> row."""
    gone = hgnc[(hgnc["row"] >= 0) & (hgnc["ensembl_gene_id"] != "") & ~hgnc["ensembl_gene_id"].isin(genes["ensembl"])]
    return {int(gene.ensembl_gene_id[4:]): int(gene.row) for gene in gone.itertuples()}


def other_names(
    hgnc: pd.DataFrame, approved: dict[str, int]
) -> tuple[list[tuple[str, int]], list[tuple[str, int]], list[str]]:
    """Previous symbols and aliases with their rows, and approved symbols of genes that GENCODE does not hold.

    A name that is an approved symbol is left out, and an alias that is a previous symbol too. So is an alias such as
    ``AC007365.1``: Ensembl numbers the genes of a clone anew in each release.
    """
    known = hgnc[hgnc["row"] >= 0]
    previous = {(name, gene.row) for gene in known.itertuples() for name in [gene.symbol, *gene.prev_symbol.split("|")]}
    previous = {pair for pair in previous if pair[0] and pair[0] not in approved}
    taken = set(hgnc.loc[hgnc["row"] < 0, "symbol"]) - set(approved) - {name for name, _ in previous}
    closed = set(approved) | {name for name, _ in previous} | taken
    alias = {(name, gene.row) for gene in known.itertuples() for name in gene.alias_symbol.split("|")}
    alias = {pair for pair in alias if pair[0] and pair[0] not in closed and not CLONE.fullmatch(pair[0])}
    return sorted(previous), sorted(alias), sorted(taken)


def read_mouse(folder: Path) -> pd.DataFrame:
    """GENCODE mouse genes by Ensembl number; an unnamed gene has the symbol ""."""
    genes = pd.read_parquet(folder / "mouse_genes.parquet")
    genes["number"] = genes["ensembl"].str.slice(7).astype(np.int64)
    genes["symbol"] = genes["symbol"].where(~genes["symbol"].str.startswith("ENSMUSG"), "")
    return genes.sort_values("number", ignore_index=True)


def ortholog_pairs(
    folder: Path, hgnc: pd.DataFrame, human: pd.DataFrame, human_row: dict[str, int], mouse: pd.DataFrame
) -> tuple[dict[int, int], dict[str, int]]:
    """Mouse row -> human row of its ortholog, and mouse symbols that GENCODE no longer has -> human row.

    One mouse gene for one human gene. Pairs are taken in this order, and a later step only adds genes that no earlier
    one has on either side:

    1. one-to-one by Ensembl, and named by a second source;
    2. of one-to-many genes the pair of the same letters (RPS18 and Rps18, not Rps18-ps5);
    3. one-to-one by Ensembl alone, or over all other sources;
    4. the single MGI id that HGNC gives;
    5. the same letters and biotype, where no source names either gene (mostly RNA genes such as H19).
    """
    mouse_row, mgi_row = first_rows(mouse["symbol"]), first_rows(mouse["mgi_id"])
    table = pd.read_csv(folder / "human_mouse_orthologs.tsv.gz", sep="\t", dtype=str, keep_default_na=False)
    named = set(table["human"]) | set(table["mouse"])
    table = table[table["human"].isin(human_row.keys())]
    twice = table["n_sources"].astype(int) >= 2
    by_ensembl = table["one_to_one_ensembl"] == "True"
    same = table["human"].str.upper() == table["mouse"].str.upper()
    steps = [
        [(human_row[pair.human], mouse_row.get(pair.mouse), pair.mouse) for pair in table[chosen].itertuples()]
        for chosen in (by_ensembl & twice, same, by_ensembl | (table["one_to_one"] == "True"))
    ]
    by_mgi = hgnc[(hgnc["row"] >= 0) & hgnc["mgd_id"].isin(mgi_row.keys()) & ~hgnc["mgd_id"].duplicated(keep=False)]
    steps.append([(gene.row, mgi_row[gene.mgd_id], "") for gene in by_mgi.itertuples()])
    steps.append(
        [
            (human_row[name.upper()], row, "")
            for name, row in mouse_row.items()
            if name.upper() in human_row
            and not {name, name.upper()} & named
            and human.at[human_row[name.upper()], "biotype"] == mouse.at[row, "biotype"]
        ]
    )
    pairs: dict[int, int] = {}
    older: dict[str, int] = {}
    taken: set[int] = set()
    for step in steps:
        for human_gene, mouse_gene, name in step:
            if mouse_gene is None:
                older.setdefault(name, human_gene)
            elif human_gene not in taken and mouse_gene not in pairs:
                pairs[mouse_gene] = human_gene
                taken.add(human_gene)
    return pairs, older


def text(names: list[str]) -> np.ndarray:
    """Strings as one array of bytes."""
    return np.frombuffer("\n".join(names).encode(), dtype=np.uint8)


def codes(values: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Small codes and the sorted names they stand for."""
    names = sorted(set(values.astype(str)))
    code = {name: i for i, name in enumerate(names)}
    return np.array([code[value] for value in values.astype(str)], dtype=np.uint16), names


def build(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the table."""
    human, replaced = merge_twins(read_human(folder))
    approved = rows_of_symbols(human)
    hgnc = read_hgnc(folder, human)
    previous, alias, taken = other_names(hgnc, approved)
    mouse = read_mouse(folder)
    pairs, older = ortholog_pairs(folder, hgnc, human, approved, mouse)
    row_of_number = {int(number): row for row, number in human["number"].items()}
    other_ids = earlier_ids(hgnc, human) | {old: row_of_number[new] for old, new in replaced.items()}
    biotype, biotype_names = codes(human["biotype"])
    chromosome, chromosome_names = codes(human["chromosome"])
    canonical = np.zeros(len(human), dtype=np.uint8)
    canonical[list(approved.values())] = 1
    older_names = sorted(set(older) - set(mouse["symbol"]))
    return {
        "ensembl": np.diff(human["number"].to_numpy(), prepend=0).astype(np.uint32),
        "symbol": text(human["symbol"].tolist()),
        "canonical": canonical,
        "biotype": biotype,
        "biotype_names": text(biotype_names),
        "chromosome": chromosome,
        "chromosome_names": text(chromosome_names),
        "start": human["start"].to_numpy(np.int32),
        "other_ensembl": np.array(sorted(other_ids), dtype=np.uint32),
        "other_ensembl_row": np.array([other_ids[number] for number in sorted(other_ids)], dtype=np.int32),
        "previous": text([name for name, _ in previous]),
        "previous_row": np.array([row for _, row in previous], dtype=np.int32),
        "alias": text([name for name, _ in alias]),
        "alias_row": np.array([row for _, row in alias], dtype=np.int32),
        "taken": text(taken),
        "mouse_ensembl": np.diff(mouse["number"].to_numpy(), prepend=0).astype(np.uint32),
        "mouse_symbol": text(mouse["symbol"].tolist()),
        "mouse_human_row": np.array([pairs.get(row, -1) for row in range(len(mouse))], dtype=np.int32),
        "mouse_older": text(older_names),
        "mouse_older_row": np.array([older[name] for name in older_names], dtype=np.int32),
    }


def main() -> None:
    """Write the table and print what is in it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    arrays = build(parser.parse_args().shared / "data" / "genes")
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_bytes(lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{OUT.relative_to(ROOT)}: {OUT.stat().st_size:,} bytes")
    for name, array in arrays.items():
        print(f"  {name:20s} {len(array):>9,} {array.dtype}")
    print(f"  mouse genes with a human ortholog: {(arrays['mouse_human_row'] >= 0).sum():,}")


if __name__ == "__main__":
    main()
