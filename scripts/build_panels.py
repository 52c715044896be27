"""Build the package's tables of the genes of scFoundation and scBERT, which their checkpoints lack.

Run: python scripts/build_panels.py [--shared ../shared]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import lzma
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "src/scfm_scverse/models"
# List in the shared folder, number of genes, SHA-256 of the symbols joined by newlines.
PANELS = {
    "scfoundation": (
        "scfoundation_genes_19264.txt.xz",
        19264,
        "6037e1bc9b3b48a5112ffdc29261383f747a3c3f8b568a8899b0c69d13565df8",
    ),
    "scbert": (
        "scbert_genes_16906.txt.xz",
        16906,
        "4c09ba1912e184682fe5e7f32e2b443bdfb7883d0d0191551b38c6c2f155600f",
    ),
}


def read(path: Path, n_genes: int, sha256: str) -> str:
    """Symbols in the order of the model, joined by newlines; the order cannot be had by sorting."""
    joined = lzma.decompress(path.read_bytes()).decode().strip()
    found = hashlib.sha256(joined.encode()).hexdigest()
    if found != sha256 or len(set(joined.split("\n"))) != n_genes:
        msg = f"Found a list with the hash {found}; expected {sha256}."
        raise ValueError(msg)
    return joined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    vocab = parser.parse_args().shared / "vocab"
    for family, (name, n_genes, sha256) in PANELS.items():
        buffer = io.BytesIO()
        np.savez(buffer, symbol=np.frombuffer(read(vocab / name, n_genes, sha256).encode(), np.uint8))
        out = MODELS / family / "data" / "genes.npz.xz"
        out.write_bytes(lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME))
        print(f"{out.relative_to(ROOT)}: {n_genes:,} genes, {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
