"""The schedule's database: jobs, runs, recordings. SQLite, through one connection a process.

Any process may use it at any time: the daemon, and commands beside it. Unique keys make sure that
nothing happens twice. A database that cannot be read, or that a newer version has made, is never
written to.
"""

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from capture.config import data_folder, default_output
from capture.errors import CaptureError, ConfigError, DamagedFileError, OutputError
from capture.hints import Advice
from capture.schedule.jobs import FINAL, Job, Missed, Overlap, Recording, Run, Status
from capture.specs.as_json import from_json, to_json
from capture.specs.recording import RecordingSpec
from capture.sqlite import LOCKED_AFTER_S, Database, connect, is_locked

SCHEMA_VERSION = 2
HISTORY_PER_JOB = 1000
"""Runs of one job that are remembered: a year of weekdays four times over, 40 days of hours."""

# Ids are never given twice (AUTOINCREMENT): a recording belongs to the job that has made it.
_SCHEMA = """
CREATE TABLE state (id INTEGER PRIMARY KEY, revision INTEGER NOT NULL);
INSERT INTO state VALUES (1, 0);
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    settings TEXT NOT NULL,
    is_paused INTEGER NOT NULL,
    runs_left INTEGER,
    spec TEXT
);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER NOT NULL,
    job_name TEXT NOT NULL,
    due_ms INTEGER NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 1,
    started_s REAL,
    ended_s REAL,
    pid INTEGER,
    pid_started INTEGER,
    boot_id TEXT,
    output TEXT,
    paths TEXT NOT NULL DEFAULT '[]',
    exit_code INTEGER,
    size_bytes INTEGER,
    length_s REAL,
    findings TEXT NOT NULL DEFAULT '[]',
    message TEXT,
    UNIQUE (job_id, due_ms)
);
CREATE INDEX runs_by_status ON runs (status);
CREATE TABLE recordings (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL,
    run_id INTEGER NOT NULL,
    path TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    changed_ns INTEGER NOT NULL
);
CREATE INDEX recordings_by_job ON recordings (job_id);
"""
_OWN_COLUMNS = {"id", "name", "is_paused", "runs_left", "spec"}
"""Fields of a job that are not among its settings, which are JSON."""
_LISTS = {"paths", "findings"}
_IS_UNFINISHED = f"status NOT IN ({', '.join(repr(status.value) for status in FINAL)})"
_UNFINISHED = f"SELECT * FROM runs WHERE {_IS_UNFINISHED}"  # noqa: S608 - only words of this file
_BEYOND = f"""SELECT id FROM runs WHERE job_id = ? AND NOT ({_IS_UNFINISHED})
    ORDER BY due_ms DESC LIMIT -1 OFFSET ?"""  # noqa: S608 - only words of this file


class EarlierVersionError(ConfigError):
    """The database is of an earlier version of this program."""


class Store(Database):
    """The database, open; any thread may call any method.

    Args:
        path: The file, made if it is not there; by default in ``data_folder()``.

    Raises:
        DamagedFileError: It is no database of this program; a copy is beside it.
        ConfigError: A newer version of this program has made it.
        EarlierVersionError: An earlier one has, which ``carry_over`` changes.
        OutputError: It cannot be opened.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self.path = (path or default_path()).absolute()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the folder of the schedule cannot be made: {error}", hint="use another file"
            ) from error
        with self._translating():
            self._connection = connect(self.path)
        self._connection.row_factory = sqlite3.Row
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    @property
    def runs_folder(self) -> Path:
        """The folder of the logs of runs."""
        return self.path.parent / f"{self.path.stem}-runs"

    # ---------------------------------------------------------------------------------------- jobs

    def jobs(self) -> tuple[Job, ...]:
        """All jobs, sorted by name."""
        return tuple(_job_of(row) for row in self._read("SELECT * FROM jobs ORDER BY name"))

    def job(self, name: str | int) -> Job:
        """The job with a name or an id.

        Raises:
            ConfigError: There is none.
        """
        by_id, by_name = "SELECT * FROM jobs WHERE id = ?", "SELECT * FROM jobs WHERE name = ?"
        rows = self._read(by_id if isinstance(name, int) else by_name, *_kept([name]))
        if not rows:
            raise ConfigError(f"there is no job {name!r}", hint=Advice.SHOW_JOBS.with_())
        return _job_of(rows[0])

    def add(self, job: Job) -> Job:
        """Add a new job; gives it with its id.

        Raises:
            ConfigError: Its name is taken.
        """
        with self._begin() as connection:
            try:
                done = _insert(connection, "jobs", _row_of(job))
            except sqlite3.IntegrityError:
                raise _taken(job.name) from None
            _touch(connection)
        return replace(job, id=done)

    def update(self, job: Job) -> None:
        """Replace a job's settings.

        Raises:
            ConfigError: Its new name is taken.
        """
        with self._begin() as connection:
            try:
                _update(connection, "jobs", job.id, _row_of(job))
            except sqlite3.IntegrityError:
                raise _taken(job.name) from None
            _touch(connection)

    def remove(self, job: Job) -> None:
        """Delete a job and its history; its recordings stay."""
        with self._begin() as connection:
            connection.execute("DELETE FROM jobs WHERE id = ?", (job.id,))
            connection.execute("DELETE FROM runs WHERE job_id = ?", (job.id,))
            connection.execute("DELETE FROM recordings WHERE job_id = ?", (job.id,))
            _touch(connection)

    def revision(self) -> int:
        """A number that grows with every change of a job."""
        return int(self._read("SELECT revision FROM state")[0]["revision"])

    # ---------------------------------------------------------------------------------------- runs

    def claim(
        self, job: Job, due_s: float, status: Status = Status.CLAIMED, **values: Any
    ) -> Run | None:
        """Record the beginning of a run: there is never a second one of a job and a due time.

        Args:
            job: Whose run.
            due_s: Wall time at which it is due.
            status: Where it stands.
            values: More fields of ``Run``.

        Returns:
            ``None`` if somebody has it already, or the job has gone or has had all its runs.
        """
        row = {"job_id": job.id, "job_name": job.name, "due_ms": round(due_s * 1000)}
        row |= _packed({"status": status, **values})
        with self._begin() as connection:
            found = connection.execute("SELECT runs_left FROM jobs WHERE id = ?", (job.id,))
            known = found.fetchone()
            if known is None or (known["runs_left"] == 0 and status is Status.CLAIMED):
                return None
            try:
                run_id = _insert(connection, "runs", row)
            except sqlite3.IntegrityError:
                return None
            if status is Status.CLAIMED:  # NULL, which is no limit, stays what it is
                connection.execute(
                    "UPDATE jobs SET runs_left = runs_left - 1 WHERE id = ?", (job.id,)
                )
        return _run_of(self._read("SELECT * FROM runs WHERE id = ?", run_id)[0])

    def change(self, run: Run, **values: Any) -> Run:
        """Change values of a run; gives the changed run."""
        with self._begin() as connection:
            _update(connection, "runs", run.id, _packed(values))
        return replace(run, **values)

    def finish(self, run: Run, **values: Any) -> Run | None:
        """Record the end of a run; ``None`` if it has been recorded already."""
        with self._begin() as connection:
            if not _update(connection, "runs", run.id, _packed(values), _IS_UNFINISHED):
                return None
        return replace(run, **values)

    def runs(self, job: Job, limit: int = HISTORY_PER_JOB) -> tuple[Run, ...]:
        """The last runs of a job, the latest first."""
        chosen = "SELECT * FROM runs WHERE job_id = ? ORDER BY due_ms DESC LIMIT ?"
        return tuple(map(_run_of, self._read(chosen, job.id, limit)))

    def unfinished(self) -> tuple[Run, ...]:
        """Runs whose end has not been recorded."""
        return tuple(map(_run_of, self._read(_UNFINISHED)))

    def last_runs(self) -> dict[int, Run]:
        """The latest run of every job, by the job's id."""
        # SQLite takes the other columns from the row that has the maximum (lang_select, 2.5).
        rows = self._read("SELECT *, max(due_ms) FROM runs GROUP BY job_id")
        return {row["job_id"]: _run_of(row) for row in rows}

    def prune(self, job: Job) -> tuple[int, ...]:
        """Delete the oldest runs of a job beyond a number; gives their ids."""
        ids = tuple(int(row["id"]) for row in self._read(_BEYOND, job.id, HISTORY_PER_JOB))
        if ids:
            with self._begin() as connection:
                connection.executemany("DELETE FROM runs WHERE id = ?", [(each,) for each in ids])
        return ids

    # ---------------------------------------------------------------------------------- recordings

    def add_recordings(self, run: Run, paths: Iterable[Path]) -> None:
        """Record the files of a run with their present size and time."""
        with self._begin() as connection:
            for path in paths:
                with contextlib.suppress(OSError):
                    found = path.stat()
                    row = {"job_id": run.job_id, "run_id": run.id, "path": str(path)}
                    row |= {"size_bytes": found.st_size, "changed_ns": found.st_mtime_ns}
                    _insert(connection, "recordings", row)

    def recordings(self, job: Job) -> tuple[Recording, ...]:
        """The recordings of a job, the oldest first."""
        rows = self._read("SELECT * FROM recordings WHERE job_id = ? ORDER BY id", job.id)
        return tuple(
            Recording(**{**dict(row), "path": Path(os.fsdecode(row["path"]))}) for row in rows
        )

    def forget_recording(self, recording: Recording) -> None:
        """Remove a recording from the database; its file was deleted or replaced."""
        with self._begin() as connection:
            connection.execute("DELETE FROM recordings WHERE id = ?", (recording.id,))

    # --------------------------------------------------------------------------------------- small

    def _open(self) -> None:
        version = self._read("PRAGMA user_version")[0][0]
        if 0 < version < SCHEMA_VERSION:
            raise EarlierVersionError(
                f"{self.path} was made by an earlier version of this program",
                hint=Advice.CARRY_OVER.with_(),
            )
        if version > SCHEMA_VERSION:
            raise ConfigError(
                f"{self.path} was made by a newer version of this program",
                hint="update it, or use another file; nothing in it was changed",
            )
        # Readers do not wait for a writer, and what was written survives a power cut.
        self._read("PRAGMA journal_mode = WAL")
        self._read("PRAGMA synchronous = FULL")
        with self._begin() as connection:  # again: somebody else may be making it just now
            if connection.execute("PRAGMA user_version").fetchone()[0] < SCHEMA_VERSION:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _translated(self, error: sqlite3.Error) -> CaptureError:
        text = str(error)
        if is_locked(error):
            return OutputError(
                f"the schedule is locked: another program has held {self.path} for "
                f"{LOCKED_AFTER_S:.0f} s",
                hint="end that program, and try again",
            )
        if "malformed" in text or "not a database" in text:
            copy = self._back_up()
            return DamagedFileError(
                f"the schedule in {self.path} is damaged ({text}){copy}",
                hint="it was left as it is: move it away to begin anew, or put a backup in its "
                "place; recordings are not affected",
            )
        return OutputError(f"the schedule in {self.path} cannot be used: {text}")

    def _back_up(self) -> str:
        """Copy the damaged file, once; gives a sentence with the path."""
        try:
            changed = int(self.path.stat().st_mtime)
            copy = self.path.with_name(f"{self.path.name}.damaged-{changed}")
            if not copy.exists():
                shutil.copy2(self.path, copy)
        except OSError:
            return ""
        return f"; a copy is {copy.name}"


def default_path() -> Path:
    """The path of the default schedule."""
    return data_folder() / "schedule.sqlite"


def _kept(values: Iterable[Any]) -> tuple[Any, ...]:
    """Values for SQLite: a name that is no Unicode becomes its bytes."""
    return tuple(
        os.fsencode(value)
        if isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value)
        else value
        for value in values
    )


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> int:
    columns, marks = ", ".join(row), ", ".join("?" * len(row))
    insert = f"INSERT INTO {table} ({columns}) VALUES ({marks})"  # noqa: S608 - names are ours
    done = connection.execute(insert, _kept(row.values()))
    assert done.lastrowid is not None
    return done.lastrowid


def _update(
    connection: sqlite3.Connection,
    table: str,
    row_id: int,
    row: dict[str, Any],
    where: str = "true",
) -> bool:
    """Change a row; whether there was one."""
    changes = ", ".join(f"{column} = ?" for column in row)
    change = f"UPDATE {table} SET {changes} WHERE id = ? AND {where}"  # noqa: S608 - the same
    return connection.execute(change, (*_kept(row.values()), row_id)).rowcount > 0


def _touch(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE state SET revision = revision + 1")


def _taken(name: str) -> ConfigError:
    return ConfigError(
        f"there is a job {name!r} already", hint="choose another name, or change that job"
    )


def _row_of(job: Job) -> dict[str, Any]:
    names = {field.name for field in fields(Job)} - _OWN_COLUMNS
    settings = {name: getattr(job, name) for name in sorted(names)}
    return {
        "name": job.name,
        "settings": json.dumps(settings),
        "is_paused": job.is_paused,
        "runs_left": job.runs_left,
        "spec": json.dumps(to_json(job.spec)),
    }


def _job_of(row: sqlite3.Row) -> Job:
    name, is_paused = os.fsdecode(row["name"]), bool(row["is_paused"])
    known = {field.name for field in fields(Job)} - _OWN_COLUMNS
    settings = {key: v for key, v in json.loads(row["settings"]).items() if key in known}
    settings["missed"] = Missed(settings["missed"])
    settings["overlap"] = Overlap(settings["overlap"])
    try:
        spec = from_json(json.loads(row["spec"]))
    except ConfigError as error:  # one job must not keep the others from running
        spec, is_paused = RecordingSpec(default_output(".mp4")), True
        settings["problem"] = f"the job's options cannot be read: {error.message}"
    return Job(
        id=row["id"],
        name=name,
        spec=spec,
        is_paused=is_paused,
        runs_left=row["runs_left"],
        **settings,
    )


def _packed(values: dict[str, Any]) -> dict[str, Any]:
    """Values for the database: lists become JSON."""
    return {key: json.dumps(value) if key in _LISTS else value for key, value in values.items()}


def _run_of(row: sqlite3.Row) -> Run:
    values: dict[str, Any] = {f.name: row[f.name] for f in fields(Run) if f.name != "due_s"}
    values |= {key: tuple(json.loads(values[key])) for key in _LISTS}
    values |= {key: os.fsdecode(v) for key, v in values.items() if isinstance(v, bytes)}
    values["status"] = Status(values["status"])
    return Run(due_s=row["due_ms"] / 1000, **values)
