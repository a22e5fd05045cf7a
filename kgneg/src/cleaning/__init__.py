"""Clean files: find hidden positives in the negative class of a file, and write the file without them.

The work is done by :class:`kgneg.samplers.noise.NoiseFilter`; here is what lies around it: reading tables of vectors
and files in the formats of DocRED and TACRED, keeping what was found in a folder, a page and a list for people to look
through, and a cleaned copy of the input.

.. code-block:: python

    from kgneg.cleaning import Cleaning, CleaningSettings, fit_cleaning

    found = fit_cleaning(CleaningSettings("train.json", format="tacred"))
    found.write("out")  # report.html, review.jsonl, summary.json, ...

    found = Cleaning.read("out")
    found.apply("train.json", "clean.json", reannotate=True)

The same is done by the commands ``kgneg noise fit``, ``apply`` and ``report``.
"""

from __future__ import annotations

from kgneg.cleaning.apply import CleaningCounts
from kgneg.cleaning.result import Cleaning
from kgneg.cleaning.settings import FORMATS, CleaningSettings
from kgneg.cleaning.study import fit_cleaning

__all__ = ["FORMATS", "Cleaning", "CleaningCounts", "CleaningSettings", "fit_cleaning"]
