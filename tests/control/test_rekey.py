"""`gptload migrate-keys`, as a user types it, on every kind of database."""

from __future__ import annotations

import hashlib
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, select

from gptload.control.db.database import make_engine, parse_dsn, run_read, run_write
from gptload.control.db.migrate import migrate
from gptload.control.db.occupancy import Occupancy
from gptload.control.db.queries import facts
from gptload.control.db.tables import api_keys, metadata, removed_keys, request_logs
from gptload.core.vault import Vault
from tests.parts.databases import Databases
from tests.parts.rows import add_group
from tests.parts.service import AUTH_KEY, Service, wait_for
from tests.service.conftest import make_group
from tests.upstream.control import Upstream

GPTLOAD = str(Path(sys.executable).with_name("gptload"))
OLD = "old-Kq7mWz4tRb9XnP2v"
NEW = "new-Hs3cYd8gLf6JuE5a"
THIRD = "third-Zb5nMx1oQi7UwT"
KEYS = 40
KEYS_TO_KILL = 24_000
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environ(dsn: str, tmp_path: Path) -> dict[str, str]:
    """What the command finds around it."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AUTH_KEY": AUTH_KEY,
        "DATABASE_DSN": dsn,
        "DATA_DIR": str(tmp_path / "data"),
    }


@pytest.fixture
def run(environ: dict[str, str], engine: Engine, tmp_path: Path) -> Run:
    """Run `gptload migrate-keys …`; no secret may ever be in what it says."""

    def run(*arguments: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        engine.dispose()  # we are no service, and the server can't tell
        done = subprocess.run(
            [GPTLOAD, "migrate-keys", *arguments],
            cwd=tmp_path,
            env=environ | more,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        assert not any(key in said for key in (OLD, NEW, THIRD, "sk-test"))
        assert "Traceback" not in said
        return done

    return run


def vault(engine: Engine, password: str | None) -> Vault:
    return Vault(password, run_write(engine, facts.ensure_salt))


def fill(connection: Connection, sealed_by: Vault, keys: int = KEYS, logs: int = 3 * KEYS) -> None:
    """Keys, a deleted one, and log rows: of a key, of no key, and one that nobody can read."""
    group_id = add_group(connection)
    secrets = [b"sk-test-%d" % number for number in range(keys)] + [b"g1:looks-sealed"]
    rows = [
        {
            "key_value": sealed_by.seal(secret),
            "key_hash": sealed_by.hash(secret),
            "group_id": group_id,
            "created_at": 0.0,
            "updated_at": 0.0,
        }
        for secret in secrets
    ]
    connection.execute(insert(api_keys), rows)
    gone = {
        "id": 10**6,
        "status": "active",
        "notes": "",
        "request_count": 0,
        "failure_count": 0,
        "reason": "",
        "weight": 1,
        "account": "",
        "batch": "b",
        "removed_at": 0.0,
    }
    connection.execute(insert(removed_keys), rows[0] | gone)
    used = [
        ({"key_value": "", "key_hash": ""} if number % 10 == 0 else rows[number % keys])
        for number in range(logs)
    ]
    used[5] = {"key_value": "g1:AAAA", "key_hash": "0" * 64}
    connection.execute(
        insert(request_logs),
        [
            {
                "id": f"log-{number:08d}",
                "timestamp": 0.0,
                "group_id": group_id,
                "key_value": key["key_value"],
                "key_hash": key["key_hash"],
                "is_success": True,
                "status_code": 200,
                "duration": 1,
                "error_message": "",
                "is_stream": False,
                "request_body": "",
            }
            for number, key in enumerate(used)
        ],
    )


def prepare(engine: Engine, password: str | None, **counts: int) -> None:
    """A database as a service with this ENCRYPTION_KEY leaves it."""
    sealed_by = vault(engine, password)
    run_write(engine, facts.check_vault, sealed_by)
    run_write(engine, fill, sealed_by, **counts)
    run_write(engine, facts.check_vault, sealed_by)


def dump(engine: Engine) -> dict[str, list[Any]]:
    """All that there is."""

    def read(connection: Connection) -> dict[str, list[Any]]:
        return {
            table.name: sorted(map(repr, connection.execute(select(table))))
            for table in metadata.sorted_tables
        }

    return run_read(engine, read)


def assert_under(engine: Engine, password: str | None, keys: int = KEYS) -> None:
    """Everything opens with this key and is found by its hash; the key is the database's."""
    opens = vault(engine, password)
    run_write(engine, facts.check_vault, opens)
    assert run_read(engine, facts.proofs).following is None
    for table in (api_keys, removed_keys, request_logs):
        query = select(table.c.key_value, table.c.key_hash).where(table.c.key_value != "g1:AAAA")
        rows = run_read(engine, lambda c, query=query: c.execute(query).all())
        assert rows
        for value, key_hash in rows:
            if value:
                assert value.startswith("g1:") is (password is not None)
                secret = opens.open(value)
                assert opens.hash(secret) == key_hash
                assert secret.startswith((b"sk-test-", b"g1:looks"))
            else:
                assert key_hash == ""
    count = select(api_keys.c.id)
    assert len(run_read(engine, lambda c: c.execute(count).all())) == keys + 1


@pytest.mark.parametrize(
    ("before", "after", "arguments"),
    [
        (None, NEW, ("--to", NEW)),
        (OLD, NEW, ("--from", OLD, "--to", NEW)),
        (OLD, None, ("--from", OLD)),
    ],
    ids=["encrypts", "changes the key", "decrypts"],
)
def test_all_that_is_stored_gets_under_the_new_key(
    engine: Engine, run: Run, before: str | None, after: str | None, arguments: tuple[str, ...]
) -> None:
    """Keys, deleted keys and log rows; what nobody can read stays. A dry run changes nothing."""
    prepare(engine, before)
    was = dump(engine)
    dry = run(*arguments, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "41 of 41 keys to change" in dry.stdout
    assert "1 of 1 deleted keys to change" in dry.stdout
    assert "107 of 120 log rows to change" in dry.stdout
    assert "1 open with neither key" in dry.stdout
    assert dump(engine) == was

    done = run(*arguments, "--yes")
    assert done.returncode == 0, done.stderr
    assert "Set ENCRYPTION_KEY" in done.stdout if after else "Unset ENCRYPTION_KEY" in done.stdout
    assert_under(engine, after)

    is_now = dump(engine)
    again = run(*arguments, "--yes")
    assert again.returncode == 0, again.stderr
    already = "under that key already" if after else "Nothing in this database is encrypted"
    assert already in again.stdout
    assert dump(engine) == is_now


@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "takes it back"])
def test_a_kill_in_the_middle_leaves_no_service_and_no_loss(
    engine: Engine, run: Run, environ: dict[str, str], tmp_path: Path, goes_on: bool
) -> None:
    """Killed twice, it ends right the third time; with the keys exchanged it all goes back."""
    prepare(engine, OLD, keys=KEYS_TO_KILL, logs=12_000)
    for _ in range(2):
        engine.dispose()
        kill_in_the_middle(environ, tmp_path, "--from", OLD, "--to", NEW, "--yes")
        assert min(halves(engine)) > 0, "it was too fast to be killed in the middle"
        for password in (OLD, NEW, None):
            with pytest.raises(facts.WrongEncryptionKey, match="broken off") as refused:
                run_write(engine, facts.check_vault, vault(engine, password))
            assert "same --from and --to" in refused.value.hint
    refused_run = run("--from", OLD, "--to", THIRD, "--yes")
    assert refused_run.returncode == 2
    assert "it was not this one" in refused_run.stderr
    first, second = (OLD, NEW) if goes_on else (NEW, OLD)
    done = run("--from", first, "--to", second, "--yes")
    assert done.returncode == 0, done.stderr
    assert_under(engine, second, keys=KEYS_TO_KILL)


def kill_in_the_middle(environ: dict[str, str], folder: Path, *arguments: str) -> None:
    """Run it on a terminal, whose progress bar says when it has begun to write."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 80))
    process = subprocess.Popen(
        [GPTLOAD, "migrate-keys", *arguments],
        cwd=folder,
        # Each slice is told at once: a bar that rests would tell of the first ones too late.
        env=environ | {"TQDM_MININTERVAL": "0"},
        stdin=end,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    seen = b""
    while not re.search(rb"Changing: +[1-9]", seen):
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # a terminal that nobody writes to any more
            break
    process.kill()
    process.wait()
    os.close(terminal)
    assert b"Changing" in seen, seen.decode()
    assert not any(key.encode() in seen for key in (OLD, NEW))


def halves(engine: Engine) -> tuple[int, int]:
    """How many keys are under OLD, and how many under NEW."""
    old, new = vault(engine, OLD), vault(engine, NEW)
    query = select(api_keys.c.key_hash)
    known = set(run_read(engine, lambda c: c.execute(query).scalars().all()))
    secrets = [b"sk-test-%d" % number for number in range(KEYS_TO_KILL)]
    found = [sum(opens.hash(secret) in known for secret in secrets) for opens in (old, new)]
    return found[0], found[1]


@pytest.mark.parametrize(
    ("before", "arguments", "words"),
    [
        (None, ("--from", OLD, "--to", NEW), "not encrypted"),
        (OLD, ("--to", NEW), "encrypted already"),
        (OLD, ("--from", THIRD), "--from is not the ENCRYPTION_KEY"),
        (OLD, ("--from", THIRD, "--to", NEW), "--from is not the ENCRYPTION_KEY"),
    ],
)
def test_a_wrong_key_changes_nothing_and_is_told_from_the_others(
    engine: Engine, run: Run, before: str | None, arguments: tuple[str, ...], words: str
) -> None:
    prepare(engine, before)
    was = dump(engine)
    for more in ("--yes", "--dry-run"):
        done = run(*arguments, more)
        assert done.returncode == 2
        assert words in done.stderr
        assert dump(engine) == was


def test_a_key_that_opens_with_neither_stops_it_before_it_begins(engine: Engine, run: Run) -> None:
    prepare(engine, OLD)
    stranger = {"key_value": "g1:AAAA", "key_hash": "x", "created_at": 0.0, "updated_at": 0.0}
    run_write(engine, lambda c: c.execute(insert(api_keys).values(group_id=1, **stranger)))
    was = dump(engine)
    done = run("--from", OLD, "--yes")
    assert done.returncode == 2
    assert "1 of 42 keys open with neither key (ids 42)" in done.stderr
    assert "Nothing was changed" in done.stderr
    assert dump(engine) == was


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("arguments", "stdin", "more", "status", "words"),
    [
        ((), "", {}, 0, "Usage: gptload migrate-keys"),
        (("--help",), "", {}, 0, "Exit status"),
        (("--to", OLD, "--from", OLD), "", {}, 1, "the same key"),
        (("--to", ""), "", {}, 1, "no possible ENCRYPTION_KEY"),
        (("--to", f"{NEW} "), "", {}, 1, "no possible ENCRYPTION_KEY"),
        (("--to", "x" * 5000), "", {}, 1, "no possible ENCRYPTION_KEY"),
        (("--to", "-"), "", {}, 1, "no possible ENCRYPTION_KEY"),
        (("--into", NEW), "", {}, 1, "--into not recognized"),
        ((NEW,), "", {}, 1, "Wrong number of arguments"),
        (("--to", NEW), "", {}, 1, "nobody said yes"),
        (("--to", NEW), "n\n", {}, 1, "nobody said yes"),
        (("--to", NEW), "", {"PORT": "many"}, 1, "PORT='many'"),
        (("--to", NEW), "", {"DATABASE_DSN": "./none.db"}, 1, "there is no database"),
    ],
)
def test_a_wrong_use_says_what_is_wrong(
    engine: Engine,
    run: Run,
    arguments: tuple[str, ...],
    stdin: str,
    more: dict[str, str],
    status: int,
    words: str,
) -> None:
    prepare(engine, None)
    was = dump(engine)
    done = run(*arguments, stdin=stdin, **more)
    assert done.returncode == status, done.stderr
    assert words in done.stdout + done.stderr
    assert dump(engine) == was


@pytest.mark.sqlite_only
def test_keys_need_not_be_on_the_command_line(engine: Engine, run: Run) -> None:
    prepare(engine, None)
    assert run("--to", "-", stdin=f"{OLD}\ny\n").returncode == 0
    assert_under(engine, OLD)
    assert run("--yes", MIGRATE_KEYS_FROM=OLD, MIGRATE_KEYS_TO=NEW).returncode == 0
    assert_under(engine, NEW)


@pytest.mark.sqlite_only
def test_a_weak_new_key_is_warned_of(engine: Engine, run: Run) -> None:
    prepare(engine, None)
    done = run("--to", "short", "--yes")
    assert done.returncode == 0
    assert "--to is shorter than 16 characters" in done.stderr


@pytest.mark.sqlite_only
def test_a_dotenv_counts_as_for_the_service(
    engine: Engine, environ: dict[str, str], run: Run, tmp_path: Path
) -> None:
    prepare(engine, None)
    (tmp_path / ".env").write_text(f"DATABASE_DSN={environ.pop('DATABASE_DSN')}\n")
    assert run("--to", NEW, "--yes").returncode == 0
    assert_under(engine, NEW)


@pytest.mark.sqlite_only
def test_the_file_forgets_the_keys_that_were_plain_in_it(
    engine: Engine, dsn: str, run: Run
) -> None:
    """A deleted row's bytes stay in a free page, and in SQLite's log, until it is written anew."""
    prepare(engine, None)
    assert run("--to", NEW, "--yes").returncode == 0
    for path in Path(dsn).parent.glob("gptload.db*"):
        assert b"sk-test-" not in path.read_bytes()


@pytest.mark.sqlite_only
def test_a_database_from_before_any_start_is_made_ready(
    databases: Databases, tmp_path: Path, run: Run
) -> None:
    empty = databases.make("sqlite", tmp_path / "empty.db")
    Path(empty).touch()
    old = run("--to", NEW, "--dry-run", DATABASE_DSN=empty)
    assert old.returncode == 2
    assert "older than this gptload" in old.stderr
    done = run("--to", NEW, "--yes", DATABASE_DSN=empty)
    assert done.returncode == 0, done.stderr
    opened = make_engine(parse_dsn(empty))
    migrate(opened)
    run_write(opened, facts.check_vault, vault(opened, NEW))
    opened.dispose()


@pytest.fixture
def live(
    dsn: str, environ: dict[str, str], own_service: Callable[..., Service]
) -> Callable[..., Service]:
    """Make services on this database; they stop before it goes."""
    return lambda **more: own_service(DATABASE_DSN=dsn, DATA_DIR=environ["DATA_DIR"], **more)


def test_a_running_service_is_left_alone_and_a_later_one_serves_with_the_new_key(
    live: Callable[..., Service], upstream: Upstream, engine: Engine, run: Run, name: str
) -> None:
    """From plain to NEW: what waits in the journal meanwhile ends up under NEW as well."""
    service = live().start()
    service.set(request_log_write_interval_minutes=1440)
    group = make_group(service, upstream, name, keys=2)
    call(service, group.name)
    refused = run("--to", NEW, "--yes")
    assert refused.returncode == 2
    assert "Stop" in refused.stderr
    assert service.keys(group.id)[0]["key_value"] in group.keys
    service.kill()

    assert wait_for(lambda: run("--to", NEW, "--yes"), lambda done: done.returncode == 0)
    for wrong, words in ((OLD, "is not the one"), ("", "is not set")):
        with pytest.raises(AssertionError, match=words):
            live(ENCRYPTION_KEY=wrong).start()
    service = live(ENCRYPTION_KEY=NEW).start()
    service.set(request_log_write_interval_minutes=0)
    assert {key["key_value"] for key in service.keys(group.id)} == set(group.keys)
    call(service, group.name)
    logs = service.wait_logs(2)
    assert {log["key_value"] for log in logs} <= set(group.keys)
    assert len(service.logs(key_value=logs[0]["key_value"])) >= 1
    assert service.api("GET", "/dashboard/encryption-status")["has_mismatch"] is False


@pytest.mark.sqlite_only
def test_a_key_over_plain_keys_is_refused_at_start_with_the_command(
    live: Callable[..., Service], engine: Engine, run: Run
) -> None:
    prepare(engine, None)
    with pytest.raises(AssertionError, match="gptload migrate-keys --to KEY"):
        live(ENCRYPTION_KEY=NEW).start()
    assert run("--to", NEW, "--yes").returncode == 0


def test_a_service_on_another_machine_is_noticed_by_its_sessions(
    live: Callable[..., Service], database_kind: str, engine: Engine, run: Run, tmp_path: Path
) -> None:
    """Another DATA_DIR stands for another machine: it shares no lock with us but SQLite's."""
    live().start()
    done = run("--to", NEW, "--yes", DATA_DIR=str(tmp_path / "elsewhere"))
    assert done.returncode == 2
    assert ("runs on this" if database_kind == "sqlite" else "sessions") in done.stderr


@pytest.mark.sqlite_only
def test_no_service_starts_while_a_change_is_at_work(
    live: Callable[..., Service], engine: Engine, environ: dict[str, str]
) -> None:
    claimed = Occupancy(engine.url, Path(environ["DATA_DIR"]))
    claimed.claim()
    with pytest.raises(AssertionError, match="is at work on this database"):
        live().start()
    claimed.close()


def call(service: Service, group: str) -> None:
    """One call that must work."""
    said = {"model": "gpt-5-nano", "messages": [{"role": "user", "content": "Hello"}]}
    status, answer = service.call("POST", f"/proxy/{group}/v1/chat/completions", said)
    assert status == 200, answer


def test_a_plain_hash_is_sha_256() -> None:
    """What keys are found by without a password, and what a decryption goes back to."""
    assert Vault(None, b"").hash(b"sk-a") == hashlib.sha256(b"sk-a").hexdigest()
