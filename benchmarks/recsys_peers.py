"""Recommenders of other libraries beside ours: the same pairs, their own lists, our metrics. One thread each."""

from __future__ import annotations

import importlib.metadata
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

if TYPE_CHECKING:
    from kgneg.recsys import Interactions

__all__ = ["PEERS", "Peer"]

_FACTORS = {"type": "categorical", "choices": [64, 128]}


class Peer(ABC):
    """A recommender of another library.

    :param seed: of its random numbers
    :param options: of its constructor
    """

    library: ClassVar[str]
    #: which option is the number of epochs
    epochs: ClassVar[str] = "iterations"
    default: ClassVar[Mapping[str, Any]]
    ranges: ClassVar[Mapping[str, Mapping[str, Any]]]

    def __init__(self, seed: int, **options: Any) -> None:
        self.seed, self.options = seed, {**self.default, **options}

    @classmethod
    def version(cls) -> str:
        return importlib.metadata.version(cls.library)

    @abstractmethod
    def fit(self, train: Interactions) -> None:
        """Train."""

    @abstractmethod
    def lists(self, users: np.ndarray, k: int, seen: Interactions) -> torch.Tensor:
        """Return the best items that are not seen, shape ``(len(users), k)``; -1 where there are fewer."""

    @abstractmethod
    def own_evaluation(self, train: Interactions, test: Interactions) -> int:
        """Evaluate recall or precision and NDCG as the library does it; return the number of users."""

    def seconds_of_fit(self, train: Interactions) -> float:
        """Train and return the CPU seconds."""
        begin = time.process_time()
        self.fit(train)
        return time.process_time() - begin


class _Implicit(Peer):
    library = "implicit"

    @abstractmethod
    def make(self) -> Any:
        """Return a model."""

    def fit(self, train: Interactions) -> None:
        self.model = self.make()
        self.model.fit(matrix_of(train), show_progress=False)

    def lists(self, users: np.ndarray, k: int, seen: Interactions) -> torch.Tensor:
        found = []
        matrix = matrix_of(seen)
        for block in np.array_split(users, max(1, len(users) // 1_000)):
            items, scores = self.model.recommend(block, matrix[block], N=k, filter_already_liked_items=True)
            items = items.astype(np.int64)
            items[(scores <= np.finfo(np.float32).min) | (items >= seen.num_items)] = -1
            found.append(items)
        return torch.from_numpy(np.concatenate(found))

    def own_evaluation(self, train: Interactions, test: Interactions) -> int:
        from implicit.evaluation import ranking_metrics_at_k

        ranking_metrics_at_k(self.model, matrix_of(train), matrix_of(test), K=20, show_progress=False, num_threads=1)
        return int((test.user_counts > 0).sum())


class ImplicitBPR(_Implicit):
    """BPR of implicit; negatives are drawn by popularity and skipped where they are known."""

    default: ClassVar[Mapping[str, Any]] = {
        "factors": 64,
        "learning_rate": 0.01,
        "regularization": 0.01,
        "iterations": 100,
    }
    ranges: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "factors": _FACTORS,
        "learning_rate": {"type": "float", "low": 1e-3, "high": 0.1, "log": True},
        "regularization": {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
        "iterations": {"type": "categorical", "choices": [50, 100, 200]},
    }

    def make(self) -> Any:
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        return BayesianPersonalizedRanking(**self.options, num_threads=1, random_state=self.seed)


class ImplicitALS(_Implicit):
    """Weighted matrix factorisation by alternating least squares."""

    default: ClassVar[Mapping[str, Any]] = {"factors": 64, "regularization": 0.01, "alpha": 1.0, "iterations": 15}
    ranges: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "factors": _FACTORS,
        "regularization": {"type": "float", "low": 1e-3, "high": 10.0, "log": True},
        "alpha": {"type": "float", "low": 1.0, "high": 100.0, "log": True},
        "iterations": {"type": "categorical", "choices": [15, 30]},
    }

    def make(self) -> Any:
        from implicit.cpu.als import AlternatingLeastSquares

        return AlternatingLeastSquares(**self.options, num_threads=1, random_state=self.seed)


class CornacBPR(Peer):
    """BPR of Cornac."""

    library = "cornac"
    epochs = "max_iter"
    default: ClassVar[Mapping[str, Any]] = {"k": 64, "learning_rate": 0.01, "lambda_reg": 0.01, "max_iter": 100}
    ranges: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "k": _FACTORS,
        "learning_rate": {"type": "float", "low": 1e-3, "high": 0.1, "log": True},
        "lambda_reg": {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
        "max_iter": {"type": "categorical", "choices": [50, 100, 200]},
    }

    def fit(self, train: Interactions) -> None:
        from cornac.models import BPR

        self.model = BPR(**self.options, num_threads=1, seed=self.seed)
        self.model.fit(cornac_data(train))

    def lists(self, users: np.ndarray, k: int, seen: Interactions) -> torch.Tensor:
        data = cornac_data(seen)
        found = np.full((len(users), k), -1, dtype=np.int64)
        for place, user in enumerate(users):
            items = self.model.recommend(int(user), k=k, remove_seen=True, train_set=data)
            found[place, : len(items)] = items
        return torch.from_numpy(found)

    def own_evaluation(self, train: Interactions, test: Interactions) -> int:
        from cornac.eval_methods.base_method import ranking_eval
        from cornac.metrics import NDCG, Recall

        metrics = [Recall(k=20), NDCG(k=20)]
        _, by_user = ranking_eval(self.model, metrics, cornac_data(train), cornac_data(test), rating_threshold=0.5)
        return len(by_user[0])


def matrix_of(pairs: Interactions) -> Any:
    """Return the pairs as implicit has them: a matrix, not an array, with indices of 32 bits."""
    import scipy.sparse

    parts = (np.ones(len(pairs), dtype=np.float32), pairs.items.int().numpy(), pairs.indptr.int().numpy())
    return scipy.sparse.csr_matrix(parts, shape=(pairs.num_users, pairs.num_items))


def cornac_data(pairs: Interactions) -> Any:
    """Return the pairs as Cornac has them, with the same numbers of users and items."""
    from cornac.data import Dataset

    triples = zip(pairs.users.tolist(), pairs.items.tolist(), [1.0] * len(pairs), strict=True)
    known = ({number: number for number in range(count)} for count in (pairs.num_users, pairs.num_items))
    users, items = known
    return Dataset.build(triples, global_uid_map=users, global_iid_map=items)


PEERS: dict[str, type[Peer]] = {
    "implicit-bpr": ImplicitBPR,
    "implicit-als": ImplicitALS,
    "cornac-bpr": CornacBPR,
}
