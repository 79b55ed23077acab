"""Sound in and out: WAV as programs write it, PCM, another rate, and nothing else taken for sound."""

import io
import struct
import wave

import numpy as np
import pytest

from vtuber_brain.errors import RequestFailed
from vtuber_brain.voice.sound import RATE, clip, read_wav, resampled, samples, write_wav


def tone(hertz=440.0, seconds=0.5, rate=RATE, level=0.5):
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def wav(sound, rate=RATE, channels=1, width=2):
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.repeat((sound * 32767).astype("<i2"), channels).tobytes())
    return buffer.getvalue()


def loudest_hertz(sound):
    return float(np.argmax(np.abs(np.fft.rfft(sound)))) * RATE / len(sound)


def test_a_clip_lasts_as_long_as_its_samples_and_what_is_too_loud_is_cut_off():
    one = clip(tone(seconds=0.25, level=3.0))
    assert one.duration_s == 0.25
    assert np.abs(samples(one)).max() <= 1


def test_a_wav_file_comes_back_as_it_went_out():
    one = clip(tone())
    assert np.allclose(read_wav(write_wav(one)), samples(one), atol=1e-4)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
def test_another_rate_keeps_length_pitch_and_loudness(rate):
    sound = read_wav(wav(tone(rate=rate), rate))
    assert len(sound) == RATE // 2
    assert loudest_hertz(sound) == pytest.approx(440, abs=3)
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.05)


def test_two_channels_become_one():
    assert len(read_wav(wav(tone(), channels=2))) == RATE // 2


@pytest.mark.parametrize("length", [0x7FFFF000, 0xFFFFFFFF])
def test_a_header_that_does_not_know_its_length_is_no_harm(length):
    data = bytearray(wav(tone()))
    start = data.index(b"data")
    data[start + 4 : start + 8] = struct.pack("<I", length)
    assert len(read_wav(bytes(data))) == RATE // 2


@pytest.mark.parametrize("data", [b"", b"no sound", b"RIFF....WAVE", wav(tone(), width=2)[:30]])
def test_anything_else_is_refused_by_type(data):
    with pytest.raises(RequestFailed, match="bad_sound"):
        read_wav(data)


def test_more_samples_for_the_same_sound_make_it_lower():
    assert loudest_hertz(resampled(tone(), 1.25)) == pytest.approx(440 / 1.25, abs=3)
    assert len(resampled(np.zeros(0, np.float32), 2)) == 0
