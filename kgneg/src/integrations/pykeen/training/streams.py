"""The private streams of random numbers of a sampler, for checkpoints and for several processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pykeen.sampling import NegativeSampler

from kgneg.core.errors import InvalidInputError
from kgneg.core.plausibility import PlausibilityCeiling, TruthPrior
from kgneg.core.seeding import PrivateGenerators
from kgneg.core.triples import TripleIndex

__all__ = ["load_sampler_state", "sampler_state", "streams"]


def streams(sampler: NegativeSampler) -> Iterator[PrivateGenerators]:
    """Return the private generators of a sampler and of what it is made of.

    :param sampler: any sampler
    :yields: the generators, in a fixed order
    """
    for module in sampler.modules():
        generators = getattr(module, "generators", None)
        if isinstance(generators, PrivateGenerators):
            yield generators


def _own_buffers(sampler: NegativeSampler) -> dict[str, torch.Tensor]:
    """Return the buffers of a sampler but for what is learned from known triples anew for the triples at hand."""
    learned = TripleIndex | TruthPrior | PlausibilityCeiling
    indices = tuple(f"{name}." for name, part in sampler.named_modules() if isinstance(part, learned))
    return {name: value for name, value in sampler.state_dict().items() if not name.startswith(indices)}


def sampler_state(sampler: NegativeSampler) -> dict[str, Any]:
    """Return what a sampler needs to go on where it stands.

    :param sampler: any sampler
    :returns: its kind, its persistent buffers without indices of known triples and priors, and where its streams stand
    """
    return {
        "kind": type(sampler).__name__,
        "buffers": _own_buffers(sampler),
        "streams": [generators.__getstate__() for generators in streams(sampler)],
    }


def load_sampler_state(sampler: NegativeSampler, state: dict[str, Any], *, with_streams: bool = True) -> None:
    """Let a sampler go on where another one of its kind stood.

    :param sampler: the sampler
    :param state: what :func:`sampler_state` returned
    :param with_streams: whether the streams of random numbers go on as well, and not only the buffers
    :raises InvalidInputError: if the sampler is of another kind, or was made for other triples and depends on them
    """
    stood, now = _shapes(state["buffers"]), _shapes(_own_buffers(sampler))
    if (state["kind"], stood, len(state["streams"])) != (type(sampler).__name__, now, len(list(streams(sampler)))):
        changed = sorted(name for name in {**stood, **now} if stood.get(name) != now.get(name))
        raise InvalidInputError(
            f"the training that is to go on had the sampler {state['kind']}, and has {type(sampler).__name__} now"
            + (f", with other {', '.join(changed)}" if changed else "")
            + ": go on with the same sampler and triples, or begin a new checkpoint"
        )
    sampler.load_state_dict(state["buffers"], strict=False)
    if with_streams:
        for generators, place in zip(streams(sampler), state["streams"], strict=True):
            generators.__setstate__(place)


def _shapes(buffers: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in buffers.items()}
