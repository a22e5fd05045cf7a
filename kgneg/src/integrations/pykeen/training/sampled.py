"""What a training loop does with the sampler of a run."""

from __future__ import annotations

from typing import Any

import torch
from class_resolver import HintOrType, OptionalKwargs
from pykeen.sampling import NegativeSampler, negative_sampler_resolver
from pykeen.training import SLCWATrainingLoop

from kgneg.core.distributed import (
    broadcast_number,
    broadcast_parameters,
    mean_over_ranks,
    rank,
    seed_for_rank,
    world_size,
)
from kgneg.core.errors import InvalidInputError
from kgneg.core.seeding import mix_seeds
from kgneg.core.typing import LongTensor
from kgneg.integrations.pykeen.training.streams import load_sampler_state, sampler_state, streams

__all__ = ["SampledTrainingLoop"]


class SampledTrainingLoop(SLCWATrainingLoop):
    """PyKEEN's sLCWA loop, with a sampler that sees the model, and that checkpoints hold.

    Under ``torchrun`` each process draws its own negatives.

    :param negative_sampler: the sampler, as in PyKEEN
    :param negative_sampler_kwargs: its arguments
    :param kwargs: the arguments of :class:`pykeen.training.TrainingLoop`
    """

    def __init__(
        self,
        *,
        negative_sampler: HintOrType[NegativeSampler] = None,
        negative_sampler_kwargs: OptionalKwargs = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(negative_sampler=negative_sampler, negative_sampler_kwargs=negative_sampler_kwargs, **kwargs)
        self._sampler: NegativeSampler | None = None
        self._sampler_state: dict[str, Any] | None = None

    @property
    def drawing_sampler(self) -> NegativeSampler | None:
        """The sampler of the run in progress; ``None`` when there is none."""
        return self._sampler

    def _make_sampler(self, triples: LongTensor, num_entities: int, num_relations: int) -> NegativeSampler:
        sampler = negative_sampler_resolver.make(
            self.negative_sampler,
            pos_kwargs=self.negative_sampler_kwargs,
            mapped_triples=triples,
            num_entities=num_entities,
            num_relations=num_relations,
        )
        if world_size() > 1:  # each process draws its own negatives, other ones after a restart
            for generators in streams(sampler):
                generators.seed = self._own_seed(generators.seed)
            torch.manual_seed(self._own_seed(torch.initial_seed()))
        return sampler

    def _adopt(self, sampler: NegativeSampler) -> None:
        """Show the model to a sampler; let the first one of a run go on where a checkpoint left it."""
        attach = getattr(sampler, "attach_model", None)
        if attach is not None:
            from kgneg.integrations.pykeen.handle import ModelHandle

            attach(ModelHandle(self.model, mode=self.mode))
        if self._sampler is not None:
            return  # callbacks make others for their own triples
        self._sampler = sampler
        self._check_epoch()
        broadcast_parameters(self.model)  # the processes drew different numbers while memory was probed
        if self._sampler_state is not None:
            # a checkpoint tells where the streams of one process stand
            load_sampler_state(sampler, self._sampler_state, with_streams=world_size() == 1)
            self._sampler_state = None

    def _check_epoch(self) -> None:
        """Check that all processes go on from the same checkpoint."""
        if world_size() > 1:
            first = broadcast_number(self._epoch)
            if mean_over_ranks(float(first != self._epoch)):
                raise InvalidInputError(
                    f"process {rank()} starts after epoch {self._epoch}, but process 0 after epoch {first}: all have "
                    "to see the same checkpoint, so put it on a file system that they share"
                )

    def _own_seed(self, seed: int) -> int:
        seed = seed_for_rank(seed)
        return mix_seeds(seed, self._epoch) if self._epoch else seed

    def _save_state(self, path: Any, *args: Any, **kwargs: Any) -> None:
        def add(_: Any, state: dict[str, Any]) -> None:
            if self._sampler is not None:
                state["kgneg_sampler"] = sampler_state(self._sampler)

        hook = self.optimizer.register_state_dict_post_hook(add)
        try:
            super()._save_state(path, *args, **kwargs)
        finally:
            hook.remove()

    def _load_state(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        def take(_: Any, state: dict[str, Any]) -> None:
            self._sampler_state = state.pop("kgneg_sampler", None)

        hook = self.optimizer.register_load_state_dict_pre_hook(take)
        try:
            return super()._load_state(path, *args, **kwargs)
        finally:
            hook.remove()
