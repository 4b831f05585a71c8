"""Checks a spec before the recording, and plans its encoders and files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from capture.cautions import Caution
from capture.errors import ConfigError, OutputError
from capture.hints import Advice
from capture.live.mixer import SourceSetting, Track, plan_tracks
from capture.live.rule_watch import check_window_rules, require_rules
from capture.live.rules import with_rules
from capture.media.output import as_output_error
from capture.media.write.encode import AudioEncoder, VideoEncoder, choose_video_encoder
from capture.media.write.mux import CODEC_NAMES, check_tracks, container_of
from capture.recording.place import check_command
from capture.recording.segment_file import FilePlan
from capture.recording.segments import Segments
from capture.specs.recording import AudioSpec, RecordingSpec, TrackMode, VideoSpec
from capture.units import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from av import VideoFrame


def check_recording(spec: RecordingSpec) -> None:
    """Whether a spec makes sense on this machine, before its time has come.

    A private desktop, whose windows its rules may be about, is made only then.

    Raises:
        CaptureError: As ``Session.start`` would for what can be known now.
    """
    check_spec(spec)
    if spec.private_desktop is None:
        check_window_rules(spec)


def check_spec(spec: RecordingSpec) -> None:
    """Refuse a spec that makes no sense as a whole, before any device is opened.

    Raises:
        ConfigError: Two values contradict each other, or the container cannot hold the tracks.
        UnsupportedError: This system cannot check one of the rules.
        LibraryMissingError: What it takes for that is not installed.
        DeviceNotFoundError: There is no such program as the command.
        OutputError: The output exists, or is a folder.
    """
    if spec.delay_s and spec.begin_at_s is not None:
        raise ConfigError(
            "a delay and a start time cannot both be set", hint="leave one of them out"
        )
    with_rules(spec)
    require_rules((*spec.start_when, *spec.stop_when))
    if len({audio.source for audio in spec.audio}) < len(spec.audio):
        raise ConfigError("the same source of sound is named twice", hint="name each source once")
    count = len(plan_tracks([SourceSetting(a.source, 2) for a in spec.audio], spec.tracks))
    check_tracks(
        container_of(spec.output),
        with_video=spec.video is not None,
        audio_tracks=count,
        codec=spec.audio_codec,
    )
    check_command(spec)
    with as_output_error(spec.output):
        if spec.output.is_dir():
            raise OutputError(f"{spec.output} is a folder", hint="add a file name")
        if spec.output.exists() and not spec.overwrite:
            raise OutputError(
                f"{spec.output} exists already", hint=Advice.REPLACE_RECORDING.with_()
            )


def find_doubled(spec: RecordingSpec) -> list[str]:
    """One warning for each source that the mix would hold twice.

    What an output plays holds every application there, and a device that is named may be the
    default one.
    """
    if spec.tracks is TrackMode.SEPARATE:
        return []
    doubled: list[str] = []
    for one in spec.audio:
        within = next((each for each in spec.audio if _may_hold(each, one)), None)
        if within is not None:
            is_in = "is" if within.source == "system" and one.kind == "app" else "may be"
            doubled.append(
                Caution.SOURCE_TWICE.with_(source=one.source, is_in=is_in, other=within.source)
            )
    return doubled


def _may_hold(whole: AudioSpec, part: AudioSpec) -> bool:
    if part.kind == "app":
        return whole.kind == "system"
    return whole.kind == part.kind and whole.name is None and part.name is not None


def plan_segments(
    spec: RecordingSpec,
    *,
    like: VideoFrame | None,
    tracks: Sequence[Track],
    on_choice: Callable[[str], None],
    on_done: Callable[[Path], None],
    certify: Callable[[], dict[str, Any]],
) -> Segments:
    """The encoders and files for a spec; no file is opened yet.

    Args:
        spec: Checked before.
        like: A picture as all will be, or ``None`` without pictures.
        tracks: Sound tracks.
        on_choice: Called with a choice and its reason, where the spec leaves it open.
        on_done: Called with each finished file.
        certify: Asked at the end of each file what was done to the recording.

    Raises:
        EncoderUnavailableError: The encoder does not open.
    """
    quality = spec.video.quality if spec.video else "medium"
    video = None
    if spec.video is not None and like is not None:
        wanted = _encoder_for(spec, spec.video)
        encoder, reason = choose_video_encoder(wanted, (like.width, like.height), spec.video.fps)
        if wanted == "auto":
            on_choice(f"encoder {encoder}: {reason}")
        video = VideoEncoder(0, name=encoder, quality=quality, fps=spec.video.fps, like=like)
    audio = [
        AudioEncoder(
            number,
            codec=CODEC_NAMES[audio_codec_of(spec)],
            quality=quality,
            rate_hz=spec.rate_hz,
            channels=track.channels,
            title=track.name,
        )
        for number, track in enumerate(tracks, int(video is not None))
    ]
    split_s = spec.split_every_s
    files = FilePlan(
        path=spec.output,
        video=video,
        audio=audio,
        is_split=split_s is not None,
        overwrite=spec.overwrite,
        tags={"creation_time": datetime.now(UTC).isoformat(timespec="seconds"), **spec.tags},
        certify=certify,
    )
    return Segments(
        video=video,
        audio=audio,
        rate_hz=spec.rate_hz,
        split_ns=None if split_s is None else round(split_s * NS_PER_S),
        open_segment=files.open,
        on_done=on_done,
    )


def audio_codec_of(spec: RecordingSpec) -> str:
    """Codec of the sound, as people write it."""
    return spec.audio_codec or container_of(spec.output).audio_codecs[0]


def _encoder_for(spec: RecordingSpec, video: VideoSpec) -> str:
    """The default encoder, which depends on container and quality."""
    if video.encoder != "libx264":
        return video.encoder
    fitting = container_of(spec.output).video_encoder or video.encoder
    return "libx264rgb" if fitting == "libx264" and video.quality == "lossless" else fitting
