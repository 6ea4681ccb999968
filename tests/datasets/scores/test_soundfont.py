"""The sampled instruments: tuning, alignment, release, broken fonts."""

import numpy as np
import pytest

from retimbre.datasets.scores import soundfont
from retimbre.datasets.scores.performance import PlayedNote
from retimbre.errors import RetimbreError


@pytest.fixture(scope="module")
def font():
    return soundfont.default_font()


def cents_from(audio, expected_hz):
    """Deviation of the strongest partial near ``expected_hz``: FFT peak, parabolic interpolation."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), 8 * len(audio)))
    hz = np.fft.rfftfreq(8 * len(audio), 1 / soundfont.RENDER_RATE)
    near = np.flatnonzero((hz > expected_hz * 0.94) & (hz < expected_hz * 1.06))
    peak = near[np.argmax(spectrum[near])]
    a, b, c = np.log(spectrum[peak - 1 : peak + 2])
    return 1200 * np.log2((hz[peak] + (a - c) / (2 * (a - 2 * b + c)) * hz[1]) / expected_hz)


@pytest.mark.parametrize("domain", soundfont.INSTRUMENTS)
def test_a4_is_440_hz(domain, font):
    audio = soundfont.render([PlayedNote(0.0, 1.0, 69, 90)], soundfont.instrument(domain).program, font, 1.0)
    assert abs(cents_from(audio[9600:43200], 440.0)) < 20


def test_notes_begin_where_the_score_says_on_both_instruments(font):
    notes = [PlayedNote(t, t + 0.2, 60, 100) for t in (0.25, 0.75, 1.25)]
    for domain in ("piano", "guitar"):
        audio = soundfont.render(notes, soundfont.instrument(domain).program, font, 2.0)
        assert len(audio) == 96000
        for note in notes:
            at = round(note.start_s * 48000)
            before, after = np.abs(audio[at - 480 : at]).max(), np.abs(audio[at : at + 1440]).max()
            assert after > 3 * before + 0.01, domain


def test_the_release_is_kept_and_the_sound_is_dry(font):
    audio = soundfont.render([PlayedNote(0.0, 0.5, 60, 100)], 0, font, 2.0)
    level = [np.abs(audio[a : a + 2400]).max() for a in (21600, 24960, 60000)]
    assert level[1] > 0.01 * level[0]  # 20 ms after the note's end it still rings
    assert level[2] < 0.01 * level[0]  # 0.75 s later no reverb does


def test_rendering_is_bit_identical(font):
    notes = [PlayedNote(0.0, 0.3, 64, 90), PlayedNote(0.2, 0.5, 67, 70)]
    assert np.array_equal(soundfont.render(notes, 24, font, 0.8), soundfont.render(notes, 24, font, 0.8))


def test_unknown_instrument_lists_the_known():
    with pytest.raises(RetimbreError, match="'banjo'.*piano, guitar"):
        soundfont.instrument("banjo")


def test_broken_fonts_are_refused(tmp_path, font):
    with pytest.raises(RetimbreError, match="not a file"):
        soundfont.find_font(str(tmp_path / "missing.sf2"))
    text = tmp_path / "text.sf2"
    text.write_text("no font")
    with pytest.raises(RetimbreError, match="not a SoundFont 2 file"):
        soundfont.find_font(str(text))
    cut = tmp_path / "cut.sf2"
    cut.write_bytes(font.read_bytes()[:100_000])
    with pytest.raises(RetimbreError, match="cannot be rendered"):
        soundfont.find_font(str(cut))


def test_another_font_is_taken(font):
    found = soundfont.find_font(str(font))
    assert found.path == font.resolve()
    assert found.name.startswith(font.name)


def test_a_font_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(soundfont, "FONT_SHA256", "0" * 64)
    with pytest.raises(RetimbreError, match="SHA-256"):
        soundfont.default_font()
