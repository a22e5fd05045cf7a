"""Methods that make negatives.

Every method is a :class:`~kgneg.core.corruption.Corruptor`: called with a batch of positives and a number, it returns
:class:`~kgneg.core.negatives.Negatives`. Given an index of known triples it never returns one of them.

=========================  ==============================================  ===============================
class                      candidates                                      use it for
=========================  ==============================================  ===============================
:class:`UniformCorruptor`  any entity                                      the baseline to beat
:class:`TypedCorruptor`    domain and range of the relation                hard negatives without any text
:class:`LemonCorruptor`    text clusters near the kept or replaced entity  hard negatives from texts
:class:`GivenCorruptor`    a table of negatives                            negatives that people verified
:class:`MixtureCorruptor`  others, in fixed shares                         hard negatives among easy ones
=========================  ==============================================  ===============================
"""

from __future__ import annotations

from class_resolver import ClassResolver

from kgneg.core.corruption import Corruptor
from kgneg.samplers.given import GivenCorruptor
from kgneg.samplers.lemon import LemonCorruptor
from kgneg.samplers.lemon_pools import LemonPools, LemonSettings, build_lemon_pools
from kgneg.samplers.mixture import MixtureCorruptor
from kgneg.samplers.typed import TypedCorruptor, pools_from_types
from kgneg.samplers.uniform import UniformCorruptor

__all__ = [
    "GivenCorruptor",
    "LemonCorruptor",
    "LemonPools",
    "LemonSettings",
    "MixtureCorruptor",
    "TypedCorruptor",
    "UniformCorruptor",
    "build_lemon_pools",
    "corruptor_resolver",
    "pools_from_types",
]

#: Finds a corruptor class by its name: ``corruptor_resolver.lookup("lemon")``.
corruptor_resolver: ClassResolver[Corruptor] = ClassResolver(
    [UniformCorruptor, TypedCorruptor, LemonCorruptor, GivenCorruptor, MixtureCorruptor],
    base=Corruptor,  # type: ignore[type-abstract]
    default=UniformCorruptor,
)
