"""Configuration of Sphinx."""

from __future__ import annotations

import importlib.metadata
import os

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
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_generated"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = f"kgneg {release}"
html_copy_source = False

# rooms have classes of the same name; a hint of a type leads to one of them
suppress_warnings = ["ref.python"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_default_options = {"members": True, "member-order": "bysource", "show-inheritance": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

# The tutorials are shown with their text. They are run as well, which takes minutes, if KGNEG_GALLERY=1 is set.
sphinx_gallery_conf = {
    "examples_dirs": "../tutorials",
    "gallery_dirs": "tutorials",
    "filename_pattern": r"[0-9]{2}_\w+\.py$",
    "within_subsection_order": "FileNameSortKey",
    "plot_gallery": os.environ.get("KGNEG_GALLERY") == "1",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
}
