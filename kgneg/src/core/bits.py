"""Membership of integer keys, in two stages: a bit map that is nearly always right, and a table that is always right."""

from __future__ import annotations

import numpy as np
import torch

from kgneg.core.modules import BufferModule
from kgneg.core.typing import BoolTensor, IntTensor, LongTensor

__all__ = ["KeyTable", "RowBits"]

_FACTOR = -7046029254386353131  # 2**64 / golden ratio, as a signed integer
_ENTITY_FACTOR = 0x2545F491
_CHUNK = 1 << 15
_MAX_BITS = 1 << 30


def _power_of_two(number: float, largest: int) -> int:
    """Return the largest power of two that is at most ``number``, within ``[8, largest]``."""
    return min(1 << max(int(number).bit_length() - 1, 3), largest)


class RowBits(BufferModule):
    """One bit per hashed ``(code, entity)`` key: a clear bit proves that the key is not in the set.

    Without ``scatter`` the bit of a key is its entity plus a hash of its code, so the many candidates of one row touch few
    cache lines. With ``scatter`` the entity is hashed too, which makes the false alarms of the two kinds independent.

    :param keys: shape: ``(m,)``, int64, ``code * num_entities + entity``
    :param num_entities: the number of entities
    :param bits_per_key: the largest number of bits per key; the number of bits is rounded down to a power of two
    :param scatter: whether the entity is hashed

    >>> bits = RowBits(np.array([3, 14]), 10, bits_per_key=64)
    >>> bits.probe(torch.tensor([0, 1]), torch.tensor([[3], [4]], dtype=torch.int32)).tolist()
    [[True], [True]]
    """

    bits: torch.Tensor

    def __init__(self, keys: np.ndarray, num_entities: int, *, bits_per_key: int, scatter: bool = False) -> None:
        super().__init__()
        self.scatter = scatter
        size = _power_of_two(bits_per_key * len(keys), _MAX_BITS)
        self.mask = size - 1
        table = np.zeros(size // 8, dtype=np.uint8)
        for begin in range(0, len(keys), _CHUNK):  # bounds the working memory
            codes, entities = np.divmod(keys[begin : begin + _CHUNK], num_entities)
            ids = torch.from_numpy(entities.astype(np.int32))[:, None]
            slots = self._slots(torch.from_numpy(codes), ids).squeeze(-1).numpy()
            np.bitwise_or.at(table, slots >> 3, np.uint8(1) << (slots & 7).astype(np.uint8))
        self.register_buffer("bits", torch.from_numpy(table))

    def _derive(self) -> None:
        self.mask = 8 * len(self.bits) - 1

    def _slots(self, codes: LongTensor, ids: IntTensor) -> IntTensor:
        """Return the bit of each key, shape ``(q, n)``, int32, for codes ``(q,)`` and ids ``(q, n)``."""
        base = (codes * _FACTOR >> 32).int()[:, None]
        slots = (ids * _ENTITY_FACTOR).bitwise_right_shift_(7).add_(base) if self.scatter else ids + base
        return slots.bitwise_and_(self.mask)

    def probe(self, codes: LongTensor, ids: IntTensor) -> BoolTensor:
        """Return whether the bits of some keys are set.

        :param codes: shape: ``(q,)``, int64
        :param ids: shape: ``(q, n)``, int32
        :returns: shape: ``(q, n)``; ``False`` proves absence
        """
        slots = self._slots(codes, ids)
        within = slots.to(torch.uint8).bitwise_and_(7)
        words = self.bits.index_select(0, slots.bitwise_right_shift_(3).view(-1)).view(slots.shape)
        return words.bitwise_right_shift_(within).bitwise_and_(1).view(torch.bool)


class KeyTable(BufferModule):
    """A set of integer keys in hashed buckets of a few each; membership is exact.

    A bucket lies in one or two cache lines and is compared as a whole, which is several times faster than a binary
    search: there is no chain of dependent steps.

    :param keys: shape: ``(m,)``, int64, distinct

    >>> KeyTable(np.array([3, 14])).contains(torch.tensor([3, 4])).tolist()
    [True, False]
    """

    table: LongTensor
    offsets: IntTensor

    def __init__(self, keys: np.ndarray) -> None:
        super().__init__()
        number = _power_of_two(len(keys) / 2, _MAX_BITS)
        self.shift = 65 - number.bit_length()
        buckets = self._bucket(torch.from_numpy(keys)).numpy()
        order = np.argsort(buckets, kind="stable")
        sizes = np.bincount(buckets, minlength=number)
        width = int(sizes.max()) if len(keys) else 0
        # readers look at `width` places from the start of a bucket; repeats of a real key at the end are harmless
        table = np.concatenate([keys[order], np.repeat(keys[:1], width)])
        self.register_buffer("table", torch.from_numpy(table))
        # the last entry is the number of real keys
        self.register_buffer("offsets", torch.from_numpy(np.append(np.cumsum(sizes) - sizes, len(keys)).astype(np.int32)))
        self._derive()

    def _derive(self) -> None:
        self.shift = 65 - (len(self.offsets) - 1).bit_length()
        self.width = len(self.table) - int(self.offsets[-1])

    def _bucket(self, keys: LongTensor) -> LongTensor:
        return (keys * _FACTOR >> self.shift).add_(1 << (63 - self.shift))

    def contains(self, keys: LongTensor) -> BoolTensor:
        """Return which keys are in the set.

        :param keys: shape: ``(k,)``, int64
        :returns: shape: ``(k,)``
        """
        if not self.width:
            return torch.zeros_like(keys, dtype=torch.bool)
        starts = self.offsets.index_select(0, self._bucket(keys))
        # row i of this overlapping view begins at place i of the table
        windows = self.table.as_strided((len(self.table) - self.width + 1, self.width), (1, 1))
        differs = (windows.index_select(0, starts) ^ keys[:, None]).bool().view(torch.uint8)
        return differs.amin(dim=-1) == 0
