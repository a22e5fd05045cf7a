"""Good negatives: make them, judge them, or do without them.

Import the rooms that you need: :mod:`kgneg.core`, :mod:`kgneg.samplers`, :mod:`kgneg.datasets`,
:mod:`kgneg.integrations.pykeen`. Importing :mod:`kgneg` itself loads none of them.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("kgneg")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"
