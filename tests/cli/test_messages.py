"""Messages of the package in the words of the command line."""

from __future__ import annotations

import pytest

from scfm_scverse.cli._messages import in_options


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Pass layer='counts' to read it.", "Pass --layer 'counts' to read it."),
        ("Leave layer=, use_raw= and normalized= out.", "Leave --layer, --use-raw and --normalized out."),
        ("because of normalized=True, not normalized=False.", "because of --normalized, not --linear."),
        ("batch_size=0; expected 1", "--batch-size 0; expected 1"),
        ("alpha=-0.5; found groupby='a'.", "--alpha -0.5; found --groupby 'a'."),
        ("a_layer= of gene_symbols stays", "a_layer= of gene_symbols stays"),
        ("The AnnData holds:\n  X: 3 x 4\n  raw.X: 3 x 5\n", "The AnnData holds: X: 3 x 4; raw.X: 3 x 5"),
    ],
)
def test_arguments_become_options_and_lines_become_one(message: str, expected: str) -> None:
    assert in_options(message) == expected
