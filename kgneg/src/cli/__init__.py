"""The command ``kgneg``. Importing this module loads nothing but click; commands import what they need."""

from __future__ import annotations

from kgneg.cli.main import main

__all__ = ["main"]
