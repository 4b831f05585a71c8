"""Sound taken out of real files: to the bit where it is copied, to the sample where it is not."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from capture.cli.hints import in_options
from capture.errors import CaptureError, ConfigError, DamagedFileError, MediaError, OutputError
from capture.media.extract.job import extract
from capture.specs.extraction import ExtractJob
from capture.specs.voice import GateSpec, SoundFileSpec
from tests.media.broken import BROKEN, make_broken, run_ffmpeg
from tests.media.sounds import COPIED, LENGTH_S, decoded, make_film, played, samples
from tests.scenes import build, needs_espeak

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

RATE_HZ = 48_000
LONGEST_PACKET_S = 0.13  # PCM in mkv and avi comes in packets of up to an eighth of a second
WAV, FLAC = SoundFileSpec("wav"), SoundFileSpec("flac")


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A file of ``COPIED``, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("films")

    def make(name: str) -> Path:
        path = folder / name
        return path if path.exists() else make_film(path, COPIED[name][0])

    return make


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def packets(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(audio=0))


# ------------------------------------------------------------------------------------------ copy


@pytest.mark.parametrize("name", COPIED)
def test_a_copy_decodes_to_the_very_samples_of_the_source(
    name: str, film: Callable[[str], Path], tmp_path: Path
) -> None:
    source = film(name)
    result = extract(ExtractJob(source, tmp_path))
    (part,) = result.parts
    assert part.path.name == Path(name).stem + COPIED[name][1]
    assert names(tmp_path) == [part.path.name]
    ours, theirs = played(part.path), played(source)
    extra = len(ours) - len(theirs)
    assert np.array_equal(ours[extra:], theirs)
    assert decoded(part.path) in decoded(source)  # older programs leave out less
    assert part.duration_s == pytest.approx(LENGTH_S, abs=LONGEST_PACKET_S)
    with av.open(str(part.path)) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(part.duration_s, abs=0.03)
    # FFmpeg 7 and later say of AC-3 in Matroska what the encoder put before the sound.
    unheard = "a .ac3 file cannot mark its first 256 samples, which should not be heard"
    assert result.warnings == ((unheard,) if extra else ())
    assert extra in ({0, 256 * 2} if name == "ac3.mkv" else {0})
    assert not result.is_partial


def test_what_is_cut_off_at_the_end_stays_cut_off(tmp_path: Path) -> None:
    # The newer FFmpeg inside PyAV writes end padding to Matroska for these.
    for codec, name in (("libopus", "a.mkv"), ("libmp3lame", "b.mp3"), ("libopus", "c.ogg")):
        source = tmp_path / name
        with av.open(str(source), "w") as out:
            stream: Any = out.add_stream(codec, rate=RATE_HZ, layout="mono")
            form = stream.codec_context.format.name
            resampler = av.AudioResampler(format=form, layout="mono", rate=RATE_HZ)
            noise = np.random.default_rng(1).standard_normal((1, 100_001)).astype(np.float32) / 9
            frame: Any = av.AudioFrame.from_ndarray(noise, format="flt", layout="mono")
            frame.sample_rate = RATE_HZ
            fifo: Any = av.AudioFifo()
            for whole in resampler.resample(frame):
                fifo.write(whole)
            while (piece := fifo.read(1152, partial=True)) is not None:
                out.mux(stream.encode(piece))
            out.mux(stream.encode(None))
        (part,) = extract(ExtractJob(source, tmp_path / "out")).parts
        assert part.duration_s == 100_001 / RATE_HZ, name
        assert len(samples(part.path)) == 100_001, name


def test_language_title_and_tags_are_kept(tmp_path: Path) -> None:
    source = make_film(
        tmp_path / "in.mkv",
        "aac",
        *("-metadata:s:a:0", "language=ger", "-metadata:s:a:0", "title=Kommentar"),
        *("-metadata", "artist=Ää"),
    )
    (part,) = extract(ExtractJob(source, tmp_path / "out")).parts
    assert part.title == "Kommentar"
    with av.open(str(part.path)) as container:
        tags = dict(container.metadata)
        assert (tags["title"], tags["artist"]) == ("Kommentar", "Ää")
        assert container.streams.audio[0].language == "ger"


def test_a_copied_stretch_says_where_its_packets_really_lie(tmp_path: Path) -> None:
    # PNS puts in noise by chance, which would differ.
    source = make_film(tmp_path / "in.mp4", "aac", "-aac_pns", "0")
    (part,) = extract(ExtractJob(source, tmp_path, start_s=1.0, end_s=2.0)).parts
    assert 1.0 - 1024 / RATE_HZ < part.span.start_s <= 1.0
    assert 2.0 <= part.span.end_s < 2.0 + 1024 / RATE_HZ
    whole, cut = samples(source)[::2], samples(part.path)[::2]
    at = round(part.span.start_s * RATE_HZ)
    assert len(cut) == round(part.span.length_s * RATE_HZ)
    # Its first packet lacks the one before, that it overlaps with.
    assert np.array_equal(cut[2048:], whole[at : at + len(cut)][2048:])


@pytest.mark.parametrize("name", ["opus.webm", "vorbis.mkv", "flac.mkv", "mp3.mkv", "pcm16.mov"])
def test_a_copied_stretch_lies_where_it_says(
    name: str, film: Callable[[str], Path], tmp_path: Path
) -> None:
    source = film(name)
    (part,) = extract(ExtractJob(source, tmp_path, start_s=1.0, end_s=2.0)).parts
    assert part.span.start_s <= 1.0
    assert part.span.end_s >= 2.0
    assert part.span.length_s < 1.0 + 2 * LONGEST_PACKET_S
    whole, cut = played(source)[::2], played(part.path)[::2]
    assert len(cut) / RATE_HZ == pytest.approx(part.duration_s, abs=0.001)
    middle = cut[len(cut) // 2 :][:4800]
    near = round(part.span.start_s * RATE_HZ) + len(cut) // 2
    errors = [
        float(np.abs(whole[near + shift : near + shift + 4800] - middle).max())
        for shift in range(-180, 181)
    ]
    assert min(errors) < 0.02
    # Matroska's millisecond; and Vorbis' first block, which Matroska counts and FFmpeg does not.
    assert abs(int(np.argmin(errors)) - 180) <= 49 + 128


def test_all_tracks_come_out_of_one_reading(tmp_path: Path) -> None:
    source = tmp_path / "two.mkv"
    tone = ("-f", "lavfi", "-i", "sine=440:duration=2", "-f", "lavfi", "-i", "sine=880:duration=2")
    run_ffmpeg(
        *(*tone, "-map", "0", "-map", "1", "-c:a:0", "aac", "-c:a:1", "libopus"),
        *("-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger", source),
    )
    extract(ExtractJob(source, tmp_path / "out", track="all"))
    assert names(tmp_path / "out") == ["two.1.eng.m4a", "two.2.ger.opus"]
    assert decoded(tmp_path / "out" / "two.2.ger.opus") == decoded(source, 1)
    (part,) = extract(ExtractJob(source, tmp_path / "de", track="de")).parts
    assert part.codec == "opus"
    with pytest.raises(MediaError, match="no sound track 3") as caught:
        extract(ExtractJob(source, tmp_path / "de", track="3"))
    assert caught.value.hint == "it has 1 (eng), 2 (ger)"


def test_a_chapter_each(film: Callable[[str], Path], tmp_path: Path) -> None:
    notes = tmp_path / "chapters.txt"
    notes.write_text(
        ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=Why/what?\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=3000\ntitle=The end\n"
    )
    source = tmp_path / "talk.mkv"
    run_ffmpeg("-i", film("aac.mkv"), "-i", notes, "-map_chapters", "1", "-c", "copy", source)
    with av.open(str(source)) as container:  # FFmpeg 7 moves all but the chapters by the priming
        begins_s = (container.start_time or 0) / av.time_base
    for spec in (None, WAV):
        out = tmp_path / f"out-{spec is None}"
        result = extract(ExtractJob(source, out, by_chapter=True, spec=spec))
        suffix = ".wav" if spec else ".m4a"
        assert names(out) == [f"talk 01 Why what{suffix}", f"talk 02 The end{suffix}"]
        assert result.parts[1].title == "The end"
        assert result.parts[1].span.start_s == pytest.approx(1.0 - begins_s, abs=0.03)
    assert [part.duration_s for part in result.parts] == [1.0 - begins_s, 2.0]
    with pytest.raises(MediaError, match="no chapters"):
        extract(ExtractJob(film("aac.mkv"), tmp_path, by_chapter=True))


def test_a_track_that_begins_late(film: Callable[[str], Path], tmp_path: Path) -> None:
    source = tmp_path / "late.mkv"
    plain = film("flac.mkv")
    run_ffmpeg(
        *("-i", plain, "-itsoffset", "1.5", "-i", plain, "-map", "0:v", "-map", "1:a"),
        *("-c", "copy", source),
    )
    (part,) = extract(ExtractJob(source, tmp_path / "a")).parts
    assert part.span.start_s == pytest.approx(1.5, abs=0.002)
    assert part.path.suffix == ".flac"
    assert decoded(part.path) == decoded(plain)
    (part,) = extract(ExtractJob(source, tmp_path / "b", keep_offset=True)).parts
    assert part.path.suffix == ".mka"  # FLAC files know no time
    with av.open(str(part.path)) as container:
        assert next(container.decode(audio=0)).time == pytest.approx(1.5, abs=0.002)
    (part,) = extract(ExtractJob(source, tmp_path / "c", keep_offset=True, spec=WAV)).parts
    heard = samples(part.path)[::2]
    assert len(heard) == pytest.approx(round((LENGTH_S + 1.5) * RATE_HZ), abs=48)
    assert not heard[: round(1.49 * RATE_HZ)].any()
    assert heard[round(1.51 * RATE_HZ) :][:480].any()


# ------------------------------------------------------------------------------------- transcode


@pytest.mark.parametrize("spec", [WAV, FLAC], ids=lambda spec: spec.format)
@pytest.mark.parametrize("name", ["aac.mp4", "opus.webm", "vorbis.ogg", "mp3.mp3", "flac.mkv"])
def test_transcoding_is_exact_to_the_sample(
    name: str, spec: SoundFileSpec, film: Callable[[str], Path], tmp_path: Path
) -> None:
    source = film(name)
    (part,) = extract(ExtractJob(source, tmp_path, spec=spec)).parts
    ours, theirs = samples(part.path), samples(source)
    if name == "aac.mp4":
        # FFmpeg before 8.1 plays the last packet whole, later ones heed the edit list.
        assert 0 <= len(theirs) - len(ours) < 1024 * 2
        theirs = theirs[: len(ours)]
    assert len(ours) == len(theirs)
    # Decoders with floats differ by 1e-7 between versions of FFmpeg: now and then 1 of 32768.
    slack = 0 if name.startswith(("mp3", "flac")) else 1
    assert np.abs(ours.astype(int) - theirs).max() <= slack
    with av.open(str(source)) as container:
        resampler = av.AudioResampler(format="s16")
        same = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
    assert np.array_equal(ours, np.concatenate([frame.to_ndarray()[0] for frame in same]))


@pytest.mark.parametrize(("name", "form"), [("pcm24.mkv", "s32le"), ("pcmfloat.mkv", "f32le")])
def test_depth_is_kept(name: str, form: str, film: Callable[[str], Path], tmp_path: Path) -> None:
    (part,) = extract(ExtractJob(film(name), tmp_path, spec=WAV)).parts
    assert np.array_equal(samples(part.path, form), samples(film(name), form))


def test_start_and_end_give_exactly_as_many_samples(
    film: Callable[[str], Path], tmp_path: Path
) -> None:
    source = film("flac.mkv")
    job = ExtractJob(source, tmp_path, spec=FLAC, start_s=0.1234, end_s=2.5678)
    (part,) = extract(job).parts
    first, count = round(0.1234 * RATE_HZ), round((2.5678 - 0.1234) * RATE_HZ)
    assert np.array_equal(samples(part.path), samples(source)[first * 2 : (first + count) * 2])
    assert part.span.start_s == first / RATE_HZ
    (part,) = extract(replace(job, target=tmp_path / "r", rate_hz=16_000, is_mono=True)).parts
    assert len(samples(part.path)) == round((2.5678 - 0.1234) * 16_000)
    with pytest.raises(MediaError, match="no sound between") as caught:
        extract(replace(job, target=tmp_path / "x", start_s=50.0, end_s=60.0))
    assert "ends at 3.1" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["opus", "m4a", "mp3", "ogg"])
def test_other_formats_are_as_long_as_the_source(
    name: str, film: Callable[[str], Path], tmp_path: Path
) -> None:
    job = ExtractJob(film("flac.mkv"), tmp_path, spec=SoundFileSpec(name))
    (part,) = extract(job).parts
    length = round(LENGTH_S * RATE_HZ)
    assert part.duration_s == length / RATE_HZ
    assert len(samples(part.path)) // 2 == pytest.approx(length, abs=1024)


@pytest.mark.parametrize("name", ["aac.mp4", "opus.ogg", "ac3.mkv", "pcm16.mov"])
def test_without_a_format_the_kind_of_the_source_is_written(
    name: str, film: Callable[[str], Path], tmp_path: Path
) -> None:
    (part,) = extract(ExtractJob(film(name), tmp_path, is_mono=True)).parts
    assert (
        part.path.suffix
        == {"aac": ".m4a", "opus": ".opus", "ac3": ".flac", "pcm16": ".wav"}[name.partition(".")[0]]
    )


def test_for_a_messenger(film: Callable[[str], Path], tmp_path: Path) -> None:
    spec = SoundFileSpec(messenger="whatsapp")
    (part,) = extract(ExtractJob(film("aac.mp4"), tmp_path, spec=spec)).parts
    assert (part.path.suffix, part.codec) == (".ogg", "opus")


def loudness(path: Path) -> tuple[float, float]:
    """Integrated loudness and true peak, as FFmpeg measures them."""
    command = ["ffmpeg", "-nostdin", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stderr
    summary = said.rpartition("Summary:")[2]
    found = re.search(r"I:\s+(\S+) LUFS.*Peak:\s+(\S+) dBFS", summary, re.DOTALL)
    assert found is not None
    return float(found[1]), float(found[2])


LOUD = {
    "soft tone": "sine=440:duration=8,volume=-35dB",
    "loud tone": "sine=440:duration=8,volume=17dB",
    "noise": "anoisesrc=duration=8:amplitude=0.2:seed=1",
    "pink": "anoisesrc=duration=8:amplitude=0.9:color=pink:seed=2",
    "words": "anoisesrc=duration=8:amplitude=0.3:color=pink:seed=3,tremolo=f=3:d=0.95",
    "steps": "sine=300:duration=8,volume='if(lt(mod(t,2),1),0.05,1)':eval=frame",
    "clicks": "aevalsrc='0.05*sin(2*PI*300*t)+0.7*lt(mod(t,1),0.001)':duration=8",
    "hard clicks": "aevalsrc='0.03*sin(2*PI*300*t)+0.9*lt(mod(t,1),0.001)':duration=8",
    "clipped": "sine=200:duration=8,volume=30dB",
    "stereo": "aevalsrc='0.5*sin(2*PI*300*t)|0.01*sin(2*PI*500*t)':duration=8",
    "chirp": "aevalsrc='0.1*sin(2*PI*(100+400*t)*t)':duration=8",
}


@pytest.mark.parametrize("name", LOUD)
def test_loudness_is_brought_to_the_target(name: str, tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    run_ffmpeg("-f", "lavfi", "-i", LOUD[name], "-ar", "48000", "-c:a", "pcm_s16le", source)
    result = extract(ExtractJob(source, tmp_path / "out", spec=FLAC, loudness_lufs=-16.0))
    integrated, peak = loudness(result.parts[0].path)
    assert integrated == pytest.approx(-16.0, abs=0.5)
    assert peak < -1.0
    assert len(samples(result.parts[0].path)) == len(samples(source))
    assert not result.warnings


@pytest.mark.parametrize("name", ["opus", "m4a", "mp3"])
@pytest.mark.parametrize("kind", ["clicks", "pink"])
def test_what_an_encoder_changes_is_made_up_for(kind: str, name: str, tmp_path: Path) -> None:
    # Opus takes 1.7 LU off noise, and lets peaks grow by a dB.
    source = tmp_path / "in.wav"
    run_ffmpeg("-f", "lavfi", "-i", LOUD[kind], "-ar", "48000", "-c:a", "pcm_s16le", source)
    job = ExtractJob(source, tmp_path / "out", spec=SoundFileSpec(name), loudness_lufs=-16.0)
    result = extract(job)
    integrated, peak = loudness(result.parts[0].path)
    assert integrated == pytest.approx(-16.0, abs=0.5)
    assert peak <= -1.0
    assert not result.warnings


def test_a_warning_says_how_much_is_missing(tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    clicks = "aevalsrc='0.03*sin(2*PI*300*t)+0.9*lt(mod(t,0.5),0.001)':duration=8"
    run_ffmpeg("-f", "lavfi", "-i", clicks, "-ar", "48000", "-c:a", "pcm_s16le", source)
    result = extract(ExtractJob(source, tmp_path / "out", spec=FLAC, loudness_lufs=-16.0))
    integrated, peak = loudness(result.parts[0].path)
    assert peak < -1.0
    found = re.search(r"the sound is (\S+) LU softer than wanted", " ".join(result.warnings))
    assert found is not None
    assert float(found[1]) == pytest.approx(-16.0 - integrated, abs=0.11)  # both are rounded
    assert integrated == pytest.approx(-16.0, abs=2.0)


def test_loudness_that_would_do_harm_is_not_forced(tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    noise = "anoisesrc=duration=6:amplitude=0.1:color=pink:seed=4"
    run_ffmpeg("-f", "lavfi", "-i", noise, source)
    result = extract(ExtractJob(source, tmp_path / "a", spec=FLAC, loudness_lufs=-5.0))
    assert loudness(result.parts[0].path)[1] < -1.0
    assert "softer than wanted" in " ".join(result.warnings)
    run_ffmpeg("-f", "lavfi", "-i", "anullsrc", "-t", "2", source)
    result = extract(ExtractJob(source, tmp_path / "b", spec=FLAC, loudness_lufs=-16.0))
    assert "too soft" in " ".join(result.warnings)


def test_silence_is_trimmed_and_messages_are_split(tmp_path: Path) -> None:
    source = tmp_path / "in.wav"
    bursts = "sine=400:duration=12,volume='between(t,1,3)+between(t,7,9)':eval=frame,volume=10dB"
    run_ffmpeg("-f", "lavfi", "-i", bursts, "-ar", "44100", source)
    (part,) = extract(ExtractJob(source, tmp_path / "a", is_trim=True)).parts
    assert part.path.name == "in trimmed.wav"
    assert (part.span.start_s, part.span.end_s) == pytest.approx((0.9, 9.1), abs=0.05)
    whole = samples(source)
    first = round(part.span.start_s * 44_100)
    assert np.array_equal(samples(part.path), whole[first:][: round(part.duration_s * 44_100)])
    job = ExtractJob(source, tmp_path / "b", is_split=True, gate=GateSpec(is_any_sound=True))
    result = extract(job)
    assert names(tmp_path / "b") == ["in any sound-01.wav", "in any sound-02.wav"]
    assert [part.span.start_s for part in result.parts] == pytest.approx([0.9, 6.9], abs=0.05)
    result = extract(ExtractJob(source, tmp_path / "c", is_speech_only=True))
    assert not result.parts
    assert result.warnings == ("no speech was found in sound track 1",)


EDGE_S, CUT_S = 0.06, 0.04
RING_S = 0.25
"""So long an Opus decoder lets a voice that breaks off ring on: it is in the file, and is kept."""


@needs_espeak
@pytest.mark.parametrize("encoder", ["pcm_s16le", "libopus", "aac"])
def test_spoken_messages_are_split(
    encoder: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    scene = build(count=20 if pytestconfig.getoption("full") else 4)
    suffix = {"pcm_s16le": ".wav", "libopus": ".opus", "aac": ".m4a"}[encoder]
    source = scene.write(tmp_path / "scene.wav")
    if suffix != ".wav":
        source = tmp_path / f"scene{suffix}"
        run_ffmpeg("-i", tmp_path / "scene.wav", "-c:a", encoder, "-b:a", "96k", source)
    gate = GateSpec()
    result = extract(ExtractJob(source, tmp_path / "out", is_split=True, spec=WAV, gate=gate))
    assert not result.warnings
    assert [part.path.name for part in result.parts] == [
        f"scene-{number:02}.wav" for number in range(1, len(scene.truth) + 1)
    ]
    for part, place in zip(result.parts, scene.truth, strict=True):
        early = place.start_frame / RATE_HZ - part.span.start_s - gate.pad_s
        late = part.span.end_s - place.end_frame / RATE_HZ - gate.pad_s
        assert early + gate.pad_s >= -CUT_S, place
        assert late + gate.pad_s >= -CUT_S, place
        assert abs(early) <= EDGE_S, place
        assert -EDGE_S <= late <= (RING_S if encoder == "libopus" else EDGE_S), place
        assert part.duration_s == pytest.approx(part.span.length_s, abs=1e-4)
    # A part is what lies there, to the sample.
    whole = samples(source)[::2].astype(int)
    part = result.parts[1]
    first = round(part.span.start_s * RATE_HZ)
    ours = samples(part.path)[::2].astype(int)
    assert np.abs(ours - whole[first : first + len(ours)]).max() <= 2


@needs_espeak
def test_speech_is_kept_and_music_is_not(tmp_path: Path) -> None:
    scene = build(count=4, music=True)
    source = scene.write(tmp_path / "scene.wav")
    (part,) = extract(ExtractJob(source, tmp_path / "out", is_speech_only=True)).parts
    assert part.path.name == "scene speech.wav"
    heard = samples(part.path)[::2].astype(float)
    at = 0
    for place in scene.truth:  # in their order, to the bit, and hardly anything between them
        spoken = np.rint(scene.samples[place.start_frame : place.end_frame, 0] * 32768)
        begins = at + int(np.argmax(np.abs(heard[at:]) > np.abs(spoken).max() / 100))
        near = heard[max(0, begins - RATE_HZ // 4) :][: len(spoken) + RATE_HZ // 2]
        shift = int(np.argmax(correlated(near, spoken)))
        assert np.array_equal(near[shift : shift + len(spoken)], spoken)
        at = max(0, begins - RATE_HZ // 4) + shift + len(spoken)
    spoken_s = sum(place.end_frame - place.start_frame for place in scene.truth) / RATE_HZ
    most_s = 2 * (GateSpec().pad_s + EDGE_S) * len(scene.truth)
    assert spoken_s <= part.duration_s <= spoken_s + most_s


def correlated(heard: NDArray[Any], spoken: NDArray[Any]) -> NDArray[Any]:
    """How alike they are, for every place of one in the other."""
    length = len(heard)
    product = np.fft.rfft(heard) * np.conj(np.fft.rfft(spoken, length))
    return np.fft.irfft(product, length)[: length - len(spoken) + 1]


def test_a_picture_lies_beside_each_file(film: Callable[[str], Path], tmp_path: Path) -> None:
    extract(ExtractJob(film("aac.mp4"), tmp_path, with_picture=True))
    assert names(tmp_path) == ["aac.m4a", "aac.png"]
    assert (tmp_path / "aac.png").read_bytes().startswith(b"\x89PNG")


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("spec", [None, WAV], ids=["copy", "wav"])
@pytest.mark.parametrize("kind", BROKEN)
def test_what_holds_no_sound_is_refused_in_one_sentence(
    kind: str, spec: SoundFileSpec | None, tmp_path: Path
) -> None:
    (source,) = (path for path in make_broken(tmp_path) if kind in path.name)
    before = source.read_bytes()
    out = tmp_path / "out"
    with pytest.raises(CaptureError) as caught:
        extract(ExtractJob(source, out, spec=spec))
    assert isinstance(caught.value, MediaError)
    assert source.name in caught.value.message
    assert caught.value.hint
    assert not out.exists() or not names(out)
    assert source.read_bytes() == before


def test_a_folder_a_pipe_and_nothing_at_all_are_refused(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("there are no such pipes")
    pipe = tmp_path / "pipe.ogg"
    os.mkfifo(pipe)
    link = tmp_path / "gone.ogg"
    link.symlink_to(tmp_path / "nothing.ogg")
    for path, words in (
        (tmp_path, "is a folder"),
        (pipe, "is no ordinary file"),
        (link, "there is no file"),
    ):
        with pytest.raises(DamagedFileError, match=words):
            extract(ExtractJob(path, tmp_path / "out"))


def test_a_file_that_may_not_be_read_or_written(
    film: Callable[[str], Path], tmp_path: Path
) -> None:
    if sys.platform == "win32" or os.geteuid() != 0:
        pytest.skip("needs to be root, to drop it")
    assert sys.platform != "win32"
    source = tmp_path / "in.ogg"
    source.write_bytes(film("opus.ogg").read_bytes())
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(path.stat().st_mode | 0o055)
    try:
        os.seteuid(65_534)
        with pytest.raises(OutputError, match="no permission"):
            extract(ExtractJob(source, folder))
        os.seteuid(0)
        source.chmod(0)
        os.seteuid(65_534)
        with pytest.raises(DamagedFileError, match="Permission denied"):
            extract(ExtractJob(source, folder))
    finally:
        os.seteuid(0)
    assert not names(folder)


def test_the_source_is_never_written_over(film: Callable[[str], Path], tmp_path: Path) -> None:
    source = tmp_path / "a.opus"
    source.write_bytes(film("opus.ogg").read_bytes())
    soft, hard = tmp_path / "soft.opus", tmp_path / "hard.opus"
    soft.symlink_to(source)
    hard.hardlink_to(source)
    before = source.read_bytes()
    for target in (source, soft, hard):
        for spec in (None, SoundFileSpec("opus")):
            job = ExtractJob(source, target, is_target_file=True, spec=spec, overwrite=True)
            with pytest.raises(OutputError, match="is the source itself"):
                extract(job)
    assert source.read_bytes() == before
    assert names(tmp_path) == ["a.opus", "hard.opus", "soft.opus"]


def test_what_exists_stays(film: Callable[[str], Path], tmp_path: Path) -> None:
    target = tmp_path / "opus.opus"
    target.write_text("precious")
    job = ExtractJob(film("opus.ogg"), tmp_path)
    with pytest.raises(OutputError, match="is there already"):
        extract(job)
    assert target.read_text() == "precious"
    extract(replace(job, overwrite=True))
    assert decoded(target) == decoded(job.source)
    with pytest.raises(OutputError, match="not a folder"):
        extract(replace(job, target=target / "sub"))
    with pytest.raises(ConfigError, match=r"becomes a .opus file, not .mp3"):
        extract(replace(job, target=tmp_path / "x.mp3", is_target_file=True))


@pytest.mark.parametrize("spec", [None, WAV], ids=["copy", "wav"])
@pytest.mark.parametrize("name", ["aac.mp4", "flac.mkv", "pcm16.mov", "opus.webm"])
def test_of_a_truncated_file_what_is_there_is_kept(
    name: str, spec: SoundFileSpec | None, film: Callable[[str], Path], tmp_path: Path
) -> None:
    whole = film(name)
    source = tmp_path / name
    if name in {"aac.mp4", "pcm16.mov"}:  # the index first, or nothing could be had
        run_ffmpeg("-i", whole, "-c", "copy", "-movflags", "+faststart", source)
    else:
        source.write_bytes(whole.read_bytes())
    size = source.stat().st_size
    os.truncate(source, size * 6 // 10)
    result = extract(ExtractJob(source, tmp_path / "out", spec=spec))
    assert 0.8 < result.parts[0].duration_s < 2.8
    assert result.is_partial
    assert result.warnings


def damage(whole: Path, source: Path, numbers: slice, fill: int | None) -> float:
    """Overwrite some packets; gives where the first of them lies."""
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        found = [
            (bytes(packet), packet.pts * packet.time_base)
            for packet in container.demux(audio=0)
            if packet.pts is not None
        ]
    for content, _ in found[numbers]:
        assert data.count(content) == 1
        at = data.index(content)
        length = len(content)
        junk = np.random.default_rng(3).bytes(length) if fill is None else bytes([fill]) * length
        data[at : at + length] = junk
    source.write_bytes(data)
    return float(found[numbers.start][1])


@pytest.mark.parametrize("fill", [0xFF, 0, None], ids=["ones", "zeros", "random"])
@pytest.mark.parametrize("name", ["opus.mkv", "opus.mp4", "flac.mkv", "mp3.mkv", "mp3.mp4"])
def test_what_follows_damaged_packets_lies_where_it_did(
    name: str, fill: int | None, film: Callable[[str], Path], tmp_path: Path
) -> None:
    whole, source = film(name), tmp_path / name
    damage_s = damage(whole, source, slice(14, 18), fill)
    result = extract(ExtractJob(source, tmp_path / "out", spec=WAV))
    (sound,) = extract(ExtractJob(whole, tmp_path / "whole", spec=WAV)).parts
    ours, theirs = samples(result.parts[0].path)[::2], samples(sound.path)[::2]
    assert len(ours) == len(theirs)
    differs = np.flatnonzero(ours != theirs) / RATE_HZ
    packet_s = 4608 / RATE_HZ if name == "flac.mkv" else 0.024
    assert damage_s - packet_s < differs[0]
    # Until each bit is as it was again, an Opus decoder takes a while: its filters remember.
    settles_s = {"flac": 0.0, "mp3": 0.1, "opus": 0.7}[name.partition(".")[0]]
    assert differs[-1] < damage_s + 4 * packet_s + settles_s
    if name == "flac.mkv":
        assert result.warnings[0] == "4 packets of sound track 1 could not be read and left out"
        assert result.is_partial
    if fill is not None:  # by chance it may be sound, if no good one
        assert any("lacks 0." in text for text in result.warnings)


def test_damage_inside_a_packet_is_copied(film: Callable[[str], Path], tmp_path: Path) -> None:
    source = tmp_path / "aac.mp4"
    damage(film("aac.mp4"), source, slice(14, 18), 0)
    result = extract(ExtractJob(source, tmp_path / "out"))
    assert not result.warnings
    assert packets(result.parts[0].path) == packets(source)


def test_what_a_job_does_not_want_is_not_missing(
    film: Callable[[str], Path], tmp_path: Path
) -> None:
    source = film("flac.mkv")
    for number, spec in enumerate((None, FLAC)):
        job = ExtractJob(source, tmp_path / str(number), spec=spec, end_s=1.0)
        result = extract(job)
        assert not result.warnings
        assert not result.is_partial
    bursts = "sine=400:duration=12,volume='between(t,1,3)':eval=frame,volume=10dB"
    source = tmp_path / "burst.mov"
    first = ("-c:a", "pcm_s16le", "-movflags", "+faststart")  # the index first: it knows the length
    run_ffmpeg("-f", "lavfi", "-i", bursts, "-ar", "44100", *first, source)
    result = extract(ExtractJob(source, tmp_path / "burst", is_trim=True))
    assert not result.warnings
    os.truncate(source, 800_000)  # after the burst, which is still whole
    result = extract(ExtractJob(source, tmp_path / "cut", is_trim=True))
    assert result.is_partial
    assert any("is cut off: 9." in text for text in result.warnings)


def test_holes_and_jumps_in_the_stamps(tmp_path: Path) -> None:
    source = tmp_path / "hole.mka"
    tone = np.sin(np.arange(RATE_HZ, dtype=np.float32) / 20)[None] / 4
    with av.open(str(source), "w", format="matroska") as out:
        stream: Any = out.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        data = (tone * 32767).astype(np.int16)
        for start_s in (0.0, 1.0, 2.5, 90_000.0):  # half a second is missing, then a day
            frame = av.AudioFrame.from_ndarray(data, format="s16", layout="mono")
            frame.sample_rate = RATE_HZ
            frame.pts = round(start_s * RATE_HZ)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    result = extract(ExtractJob(source, tmp_path / "out", spec=WAV))
    heard = samples(result.parts[0].path)
    assert len(heard) == round(4.5 * RATE_HZ)
    assert not heard[2 * RATE_HZ + 48 : round(2.5 * RATE_HZ) - 48].any()
    assert np.array_equal(heard[-RATE_HZ:], data[0])
    assert any("lacks 0.50 s of sound in one place" in text for text in result.warnings)
    assert any("jumps once" in text for text in result.warnings)
    result = extract(ExtractJob(source, tmp_path / "copy"))
    assert any("has no timestamps" in text for text in result.warnings)


def test_a_rate_that_changes_in_the_middle(tmp_path: Path) -> None:
    parts = []
    for number, rate in enumerate((48_000, 24_000)):
        path = tmp_path / f"{number}.mp3"
        tone = f"sine=440:sample_rate={rate}:duration=2"
        run_ffmpeg("-f", "lavfi", "-i", tone, "-write_xing", "0", "-id3v2_version", "0", path)
        parts.append(path.read_bytes())
    source = tmp_path / "both.mp3"
    source.write_bytes(b"".join(parts))
    result = extract(ExtractJob(source, tmp_path / "out", spec=WAV))
    heard = samples(result.parts[0].path)
    assert len(heard) / RATE_HZ == pytest.approx(4.1, abs=0.2)
    late = heard[-RATE_HZ:].astype(float)
    assert int(np.argmax(np.abs(np.fft.rfft(late)))) == pytest.approx(440, abs=5)
    assert any("changes its rate" in text for text in result.warnings)


def test_names_with_newlines_and_emoji(film: Callable[[str], Path], tmp_path: Path) -> None:
    source = tmp_path / "voice\n🎤: a?.ogg"
    source.write_bytes(film("opus.ogg").read_bytes())
    (part,) = extract(ExtractJob(source, tmp_path / "out")).parts
    assert part.path.name == "voice 🎤 a.opus"
    assert decoded(part.path) == decoded(source)


def test_a_codec_that_no_container_takes(tmp_path: Path) -> None:
    source = tmp_path / "old.avi"
    run_ffmpeg(
        "-f",
        "lavfi",
        "-i",
        "sine=duration=1",
        "-c:a",
        "adpcm_swf",
        "-ar",
        "22050",
        tmp_path / "old.flv",
    )
    source = tmp_path / "old.flv"
    with pytest.raises(MediaError, match="takes a copy of adpcm_swf") as caught:
        extract(ExtractJob(source, tmp_path / "out"))
    assert "--format" in (in_options(caught.value.hint) or "")
    assert extract(ExtractJob(source, tmp_path / "out", spec=FLAC)).parts


def test_jobs_that_contradict_themselves(film: Callable[[str], Path], tmp_path: Path) -> None:
    job = ExtractJob(film("opus.ogg"), tmp_path)
    for wrong in (
        {"start_s": 2.0, "end_s": 1.0},
        {"start_s": float("nan")},
        {"is_trim": True, "by_chapter": True},
        {"loudness_lufs": 3.0},
        {"rate_hz": 7},
        {"spec": SoundFileSpec("au")},
    ):
        changes: dict[str, Any] = wrong
        with pytest.raises(ConfigError):
            extract(replace(job, **changes))
    assert not names(tmp_path)


def test_a_job_and_its_result_go_to_a_worker_and_back(
    film: Callable[[str], Path], tmp_path: Path
) -> None:
    job = pickle.loads(pickle.dumps(ExtractJob(film("opus.ogg"), tmp_path)))  # noqa: S301 - ours
    result = extract(job)
    assert pickle.loads(pickle.dumps(result)) == result  # noqa: S301 - ours
