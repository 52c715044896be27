"""Spreadsheet dates -> the symbols they were.

A spreadsheet reads ``MARCH1``, ``SEPT2`` or ``DEC1`` as a day of a month and stores a date. The way back is the month's
name and the day; the candidates are looked up in the gene table as previous symbols, then as aliases. Where two
families share a month (``1-Mar`` was MARCH1 or MARC1), the one listed first counts: it is found in more data sets.
"""

from __future__ import annotations

import re

_STEMS = {3: ("MARCH", "MARC"), 9: ("SEPT", "SEP"), 12: ("DEC",)}
_NUMBER_OF = {"MAR": 3, "SEP": 9, "DEC": 12}
_NAME = r"(?P<name>MAR(?:CH)?|SEPT?(?:EMBER)?|DEC(?:EMBER)?)"
_NUMBER, _DAY, _BETWEEN = r"(?P<number>0?3|0?9|12)", r"(?P<day>\d{1,2})", r"[-/. ]"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"X?{_DAY}{_BETWEEN}{_NAME}(?:{_BETWEEN}\d{{2,4}})?",
        rf"{_NAME}{_BETWEEN}{_DAY}(?:{_BETWEEN}\d{{2,4}})?",
        rf"X?\d{{4}}{_BETWEEN}{_NUMBER}{_BETWEEN}{_DAY}(?: 00:00:00)?",
        rf"X?{_NUMBER}[-/]{_DAY}(?:[-/]\d{{2,4}})?",
    )
)
_BEGINS_LIKE_A_DATE = re.compile(r"X?\d|MAR|SEP|DEC", re.IGNORECASE)


def symbols_of_date(name: str) -> tuple[str, ...]:
    """Old symbols that a spreadsheet may have turned into this date, the likeliest first; empty if it is no date.

    Examples
    --------
    >>> symbols_of_date("1-Mar")
    ('MARCH1', 'MARC1')
    >>> symbols_of_date("2023-09-02")
    ('SEPT2', 'SEP2')
    """
    if not _BEGINS_LIKE_A_DATE.match(name):
        return ()
    for form in _FORMS:
        match = form.fullmatch(name)
        if match is not None:
            parts = match.groupdict()
            month = int(parts["number"]) if "number" in parts else _NUMBER_OF[parts["name"][:3].upper()]
            return tuple(f"{stem}{int(parts['day'])}" for stem in _STEMS[month])
    return ()
