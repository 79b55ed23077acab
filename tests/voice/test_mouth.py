"""The mouth: open where it is loud, shut where it is silent, and with the vowel that sounds."""

import numpy as np
import pytest

from vtuber_brain.voice.mouth import mouth
from vtuber_brain.voice.sound import RATE, STEP_MS

FORMANTS = {"a": (850, 1450), "i": (380, 2700), "u": (430, 1250), "e": (600, 2100), "o": (600, 1000)}


def vowel(letter, seconds=0.6, pitch=200):
    """A source of pulses through two resonances: the simplest voice there is."""
    wave = np.zeros(round(seconds * RATE))
    wave[:: RATE // pitch] = 1
    for hertz in (*FORMANTS[letter], 3500):
        radius, angle = np.exp(-np.pi * 80 / RATE), 2 * np.pi * hertz / RATE
        out = np.zeros_like(wave)
        for n in range(len(wave)):
            out[n] = wave[n] + 2 * radius * np.cos(angle) * out[n - 1] - radius**2 * out[n - 2] if n > 1 else wave[n]
        wave = out
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def test_it_opens_while_it_is_loud_and_shuts_while_it_is_silent():
    silence, tone = np.zeros(RATE // 2, np.float32), vowel("a", 0.5)
    moves = mouth(np.concatenate([silence, tone, silence]))
    steps = 500 // STEP_MS
    assert max(moves.open[: steps - 1]) == 0
    assert min(moves.open[steps + 1 : 2 * steps - 1]) > 50
    assert max(moves.open[2 * steps + 1 :]) == 0
    assert set(moves.shape[: steps - 1]) == {"_"}


def test_a_quiet_voice_moves_its_mouth_too_and_noise_below_speech_does_not():
    assert max(mouth(0.05 * vowel("a")).open) > 90
    assert max(mouth(0.0002 * vowel("a")).open, default=0) < 60


@pytest.mark.parametrize("letter", sorted(FORMANTS))
def test_the_vowel_that_sounds_is_the_one_that_is_seen(letter):
    shape = mouth(vowel(letter)).shape.strip("_")
    assert shape.count(letter) > 0.7 * len(shape), shape


def test_every_step_of_the_sound_has_its_place_also_the_last_one_begun():
    for num in (0, 1, 480, 481, 24_001):
        moves = mouth(np.full(num, 0.1, np.float32))
        assert len(moves.open) == len(moves.shape) == -(-num // 480)
        assert all(0 <= value <= 100 for value in moves.open)
