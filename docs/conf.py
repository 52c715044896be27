"""Sphinx configuration. Builds offline; SCFM_DOCS_INTERSPHINX=1 fetches the inventories for outward links."""

from __future__ import annotations

import os
from importlib.metadata import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_info = metadata("scfm-scverse")

project = "scfm-scverse"
author = "scfm-scverse developers"
copyright = f"2026, {author}"
version = release = _info["Version"]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
    "scanpydoc.definition_list_typed_field",
]

templates_path = ["_templates"]
exclude_patterns = ["_build", "**.ipynb_checkpoints", "tutorials/tiny_checkpoints"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Notebooks are stored with their outputs; tests execute them.
nb_execution_mode = "off"
nb_merge_streams = True

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_param = True
napoleon_use_ivar = True
napoleon_attr_annotations = False
# A "Returns" that names slots is a definition list as it stands.
napoleon_custom_sections = ["Returns"]

nitpicky = True
# Without inventories, names of other projects cannot be resolved.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!scfm_scverse).*"),
    # The search behind Reference.neighbors is no part of the API.
    (r"py:class", r"scfm_scverse\.reference\.neighbors\.NeighborSearch"),
]

intersphinx_mapping: dict[str, tuple[str, None]] = {}
if os.environ.get("SCFM_DOCS_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "anndata": ("https://anndata.readthedocs.io/en/stable/", None),
        "matplotlib": ("https://matplotlib.org/stable/", None),
        "numpy": ("https://numpy.org/doc/stable/", None),
        "pandas": ("https://pandas.pydata.org/docs/", None),
        "python": ("https://docs.python.org/3", None),
        "scanpy": ("https://scanpy.readthedocs.io/en/stable/", None),
        "scipy": ("https://docs.scipy.org/doc/scipy/", None),
        "torch": ("https://pytorch.org/docs/stable/", None),
    }

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme_options = {"show_toc_level": 2, "use_download_button": False, "navbar_persistent": []}


def _hide_constructor(_app: Sphinx, _what: str, _name: str, obj: object, *_: object) -> tuple[str, None] | None:
    """Protocols are implemented, not called."""
    return ("", None) if getattr(obj, "_is_protocol", False) else None


def setup(app: Sphinx) -> None:
    """Connect what Sphinx has no option for."""
    app.connect("autodoc-process-signature", _hide_constructor)
