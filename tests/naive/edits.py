"""Edits of one cell's tokens as lists, as plainly as they can be written."""

from __future__ import annotations

import math


def delete(ids: list[int], genes: list[int]) -> list[int]:
    return [gene for gene in ids if gene not in genes]


def overexpress(ids: list[int], genes: list[int], special: list[int], context: int) -> list[int]:
    leading = next((at for at, gene in enumerate(ids) if gene not in special), len(ids))
    grown = ids[:leading] + genes + delete(ids[leading:], genes)
    return shorten(grown, max(0, len(grown) - context), special)


def shorten(ids: list[int], n_genes: int, special: list[int]) -> list[int]:
    leading = next((at for at, gene in enumerate(ids) if gene not in special), len(ids))
    trailing = next((at for at, gene in enumerate(ids[leading:][::-1]) if gene not in special), 0)
    end = len(ids) - trailing
    return ids[: max(leading, end - n_genes)] + ids[end:]


def edit_values(
    values: list[float], position: list[int], genes: list[int], kind: str, dose: float, base: float
) -> list[float]:
    """One cell's values, each made linear, changed and put back."""
    largest = max(values)
    out, raised = [], set()
    for value, gene in zip(values, position, strict=True):
        linear = base**value - 1 if base else value
        if gene in genes and kind == "overexpress":
            out.append(0.0 if gene in raised else largest)
            raised.add(gene)
            continue
        factor = {"delete": 0.0, "inhibit": 1 - dose, "activate": 1 + dose}.get(kind, 1.0) if gene in genes else 1.0
        changed = linear * factor
        out.append(math.log(changed + 1, base) if base else changed)
    return out
