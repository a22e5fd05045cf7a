"""Configuration of Sphinx."""

from __future__ import annotations

import importlib.metadata

project = "kgneg"
author = "The kgneg developers"
copyright = "2026, The kgneg developers"
release = importlib.metadata.version("kgneg")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_click",
]
exclude_patterns = ["_build", "_generated"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = f"kgneg {release}"
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
