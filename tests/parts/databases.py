"""Databases of every kind for tests, on servers that the run starts itself.

Each server runs in a temporary folder on a port of its own, as an ordinary user, and
ends with the run. A test gets a database that no other test has seen: a copy of one
that was migrated once, because migrating takes longer than most tests.
"""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from pymysql.constants import CLIENT
from sqlalchemy import Engine, text

from gptload.control.db.database import make_engine, parse_dsn
from tests.parts.service import free_port

KINDS = ("sqlite", "postgresql", "mariadb")
_START_S = 30.0
_numbers = count(1)

Prepare = Callable[[Engine], object]
"""What makes an empty database into the one that tests begin with."""


class Server(ABC):
    """A database server. Not running until `start`; its data outlive a `stop`."""

    package: str
    programs: tuple[str, ...]
    users: tuple[str, ...]
    stop_signal: signal.Signals

    def __init__(self) -> None:
        self.port = free_port()
        missing = [name for name in self.programs if self._find(name) is None]
        if missing:
            words = f"{', '.join(missing)} is missing: apt-get install {self.package}"
            assert not os.environ.get("CI"), words
            pytest.skip(words)
        self._as = _as_user(*self.users)
        # Not pytest's folder: its parents are root's alone.
        self.folder = Path(tempfile.mkdtemp(prefix="gptload-server-"))
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
        self._process: subprocess.Popen[bytes] | None = None
        self._run(self.make_command())

    @abstractmethod
    def make_command(self) -> list[str]:
        """What makes the folder."""

    @abstractmethod
    def start_command(self) -> list[str]:
        """What serves from it."""

    @abstractmethod
    def create(self, name: str, template: str | None = None) -> str:
        """A database, empty or as the other one; its DSN."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Delete it, whoever uses it."""

    @abstractmethod
    def ping(self) -> None:
        """Raise unless it takes connections."""

    def start(self) -> None:
        """Serve, and return once it takes connections."""
        log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            self.start_command(),
            cwd=self.folder,
            env=_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            **self._as,
        )
        log.close()
        until = time.monotonic() + _START_S
        while True:
            try:
                return self.ping()
            except (psycopg.Error, pymysql.Error):
                words = (self.folder / "log").read_text(errors="replace")
                assert self._process.poll() is None, words
                assert time.monotonic() < until, words
                time.sleep(0.05)

    def stop(self) -> None:
        """Cut all connections and end."""
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def remove(self) -> None:
        """Stop, and delete everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def program(self, name: str) -> str:
        """Where a program is."""
        found = self._find(name)
        assert found is not None
        return found

    def _find(self, name: str) -> str | None:
        # Debian's own before whatever PATH has, and the folders that only root's PATH has.
        folders = [*sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
        path = os.pathsep.join((*folders, os.environ.get("PATH", ""), "/usr/sbin"))
        return shutil.which(name, path=path)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **self._as,
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")


class PostgreSQL(Server):
    """PostgreSQL, as Debian packages it."""

    package = "postgresql"
    programs = ("initdb", "postgres")
    users = ("postgres", "nobody")
    stop_signal = signal.SIGINT  # "fast": clients are cut off

    def make_command(self) -> list[str]:
        return [
            self.program("initdb"),
            f"--pgdata={self.folder}/data",
            "--username=gptload",
            "--auth=trust",
            "--no-sync",
            "--no-instructions",
            "--encoding=UTF8",
        ]

    def start_command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }
        return [
            self.program("postgres"),
            f"-D{self.folder}/data",
            f"-p{self.port}",
            *(f"-c{name}={value}" for name, value in settings.items()),
        ]

    def create(self, name: str, template: str | None = None) -> str:
        # The system's own template has whatever the system has; this one is UTF-8.
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'}")
        return f"postgres://gptload@127.0.0.1:{self.port}/{name}"

    def drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def ping(self) -> None:
        self._execute("SELECT 1")

    def _execute(self, statement: str) -> None:
        with psycopg.connect(
            f"host=127.0.0.1 port={self.port} user=gptload dbname=postgres connect_timeout=2",
            autocommit=True,
        ) as connection:
            connection.execute(statement.encode())


class MariaDB(Server):
    """MariaDB, as Debian packages it."""

    package = "mariadb-server"
    programs = ("mariadb-install-db", "mariadbd")
    users = ("mysql", "nobody")
    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        self._statements: dict[str, list[str]] = {}
        super().__init__()

    def make_command(self) -> list[str]:
        return [
            self.program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.folder}/data",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]

    def start_command(self) -> list[str]:
        return [
            self.program("mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder}/data",
            f"--socket={self.folder}/socket",
            f"--pid-file={self.folder}/pid",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-flush-method=nosync",
            "--innodb-buffer-pool-size=32M",
            "--skip-log-bin",
            "--skip-name-resolve",
        ]

    def create(self, name: str, template: str | None = None) -> str:
        # A server's usual default, under which much would be one and the same.
        made = [f"CREATE DATABASE {name} CHARACTER SET latin1", f"USE {name}"]
        if template is not None:
            made += ["SET FOREIGN_KEY_CHECKS = 0", *self._copied(template)]
        self._execute(*made)
        return f"root@tcp(127.0.0.1:{self.port})/{name}?parseTime=true"

    def drop(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {name}")

    def ping(self) -> None:
        self._execute("SELECT 1")

    def _copied(self, template: str) -> list[str]:
        if template not in self._statements:
            found = self._statements[template] = []
            with self._connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"SHOW TABLES FROM {template}")
                for (table,) in cursor.fetchall():
                    cursor.execute(f"SHOW CREATE TABLE {template}.`{table}`")
                    found.append(cursor.fetchall()[0][1])
                    cursor.execute(f"SELECT COUNT(*) FROM {template}.`{table}`")
                    if cursor.fetchall()[0][0]:
                        found.append(f"INSERT INTO `{table}` SELECT * FROM {template}.`{table}`")
        return self._statements[template]

    def _execute(self, *statements: str) -> None:
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute("; ".join(statements))
            while cursor.nextset():
                pass

    def _connect(self) -> pymysql.Connection[Any]:
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            connect_timeout=2,
            autocommit=True,
            client_flag=CLIENT.MULTI_STATEMENTS,
        )


SERVERS: dict[str, type[Server]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}


class Databases:
    """All that a run's tests use. A server starts when the first test wants it."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: for the SQLite files that others are copied from.
        """
        self._folder = folder
        self._servers: dict[str, Server] = {}
        self._templates: dict[tuple[str, Prepare], str] = {}
        self._made: list[tuple[Server, str]] = []

    def make(self, kind: str, file: Path, prepare: Prepare | None = None) -> str:
        """A new database; its DSN.

        Args:
            file: where it is, if it is SQLite's.
            prepare: run once for all tests; the others get copies. None: an empty one.
        """
        template = self._template(kind, prepare) if prepare is not None else None
        if kind == "sqlite":
            if template is not None:
                shutil.copy(template, file)
            return str(file)
        name = f"test{next(_numbers)}"
        server = self._server(kind)
        self._made.append((server, name))
        return server.create(name, template)

    def drop(self) -> None:
        """Delete all that `make` made; SQLite's files go with their folders."""
        while self._made:
            server, name = self._made.pop()
            server.drop(name)

    def remove(self) -> None:
        """End all servers."""
        for server in self._servers.values():
            server.remove()

    def _server(self, kind: str) -> Server:
        if kind not in self._servers:
            server = SERVERS[kind]()
            self._servers[kind] = server
            server.start()
        return self._servers[kind]

    def _template(self, kind: str, prepare: Prepare) -> str:
        known = self._templates.get((kind, prepare))
        if known is not None:
            return known
        name = f"pattern{next(_numbers)}"
        if kind == "sqlite":
            name = dsn = str(self._folder / f"{name}.db")
        else:
            dsn = self._server(kind).create(name)
        engine = make_engine(parse_dsn(dsn))
        prepare(engine)
        if kind == "sqlite":
            with engine.connect() as connection:
                connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        engine.dispose()
        self._templates[kind, prepare] = name
        return name


def _as_user(*names: str) -> dict[str, Any]:
    """What drops root for a process: servers refuse to run as that."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in names if name in known)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8"}
