"""Build the package's tables of Geneformer, which its checkpoints lack: genes, medians and other names of genes.

    python scripts/build_geneformer_tables.py [--shared ../shared]

Writes ``src/scfm_scverse/models/geneformer/data/v1.npz.xz`` and ``v2.npz.xz``: one xz stream around an uncompressed
npz each. The same input gives the same bytes. ``genes`` are Ensembl ids joined by newlines, in the order of their
tokens, special tokens left out; ``medians`` are float64; ``names`` are other names, joined by newlines, which stand
for the tokens ``tokens``.
"""

from __future__ import annotations

import argparse
import io
import lzma
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "src/scfm_scverse/models/geneformer/data"


def read_rows(path: Path) -> list[list[str]]:
    """Fields of a table, its comments and header left out; a name may be "NA" or hold a "#"."""
    lines = lzma.decompress(path.read_bytes()).decode().removesuffix("\n").split("\n")
    return [line.split("\t") for line in lines if not line.startswith("# ")][1:]


def text(names: list[str]) -> np.ndarray:
    """Strings as one array of bytes."""
    return np.frombuffer("\n".join(names).encode(), dtype=np.uint8)


def build(folder: Path, version: str) -> dict[str, np.ndarray]:
    """All arrays of one version."""
    rows = read_rows(folder / f"geneformer_{version}_genes.tsv.xz")
    if [int(row[0]) for row in rows] != list(range(len(rows))):
        msg = f"The tokens of {version} are not in order."
        raise ValueError(msg)
    genes = [row for row in rows if not row[1].startswith("<")]
    mapping = folder / f"geneformer_{version}_mapping.tsv.xz"
    other = read_rows(mapping) if mapping.is_file() else []
    token = {row[1]: int(row[0]) for row in genes}
    return {
        "genes": text([row[1] for row in genes]),
        "medians": np.array([float(row[2]) for row in genes]),
        "names": text([name for name, _ in other]),
        "tokens": np.array([token[gene] for _, gene in other], dtype=np.int32),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    folder = parser.parse_args().shared / "vocab"
    OUT.mkdir(parents=True, exist_ok=True)
    for version in ("v1", "v2"):
        arrays = build(folder, version)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        out = OUT / f"{version}.npz.xz"
        out.write_bytes(lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME))
        print(
            f"{out.relative_to(ROOT)}: {len(arrays['medians']):,} genes, {len(arrays['tokens']):,} other names, "
            f"{out.stat().st_size:,} bytes"
        )


if __name__ == "__main__":
    main()
