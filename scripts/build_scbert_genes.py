"""Build the package's table of scBERT's genes, which its checkpoint lacks, from the list in the shared folder.

Run: python scripts/build_scbert_genes.py [--shared ../shared]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import lzma
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "src/scfm_scverse/models/scbert/data/genes.npz.xz"
N_GENES = 16906
SHA256 = "4c09ba1912e184682fe5e7f32e2b443bdfb7883d0d0191551b38c6c2f155600f"  # of the symbols joined by newlines


def read(shared: Path) -> str:
    """Symbols in the order of the model, joined by newlines; the order cannot be had by sorting."""
    joined = lzma.decompress((shared / "vocab/scbert_genes_16906.txt.xz").read_bytes()).decode().strip()
    found = hashlib.sha256(joined.encode()).hexdigest()
    if found != SHA256 or len(set(joined.split("\n"))) != N_GENES:
        msg = f"Found a list with the hash {found}; expected {SHA256}."
        raise ValueError(msg)
    return joined


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    joined = read(parser.parse_args().shared)
    buffer = io.BytesIO()
    np.savez(buffer, symbol=np.frombuffer(joined.encode(), np.uint8))
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_bytes(lzma.compress(buffer.getvalue(), preset=9 | lzma.PRESET_EXTREME))
    print(f"{OUT.relative_to(ROOT)}: {N_GENES:,} genes, {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
