"""Sound as numbers: one sentence, mono, at one rate; from WAV bytes, to PCM, and resampled. Pure."""

import io
import struct
import wave
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtuber_brain.errors import RequestFailed

RATE = 24_000
"""Samples a second of everything the voice gives out."""

Samples = NDArray[np.float32]
"""Shape (samples,), from -1 to 1."""

STEP_MS = 20
"""How long one step of a mouth's movement is."""


@dataclass(frozen=True, slots=True)
class Mouth:
    """A mouth's movement: `open` from 0 to 100 and `shape`, one of aeiou_ each, a step of STEP_MS."""

    open: list[int]
    shape: str


@dataclass(frozen=True, slots=True)
class Clip:
    """A sentence as sound: PCM s16le, mono, RATE samples a second; and, where a face is to show it, the mouth."""

    pcm: bytes
    mouth: Mouth = Mouth([], "")

    @property
    def num_samples(self) -> int:
        """How many samples it has."""
        return len(self.pcm) // 2

    @property
    def duration_s(self) -> float:
        """How long it sounds, in seconds."""
        return self.num_samples / RATE


def clip(samples: Samples, mouth: Mouth = Mouth([], "")) -> Clip:
    """As PCM; what is louder than full is cut off."""
    return Clip((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes(), mouth)


def samples(sound: Clip) -> Samples:
    """The PCM as numbers again."""
    return np.asarray(np.frombuffer(sound.pcm, "<i2") / 32768, np.float32)


def resampled(sound: Samples, factor: float) -> Samples:
    """`factor` times as many samples for the same sound, by its spectrum; a factor of 1 changes nothing."""
    num = round(len(sound) * factor)
    if num == len(sound) or not len(sound) or not num:
        return sound
    spectrum = np.fft.rfft(sound)
    kept = np.zeros(num // 2 + 1, dtype=complex)
    common = min(len(spectrum), len(kept))
    kept[:common] = spectrum[:common]
    return np.asarray(np.fft.irfft(kept, num) * (num / len(sound)), np.float32)


def read_wav(data: bytes) -> Samples:
    """Mono at RATE from a WAV file of 16-bit samples, also from one whose header does not know its length.

    Raises RequestFailed (bad_sound) for anything else.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            if file.getsampwidth() != 2:
                raise RequestFailed("bad_sound", f"{8 * file.getsampwidth()}-bit samples; 16 are wanted")
            frames = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            channels, rate = file.getnchannels(), file.getframerate()
    except (wave.Error, EOFError, ValueError, struct.error) as error:
        raise RequestFailed("bad_sound", f"not a WAV file: {error}") from None
    mono = frames[: len(frames) // channels * channels].reshape(-1, channels).mean(axis=1) / 32768
    return resampled(np.asarray(mono, np.float32), RATE / rate)


def write_wav(sound: Clip) -> bytes:
    """The bytes of a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.pcm)
    return buffer.getvalue()
