"""The rates that PyKEEN's authors have published, where the graphs are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kgneg.audit import AuditSettings, audit, load_audit_data

#: Shares of negatives in training and validation, from ``pykeen/negative-sampler-benchmark``, averaged.
PUBLISHED = {
    "codexsmall": {"basic": 0.044, "bernoulli": 0.013, "pseudotyped": 0.209},
    "fb15k237": {"basic": 0.0108, "bernoulli": 0.0012, "pseudotyped": 0.207},
    "umls": {"basic": 0.129, "bernoulli": 0.095, "pseudotyped": 0.592},
}


@pytest.mark.parametrize(
    ("dataset", "samplers"),
    [
        ("umls", ("basic", "bernoulli", "pseudotyped")),
        ("codexsmall", ("basic", "bernoulli", "pseudotyped")),
        pytest.param("fb15k237", ("basic", "pseudotyped"), marks=pytest.mark.slow),
    ],
)
def test_reproduced(dataset: str, samplers: tuple[str, ...]) -> None:
    if dataset != "umls":
        home = os.environ.get("PYSTOW_HOME")
        if home is None or not Path(home, "pykeen", "datasets", dataset).is_dir():
            pytest.skip(f"{dataset} is not below PYSTOW_HOME, and nothing is downloaded here")
    data = load_audit_data(dataset)
    # the published rates are means over all training triples; a part of them with more negatives each varies more
    negatives = -(-1_000_000 // len(data.train))
    settings = AuditSettings(
        dataset=dataset, samplers=samplers, negatives=negatives, draws=negatives * len(data.train), reference_epochs=1
    )
    result = audit(settings, data=data, progress=False)
    for sampler in samplers:
        rate = result.sampler(sampler)["rates"]["train_valid"]
        published = PUBLISHED[dataset][sampler]
        rounding = 0.5 * 10.0 ** -len(str(published).partition(".")[2])
        assert rate["share"] == pytest.approx(published, rel=0.05, abs=rounding), sampler
