"""Part ``extract``: batches and large files, against ffmpeg in a loop, side by side, and alone."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.benchmark.report import Spread, say, spread, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["measure_extract", "show_extract"]

ROOT = Path(__file__).parents[2]
CAPTURE = [sys.executable, "-m", "capture", "extract", "--quiet"]
FFMPEG = "ffmpeg -nostdin -v error -y"
DISTINCT = 50
"""Different files among those of a batch; the others are copies, which cost the same to read."""
NOTE_S = (5, 60)
CLIP_S = (3, 10)
LOOP_S = 600
"""Of sound that the long file repeats."""


def measure_extract(
    folder: Path, *, files: int, rounds: int, big_mb: int, hours: float
) -> dict[str, Any]:
    """Seconds of every way for every task, by turns, and peak memory on a long file."""
    found: dict[str, Any] = {"files": files, "rounds": rounds, "big_mb": big_mb, "hours": hours}
    say(f"extract: making {files} voice notes and {files} clips")
    notes = _make_many(folder / "notes", files, NOTE_S, _make_note)
    clips = _make_many(folder / "clips", files, CLIP_S, _make_clip)
    out = folder / "out"
    found["notes_to_wav_s"] = _by_turns(
        rounds,
        notes,
        out,
        {
            "capture": [*CAPTURE, str(notes), "--format", "wav", "--output", str(out)],
            "ffmpeg, one after the other": _shell(
                f'for f in *.opus; do {FFMPEG} -i "$f" "$OUT/${{f%.opus}}.wav"; done'
            ),
            "xargs -P2 ffmpeg": _shell(
                f'printf "%s\\n" *.opus | xargs -P2 -I{{}} {FFMPEG} -i {{}} "$OUT/{{}}.wav"'
            ),
        },
        files,
    )
    found["clips_copied_s"] = _by_turns(
        rounds,
        clips,
        out,
        {
            "capture": [*CAPTURE, str(clips), "--output", str(out)],
            "ffmpeg, one after the other": _shell(
                f'for f in *.mp4; do {FFMPEG} -i "$f" -vn -c:a copy "$OUT/${{f%.mp4}}.m4a"; done'
            ),
        },
        files,
    )
    shutil.rmtree(notes)
    shutil.rmtree(clips)
    say(f"extract: making a film of {big_mb} MB")
    big = _make_big(folder / "big.mp4", big_mb)
    found["big_copied_s"] = _by_turns(
        rounds,
        folder,
        out,
        {
            "capture": [*CAPTURE, str(big), "--output", str(out)],
            "ffmpeg": _shell(f'{FFMPEG} -i big.mp4 -vn -c:a copy "$OUT/big.m4a"'),
        },
        1,
    )
    found["start_s"] = spread([_timed([*CAPTURE, "--help"], folder, out) for _ in range(rounds)])
    big.unlink()
    say(f"extract: making {hours:g} hours of sound")
    long = _make_long(folder / "long.m4a", hours)
    found["long_mb"] = {
        "copied": _peak_mb([*CAPTURE, str(long), "--output", str(out)]),
        "to wav": _peak_mb([*CAPTURE, str(long), "--format", "wav", "--output", str(out)]),
    }
    return found


def show_extract(found: dict[str, Any]) -> str:
    """As a table."""
    rows = []
    for task, name in (
        ("notes_to_wav_s", f"{found['files']} voice notes to WAV"),
        ("clips_copied_s", f"sound of {found['files']} clips, copied"),
        ("big_copied_s", f"sound of a film of {found['big_mb']} MB, copied"),
    ):
        ours = found[task]["capture"]["median"]
        for way, seconds in found[task].items():
            ratio = f"{seconds['median'] / ours:.2f}"
            rows.append([name, way, f"{Spread(**seconds):.2f}", ratio])
    rows.append(["start", "capture extract --help", f"{Spread(**found['start_s']):.2f}", ""])
    rows += [
        [f"{found['hours']:g} hours, {way}", "capture, peak memory", f"{megabytes:.0f} MB", ""]
        for way, megabytes in found["long_mb"].items()
    ]
    return table(["task", "way", "seconds", "of capture"], rows)


# -------------------------------------------------------------------------------------- measuring


def _by_turns(
    rounds: int, folder: Path, out: Path, ways: Mapping[str, Sequence[str]], files: int
) -> dict[str, Any]:
    """Every way once a round, in another order each; all of them have to give all files."""
    found: dict[str, list[float]] = {way: [] for way in ways}
    order = list(ways)
    for number in range(rounds):
        say(f"extract: round {number + 1} of {rounds}, {folder.name}")
        for way in order:
            found[way].append(_timed(ways[way], folder, out))
            made = len(list(out.iterdir()))
            if made != files:
                raise RuntimeError(f"{way} made {made} of {files} files")
        order.append(order.pop(0))
    return {way: spread(seconds) for way, seconds in found.items()}


def _timed(command: Sequence[str], folder: Path, out: Path) -> float:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    begun_s = time.monotonic()
    subprocess.run(command, cwd=folder, env=_variables(out), check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun_s


def _variables(out: Path) -> dict[str, str]:
    return os.environ | {"OUT": str(out), "PYTHONPATH": str(ROOT)}


def _shell(script: str) -> list[str]:
    return ["bash", "-c", script]


def _peak_mb(command: list[str]) -> float:
    """The most memory that was resident, by the kernel's count."""
    if sys.platform == "win32":  # for the type checker
        raise NotImplementedError
    process = subprocess.Popen(command, env=_variables(Path()), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return float(usage.ru_maxrss) / 1000


# ---------------------------------------------------------------------------------------- making


def _make_many(folder: Path, count: int, lengths_s: tuple[int, int], make: Any) -> Path:
    folder.mkdir()
    draw = random.Random(1)  # noqa: S311 - the same lengths every time
    made: list[Path] = []
    for number in range(count):
        if number < DISTINCT:
            made.append(make(folder / f"{number:04}", draw.uniform(*lengths_s)))
        else:
            source = made[number % DISTINCT]
            shutil.copy(source, folder / f"{number:04}{source.suffix}")
    return folder


def _make_note(path: Path, length_s: float) -> Path:
    """Noise in syllables, as a messenger writes a voice: Opus, mono, 60 ms a packet."""
    sound = f"anoisesrc=c=pink:a=0.5:d={length_s}:r=48000,tremolo=f=4:d=0.9,lowpass=f=4000"
    return _ffmpeg(
        f"-f lavfi -i {sound} -c:a libopus -b:a 24k -ac 1 -frame_duration 60", path, ".opus"
    )


def _make_clip(path: Path, length_s: float) -> Path:
    """A small film with AAC."""
    inputs = f"-f lavfi -i testsrc2=s=320x180:r=25:d={length_s}"
    inputs += f" -f lavfi -i anoisesrc=c=pink:a=0.3:d={length_s}:r=48000"
    return _ffmpeg(
        f"{inputs} -c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -ac 2", path, ".mp4"
    )


def _make_big(path: Path, megabytes: int) -> Path:
    """Much picture and ordinary sound: cut off where it is large enough."""
    inputs = "-f lavfi -i testsrc2=s=1280x720:r=30,noise=alls=60:allf=t"
    inputs += " -f lavfi -i anoisesrc=c=pink:a=0.3:r=48000"
    coding = "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p -c:a aac -ac 2"
    return _ffmpeg(f"{inputs} {coding} -fs {megabytes}M", path.with_suffix(""), path.suffix)


def _make_long(path: Path, hours: float) -> Path:
    """Ten minutes, again and again."""
    sound = f"anoisesrc=c=pink:a=0.3:d={LOOP_S}:r=16000"
    loop = _ffmpeg(f"-f lavfi -i {sound} -c:a aac -ac 1", path.with_name("loop"), path.suffix)
    times = max(0, round(hours * 3600 / LOOP_S) - 1)
    _ffmpeg(f"-stream_loop {times} -i {loop} -c copy", path.with_suffix(""), path.suffix)
    loop.unlink()
    return path


def _ffmpeg(options: str, stem: Path, suffix: str) -> Path:
    path = stem.with_name(stem.name + suffix)
    subprocess.run([*FFMPEG.split(), *options.split(), str(path)], check=True)
    return path
