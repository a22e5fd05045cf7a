"""Find the positives that hide in one big negative class."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.special import logit

from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import LongTensor
from kgneg.core.validation import choose, validate_count, validate_device, validate_share
from kgneg.samplers.noise.evidence import Evidence, cell_rates, gather_evidence
from kgneg.samplers.noise.posterior import ExpectedCount, expected_count, shift_to_sum
from kgneg.samplers.noise.probe import assign_folds, out_of_fold_logits
from kgneg.samplers.noise.report import NoiseReport, Policy
from kgneg.samplers.noise.rows import Column, NoiseRows
from kgneg.samplers.noise.space import project, with_categories
from kgneg.samplers.noise.stack import calibrate, stacked

__all__ = ["NoiseFilter"]

logger = logging.getLogger(__name__)

_PURPOSE = 0x6E6F697365
_CLEAN_HITS = 10  # hidden positives among the clean rows that it takes to learn from them
_MEMBERS_UP_TO = 60_000
_SURE = 1e-6
_BLIND = 0.6


class NoiseFilter:
    """Find rows that are labelled as negative only because nobody labelled them.

    One class (``"no_relation"``, "not relevant", sampled negatives) is large and holds positives that were overlooked;
    labelled positives are taken to be right. Each row gets scores from three sources, none of which has seen its label:
    its nearest neighbours in other groups, a small classifier trained on other folds, and the rate of positives among
    rows of its types. A logistic regression, out of fold again, makes one probability of a *label* of them, and
    :class:`~kgneg.samplers.noise.Labelling` turns that into the probability of a hidden *positive*.

    Where labels cannot be predicted from vectors and types at all (AUC below 0.6), no row is judged, and a warning says
    so.

    With rows whose true label is known (``clean_labels``, *extrinsic* mode) that probability is calibrated on these.
    Take them from outside of any test set.

    :param negative_label: the label of the big class
    :param k: how many neighbours count; there must be as many positives
    :param mode: ``"intrinsic"`` uses the given labels alone, ``"extrinsic"`` learns from clean rows as well, and
        ``"auto"`` does so if at least 10 of them show a hidden positive
    :param prior: the share of the negatives that is known to be positive, above 0 and below 1, if it is known;
        probabilities are shifted to it
    :param flag: ``"f1"`` flags for the largest expected F1; a number flags from that probability on
    :param eliminate: from which probability on a flagged row is to be eliminated (below it is to be reviewed); ``None``
        eliminates all flagged rows
    :param reannotate: whether flagged rows whose neighbours agree on a label get it, see :class:`NoiseReport`
    :param floor: a positive whose own probability of being one, by the other rows, is below this lends its label to
        nobody and is to be reviewed; ``None`` takes the share of positives
    :param evidence: how many nearest positives to return per row
    :param folds: how many folds
    :param index: how neighbours are searched, see :func:`~kgneg.core.neighbours.find_neighbours`; with ``"auto"``, more
        than 60,000 rows without clusters are compared with all positives and 30,000 of the negatives
    :param device: where to compute; ``"auto"`` is CUDA where there is one
    :param seed: the seed of everything that is random
    :param progress: whether to show progress bars
    :raises InvalidInputError: if an argument is out of range

    >>> generator = torch.Generator().manual_seed(0)
    >>> vectors = torch.randn(600, 8, generator=generator)
    >>> vectors[:60, 0] += 6
    >>> labels = ["born in"] * 40 + ["none"] * 560  # the last 20 of the 60 were overlooked
    >>> report = NoiseFilter("none", k=10).fit(vectors, labels)
    >>> int(report.flagged[40:60].sum()) >= 18, 15 < report.expected_fn.value < 30
    (True, True)
    """

    def __init__(
        self,
        negative_label: Hashable = "NA",
        *,
        k: int = 30,
        mode: str = "auto",
        prior: float | None = None,
        flag: str | float = "f1",
        eliminate: float | None = None,
        reannotate: bool = False,
        floor: float | None = None,
        evidence: int = 10,
        folds: int = 5,
        index: str = "auto",
        device: str | torch.device = "auto",
        seed: int = 0,
        progress: bool = False,
    ) -> None:
        self.negative_label = negative_label
        self.k = validate_count("k", k)
        self.mode = choose("mode", mode, ("auto", "intrinsic", "extrinsic"))
        self.prior = None if prior is None else validate_share("prior", prior)
        if self.prior in (0, 1):
            raise InvalidInputError(f"prior must be above 0 and below 1, got {prior!r}: None leaves it open")
        self.policy = Policy.check(flag=flag, eliminate=eliminate, reannotate=reannotate)
        self.floor = None if floor is None else validate_share("floor", floor)
        self.evidence = validate_count("evidence", evidence)
        self.folds = validate_count("folds", folds, 2)
        self.index = choose("index", index, ("auto", "exact", "ivf"))
        self.device = validate_device(device)
        self.seed = validate_count("seed", seed, 0)
        self.progress = progress

    def fit(
        self,
        embeddings: Any,
        labels: Column,
        *,
        groups: Column | None = None,
        types: Column | Mapping[str, Column] | None = None,
        ids: Column | None = None,
        clean_mask: Any = None,
        clean_labels: Column | None = None,
    ) -> NoiseReport:
        """Judge the negatives.

        :param embeddings: shape: ``(n, d)``, an array or a tensor of finite numbers
        :param labels: a label per row
        :param groups: a group per row, a document for example; rows of one group are never compared and never on both
            sides of a fold. ``None`` gives each row its own
        :param types: a category per row, or several columns of them by name
        :param ids: a name per row, no two the same
        :param clean_mask: shape: ``(n,)``, the rows whose true label is known
        :param clean_labels: true labels, read in these rows only
        :returns: the report
        :raises InvalidInputError: if lengths differ, a vector is not finite (its row is named), an id occurs twice, the
            negative label or any other is missing, there are fewer positives than ``k``, all positives or all
            negatives are of one group, or the extrinsic mode has too few clean rows
        """
        rows = NoiseRows.check(
            embeddings,
            labels,
            negative_label=self.negative_label,
            least_positives=self.k,
            groups=groups,
            types=types,
            ids=ids,
            clean_mask=clean_mask,
            clean_labels=clean_labels,
        )
        mode = self._mode(rows)
        best = rows.trusted() if mode == "extrinsic" else rows.codes
        folds = self._folds(rows, best)
        features, evidence = self._features(rows, best, folds)
        labelled = (best > 0).numpy()
        q = stacked(features, labelled, folds.numpy())
        seed = mix_seeds(self.seed, _PURPOSE, 3)
        labelling, hidden, expected = expected_count(q, labelled, rows.groups.numpy(), seed)
        if mode == "extrinsic":
            hidden, expected = self._calibrated(rows, hidden)
        else:
            hidden = np.where(labelled, 0.0, hidden)
            if self.prior is None and _blind(q, labelled):
                hidden, expected = np.zeros_like(hidden), ExpectedCount(0.0, 0.0, float((~labelled).sum()))
        if self.prior is not None:
            surely = (rows.clean >= 0).numpy() & (mode == "extrinsic")
            hidden, expected = self._shifted(hidden, ~rows.positive.numpy(), surely)
        return NoiseReport.build(
            rows=rows,
            mode=mode,
            score=torch.from_numpy(hidden).float(),
            support=torch.from_numpy(q).float(),
            evidence=evidence.positives.cpu(),
            cosine=evidence.cosine.cpu(),
            expected_fn=expected,
            labelling=labelling,
            recall=evidence.recall,
            floor=float(labelled.mean()) if self.floor is None else self.floor,
            policy=self.policy,
        )

    def _mode(self, rows: NoiseRows) -> str:
        hits = int(((rows.clean > 0) & ~rows.positive).sum())
        if self.mode == "extrinsic" and hits < _CLEAN_HITS:
            raise InvalidInputError(
                f"the extrinsic mode needs clean rows that show at least {_CLEAN_HITS} hidden positives, got {hits} in "
                f"{int((rows.clean >= 0).sum())} clean rows: give clean_labels of more rows, or mode='intrinsic'"
            )
        if self.mode != "auto":
            return self.mode
        if hits < _CLEAN_HITS and bool((rows.clean >= 0).any()):
            logger.warning("the clean rows show %d hidden positives only, so that they are not learnt from", hits)
        return "extrinsic" if hits >= _CLEAN_HITS else "intrinsic"

    def _folds(self, rows: NoiseRows, best: LongTensor) -> LongTensor:
        of_positives = len(torch.unique(rows.groups[best > 0]))
        if of_positives < 2:
            raise InvalidInputError(
                f"the positives are of {of_positives} group(s), and it takes 2: what is learnt from some is tested on "
                "others. Give finer groups or labels from more of them."
            )
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, _PURPOSE, 1))
        # the groups with positives first, so that each fold has some
        with_positives = torch.zeros(int(rows.groups.max()) + 1, dtype=torch.bool)
        with_positives[rows.groups[best > 0]] = True
        number = min(self.folds, of_positives)
        here = with_positives[rows.groups]
        folds = torch.empty_like(rows.groups)
        folds[here] = assign_folds(rows.groups[here], number, generator)
        folds[~here] = assign_folds(rows.groups[~here], number, generator)
        if len(torch.unique(folds[best == 0])) < 2:
            raise InvalidInputError("the negatives are of too few groups to learn from some and test on others")
        return folds

    def _features(self, rows: NoiseRows, best: LongTensor, folds: LongTensor) -> tuple[np.ndarray, Evidence]:
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, _PURPOSE, 0))
        positive = best > 0
        projected = project(rows.vectors.to(self.device), generator)
        cells = [column.to(self.device) for column in rows.cells]
        on_device = torch.Generator(self.device).manual_seed(mix_seeds(self.seed, _PURPOSE, 2))
        logits = out_of_fold_logits(
            projected,
            cells,
            positive.long().to(self.device),
            folds.to(self.device),
            members=2 if len(rows) <= _MEMBERS_UP_TO else 1,
            generator=on_device,
        )
        space = with_categories(projected, cells, generator)
        evidence = gather_evidence(
            space,
            positive.to(self.device),
            rows.groups.to(self.device),
            k=self.k,
            number=self.evidence,
            index=self.index,
            seed=self.seed,
            progress=self.progress,
        )
        table = [
            (logits[:, 1] - logits[:, 0])[:, None],
            evidence.features,
            *(cell_rates(column, positive, folds)[:, None].to(self.device) for column in rows.cells),
        ]
        return torch.cat(table, dim=-1).double().cpu().numpy(), evidence

    def _calibrated(self, rows: NoiseRows, hidden: np.ndarray) -> tuple[np.ndarray, ExpectedCount]:
        """Calibrate on the clean rows that were given as negatives."""
        known = ((rows.clean >= 0) & ~rows.positive).numpy()
        truth = (rows.clean > 0).numpy()
        open_ = ~known & ~rows.positive.numpy()
        score = logit(np.clip(hidden, _SURE, 1 - _SURE))
        seed = mix_seeds(self.seed, _PURPOSE, 4)
        probability, low, high = calibrate(score, known, truth, open_, rows.groups.numpy(), seed)
        result = np.where(open_, probability, 0.0)
        result[known] = truth[known]
        value = float(result[open_].sum())
        found = float(truth[known].sum())
        return result, ExpectedCount(value + found, min(low, value) + found, max(high, value) + found)

    def _shifted(
        self, hidden: np.ndarray, negative: np.ndarray, surely: np.ndarray
    ) -> tuple[np.ndarray, ExpectedCount]:
        total = self.prior * float(negative.sum())  # type: ignore[operator]
        known = float(hidden[negative & surely].sum())
        most = float((negative & ~surely).sum()) + known
        if not known < total < most:
            raise InvalidInputError(
                f"prior={self.prior:g} of {int(negative.sum())} negatives are {total:g} hidden positives, but clean "
                f"rows say that there are between {known:g} and {most:g}"
            )
        # no row is that sure but the clean ones
        hidden = np.where(negative & ~surely, np.clip(hidden, _SURE, 1 - _SURE), hidden)
        return shift_to_sum(hidden, total), ExpectedCount(total, total, total)


def _blind(q: np.ndarray, labelled: np.ndarray) -> bool:
    """Return, and say, whether labels cannot be predicted: then all negatives look as positive as positives."""
    from sklearn.metrics import roc_auc_score

    auc = float(roc_auc_score(labelled, q))
    if auc < _BLIND:
        logger.warning(
            "labelled rows hardly rank above the others (AUC %.2f): vectors and types say so little about the labels "
            "that no row is judged. Take other vectors, or give clean_labels or a prior",
            auc,
        )
    return auc < _BLIND
