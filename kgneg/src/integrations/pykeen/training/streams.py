"""The private streams of random numbers of a sampler, for checkpoints and for several processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pykeen.sampling import NegativeSampler

from kgneg.core.seeding import PrivateGenerators

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


def sampler_state(sampler: NegativeSampler) -> dict[str, Any]:
    """Return what a sampler needs to go on where it stands.

    :param sampler: any sampler
    :returns: its persistent buffers, and where its streams stand
    """
    return {
        "buffers": sampler.state_dict(),
        "streams": [generators.__getstate__() for generators in streams(sampler)],
    }


def load_sampler_state(sampler: NegativeSampler, state: dict[str, Any], *, with_streams: bool = True) -> None:
    """Let a sampler go on where another one of its kind stood.

    :param sampler: the sampler
    :param state: what :func:`sampler_state` returned
    :param with_streams: whether the streams of random numbers go on as well, and not only the buffers
    """
    sampler.load_state_dict(state["buffers"])
    if not with_streams:
        return
    for generators, stood in zip(streams(sampler), state["streams"], strict=True):
        generators.__setstate__(stood)
