"""Membership of integer keys in two stages: a bit map that is nearly always right, and a table that always is."""

from __future__ import annotations

import numpy as np
import torch

from kgneg.core.modules import BufferModule
from kgneg.core.typing import BoolTensor, IntTensor, LongTensor

__all__ = ["KeyTable", "RowBits"]

#: Odd, so that multiplying modulo a power of two loses nothing; all but the first are for keys that it spreads badly.
_FACTORS = (-2960836687068242029, -7046029254386353131, -4417276706812531889)
_FACTOR = _FACTORS[0]
_WIDE_BUCKET = 32
_CHUNK = 1 << 13
_MAX_BITS = 1 << 30
_OVERLAP_BITS = 8


def _power_of_two(number: float, largest: int) -> int:
    """Return the largest power of two that is at most ``number``, within ``[8, largest]``."""
    return min(1 << max(int(number).bit_length() - 1, 3), largest)


class RowBits(BufferModule):
    """One bit per hashed ``(code, entity)`` key: a clear bit proves that the key is not in the set.

    The bit of a key is its entity plus a hash of its code, so the many candidates of one row touch few cache lines.
    There are at most 64 bits per key, so two to three in a hundred answers are false alarms.

    :param keys: shape: ``(m,)``, int64, ``code * num_entities + entity``
    :param num_entities: the number of entities
    :param bits_per_key: the largest number of bits per key; the number of bits is rounded down to a power of two

    >>> bits = RowBits(np.array([3, 14]), 10)
    >>> bits.probe(torch.tensor([0, 1]), torch.tensor([[3], [4]], dtype=torch.int32)).tolist()
    [[True], [True]]
    """

    bits: torch.Tensor
    size: LongTensor

    def __init__(self, keys: np.ndarray, num_entities: int, *, bits_per_key: int = 64) -> None:
        super().__init__()
        size = _power_of_two(bits_per_key * len(keys), _MAX_BITS)
        self.register_buffer("size", torch.tensor(size))
        # rows that begin late run over the end
        table = np.zeros((size + min(num_entities, size) + 7) // 8, dtype=np.uint8)
        self._derive(len(table))
        for begin in range(0, len(keys), _CHUNK):  # bounds the working memory
            codes, entities = np.divmod(keys[begin : begin + _CHUNK], num_entities)
            ids = torch.from_numpy(entities.astype(np.int32))[:, None]
            slots = self._slots(torch.from_numpy(codes), ids).squeeze(-1).numpy()
            np.bitwise_or.at(table, slots >> 3, np.uint8(1) << (slots & 7).astype(np.uint8))
        self.register_buffer("bits", torch.from_numpy(table))

    def _derive(self, length: int | None = None) -> None:
        self.mask = int(self.size) - 1
        # with more entities than bits their ids are taken modulo the number of bits
        self.folds = 8 * (len(self.bits) if length is None else length) >= 2 * int(self.size)

    def _slots(self, codes: LongTensor, ids: IntTensor) -> IntTensor:
        """Return the bit of each key, shape ``(q, n)``, int32, for codes ``(q,)`` and ids ``(q, n)``."""
        ids = ids & self.mask if self.folds else ids
        return ids + (codes * _FACTOR >> 32).int().bitwise_and_(self.mask)[:, None]

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

    A key is mixed by a multiplication that can be undone; the upper part of the result names its bucket and only the
    lower part has to be stored, in 32 bits as a rule. A bucket lies in one or two cache lines and is compared as a
    whole, which is several times faster than a binary search: there is no chain of dependent steps.

    :param keys: shape: ``(m,)``, int64, distinct, in ``[low, high)``
    :param low: the smallest key that may be asked for
    :param high: one more than the largest key that may be asked for

    >>> KeyTable(np.array([3, 14]), 0, 20).contains(torch.tensor([3, 4])).tolist()
    [True, False]
    """

    table: torch.Tensor
    offsets: IntTensor
    shape: LongTensor

    def __init__(self, keys: np.ndarray, low: int, high: int) -> None:
        super().__init__()
        key_bits = min(max((high - low - 1).bit_length(), 1), 64)
        bucket_bits = min(_power_of_two(len(keys) / 2, _MAX_BITS).bit_length() - 1, key_bits)
        value_bits = min(key_bits - bucket_bits + _OVERLAP_BITS, key_bits)
        for factor in _FACTORS:
            separate = self._fill(keys, key_bits, bucket_bits, value_bits, factor)
            if self.width <= _WIDE_BUCKET:
                break
        if not separate:
            self._fill(keys, key_bits, bucket_bits, key_bits, factor)

    def _fill(self, keys: np.ndarray, key_bits: int, bucket_bits: int, value_bits: int, factor: int) -> bool:
        """Build the buffers; return whether values tell apart all buckets that a reader may look into."""
        self.register_buffer("shape", torch.tensor([key_bits, bucket_bits, value_bits, factor]))
        self._derive_shape()
        mixed = np.empty(len(keys), dtype=np.uint64)
        for begin in range(0, len(keys), _CHUNK):  # bounds the working memory
            part = self._mix(torch.from_numpy(keys[begin : begin + _CHUNK]))
            mixed[begin : begin + _CHUNK] = part.numpy().view(np.uint64)
        mixed.sort()  # by bucket, since the upper bits name it
        borders = np.arange(1, 1 << bucket_bits, dtype=np.uint64) << np.uint64(self.shift)
        offsets = np.zeros((1 << bucket_bits) + 1, dtype=np.int32)
        offsets[1:-1] = np.searchsorted(mixed, borders)
        offsets[-1] = len(keys)
        del borders
        width = int(np.diff(offsets).max())
        table = np.full(len(keys) + width, -1, dtype=np.int32 if value_bits < 32 else np.int64)  # -1 equals no value
        mixed &= np.uint64((1 << value_bits) - 1)
        table[: len(keys)] = mixed.view(np.int64)
        if value_bits == 64:  # then -1 is a value too, but a whole key may be repeated anywhere
            table[len(keys) :] = table[:1]
        del mixed
        self.register_buffer("offsets", torch.from_numpy(offsets))
        self.register_buffer("table", torch.from_numpy(table))
        self._derive()
        if value_bits == key_bits or not len(keys):
            return True
        # a reader sees `width` places from the start of its bucket: how many buckets further may they belong to?
        last = np.minimum(offsets[:-1] + width, len(keys)) - 1
        reach = np.searchsorted(offsets[1:], last, side="right") - np.arange(1 << bucket_bits)
        return bool((reach < 1 << _OVERLAP_BITS).all())

    def _derive_shape(self) -> None:
        key_bits, bucket_bits, value_bits, self.factor = self.shape.tolist()
        self.shift = key_bits - bucket_bits
        self.key_mask, self.value_mask = (1 << key_bits) - 1, (1 << value_bits) - 1
        if key_bits == 64:
            self.key_mask = -1
        if value_bits == 64:
            self.value_mask = -1

    def _derive(self) -> None:
        self._derive_shape()
        self.width = len(self.table) - int(self.offsets[-1])

    def _mix(self, keys: LongTensor) -> LongTensor:
        mixed: LongTensor = keys * self.factor
        return mixed.bitwise_and_(self.key_mask)

    def _place(self, keys: LongTensor) -> tuple[LongTensor, torch.Tensor]:
        """Return bucket and value of keys, each of their shape."""
        mixed = self._mix(keys)
        value = mixed & self.value_mask
        bucket = mixed.bitwise_right_shift_(self.shift)
        if self.key_mask == -1:  # the shift copies the sign
            bucket = bucket.bitwise_and_((1 << (64 - self.shift)) - 1)
        return bucket, value if self.table.dtype == torch.int64 else value.int()

    def contains(self, keys: LongTensor) -> BoolTensor:
        """Return which keys are in the set.

        :param keys: shape: ``(k,)``, int64, in the range given at construction
        :returns: shape: ``(k,)``
        """
        if not self.width:
            return torch.zeros_like(keys, dtype=torch.bool)
        bucket, value = self._place(keys)
        starts = self.offsets.index_select(0, bucket)
        # row i of this overlapping view begins at place i of the table
        windows = self.table.as_strided((len(self.table) - self.width + 1, self.width), (1, 1))
        differs = (windows.index_select(0, starts) ^ value[:, None]).bool().view(torch.uint8)
        return differs.amin(dim=-1).eq_(0).view(torch.bool)
