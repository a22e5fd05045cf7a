"""``python -m kgneg.cli`` is the command ``kgneg``."""

from __future__ import annotations

from kgneg.cli.main import main

if __name__ == "__main__":
    main(prog_name="kgneg")
