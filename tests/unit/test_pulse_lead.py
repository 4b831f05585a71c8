"""The beginning of a stream in the mix: found where it is that stream, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from capture.model.signal import AudioBlock
from capture.sources._pulse_lead import MEMORY_S, MixMemory, join
from capture.units import NS_PER_S

RATE_HZ = 48_000
MISSED = 700
"""Frames of the stream that were played before it was captured."""
BEGIN = 20_000
"""Where the stream begins in the mix."""


def speech(seed: int, frames: int = 9600) -> Any:
    """Noise with most of its energy in the voice's range; as unlike itself as speech is."""
    noise = np.random.default_rng(seed).standard_normal((frames + 63, 2))
    kernel = np.hanning(64)[:, None] / 32
    return np.stack(
        [np.convolve(noise[:, side], kernel[:, 0], "valid") * 0.3 for side in range(2)], axis=1
    ).astype(np.float32)


def memory(mix: Any) -> MixMemory:
    kept = MixMemory(RATE_HZ)
    for first in range(0, len(mix), 960):
        block = mix[first : first + 960]
        kept.push(AudioBlock(block, first * NS_PER_S // RATE_HZ, first))
    return kept


def mix_of(sound: Any, gain: float = 1.0) -> Any:
    mix = np.zeros((BEGIN + len(sound), 2), np.float32)
    mix[BEGIN:] = sound * np.float32(gain)
    return mix


def ns(frame: int) -> int:
    return frame * NS_PER_S // RATE_HZ


def join_at(mix: Any, head: Any, *, error: int = 0, since: int = 0, silent: Any = None) -> Any:
    return join(memory(mix), head, ns(BEGIN + MISSED + error), ns(since), silent)


@pytest.mark.parametrize("error", [0, 1, -90, 1500])
def test_lead_and_head_are_the_stream_bit_for_bit(error: int) -> None:
    sound = speech(1)
    lead, head = join_at(mix_of(sound), sound[MISSED : MISSED + 1920], error=error)
    assert np.array_equal(np.concatenate((lead, head)), sound[: MISSED + 1920])


@pytest.mark.parametrize("gain", [0.5, 0.125, 0.037])
def test_the_volume_of_the_output_is_taken_out(gain: float) -> None:
    sound = speech(2)
    lead, head = join_at(mix_of(sound, gain), sound[MISSED : MISSED + 1920])
    whole = np.concatenate((lead, head))
    assert np.abs(whole - sound[: len(whole)]).max() < 1e-6


def test_an_output_of_16_bits_has_no_step_at_the_join() -> None:
    sound = speech(3)
    mix = np.rint(mix_of(sound, 0.5) * 32768).astype(np.float32) / 32768
    lead, head = join_at(mix, sound[MISSED : MISSED + 1920])
    whole = np.concatenate((lead, head))
    assert np.abs(whole - sound[MISSED - len(lead) :][: len(whole)]).max() < 2 / 32768


def test_another_sound_in_the_mix_is_never_taken() -> None:
    sound = speech(4)
    mix = mix_of(sound)
    mix[BEGIN:] += speech(5) * np.float32(0.1)
    assert join_at(mix, sound[MISSED : MISSED + 1920]) is None


def test_a_mix_that_may_not_reach_far_enough_tells_nothing() -> None:
    sound = speech(9)
    mix = mix_of(sound)[: BEGIN + MISSED + 1920]
    assert join_at(mix, sound[MISSED : MISSED + 1920]) is None


def test_a_muted_output_has_no_lead() -> None:
    sound = speech(6)
    assert join_at(np.zeros_like(mix_of(sound)), sound[MISSED : MISSED + 1920]) is None


def test_nothing_from_before_the_given_time_is_taken() -> None:
    sound = speech(7)
    lead, _ = join_at(mix_of(sound), sound[MISSED : MISSED + 1920], since=BEGIN + 300)
    assert np.array_equal(lead, sound[300:MISSED])


def test_a_silent_beginning_needs_the_known_volume() -> None:
    mix = mix_of(speech(8))
    mix[BEGIN + MISSED :] = 0
    head = np.zeros((1920, 2), np.float32)
    assert join_at(mix, head) is None
    lead, _ = join_at(mix, head, silent=1.0)
    assert np.array_equal(lead, mix[BEGIN : BEGIN + MISSED])


def test_a_steady_tone_joins_in_phase() -> None:
    tone = np.sin(2 * np.pi * 480 * np.arange(9600) / RATE_HZ)
    sound = np.repeat(tone.astype(np.float32)[:, None], 2, axis=1)
    lead, head = join_at(mix_of(sound), sound[MISSED : MISSED + 1920], error=7)
    whole = np.concatenate((lead, head))[:, 0]
    assert np.abs(np.diff(whole)).max() < 1.01 * np.abs(np.diff(tone)).max()


def test_the_memory_is_short_and_has_no_holes() -> None:
    kept = memory(np.ones((4 * RATE_HZ, 2), np.float32))
    assert len(kept.samples()) <= (MEMORY_S + 0.02) * RATE_HZ
    assert kept.end_ns == pytest.approx(4 * NS_PER_S, abs=2)
    kept.push(AudioBlock(np.zeros((10, 2), np.float32), ns(5 * RATE_HZ), 5 * RATE_HZ))
    assert len(kept.samples()) == 10
