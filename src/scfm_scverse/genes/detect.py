"""What kind of names a data set uses, and of which organism."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .table import ensembl_numbers, load_gene_table

Kind = Literal["ensembl", "symbol", "mixed"]
Organism = Literal["human", "mouse"]

# Outside these shares a few odd names (spike-ins, transgenes) do not make a list "mixed".
_ALL, _NONE = 0.95, 0.05
# Names that match letter by letter by chance ("T", "a") are fewer than this share of a list in the wrong case.
_BY_CHANCE = 0.1


def detect_names(names: Sequence[str]) -> tuple[Kind, Organism]:
    """Tell whether names are Ensembl ids or symbols, and whether they are of human or mouse.

    The organism is the one that knows more of the names: Ensembl ids by their prefix, symbols letter by letter
    (``Cd3d`` is mouse, ``CD3D`` human), and only where almost none match so (an all lower-case list), without regard
    to case. In a tie it is human. Human symbols on mouse cells therefore count as human: they need no ortholog.

    Parameters
    ----------
    names
        Names of genes [g], such as ``adata.var_names``.

    Returns
    -------
    kind
        ``"ensembl"``, ``"symbol"`` or ``"mixed"``.
    organism
        ``"human"`` or ``"mouse"``.

    Examples
    --------
    >>> detect_names(["Cd3d", "Ms4a1", "Lyz2"])
    ('symbol', 'mouse')
    """
    names = [name for name in names if name]
    numbers, of_mouse = ensembl_numbers(names)
    is_id = numbers >= 0
    share = float(is_id.mean()) if len(is_id) else 0.0
    kind: Kind = "ensembl" if share >= _ALL else "symbol" if share <= _NONE else "mixed"
    human_votes, mouse_votes = _symbol_votes([name for name, known in zip(names, is_id, strict=True) if not known])
    human_votes += int((is_id & ~of_mouse).sum())
    mouse_votes += int(of_mouse.sum())
    return kind, "mouse" if mouse_votes > human_votes else "human"


def _symbol_votes(names: list[str]) -> tuple[int, int]:
    """How many symbols the human and the mouse list know."""
    table = load_gene_table()
    human = sum(name in table.row_of_symbol or name in table.rows_of_previous for name in names)
    mouse = sum(name in table.human_row_of_mouse for name in names)
    if max(human, mouse) >= _BY_CHANCE * len(names):
        return human, mouse
    upper = [name.upper() for name in names]
    return sum(name in table.upper_symbols for name in upper), sum(name in table.upper_mouse_symbols for name in upper)
