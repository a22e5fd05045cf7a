from __future__ import annotations

import numpy as np
import pytest

from kgneg.core.errors import InvalidInputError
from kgneg.selfinstruct.kernels import TripleFeatures, WordWeights, kernel, layout


def made_up(rows: int = 30, dim: int = 8, *, said: bool = True, seed: int = 0) -> TripleFeatures:
    random = np.random.default_rng(seed)
    head, tail, statement = random.normal(size=(3, rows, dim)).astype(np.float32)
    head, tail, statement = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (head, tail, statement))
    texts = [" ".join(random.choice(list("abcdef"), 3)) for _ in range(rows)]
    return TripleFeatures(
        head=head,
        tail=tail,
        statement=statement if said else None,
        relation=random.integers(-1, 3, rows),
        words=WordWeights.learn(texts).vectors(texts),
        layout=layout(texts, texts[::-1], head, tail, statement if said else None),
    )


@pytest.mark.parametrize("said", [True, False])
def test_symmetric_and_positive(said: bool) -> None:
    features = made_up(said=said)
    found = kernel(features, features, 4.0)
    np.testing.assert_allclose(found, found.T, atol=1e-4)
    assert np.linalg.eigvalsh((found + found.T) / 2).min() > -1e-3


def test_rows_do_not_depend_on_others() -> None:
    features = made_up()
    some = np.array([4, 2, 17])
    np.testing.assert_allclose(
        kernel(features.rows(some), features, 4.0), kernel(features, features, 4.0)[some], atol=1e-4
    )


def test_a_relation_binds_and_unknown_ones_do_not() -> None:
    features = made_up()
    more = kernel(features, features, 5.0) - kernel(features, features, 1.0)
    same = (features.relation[:, None] == features.relation) & (features.relation[:, None] >= 0)
    assert (more[same] > 1).all()
    assert np.abs(more[~same]).max() < 1e-4


def test_words() -> None:
    weights = WordWeights.learn(["the cat", "the dog", "the cow"])
    found = (weights.vectors(["cat", "the cat", "the dog", "CAT", ""]) @ weights.vectors(["cat"]).T).toarray()[:, 0]
    assert found[0] == found[3] == pytest.approx(1)
    assert found[0] > found[1] > found[2] == found[4] == 0


def test_chinese_has_words() -> None:
    weights = WordWeights.learn(["感到高兴", "感到难过"])
    found = (weights.vectors(["很高兴", "难过"]) @ weights.vectors(["高兴"]).T).toarray()[:, 0]
    assert found[0] > 0.3 > found[1]


def test_vowel_signs_belong_to_words() -> None:
    # Hindi: to drink, water, to pour; letters without vowel signs are alike
    texts = ["\u092a\u0940\u0928\u093e", "\u092a\u093e\u0928\u0940", "\u092a\u0948\u0928\u093e"]
    found = (WordWeights.learn(texts).vectors(texts) @ WordWeights.learn(texts).vectors(texts[:1]).T).toarray()[:, 0]
    assert found.tolist() == pytest.approx([1, 0, 0])


def test_thai_has_words() -> None:
    weights = WordWeights.learn(["\u0e41\u0e21\u0e27", "\u0e2b\u0e21\u0e32"])  # cat, dog
    found = (
        weights.vectors(["\u0e41\u0e21\u0e27\u0e14\u0e33", "\u0e2b\u0e21\u0e32"])
        @ weights.vectors(["\u0e41\u0e21\u0e27"]).T
    )
    assert found.toarray()[0, 0] > 0.5 > found.toarray()[1, 0]


def test_layout_counts() -> None:
    unit = np.eye(2, dtype=np.float32)
    found = layout(["a b c", "a"], ["b c", "b"], unit, unit[::-1], None)
    np.testing.assert_allclose(found, [[0, np.log(4), np.log(3), 1], [0, np.log(2), np.log(2), 0]], rtol=1e-6)


def test_refusals() -> None:
    with pytest.raises(InvalidInputError, match="8 and 4 numbers"):
        kernel(made_up(), made_up(dim=4), 1.0)
    with pytest.raises(InvalidInputError, match="statements on one side only"):
        kernel(made_up(), made_up(said=False), 1.0)
