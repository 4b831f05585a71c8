"""``capture voice`` as a user runs it: real players on a private desktop, real files read back."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from capture.media.read.decode import read_sound
from capture.media.write.growing import GrowingSound
from capture.messages.journal import JOURNAL
from capture.specs.voice import VoiceSpec
from capture.voice import VoiceKeeper, recover_message
from capture.voice.saving import Heard, recipe_of
from tests import scenes
from tests.device.heard import match_all
from tests.device.recorded import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capture.desktop import PrivateDesktop
    from tests.device.heard import Match

assert sys.platform != "win32"  # for the type checker: it knows no signals there

pytestmark = [pytest.mark.device, scenes.needs_espeak]

MESSAGES = 3
"""In the quick run; twenty with ``--full``, which takes five minutes a scene."""
EDGE_S, CUT_S, LEVEL_DB = 0.06, 0.04, 1.0
TONES = Path(__file__).with_name("tones.py")


class Keeper:
    """``capture voice`` on the private desktop, and what it says."""

    def __init__(self, *words: str | Path) -> None:
        command = [sys.executable, "-m", "capture", "voice", *map(str, words), "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.events: list[dict[str, Any]] = []
        self.wait_for("started")

    def wait_for(self, kind: str, count: int = 1) -> None:
        """Read on until so many events of a kind have come."""
        assert self.process.stdout is not None
        while sum(event["event"] == kind for event in self.events) < count:
            line = self.process.stdout.readline()
            assert line, f"it ended before {kind}: {self.events[-3:]}"
            self.events.append(json.loads(line))

    def end(self, number: signal.Signals = signal.SIGINT) -> dict[str, Any]:
        """Stop it; gives its result."""
        assert self.process.stdout is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.events += [json.loads(line) for line in self.process.stdout]
        self.process.wait(PATIENCE_S)
        self.process.stdout.close()
        return self.events[-1]


@pytest.fixture
def keep(desktop_env: PrivateDesktop) -> Iterator[Callable[..., Keeper]]:
    """Start a keeper; what is left running at the end is killed."""
    del desktop_env
    keepers: list[Keeper] = []

    def start(*words: str | Path) -> Keeper:
        keepers.append(Keeper(*words))
        return keepers[-1]

    yield start
    for keeper in keepers:
        if keeper.process.poll() is None:
            keeper.process.kill()
            keeper.process.wait()
        if keeper.process.stdout is not None:
            keeper.process.stdout.close()


def play(path: Path, player: str = "paplay") -> None:
    options = {
        "paplay": ["paplay"],
        "ffplay": ["ffplay", "-nodisp", "-autoexit", "-loglevel", "quiet"],
        "mpv": ["mpv", "--no-video", "--really-quiet"],
    }
    subprocess.run([*options[player], str(path)], check=True, timeout=600)


def kept_paths(result: dict[str, Any]) -> list[Path]:
    return [Path(message["path"]) for message in result["messages"]]


def count_of(config: pytest.Config) -> int:
    return 20 if config.getoption("full") else MESSAGES


def check_edges(matches: list[Match], scene: scenes.Scene) -> None:
    """Every message once, and nothing of it cut off."""
    worst_s = max(max(abs(match.start_s), abs(match.end_s)) for match in matches)
    correlation = min(match.correlation for match in matches)
    print(  # noqa: T201 - the figures that README.md quotes, with -s
        f"{len(matches)} of {len(scene.truth)}: worst edge {worst_s * 1000:.0f} ms, "
        f"least correlation {correlation:.4f}"
    )
    assert [match.name for match in matches] == sorted(place.name for place in scene.truth)
    assert max(match.cut_s for match in matches) <= CUT_S
    exact = [m for m in matches if max(abs(m.start_s), abs(m.end_s)) <= EDGE_S]
    assert len(exact) >= len(matches) - 1
    assert all(abs(match.gain_db) <= LEVEL_DB for match in matches)


@pytest.mark.timeout(600)
def test_every_message_becomes_one_file(
    keep: Callable[..., Keeper], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    scene = scenes.build(count=count_of(pytestconfig))
    folder = tmp_path / "Nachrichten für später 🎤"
    keeper = keep(folder, "--format", "flac")
    play(scene.write(tmp_path / "scene.wav"))
    keeper.wait_for("message-kept", len(scene.truth))
    result = keeper.end()
    paths = kept_paths(result)
    matches = match_all(scene, paths)
    check_edges(matches, scene)
    assert min(match.correlation for match in matches) >= 0.99
    assert sorted(folder.iterdir()) == sorted([*paths, folder / JOURNAL])  # nothing else is there
    for message in result["messages"]:
        samples, rate_hz, _ = read_sound(Path(message["path"]))
        assert message["length_s"] == pytest.approx(len(samples) / rate_hz, abs=0.001)
        assert message["app"] == "paplay"
        assert samples.shape[1] == 1  # both sides are the same
        assert f"{round(message['length_s']):02d}s.flac" in message["path"]


@pytest.mark.timeout(900)
def test_notifications_and_music_are_left_out(
    keep: Callable[..., Keeper], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    scene = scenes.build(count=count_of(pytestconfig), chimes=True, music=True)
    keeper = keep(tmp_path / "kept", "--from", "system")
    play(scene.write(tmp_path / "scene.wav"))
    keeper.wait_for("message-kept", len(scene.truth))
    matches = match_all(scene, kept_paths(keeper.end()))
    check_edges(matches, scene)


@pytest.mark.timeout(600)
def test_another_applications_music_is_not_heard(
    keep: Callable[..., Keeper], tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Its tone is looked for at its own pitch, where the messages have next to nothing."""
    scene = scenes.build(count=count_of(pytestconfig))
    other = subprocess.Popen(
        [sys.executable, TONES, "--hz", "15000", "--seconds", "600", "--name", "radio"]
    )
    try:
        keeper = keep(tmp_path / "kept", "--from", "app:paplay", "--format", "flac")
        play(scene.write(tmp_path / "scene.wav"))
        keeper.wait_for("message-kept", len(scene.truth))
        result = keeper.end()
        matches = match_all(scene, kept_paths(result))
    finally:
        other.kill()
        other.wait()
    check_edges(matches, scene)
    # That it played nothing yet is no warning any more.
    assert not any("plays nothing" in warning for warning in result["warnings"])
    for match in matches:
        samples, rate_hz, _ = read_sound(match.path)
        moments = np.arange(len(samples)) / rate_hz
        tone = np.exp(-2j * np.pi * 15_000 * moments)
        window = np.hanning(len(samples))
        amplitude = 2 * abs(np.sum(samples[:, 0] * window * tone)) / np.sum(window)
        assert 20 * np.log10(max(amplitude, 1e-9) / 0.25) <= -60


def test_not_a_frame_is_missing(keep: Callable[..., Keeper], tmp_path: Path) -> None:
    """Every frame that is played says its number, in 16 bits."""
    numbers = np.arange(5 * scenes.RATE_HZ)
    counted = (numbers % 65_536 - 32_768).astype(np.float32) / 32_768
    scenes.write_wav(tmp_path / "counted.wav", np.stack((counted, counted), axis=1))
    keeper = keep(tmp_path / "kept", "--any-sound", "--format", "wav", "--once")
    play(tmp_path / "counted.wav")
    (path,) = kept_paths(keeper.end())
    heard = np.rint(read_sound(path)[0][:, 0] * 32_768).astype(np.int64) + 32_768
    (sounding,) = np.nonzero(heard != 32_768)  # silence
    heard = heard[sounding[0] : sounding[-1] + 1]
    assert heard[0] == 0
    assert len(heard) == len(numbers)
    assert set(np.diff(heard) % 65_536) == {1}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("moment_s", [2.0, 4.5])
def test_a_killed_keeper_loses_less_than_a_second(
    keep: Callable[..., Keeper], tmp_path: Path, moment_s: float, pytestconfig: pytest.Config
) -> None:
    scene = scenes.build(count=7 if pytestconfig.getoption("full") else 1)
    cut_off = scenes.messages()[16]
    folder = tmp_path / "kept"
    keeper = keep(folder, "--format", "flac")
    play(scene.write(tmp_path / "scene.wav"))
    keeper.wait_for("message-kept", len(scene.truth))
    kept = sorted(folder.glob("*.flac"))
    player = subprocess.Popen(["paplay", cut_off.write(tmp_path / "last.wav")])
    keeper.wait_for("message-opened", len(scene.truth) + 1)
    time.sleep(moment_s)
    keeper.process.kill()
    keeper.process.wait()
    player.kill()
    player.wait()
    (growing,) = folder.glob("*.part.wav")
    run = subprocess.run(
        [sys.executable, "-m", "capture", "recover", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    path = Path(run.stdout.strip())
    assert path.suffix == ".flac"
    assert not growing.exists()
    assert not list(folder.glob(".*"))
    assert sorted(folder.iterdir()) == sorted([*kept, path, folder / JOURNAL])
    check_edges(match_all(scene, kept), scene)
    samples, rate_hz, _ = read_sound(path)
    assert moment_s - 1.0 <= len(samples) / rate_hz <= moment_s + 1.0


def test_two_keepers_in_one_folder_do_not_get_in_each_others_way(
    keep: Callable[..., Keeper], tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    message = scenes.messages()[0]
    keepers = [keep(folder, "--once"), keep(folder, "--once")]
    play(message.write(tmp_path / "message.wav"))
    paths = [kept_paths(keeper.end())[0] for keeper in keepers]
    assert len(set(paths)) == 2
    assert sorted(folder.iterdir()) == sorted([*paths, folder / JOURNAL])


def test_a_message_for_whatsapp_is_small_and_as_it_wants_it(
    keep: Callable[..., Keeper], tmp_path: Path
) -> None:
    message = scenes.messages()[5]
    keeper = keep(tmp_path / "kept", "--for", "whatsapp", "--once", "--picture")
    play(message.write(tmp_path / "message.wav"))
    (kept,) = keeper.end()["messages"]
    data = Path(kept["path"]).read_bytes()
    head = data[data.index(b"OpusHead") :]
    assert (head[9], int.from_bytes(head[12:16], "little")) == (1, 16_000)
    assert len(data) * 60 / kept["length_s"] <= 200_000
    assert Path(kept["picture"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("player", ["ffplay", "mpv"])
def test_other_players_are_heard_from_their_first_word(
    keep: Callable[..., Keeper], tmp_path: Path, monitor: list[bytes], player: str
) -> None:
    if shutil.which(player) is None:
        pytest.skip(f"not installed: {player}; `scripts/test` installs it")
    scene = scenes.build(count=1, lead_s=0.3)
    keeper = keep(tmp_path / "kept", "--format", "flac", "--once")
    play(scene.write(tmp_path / "scene.wav"), player)
    paths = kept_paths(keeper.end())
    played = np.frombuffer(b"".join(monitor), np.float32).reshape(-1, 2)
    (match,) = match_all(scenes.heard(played), paths)
    assert match.cut_s <= CUT_S
    assert match.correlation >= 0.99


def test_what_sounded_last_can_be_saved_afterwards(
    keep: Callable[..., Keeper], tmp_path: Path
) -> None:
    scenes.write_wav(tmp_path / "song.wav", scenes.song_of(4.0, 1) * np.float32(0.5))
    keeper = keep(tmp_path / "kept", "--keep-last", "10s", "--format", "flac")
    play(tmp_path / "song.wav")
    keeper.process.send_signal(signal.SIGUSR1)
    keeper.wait_for("message-kept")
    (path,) = kept_paths(keeper.end())
    samples, rate_hz, _ = read_sound(path)
    assert 4.0 <= len(samples) / rate_hz <= 11.0
    loud = np.flatnonzero(np.abs(samples[:, 0]) > 0.01) / rate_hz
    assert loud[-1] - loud[0] == pytest.approx(4.0, abs=0.2)


def test_a_message_that_is_too_long_goes_on_in_a_second_file(
    keep: Callable[..., Keeper], tmp_path: Path
) -> None:
    message = scenes.messages()[5]
    keeper = keep(tmp_path / "kept", "--max-length", "5s", "--format", "wav", "--once")
    play(message.write(tmp_path / "message.wav"))
    paths = kept_paths(keeper.end())
    pieces = [read_sound(path)[0][:, 0] for path in paths]
    assert len(pieces) == 2
    assert len(pieces[0]) == 5 * scenes.RATE_HZ
    whole, original = np.concatenate(pieces), message.samples[:, 0]
    at = int(np.argmax(np.correlate(original, whole[: scenes.RATE_HZ // 2], "valid")))
    np.testing.assert_array_equal(whole[: len(original) - at], original[at : at + len(whole)])


def test_a_message_in_parts_is_one_and_is_kept_to_its_end(
    keep: Callable[..., Keeper], tmp_path: Path
) -> None:
    """Another application's sound ends in the middle of it."""
    words = ["--any-sound", "--once", "--max-length", "5s", "--format", "wav"]
    keeper = keep(tmp_path / "kept", *words)
    song = np.tile(scenes.song_of(4.0, 1) * np.float32(0.5), (2, 1))
    player = subprocess.Popen(["paplay", scenes.write_wav(tmp_path / "song.wav", song)])
    tone = [sys.executable, str(TONES), "--hz", "700", "--seconds", "5.5", "--name", "radio"]
    subprocess.run(tone, check=True)
    player.wait()
    keeper.wait_for("result")
    result = keeper.events[-1]
    assert result["stopped_by"] == "count"
    assert [(message["app"], message["part"]) for message in result["messages"]] == [
        ("paplay", 1),
        ("paplay", 2),
    ]
    assert sum(message["length_s"] for message in result["messages"]) >= 8.0


def test_what_plays_in_a_pause_is_left_out(desktop_env: PrivateDesktop, tmp_path: Path) -> None:
    """Also that of an application which nobody heard before."""
    del desktop_env
    message = scenes.messages()[0].write(tmp_path / "message.wav")
    with VoiceKeeper(VoiceSpec(tmp_path / "kept")) as keeper:
        keeper.pause()
        play(message)
        keeper.resume()
        play(message)
    result = keeper.wait()
    assert result is not None
    assert len(result.messages) == 1


def test_what_cannot_be_saved_ends_the_listening(
    keep: Callable[..., Keeper], tmp_path: Path
) -> None:
    keeper = keep(tmp_path / "kept")
    play(scenes.messages()[0].write(tmp_path / "message.wav"))
    keeper.wait_for("message-kept")
    while [path for path in (tmp_path / "kept").iterdir() if ".part." in path.name]:
        time.sleep(0.05)  # the growing file and its journal go a moment after the news
    shutil.rmtree(tmp_path / "kept")
    keeper.process.send_signal(signal.SIGUSR1)
    keeper.wait_for("result")
    assert keeper.process.wait(PATIENCE_S) == 1
    assert keeper.events[-1]["stopped_by"] == "error"


def test_a_signal_to_save_does_not_kill_what_finishes(
    keep: Callable[..., Keeper], tmp_path: Path
) -> None:
    keeper = keep(tmp_path / "kept")
    player = subprocess.Popen(["paplay", scenes.messages()[5].write(tmp_path / "message.wav")])
    try:
        keeper.wait_for("message-opened")
        time.sleep(2.0)
        keeper.process.send_signal(signal.SIGTERM)
        keeper.wait_for("finishing")
        keeper.process.send_signal(signal.SIGUSR1)
        keeper.wait_for("result")
    finally:
        player.kill()
        player.wait()
    assert keeper.process.wait(PATIENCE_S) == 0
    apps = [message["app"] for message in keeper.events[-1]["messages"]]
    assert apps.count("paplay") == 1  # what sounded last may have been saved too


def test_a_recovery_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    growing = GrowingSound(
        tmp_path / "cut off",
        rate_hz=scenes.RATE_HZ,
        channels=2,
        recipe=recipe_of(VoiceSpec(tmp_path), Heard("system", None, 0.0)),
    )
    growing.write(scenes.messages()[0].samples)
    growing.give_up()
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()  # its number is nobody's now
    (tmp_path / f".cut off.{process.pid}.part.opus").touch()
    (message,) = recover_message(growing.path)
    assert sorted(tmp_path.iterdir()) == sorted([message.path, tmp_path / JOURNAL])


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--from", "app:nothing-like-it", "--idle", "1s"), 1, "no message was heard"),
        (("--from", "nonsense"), 2, "is not a sound source"),
        (("--from", "system:no-such"), 1, "no output is called"),
        (("--format", "midi"), 2, "midi"),
        (("--for", "whatsapp", "--format", "wav"), 2, "decides the format"),
        (("--for", "nobody"), 2, "neither a messenger nor a duration"),
        (("--name", "{nobody}"), 2, "no pattern"),
        (("--threshold", "loud"), 2, "is no level"),
        (("--threshold", "7"), 2, "threshold"),
        (("--threshold", "0"), 2, "threshold"),
        (("--min-length", "2m", "--max-length", "1m"), 2, "at least 120 s and at most 60 s"),
        (("--max-length", "0"), 2, "the greatest length cannot be 0"),
        (("--hold", "0"), 2, "a hold of 0 s"),
        (("--count", "0"), 2, "the count of messages cannot be 0"),
        (("--hold", "10ms"), 2, "hold"),
        (("--for", "1s"), 1, "no message was heard"),
        (("--stop-when", "silence:1s"), 1, "no message was heard"),
        (("--start-when", "sound"), 2, "every message begins with its sound"),
        (("--start-when", "rain"), 2, "'rain' is no start rule"),
        (("--start-within", "1s"), 2, "no rule to wait for"),
        (("--stop-when", "window-closed"), 2, "names nothing"),
        (("--stop-when", "size:0"), 2, "must have a limit above 0"),
        (("--start-when", "app:none", "--start-within", "0.2s"), 1, "app:none did not come within"),
    ],
)
def test_bad_input_is_one_sentence(
    desktop_env: PrivateDesktop, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    del desktop_env
    command = [sys.executable, "-m", "capture", "voice", str(tmp_path / "kept"), *words]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert run.returncode == code
    assert message in run.stderr
    assert "Traceback" not in run.stderr


def test_a_folder_that_cannot_be_written_is_refused_at_once(
    desktop_env: PrivateDesktop, tmp_path: Path
) -> None:
    del desktop_env
    (tmp_path / "file").write_text("not a folder")
    command = [sys.executable, "-m", "capture", "voice", str(tmp_path / "file" / "kept")]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert run.returncode == 1
    assert "part of that path is a file" in run.stderr
    command[-1] = str(tmp_path / "file")
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert run.returncode == 1
    assert "is no folder" in run.stderr
