"""What a spec means before anything is recorded: is it sound, which encoder, which files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from capture.errors import ConfigError, OutputError
from capture.lookout import check_rules
from capture.media.encode import choose_video_encoder
from capture.media.mux import VideoTrack, check_tracks, container_of
from capture.mixer import SourceSetting, plan_tracks
from capture.model import NS_PER_S, TrackMode
from capture.rules import with_rules
from capture.segments import Segments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from av import VideoFrame

    from capture.mixer import Track
    from capture.model import AudioSpec, RecordingSpec, VideoSpec

__all__ = ["check_spec", "find_doubled", "plan_segments"]

MIN_FPS, MAX_FPS = 1, 240
MIN_SPLIT_S = 1.0
QUALITIES = ("low", "medium", "high", "lossless")


def check_spec(spec: RecordingSpec) -> None:
    """Whether a spec makes sense, before any device is touched.

    Raises:
        ConfigError: A value makes no sense, or the container cannot hold the tracks.
        UnsupportedError: This system cannot say what a rule asks for.
        LibraryMissingError: What it takes for that is not installed.
        OutputError: The output exists, or is a folder.
    """
    if spec.delay_s and spec.begin_at_s is not None:
        raise ConfigError("--delay and --at both say when to begin", hint="leave one of them out")
    with_rules(spec)
    check_rules((*spec.start_when, *spec.stop_when))
    if spec.video is not None and not MIN_FPS <= spec.video.fps <= MAX_FPS:
        raise ConfigError(
            f"{spec.video.fps:g} pictures a second cannot be recorded",
            hint=f"--fps takes {MIN_FPS} to {MAX_FPS}",
        )
    if spec.video is not None and spec.video.quality not in QUALITIES:
        raise ConfigError(
            f"no quality named {spec.video.quality!r}", hint=f"use one of {', '.join(QUALITIES)}"
        )
    for name, value in (
        ("duration", spec.duration_s),
        ("max-size", spec.max_size_bytes),
        ("split-every", spec.split_every_s),
    ):
        if value is not None and value <= 0:
            raise ConfigError(
                f"--{name} must be more than nothing", hint="leave it out for no limit"
            )
    if spec.split_every_s is not None and spec.split_every_s < MIN_SPLIT_S:
        raise ConfigError(
            f"files of {spec.split_every_s:g} s are too short",
            hint=f"--split-every takes {MIN_SPLIT_S:g}s or more",
        )
    if len({audio.source for audio in spec.audio}) < len(spec.audio):
        raise ConfigError("the same --audio is named twice", hint="name each source once")
    count = len(plan_tracks([SourceSetting(a.source, 2) for a in spec.audio], spec.tracks))
    check_tracks(
        container_of(spec.output),
        with_video=spec.video is not None,
        audio_tracks=count,
        codec=spec.audio_codec,
    )
    if spec.output.is_dir():
        raise OutputError(f"{spec.output} is a folder", hint="add a file name")
    if spec.output.exists() and not spec.overwrite:
        raise OutputError(
            f"{spec.output} exists already", hint="choose another name, or add --overwrite"
        )


def find_doubled(spec: RecordingSpec) -> list[str]:
    """Warnings of sources that the mix will hold twice, one sentence each.

    What an output plays holds every application there, and a device that is named may be the
    default one.
    """
    if spec.tracks is TrackMode.SEPARATE:
        return []
    doubled = []
    for one in spec.audio:
        within = next((each for each in spec.audio if _may_hold(each, one)), None)
        if within is not None:
            sure = "is" if within.source == "system" and one.kind == "app" else "may be"
            doubled.append(
                f"{one.source} {sure} in {within.source} too: it will be twice as loud in the mix; "
                "--tracks separate"
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
    """The files that a spec asks for, none of them opened yet.

    Args:
        spec: Checked before.
        like: A picture as all will be, or ``None`` without pictures.
        tracks: Sound tracks.
        on_choice: Told what was picked, and why, where the spec leaves it open.
        on_done: Told of each finished file.
        certify: Asked at the end of each file what was done to the recording.

    Raises:
        EncoderUnavailableError: The encoder does not open.
    """
    video = None
    if spec.video is not None and like is not None:
        wanted = _encoder_for(spec, spec.video)
        encoder, reason = choose_video_encoder(wanted, (like.width, like.height), spec.video.fps)
        if wanted == "auto":
            on_choice(f"encoder {encoder}: {reason}")
        video = VideoTrack(encoder, spec.video.quality, spec.video.fps, like)
    return Segments(
        path=spec.output,
        video=video,
        tracks=tracks,
        rate_hz=spec.rate_hz,
        codec=spec.audio_codec,
        quality=spec.video.quality if spec.video else "medium",
        split_ns=None if spec.split_every_s is None else round(spec.split_every_s * NS_PER_S),
        overwrite=spec.overwrite,
        tags={"creation_time": datetime.now(UTC).isoformat(timespec="seconds"), **spec.tags},
        on_done=on_done,
        certify=certify,
    )


def _encoder_for(spec: RecordingSpec, video: VideoSpec) -> str:
    """The encoder meant by the spec's default, which depends on container and quality."""
    if video.encoder != "libx264":
        return video.encoder
    fitting = container_of(spec.output).video_encoder or video.encoder
    return "libx264rgb" if fitting == "libx264" and video.quality == "lossless" else fitting
