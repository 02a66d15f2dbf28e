"""Counter-based noise: one token's noise is a pure function of where it stands.

The noise of a token depends on (seed, prompt, sample index, position, token id) and on nothing else: no generator, no
state, no order. It is SplitMix64 (Steele, Lea & Flood 2014), whose output is a bijective hash of a counter.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_STEP_GAMMA = 0xD1B54A32D192ED03
_M1 = 0xBF58476D1CE4E5B9
_M2 = 0x94D049BB133111EB


def _signed(value: int) -> int:
    """The two's-complement int64 of an unsigned 64-bit number (torch has no uint64 arithmetic)."""
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's own is arithmetic)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's output function, elementwise on int64."""
    x = (x ^ _shift_right(x, 30)) * _signed(_M1)
    x = (x ^ _shift_right(x, 27)) * _signed(_M2)
    return x ^ _shift_right(x, 31)


def stream_key(seed: int, prompt_key: str, sample: int) -> int:
    """The 64-bit key of one completion's noise.

    Args:
        seed: The monitor's seed.
        prompt_key: What identifies the prompt, whatever its place in the set.
        sample: Index of the completion, 0 to K - 1.

    Returns:
        A signed 64-bit integer.
    """
    text = f"{seed}\x00{prompt_key}\x00{sample}".encode()
    return _signed(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"))


def exponential_noise(keys: Tensor, position: int, tokens: Tensor) -> Tensor:
    """Standard exponential variates for the given tokens at one position.

    The smallest ``noise / p`` among tokens of probability ``p`` falls on each token with probability ``p`` (the
    exponential race, which is the Gumbel trick without its two logarithms).

    Args:
        keys: (batch,) int64, one ``stream_key`` a row.
        position: Index of the token to be drawn within its completion, from 0.
        tokens: (batch, candidates) int64 token ids.

    Returns:
        (batch, candidates) float32 in (5e-8, 17). It takes 2^23 distinct values, so probabilities below 1e-7 are not
        resolved.
    """
    row = _mix(keys + _signed(_STEP_GAMMA * (position + 1)))
    bits = _shift_right(_mix(row[:, None] + (tokens + 1) * _signed(_GAMMA)), 41)
    # 23 bits and a half: every value is exact in float32 and lies strictly inside (0, 1).
    uniform = (bits.to(torch.float32) + 0.5) * 2.0**-23
    return torch.log1p(uniform.neg_()).neg_()
