"""The settings of Sphinx, for ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from generated import filled  # noqa: E402

import kvfake  # noqa: E402

project = "kvfake"
author = "the kvfake contributors"
version = release = kvfake.__version__
copyright = "the kvfake contributors"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"kvfake {release}"
html_copy_source = False
smartquotes = False  # "--" is the beginning of an option
html_show_sphinx = False
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "py:obj"  # of a name in backticks in a docstring
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of other libraries have no pages here, and modules below `kvfake` none at all


def setup(app: Any) -> None:
    """Fill in what is made from the code."""
    app.connect("source-read", _fill)


def _fill(app: Any, page: str, source: list[str]) -> None:
    source[0] = filled(page, source[0])
