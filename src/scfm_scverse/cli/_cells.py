"""The cells of one file or of several, left on disk."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData

FILE_KEY = "file"  # column of obs that names the file of a cell


def read_files(
    paths: Sequence[Path],
    *,
    layer: str | None = None,
    use_raw: bool = False,
    gene_symbols: str | None = None,
    organism: Any = None,
) -> AnnData:
    """Read one file, or several as one: X, layers and raw stay on disk.

    Of several, the values that are asked for become X. Genes are joined by name, whatever they are called in each file:
    a gene that one of them lacks has no counts there. Names that are no genes are left out, and so is the second of two
    columns of one gene. ``obs["file"]`` names the file.

    Raises
    ------
    FileError
        A file is missing or damaged.
    InputError
        Two files have one name or values on different scales, or dask, which joins them, is not installed.
    """
    from ..io.files import read_adata

    if len(paths) == 1:
        return read_adata(paths[0], backed=True)
    names = [path.name for path in paths]
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        msg = f"Found two files of the name {twice[0]!r} among the input; expected a name of its own for each."
        raise InputError(msg)
    if find_spec("dask") is None:
        msg = f"Found {len(paths)} files; to join them expected dask: pip install 'dask[array]'."
        raise InputError(msg)
    import anndata

    parts, scales = {}, {}
    for path in paths:
        found = _as_one_of_several(read_adata(path, backed=True), layer, use_raw, gene_symbols, organism)
        parts[path.name], scales[found[1]] = found[0], path.name
    if len(scales) > 1:
        told = " and ".join(f"{scale} in {name}" for scale, name in scales.items())
        msg = f"Found {told}; expected values on one scale: pass layer= or use_raw= that names the counts of all files."
        raise InputError(msg)
    joined: AnnData = anndata.concat(parts, join="outer", label=FILE_KEY, index_unique="-")
    return joined


def _as_one_of_several(
    adata: AnnData, layer: str | None, use_raw: bool, gene_symbols: str | None, organism: Any
) -> tuple[AnnData, str]:
    """Return an AnnData of the genes of the human table, and the scale of its values."""
    from anndata import AnnData

    from ..genes import load_gene_table, names_and_hints, resolve_genes
    from ..io.counts import find_values

    values = find_values(adata, layer=layer, use_raw=use_raw)
    names, ids = names_and_hints(values.var, gene_symbols)
    rows = resolve_genes(names, ids=ids, organism=organism).rows
    table, (_, first) = load_gene_table(), np.unique(rows, return_index=True)
    kept = np.sort(first[rows[first] >= 0])
    one = AnnData(_lazy(values.matrix), obs=adata.obs)[:, kept].copy()
    one.var_names = table.symbol[rows[kept]]
    one.var["ensembl_id"] = table.ensembl[rows[kept]]
    return one, f"logarithms (base {values.base:.3g})" if values.kind == "log" else "linear values"


def _lazy(matrix: Any) -> Any:
    """Return a dask array whose chunks are rows that stand together."""
    import dask.array as da
    from scipy.sparse import csr_matrix

    from ..io.blocks import take_rows

    n, size = matrix.shape[0], 1024
    meta = csr_matrix(np.zeros((0, matrix.shape[1]), np.float32))

    def read(block: Any) -> Any:
        return take_rows(matrix, np.asarray(block).ravel())

    rows = da.from_array(np.arange(n)[:, None], chunks=(size, 1))  # type: ignore[no-untyped-call]
    return rows.map_blocks(read, chunks=(rows.chunks[0], (matrix.shape[1],)), dtype=np.float32, meta=meta)
