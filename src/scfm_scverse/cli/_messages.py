"""Messages of the package in the words of the command line."""

from __future__ import annotations

import re

# The verbs' messages name arguments of Python; whoever reads them here types options.
_ARGUMENTS = (
    "alpha batch_key batch_size device donor_key dtype gene_symbols groupby key_added labels_key layer malignant model "
    "normalized ontology_key organism output_layer pooling sample_key total_key use_raw"
)
_ARGUMENT = re.compile(rf"\b({_ARGUMENTS.replace(' ', '|')})=(True\b|False\b|'[^']*'|-?\d+(?:\.\d+)?)?")

WORDS = {"counts": "counts", "linear": "linear values", "log": "log-normalised values"}


def in_options(message: str) -> str:
    """One line in which arguments read as the options of a command."""
    first, *rest = [line.strip() for line in message.splitlines() if line.strip()]
    return _ARGUMENT.sub(_as_option, " ".join([first, "; ".join(rest)]).strip())


def _as_option(found: re.Match[str]) -> str:
    name, value = found.groups()
    if name == "normalized" and value == "False":
        return "--linear"
    option = f"--{name.replace('_', '-')}"
    return option if value in {None, "True", "False"} else f"{option} {value}"
