"""The schedule's database: jobs, runs, recordings. SQLite through SQLAlchemy Core.

Any process may use it at any time: the daemon, and commands beside it. What must not happen twice
is decided here, by keys that are unique. A database that cannot be read, or that a newer version
has made, is never written to.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import platformdirs
import sqlalchemy as sa
from sqlalchemy import event, exc

from capture.errors import CaptureError, ConfigError, DamagedFileError, OutputError
from capture.schedule.jobs import FINAL, Job, Missed, Overlap, Recording, Run, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

__all__ = ["Store", "data_folder"]

SCHEMA_VERSION = 1
LOCKED_AFTER_S = 10.0
"""Writing takes milliseconds: who waits this long waits for something that hangs."""
HISTORY_PER_JOB = 1000
"""Runs of one job that are remembered: a year of weekdays four times over, 40 days of hours."""

_META = sa.MetaData()
_STATE = sa.Table(
    "state",
    _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("revision", sa.Integer, nullable=False),  # counts every change of a job
)
_JOBS = sa.Table(
    "jobs",
    _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("settings", sa.Text, nullable=False),  # JSON: every other field of Job
    sa.Column("is_paused", sa.Boolean, nullable=False),
    sa.Column("runs_left", sa.Integer),
    sqlite_autoincrement=True,  # an id is never given twice: recordings belong to one job
)
_RUNS = sa.Table(
    "runs",
    _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.Integer, nullable=False),
    sa.Column("job_name", sa.Text, nullable=False),
    sa.Column("due_ms", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False, index=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("started_s", sa.Float),
    sa.Column("ended_s", sa.Float),
    sa.Column("pid", sa.Integer),
    sa.Column("pid_started", sa.Integer),
    sa.Column("boot_id", sa.Text),
    sa.Column("output", sa.Text),
    sa.Column("paths", sa.Text, nullable=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("size_bytes", sa.Integer),
    sa.Column("length_s", sa.Float),
    sa.Column("findings", sa.Text, nullable=False),
    sa.Column("message", sa.Text),
    sa.UniqueConstraint("job_id", "due_ms"),
    sqlite_autoincrement=True,
)
_RECORDINGS = sa.Table(
    "recordings",
    _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.Integer, nullable=False, index=True),
    sa.Column("run_id", sa.Integer, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.Integer, nullable=False),
    sa.Column("changed_ns", sa.Integer, nullable=False),
)
_OWN_COLUMNS = {"id", "name", "is_paused", "runs_left"}
_LISTS = {"paths", "findings"}


def data_folder() -> Path:
    """Where the schedule lives: ``CAPTURE_DATA_DIR``, or the user's data directory."""
    named = os.environ.get("CAPTURE_DATA_DIR")
    return Path(named) if named else Path(platformdirs.user_data_dir("capture"))


class Store:
    """The database, open; any thread may call any method.

    Args:
        path: The file, made if it is not there; by default in ``data_folder()``.

    Raises:
        DamagedFileError: It is no database of this program; a copy is beside it.
        ConfigError: A newer version of this program has made it.
        OutputError: It cannot be opened.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = (path or data_folder() / "schedule.sqlite").absolute()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"there is no place for the schedule: {error}", hint="name another --database"
            ) from error
        self.engine = sa.create_engine(
            f"sqlite:///{self.path}", connect_args={"timeout": LOCKED_AFTER_S}
        )
        event.listen(self.engine, "connect", _set_up)
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give all connections back; idempotent."""
        self.engine.dispose()

    @property
    def runs_folder(self) -> Path:
        """Where the logs of runs lie."""
        return self.path.parent / f"{self.path.stem}-runs"

    # ---------------------------------------------------------------------------------------- jobs

    def jobs(self) -> tuple[Job, ...]:
        """All jobs, by name."""
        with self._begin() as connection:
            rows = connection.execute(sa.select(_JOBS).order_by(_JOBS.c.name)).all()
        return tuple(_job_of(row) for row in rows)

    def job(self, name: str | int) -> Job:
        """The job of a name, or of an id.

        Raises:
            ConfigError: There is none.
        """
        column = _JOBS.c.id if isinstance(name, int) else _JOBS.c.name
        with self._begin() as connection:
            row = connection.execute(sa.select(_JOBS).where(column == name)).first()
        if row is None:
            raise ConfigError(
                f"there is no job {name!r}", hint="`capture schedule list` shows them all"
            )
        return _job_of(row)

    def add(self, job: Job) -> Job:
        """Keep a new job; gives it with its id.

        Raises:
            ConfigError: Its name is taken.
        """
        with self._begin() as connection:
            try:
                done = connection.execute(_JOBS.insert().values(**_row_of(job)))
            except exc.IntegrityError:
                raise _taken(job.name) from None
            _touch(connection)
        assert done.inserted_primary_key is not None
        return replace(job, id=done.inserted_primary_key[0])

    def update(self, job: Job) -> None:
        """Keep a job's new settings.

        Raises:
            ConfigError: Its new name is taken.
        """
        with self._begin() as connection:
            change = _JOBS.update().where(_JOBS.c.id == job.id).values(**_row_of(job))
            try:
                connection.execute(change)
            except exc.IntegrityError:
                raise _taken(job.name) from None
            _touch(connection)

    def remove(self, job: Job) -> None:
        """Forget a job and its history; its recordings stay where they are."""
        with self._begin() as connection:
            connection.execute(_JOBS.delete().where(_JOBS.c.id == job.id))
            for table in (_RUNS, _RECORDINGS):
                connection.execute(table.delete().where(table.c.job_id == job.id))
            _touch(connection)

    def revision(self) -> int:
        """Grows with every change of a job."""
        with self._begin() as connection:
            return int(connection.execute(sa.select(_STATE.c.revision)).scalar_one())

    # ---------------------------------------------------------------------------------------- runs

    def claim(
        self, job: Job, due_s: float, status: Status = Status.CLAIMED, **values: Any
    ) -> Run | None:
        """Take a run on, for good: of one job and due time there is never a second one.

        Args:
            job: Whose run.
            due_s: Wall time at which it is due.
            status: Where it stands.
            values: More fields of ``Run``.

        Returns:
            ``None`` if somebody has it already, or the job has gone or has had all its runs.
        """
        row = {"attempt": 1, "paths": (), "findings": ()} | values
        row |= {"job_id": job.id, "job_name": job.name, "status": status}
        with self._begin() as connection:
            left = sa.select(_JOBS.c.runs_left).where(_JOBS.c.id == job.id)
            known = connection.execute(left).first()
            if known is None or (known.runs_left == 0 and status is Status.CLAIMED):
                return None
            insert = _RUNS.insert().values(due_ms=round(due_s * 1000), **_packed(row))
            try:
                done = connection.execute(insert)
            except exc.IntegrityError:
                connection.rollback()
                return None
            if status is Status.CLAIMED and known.runs_left is not None:
                less = _JOBS.update().where(_JOBS.c.id == job.id)
                connection.execute(less.values(runs_left=_JOBS.c.runs_left - 1))
            assert done.inserted_primary_key is not None
            run_id = done.inserted_primary_key[0]
            found = connection.execute(sa.select(_RUNS).where(_RUNS.c.id == run_id)).one()
        return _run_of(found)

    def change(self, run: Run, **values: Any) -> Run:
        """Note what has become of a run; gives it as it is now."""
        with self._begin() as connection:
            change = _RUNS.update().where(_RUNS.c.id == run.id)
            connection.execute(change.values(**_packed(values)))
        return replace(run, **values)

    def finish(self, run: Run, **values: Any) -> Run | None:
        """Note the end of a run; ``None`` if somebody has noted one already."""
        with self._begin() as connection:
            change = _RUNS.update().where(_RUNS.c.id == run.id, _RUNS.c.status.not_in([*FINAL]))
            if connection.execute(change.values(**_packed(values))).rowcount == 0:
                return None
        return replace(run, **values)

    def runs(self, job: Job, limit: int = HISTORY_PER_JOB) -> tuple[Run, ...]:
        """The last runs of a job, the latest first."""
        chosen = sa.select(_RUNS).where(_RUNS.c.job_id == job.id)
        return self._runs(chosen.order_by(_RUNS.c.due_ms.desc()).limit(limit))

    def unfinished(self) -> tuple[Run, ...]:
        """Runs that have not ended, as far as anybody has noted."""
        return self._runs(sa.select(_RUNS).where(_RUNS.c.status.not_in([*FINAL])))

    def last_runs(self) -> dict[int, Run]:
        """The latest run of every job, by the job's id."""
        last = sa.select(sa.func.max(_RUNS.c.due_ms), _RUNS).group_by(_RUNS.c.job_id)
        return {run.job_id: run for run in self._runs(last)}

    def prune(self, job: Job) -> tuple[int, ...]:
        """Forget the oldest runs of a job beyond the limit; gives their ids."""
        old = sa.select(_RUNS.c.id).where(_RUNS.c.job_id == job.id, _RUNS.c.status.in_([*FINAL]))
        with self._begin() as connection:
            found = connection.execute(
                old.order_by(_RUNS.c.due_ms.desc()).offset(HISTORY_PER_JOB)
            ).scalars()
            ids = tuple(found)
            if ids:
                connection.execute(_RUNS.delete().where(_RUNS.c.id.in_(ids)))
        return ids

    # ---------------------------------------------------------------------------------- recordings

    def add_recordings(self, run: Run, paths: Iterable[Path]) -> None:
        """Remember the files of a run as they are now."""
        rows = []
        for path in paths:
            with contextlib.suppress(OSError):
                found = path.stat()
                rows.append(
                    {
                        "job_id": run.job_id,
                        "run_id": run.id,
                        "path": str(path),
                        "size_bytes": found.st_size,
                        "changed_ns": found.st_mtime_ns,
                    }
                )
        if rows:
            with self._begin() as connection:
                connection.execute(_RECORDINGS.insert(), rows)

    def recordings(self, job: Job) -> tuple[Recording, ...]:
        """The files of a job, the oldest first."""
        chosen = sa.select(_RECORDINGS).where(_RECORDINGS.c.job_id == job.id)
        with self._begin() as connection:
            rows = connection.execute(chosen.order_by(_RECORDINGS.c.id)).mappings().all()
        return tuple(Recording(**{**row, "path": Path(row["path"])}) for row in rows)

    def forget_recording(self, recording: Recording) -> None:
        """It has been deleted, or is not ours any more."""
        with self._begin() as connection:
            connection.execute(_RECORDINGS.delete().where(_RECORDINGS.c.id == recording.id))

    # --------------------------------------------------------------------------------------- small

    def _runs(self, select: Any) -> tuple[Run, ...]:
        with self._begin() as connection:
            return tuple(_run_of(row) for row in connection.execute(select).all())

    def _open(self) -> None:
        with self._begin() as connection:
            version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            if version > SCHEMA_VERSION:
                raise ConfigError(
                    f"{self.path} was made by a newer version of this program",
                    hint="update it, or name another --database; nothing in it was changed",
                )
            if version == SCHEMA_VERSION:
                return
            _META.create_all(connection)
            connection.execute(_STATE.insert().prefix_with("OR IGNORE").values(id=1, revision=0))
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextlib.contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        """A transaction; the library's errors become ours."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except exc.IntegrityError:
            raise
        except (exc.DatabaseError, sqlite3.DatabaseError) as error:
            raise self._translated(str(getattr(error, "orig", error))) from error

    def _translated(self, said: str) -> CaptureError:
        if "locked" in said or "busy" in said:
            return OutputError(
                f"the schedule is locked: another program has held {self.path} for "
                f"{LOCKED_AFTER_S:.0f} s",
                hint="end that program, and try again",
            )
        if "malformed" in said or "not a database" in said:
            copy = self._back_up()
            return DamagedFileError(
                f"the schedule in {self.path} is damaged ({said}){copy}",
                hint="it was left as it is: move it away to begin anew, or put a backup in its "
                "place; recordings are not affected",
            )
        return OutputError(f"the schedule in {self.path} cannot be used: {said}")

    def _back_up(self) -> str:
        """A copy of the damaged file, once; says where it is."""
        try:
            changed = int(self.path.stat().st_mtime)
            copy = self.path.with_name(f"{self.path.name}.damaged-{changed}")
            if not copy.exists():
                shutil.copy2(self.path, copy)
        except OSError:
            return ""
        return f"; a copy is {copy.name}"


def _set_up(connection: Any, _record: Any) -> None:
    """Readers do not wait for a writer, and what was written survives a power cut."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _touch(connection: sa.Connection) -> None:
    connection.execute(_STATE.update().values(revision=_STATE.c.revision + 1))


def _taken(name: str) -> ConfigError:
    return ConfigError(
        f"there is a job {name!r} already",
        hint="choose another --name, or change it with `capture schedule edit`",
    )


def _row_of(job: Job) -> dict[str, Any]:
    settings = {key: value for key, value in asdict(job).items() if key not in _OWN_COLUMNS}
    return {
        "name": job.name,
        "settings": json.dumps(settings, ensure_ascii=False),
        "is_paused": job.is_paused,
        "runs_left": job.runs_left,
    }


def _job_of(row: Any) -> Job:
    known = {field.name for field in fields(Job)} - _OWN_COLUMNS
    settings = {key: value for key, value in json.loads(row.settings).items() if key in known}
    settings["words"] = tuple(settings["words"])
    settings["missed"] = Missed(settings["missed"])
    settings["overlap"] = Overlap(settings["overlap"])
    return Job(
        id=row.id, name=row.name, is_paused=row.is_paused, runs_left=row.runs_left, **settings
    )


def _packed(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: json.dumps(value, ensure_ascii=False) if key in _LISTS else value
        for key, value in values.items()
    }


def _run_of(row: Any) -> Run:
    values = {
        field.name: getattr(row, field.name) for field in fields(Run) if field.name != "due_s"
    }
    values |= {key: tuple(json.loads(values[key])) for key in _LISTS}
    values["status"] = Status(values["status"])
    return Run(due_s=row.due_ms / 1000, **values)
