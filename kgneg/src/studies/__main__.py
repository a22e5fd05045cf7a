"""A worker process of a study; its task comes as JSON on standard input, see :func:`~kgneg.studies.run_study`."""

from __future__ import annotations

import sys

from kgneg.studies.worker import main

if __name__ == "__main__":
    sys.exit(main())
