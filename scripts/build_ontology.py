"""Build the package's Cell Ontology table from the tab-separated release in the shared data folder.

Run: python scripts/build_ontology.py [--shared ../shared]
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd

TARGET = Path(__file__).resolve().parents[1] / "src/scfm_scverse/ontology/data/cell_ontology.json.gz"


def build(shared: Path) -> dict[str, list]:
    """Columns of all living terms: number, name, synonyms, direct parents; deprecated ones only as a forward."""
    frame = pd.read_csv(shared / "data/genes/cell_ontology.tsv.gz", sep="\t", keep_default_na=False)
    number = frame["id"].str.removeprefix("CL:").astype(int)
    order = np.argsort(number.to_numpy(), kind="stable")
    frame, number = frame.iloc[order], number.iloc[order]
    alive = (frame["deprecated"].astype(str) != "True").to_numpy()

    def numbers(text: str) -> list[int]:
        return [int(term.removeprefix("CL:")) for term in text.split("|") if term.startswith("CL:")]

    living = frame[alive]
    current = set(number[alive])
    gone = frame[~alive]
    return {
        "id": number[alive].tolist(),
        "name": living["label"].tolist(),
        "synonyms": living["synonyms"].tolist(),
        "parents": [numbers(text) for text in living["parents"]],
        "replaced": [
            [int(old), numbers(new)[0]]
            for old, new in zip(number[~alive], gone["replaced_by"], strict=True)
            if numbers(new) and numbers(new)[0] in current
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    table = build(parser.parse_args().shared)
    TARGET.parent.mkdir(exist_ok=True)
    payload = json.dumps(table, separators=(",", ":")).encode()
    # A fixed time stamp keeps the file the same from one run to the next.
    TARGET.write_bytes(gzip.compress(payload, 9, mtime=0))
    print(f"{len(table['id'])} terms, {TARGET.stat().st_size / 1024:.0f} kB in {TARGET}")


if __name__ == "__main__":
    main()
