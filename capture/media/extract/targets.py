"""The output files of an extraction: their names, and their appearance whole or not at all."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from capture.cautions import Caution
from capture.errors import ConfigError, OutputError
from capture.hints import Advice
from capture.media.formats import FORMATS, size_warning
from capture.media.output import as_output_error
from capture.media.read.sample_clock import SampleClock
from capture.model.extraction import ExtractedPart
from capture.naming import LONGEST_BYTES, part_path, publish, safe_name, shortened
from capture.specs.extraction import ExtractJob
from capture.specs.voice import GateSpec, SoundFileSpec

MISSING_S = 0.5
"""A track that ends so much before its stated length was cut off."""
_ALIASES = {
    ".m4a": (".m4a", ".mp4", ".m4b", ".mov"),
    ".opus": (".opus", ".ogg", ".oga"),
    ".ogg": (".ogg", ".oga", ".spx"),
    ".mka": (".mka", ".mkv"),
    ".wav": (".wav", ".wave"),
    ".amr": (".amr", ".awb"),
    ".aiff": (".aiff", ".aif", ".aifc"),
    ".latm": (".latm", ".loas"),
}
"""Endings that a file may be given though we would give another."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parts of the name of one output file."""

    track: int | None = None
    """Number of the track; ``None``: only one is taken."""
    language: str | None = None
    part: int | None = None
    """Number of a message or a chapter, from 1; ``None``: the file is not cut in parts."""
    title: str | None = None
    """Title of the chapter."""
    manner: str = ""
    """The words of ``manner_of``."""


def plan_targets(job: ExtractJob, wanted: Sequence[Wanted], suffix: str) -> list[Path]:
    """The names of the files that a job makes.

    ``NAME.m4a``; other tracks than the first ``NAME.2.deu.m4a``; parts ``NAME-01.opus``; chapters
    ``NAME 01 Title.opus``. In a folder the name shows the changes, too: ``NAME 5-10s mono.m4a``.

    Args:
        job: Names the folder or the file.
        wanted: What is made; at least one.
        suffix: What the format's files end in.

    Raises:
        ConfigError: The named file has an ending that is another format's.
    """
    if job.is_target_file:
        folder, name = job.target.parent, job.target.stem
        ending = job.target.suffix or suffix
        if ending.lower() not in _ALIASES.get(suffix, (suffix,)):
            raise ConfigError(
                f"this sound becomes a {suffix} file, not {ending}",
                hint=Advice.FITTING_NAME.with_(name=f"{name}{suffix}"),
            )
    else:
        folder, ending = job.target, suffix
        name = name_in_folder(job, wanted[0].manner if wanted else "")
    digits = max(2, len(str(max((one.part or 0 for one in wanted), default=0))))
    paths = []
    for one in wanted:
        text = name
        if one.track is not None:
            text += f".{one.track}" + (f".{safe_name(one.language)}" if one.language else "")
        if one.part is not None and one.title is not None:
            text += f" {one.part:0{digits}} {one.title}"
        elif one.part is not None:
            text += f"-{one.part:0{digits}}"
        paths.append(folder / f"{text if text == name else safe_name(text)}{ending}")
    return paths


def name_in_folder(job: ExtractJob, manner: str) -> str:
    """What a job calls its files in a folder, without numbers and ending.

    A long name is cut where it is the source's, so that its number and what was done stay.
    """
    number = f"({job.number})" if job.number > 1 else ""
    tail = "".join(f" {words}" for words in (number, manner) if words)
    name = safe_name(job.name or job.source.stem)
    return safe_name(shortened(name, LONGEST_BYTES - len(tail.encode())) + tail)


def manner_of(job: ExtractJob, *, is_own_kind: bool) -> str:
    """A job's changes to the sound of a track, in words; empty where there are none.

    Two jobs that would give one track differently have different words or endings, so a file of
    that name was made in exactly this way.

    Args:
        job: The job.
        is_own_kind: Its format has the ending that a copy would have.
    """
    gate = job.gate or GateSpec()
    is_gated = job.is_trim or job.is_split or job.is_speech_only
    words = [
        _stretch_words(job.start_s, job.end_s),
        "trimmed" if job.is_trim else "",
        "speech" if job.is_speech_only else "",
        "any sound" if is_gated and gate.is_any_sound else "",
        f"{_plain(gate.threshold_dbfs)} dBFS"
        if is_gated and gate.threshold_dbfs is not None
        else "",
        f"{_plain(gate.pause_s)}s pauses"
        if is_gated and gate.pause_s != GateSpec().pause_s
        else "",
        f"{job.rate_hz} Hz" if job.rate_hz else "",
        "mono" if job.is_mono else "",
        f"{_plain(job.loudness_lufs)} LUFS" if job.loudness_lufs is not None else "",
        "delayed" if job.keep_offset else "",
        _format_words(job.spec, is_own_kind=is_own_kind),
    ]
    return " ".join(filter(None, words))


def _stretch_words(start_s: float | None, end_s: float | None) -> str:
    if start_s is None and end_s is None:
        return ""
    if end_s is None:
        return f"from {_plain(start_s or 0.0)}s"
    return f"{_plain(start_s or 0.0)}-{_plain(end_s)}s"


def _format_words(spec: SoundFileSpec | None, *, is_own_kind: bool) -> str:
    if spec is None:
        return ""
    if spec.messenger is not None:
        return spec.messenger
    if FORMATS[spec.format].is_lossless or (spec.quality == "medium" and not is_own_kind):
        return ""
    return spec.quality


def _plain(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


@dataclass(slots=True)
class Outputs:
    """The files of a running job, from hidden to final names, and its warnings."""

    job: ExtractJob
    origin: str = ""
    """Of the source, from ``origin.identity_of``; empty before it is open."""
    warnings: list[str] = field(default_factory=list)
    parts: list[ExtractedPart] = field(default_factory=list)
    sound_s: float = 0.0
    is_partial: bool = False
    _open: dict[Path, Path] = field(default_factory=dict)
    """Hidden name by final name, of what is not published yet."""
    _done: list[ExtractedPart] = field(default_factory=list)

    def begin(self, targets: Sequence[Path]) -> list[Path]:
        """Reserve the final names; gives the hidden ones to write to.

        Raises:
            OutputError: One of them is taken, is the source, or cannot be written.
        """
        for target in targets:
            with as_output_error(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            self._refuse(target)
        hidden = [part_path(target) for target in targets]
        self._open.update(zip(targets, hidden, strict=True))
        return hidden

    def _refuse(self, target: Path) -> None:
        if target in self._open:
            raise OutputError(
                f"two parts would be called {target}", hint="give the chapters titles that differ"
            )
        is_source = False
        with contextlib.suppress(OSError):  # it does not exist yet
            is_source = target.samefile(self.job.source)
        if is_source:
            raise OutputError(
                f"{target} is the source itself", hint="write to another folder or name"
            )
        if target.is_dir():
            raise OutputError(f"{target} is a folder", hint="choose another name")
        if not self.job.overwrite and (target.exists() or target.is_symlink()):
            raise OutputError(f"{target} is there already", hint=Advice.REPLACE_EXTRACTED.with_())

    def add(self, part: ExtractedPart) -> None:
        """Note that a file is complete under its hidden name."""
        self._done.append(part)

    def publish(self) -> None:
        """Give all files their final names; the first file last, as a sign that all are there."""
        published = []
        for part in reversed(self._done):
            target = part.path
            hidden = self._open[target]
            size_bytes = hidden.stat().st_size
            with as_output_error(target):
                try:
                    publish(hidden, target, overwrite=self.job.overwrite)
                except FileExistsError as error:
                    raise OutputError(
                        f"{target} is there already",
                        hint="somebody else wrote it meanwhile; choose another name",
                    ) from error
            del self._open[target]
            published.append(replace(part, size_bytes=size_bytes))
            if self.job.spec is not None:
                self.warnings += filter(None, [size_warning(target, self.job.spec)])
        self.parts += reversed(published)
        self._done.clear()

    def clean(self) -> None:
        """Delete the files that have no final name yet."""
        for hidden in self._open.values():
            with contextlib.suppress(OSError):
                hidden.unlink(missing_ok=True)
        self._open.clear()

    def report(
        self,
        number: int,
        stated_s: float | None,
        clock: SampleClock,
        broken: int,
        read_error: str | None,
        *,
        is_incomplete: bool = False,
    ) -> None:
        """Add warnings for the faults of a track that was read to its end."""
        name = f"sound track {number}"
        ends_s = clock.seconds
        if broken:
            self.is_partial = True
            packets = "one packet" if broken == 1 else f"{broken} packets"
            self.warnings.append(Caution.PACKETS_UNREADABLE.with_(packets=packets, track=name))
        if clock.holes:
            places = "one place" if clock.holes == 1 else f"{clock.holes} places"
            missing_s = clock.missing_s
            self.warnings.append(
                Caution.SOUND_MISSING.with_(track=name, missing_s=missing_s, places=places)
            )
        if clock.jumps:
            times = "once" if clock.jumps == 1 else f"{clock.jumps} times"
            self.warnings.append(Caution.CLOCK_JUMPS.with_(track=name, times=times))
        if read_error is not None:
            self.is_partial = True
            self.warnings.append(
                Caution.READ_ENDS.with_(track=name, ends_s=ends_s, error=read_error)
            )
        elif stated_s is not None and ends_s < stated_s - (0.0 if is_incomplete else MISSING_S):
            self.is_partial = True
            self.warnings.append(
                Caution.CUT_OFF.with_(track=name, ends_s=ends_s, stated_s=stated_s)
            )
