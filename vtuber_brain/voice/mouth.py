"""How the mouth moves to a sentence: how far it is open and which vowel it has, every 20 ms, from the sound itself.

Openness is loudness: the level of each step below the sentence's loud parts, so that a quiet voice moves its mouth too.
The vowel is the nearest by the first two formants (the resonances that tell vowels apart), found by linear prediction
(Makhoul 1975) at 8 kHz; the reference points are a woman's. It is a guess for a drawn mouth, not phonetics. Pure.
"""

import numpy as np
from numpy.typing import NDArray

from vtuber_brain.voice.sound import RATE, STEP_MS, Mouth, Samples, resampled

RANGE_DB = 30.0
"""So far below the loud parts the mouth is shut."""

SILENT = 15
"""Below this openness no vowel is looked for."""

FLOOR = 1e-3
"""Below this level, of 1, nothing counts as speech."""

_STEP = RATE * STEP_MS // 1000
_FORMANT_RATE, _ORDER = 8000, 10
_FORMANT_STEP = _FORMANT_RATE * STEP_MS // 1000
_LOWEST_HZ, _WIDEST_HZ = 220.0, 420.0
_VOWELS = "aeiou"
_PLACES = np.log([(850.0, 1450.0), (600.0, 2100.0), (380.0, 2700.0), (600.0, 1000.0), (430.0, 1250.0)])
"""First and second formant of each of _VOWELS, in Hz."""


def mouth(wave: Samples) -> Mouth:
    """The movement for a whole sentence; as many steps as it has, the last one begun counted."""
    num_steps = -(-len(wave) // _STEP)
    steps = np.zeros((num_steps, _STEP), np.float32)
    steps.reshape(-1)[: len(wave)] = wave
    openness = _openness(np.sqrt((steps**2).mean(axis=1)))
    return Mouth([int(value) for value in openness], _shapes(wave, openness))


def _openness(levels: NDArray[np.float32]) -> NDArray[np.int64]:
    loud = max(float(np.percentile(levels, 95)), FLOOR) if len(levels) else FLOOR
    below_db = 20 * np.log10(np.maximum(levels, 1e-6) / loud)
    return np.asarray(np.clip(100 * (1 + below_db / RANGE_DB), 0, 100).round(), np.int64)


def _shapes(wave: Samples, openness: NDArray[np.int64]) -> str:
    """A vowel a step; where there is none to be found, the one before goes on."""
    voiced = np.flatnonzero(openness >= SILENT)
    vowels = dict(zip(voiced.tolist(), _vowels(_windows(wave, voiced)), strict=True))
    found: list[str] = []
    for n in range(len(openness)):
        found.append(vowels.get(n, "_") or (found[-1] if found else "_"))
    for n in range(1, len(found) - 1):  # a lone step of another vowel is a guess gone wrong
        if found[n - 1] == found[n + 1] != found[n]:
            found[n] = found[n - 1]
    return "".join(found)


def _windows(wave: Samples, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Two steps of the slower sound round each of `steps`, shape (steps, samples), made ready for the prediction."""
    slow = np.pad(resampled(wave, _FORMANT_RATE / RATE), (_FORMANT_STEP // 2, 2 * _FORMANT_STEP))
    starts = np.minimum(steps * _FORMANT_STEP, len(slow) - 2 * _FORMANT_STEP)
    rows = slow[starts[:, None] + np.arange(2 * _FORMANT_STEP)].astype(float)
    rows -= rows.mean(axis=1, keepdims=True)
    rows[:, 1:] -= 0.9 * rows[:, :-1].copy()
    return rows * np.hamming(rows.shape[1])


def _vowels(rows: NDArray[np.float64]) -> list[str]:
    """The vowel of each window; empty where it shows no two formants."""
    found = []
    for hertz, width in zip(*_resonances(rows), strict=True):
        formants = np.sort(hertz[(hertz > _LOWEST_HZ) & (width < _WIDEST_HZ)])[:2]
        near = np.abs(_PLACES - np.log(formants)).sum(axis=1) if len(formants) == 2 else None
        found.append(_VOWELS[int(np.argmin(near))] if near is not None else "")
    return found


def _resonances(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequency and width in Hz of what the linear prediction of each window rings at, shape (windows, order)."""
    power = np.abs(np.fft.rfft(rows, 2 * rows.shape[1])) ** 2
    echo = np.fft.irfft(power)[:, : _ORDER + 1] + 1e-12
    lags = np.abs(np.subtract.outer(np.arange(_ORDER), np.arange(_ORDER)))
    matrices = echo[:, lags] + np.eye(_ORDER) * echo[:, :1, None] * 1e-4
    companions = np.zeros_like(matrices)
    companions[:, np.arange(1, _ORDER), np.arange(_ORDER - 1)] = 1
    companions[:, 0, :] = np.linalg.solve(matrices, echo[:, 1:, None])[:, :, 0]
    poles = np.linalg.eigvals(companions)
    hertz = np.where(poles.imag > 0, np.angle(poles), 0) * _FORMANT_RATE / (2 * np.pi)
    return hertz, -np.log(np.abs(poles) + 1e-9) * _FORMANT_RATE / np.pi
