"""Colours of categories, kept where scanpy keeps them: ``adata.uns["<column>_colors"]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from numpy.typing import NDArray

from .._logging import say

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

UNKNOWN_COLOR = "#c8c8c8"
MALIGNANT_COLOR = "#000000"  # no colour is farther from all others
FIXED = {"unknown": UNKNOWN_COLOR, "malignant": MALIGNANT_COLOR}
MISSING_COLOR = "#e4e4e4"
ONE_COLOR = "#4c6a92"
READABLE = 4.5

# Six colours of Okabe and Ito, then each next one as far as can be from all before it, from white and from the greys,
# as seen with full colour vision and with the two common kinds of colour blindness (distances in OKLab).
PALETTE = """
#0072b2 #e69f00 #009e73 #cc79a7 #d55e00 #56b4e9 #8f0a47 #8f7aff #5229ad #855200
#3dcc7a #8f5c7a #14527a #5c5ce0 #f55266 #c22952 #ff7ad6 #a3d65c #5c85cc #ad3da3
#ffa399 #47d6ff #297047 #478f14 #990a7a #85331f #d699ad #703dc2 #eb8547 #998552
#7a99ff #ad6699 #7a3d99 #663d5c #f5b800 #c266e0 #5cad85 #6699b8 #9952c2 #47b8c2
""".split()


def readable(color: str) -> str:
    """Darken a colour until letters of it can be read on white, by the contrast that web pages ask for (4.5 to 1)."""
    rgb = np.array(to_rgb(color))
    while 1.05 / (_luminance(rgb) + 0.05) < READABLE:
        rgb *= 0.95
    return to_hex((rgb[0], rgb[1], rgb[2]))


def _luminance(rgb: NDArray[np.floating]) -> float:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def category_colors(adata: AnnData, column: str, values: pd.Categorical) -> dict[str, str]:
    """Return a colour for each category of a column, used or not.

    Colours that are there, one a category, are the user's and stay. Others are chosen, the most different ones for the
    most numerous categories, and kept in ``adata.uns`` unless ``adata`` is a view. "unknown" is grey and
    "malignant" black.
    """
    names = [str(name) for name in values.categories]
    slot = f"{column}_colors"
    kept = adata.uns.get(slot, ())
    if len(kept) == len(names):
        return dict(zip(names, map(str, kept), strict=True))
    counts = values.value_counts().to_numpy()
    chosen: dict[str, str] = {}
    for i in sorted(range(len(names)), key=lambda i: (-counts[i], names[i])):
        n_used = sum(name not in FIXED for name in chosen)
        chosen[names[i]] = FIXED.get(names[i], PALETTE[n_used % len(PALETTE)])
    if not adata.is_view:
        adata.uns[slot] = [chosen[name] for name in names]
        say(f"colours of {column!r} are kept in uns[{slot!r}]")
    return {name: chosen[name] for name in names}
