"""Edits of one cell's tokens as lists, as plainly as they can be written."""

from __future__ import annotations


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
