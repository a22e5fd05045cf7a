"""Samplers side by side: the same model, the same seeds, the same budget, and only the negatives differ.

.. code-block:: python

    from kgneg.compare import CompareSettings, compare

    settings = CompareSettings(dataset="umls", samplers=("basic", "lemon:encoder=lexical"), epochs=50, seeds=(0, 1, 2))
    result = compare(settings, runs="out/runs")   # a second call takes up the runs that are there
    result.write("out")                           # results.json, results.csv, report.html

**What is equal.** Model, loss, optimiser, learning rate, dimension, batch size, epochs, negatives per positive. With
one seed, all samplers start from the same parameters, so differences are taken within seeds before they are averaged.
PyKEEN's own loop trains, and for samplers that look at the model that of kgneg, with dense updates: on the CPU both
give the same losses for the same negatives. The report says whose loop it was; ``loop="kgneg"`` takes kgneg's for all.

**What is measured.** Filtered ranks on the test triples, as PyKEEN reports them; the loss of each epoch; seconds. And,
from a fresh draw of at least 10,000 negatives, how many of them are in fact true: known training triples, which a
filter could have removed, and triples of the validation and test sets, which no filter that sees the training triples
can know.

**What is not.** Hyper-parameters are not tuned per sampler. A sampler that needs another margin or more epochs than the
others is at a disadvantage; vary these settings before you draw conclusions.
"""

from __future__ import annotations

from kgneg.compare.data import CompareData, load_data
from kgneg.compare.names import UnknownNameError, describe_samplers
from kgneg.compare.result import CompareResult
from kgneg.compare.runs import RunFailedError
from kgneg.compare.samplers import SamplerChoice
from kgneg.compare.settings import CompareSettings
from kgneg.compare.study import compare

__all__ = [
    "CompareData",
    "CompareResult",
    "CompareSettings",
    "RunFailedError",
    "SamplerChoice",
    "UnknownNameError",
    "compare",
    "describe_samplers",
    "load_data",
]
