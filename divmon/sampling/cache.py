"""Keys and values in memory that is taken in few large blocks.

transformers' dynamic cache concatenates: each token moves all keys and values of a layer into a new block, a little
larger than the one that it leaves, which nothing else then fits into. On an H100 a 1B model with 32 rows held 44 GB
after 192 tokens, 6.6 GB of it in tensors. Here a layer has room for the tokens to come: up to `FIRST` at once, so that
a lack of memory shows before the first of them, and then half as much again at a time, since few completions go to a
limit of many thousands.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

FIRST = 2048
"""Tokens to come that there is room for from the beginning."""


class RoomyLayer(DynamicLayer):
    """A layer that has room for tokens to come.

    Args:
        layer: What it goes on from, after the prefill.
        rows: (rows,) which rows of ``layer`` it takes; some may be taken several times.
        width: Tokens of a row, at the most.
    """

    def __init__(self, layer: DynamicLayer, rows: Tensor, width: int) -> None:
        DynamicLayer.__init__(self)
        keys, values = layer.keys, layer.values
        assert keys is not None
        assert values is not None
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self.width = width
        self.end = keys.shape[-2]
        first = max(self.end, min(width, self.end + FIRST))
        self._keys, self._values = (_room(torch.index_select(each, 0, rows), first) for each in (keys, values))
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Put the states of further tokens behind those that are there.

        Returns:
            The keys and values of all tokens.
        """
        self._append(key_states, value_states)
        return self._show()

    def _append(self, key_states: Tensor, value_states: Tensor) -> None:
        begin, self.end = self.end, self.end + key_states.shape[-2]
        there = self._keys.shape[-2]
        if self.end > there:
            more = max(self.end, min(self.width, there + there // 2))
            self._keys = _room(self._keys[:, :, :begin], more)
            self._values = _room(self._values[:, :, :begin], more)
        self._keys[:, :, begin : self.end] = key_states
        self._values[:, :, begin : self.end] = value_states

    def _show(self, begin: int = 0) -> tuple[Tensor, Tensor]:
        shown = self._keys[:, :, begin : self.end], self._values[:, :, begin : self.end]
        self.keys, self.values = shown
        return shown


class RoomySlidingLayer(RoomyLayer, DynamicSlidingWindowLayer):
    """The same for a layer that sees a window: it has room for two, and what is in sight moves to the front at times.

    Args:
        layer: As for `RoomyLayer`.
        rows: Likewise.
        width: Likewise.
    """

    def __init__(self, layer: DynamicSlidingWindowLayer, rows: Tensor, width: int) -> None:
        DynamicSlidingWindowLayer.__init__(self, layer.sliding_window)
        self.cumulative_length = layer.cumulative_length
        self._sliding_window_tensor = layer._sliding_window_tensor
        self.begin = 0
        RoomyLayer.__init__(self, layer, rows, min(width, 2 * layer.sliding_window))

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """As `RoomyLayer.update`; what is returned is what the new tokens see."""
        count = key_states.shape[-2]
        if self.end + count > max(self.width, self._keys.shape[-2]):
            kept = self.end - self.begin
            for room in (self._keys, self._values):
                room[:, :, :kept] = room[:, :, self.begin : self.end].clone()
            self.begin, self.end = 0, kept
        self._append(key_states, value_states)
        self.cumulative_length += count
        seen = self._show(self.begin)
        self.begin = max(self.begin, self.end - self.sliding_window + 1)
        self._show(self.begin)
        return seen


def make_room(cache: DynamicCache, rows: Tensor, width: int) -> None:
    """Repeat a cache's rows, with room for the tokens to come in the layers whose kind is known.

    Args:
        cache: After the prefill.
        rows: (rows,) which of its rows are wanted.
        width: Tokens of a row, prompt and completion.
    """
    for number, layer in enumerate(cache.layers):  # one by one: a device_map may put them on several devices
        assert isinstance(layer, DynamicLayer)
        assert layer.keys is not None
        there = rows.to(layer.keys.device)
        if type(layer) is DynamicLayer:
            cache.layers[number] = RoomyLayer(layer, there, width)
        elif type(layer) is DynamicSlidingWindowLayer and not layer.record_past:
            cache.layers[number] = RoomySlidingLayer(layer, there, width)
        else:
            layer.batch_select_indices(there)


def _room(states: Tensor, tokens: int) -> Tensor:
    """``states``, (rows, heads, tokens, width), with room for more tokens behind them."""
    room = states.new_empty((*states.shape[:2], tokens, states.shape[3]))
    room[:, :, : states.shape[2]] = states
    return room
