"""The `gptload` command: what is done to a database while no service runs on it.

Exit status: 0 done; 1 asked in a way that can't be; 2 refused after a look, with nothing
changed; 3 broken off, to be run again.
"""

from __future__ import annotations

import getpass
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NoReturn

from sqlalchemy import Engine
from tqdm import tqdm
from twisted.python import usage

from gptload._version import __version__
from gptload.config import Config, ConfigError, weaknesses
from gptload.control.db.database import make_engine, parse_dsn, run_read, run_write, sqlite_file
from gptload.control.db.migrate import is_current, migrate
from gptload.control.db.occupancy import Occupancy, refuse_others
from gptload.control.db.queries.facts import ensure_salt, known_salt
from gptload.control.rekey import Rekey, RekeyRefused, Survey
from gptload.core.errors import GptloadError
from gptload.core.vault import Vault
from gptload.tap import load_config

WRONG_USE: Final = 1
REFUSED: Final = 2
BROKEN_OFF: Final = 3

_LONGEST_KEY: Final = 4096
_NAMES: Final = {
    "api_keys": "keys",
    "removed_keys": "deleted keys",
    "request_logs": "log rows",
}
_AGAIN: Final = (
    "Nothing is lost. Run the same command again and it goes on; until then gptload doesn't start."
)


def _version(_options: usage.Options) -> NoReturn:
    """Show the version and exit."""
    sys.stdout.write(f"gptload {__version__}\n")
    sys.exit(0)


class MigrateKeys(usage.Options):
    """`gptload migrate-keys`."""

    synopsis = "[--from OLD] [--to NEW] [--dry-run] [--yes]"
    longdesc = (
        "Change the ENCRYPTION_KEY that the database's keys and logs are under, while gptload "
        "is stopped. --to alone encrypts, --from alone decrypts, both change the key; what "
        "ENCRYPTION_KEY itself says plays no part. A key given as - is asked for; one that is "
        "not given is read from the variable MIGRATE_KEYS_FROM or MIGRATE_KEYS_TO. Broken off, "
        "it goes on when it is run again. DATABASE_DSN, DATA_DIR and .env count as for the "
        "service. Exit status: 0 done, 1 wrong use, 2 refused and nothing changed, 3 broken off."
    )
    optParameters = [
        ["from", None, None, "The key that the data is under now; none if it is plain text"],
        ["to", None, None, "The key that it is to be under; none for plain text"],
    ]
    optFlags = [
        ["dry-run", None, "Look at everything, say what would be done, and change nothing"],
        ["yes", "y", "Begin without asking"],
    ]
    opt_version = _version


class Options(usage.Options):
    """`gptload`."""

    synopsis = "Usage: gptload"
    longdesc = "The service itself is started by `twistd gptload`."
    subCommands = [
        ["migrate-keys", None, MigrateKeys, "Change, set or remove the database's ENCRYPTION_KEY"]
    ]

    opt_version = _version


class Refusal(Exception):
    """The command ends here, with words for a person and an exit status."""

    def __init__(self, status: int, message: str, hint: str = "") -> None:
        super().__init__(f"{message.rstrip('.')}. {hint}".rstrip())
        self.status = status


def main() -> NoReturn:
    """What the installed script runs."""
    arguments = sys.argv[1:]
    if arguments[:1] in (["help"], ["-h"]):
        arguments[0] = "--help"
    try:
        sys.exit(run(arguments))
    except Refusal as refusal:
        sys.stderr.write(f"gptload: {refusal}\n")
        sys.exit(refusal.status)
    except usage.UsageError as error:
        sys.stderr.write(f"{error}\nTry `gptload --help`.\n")
        sys.exit(WRONG_USE)
    except KeyboardInterrupt:
        sys.stderr.write("\ngptload: broken off before anything was changed\n")
        sys.exit(REFUSED)


def run(arguments: Sequence[str]) -> int:
    """Do what the words say; the exit status.

    Raises:
        Refusal: it can't be done.
        UsageError: the words make no sense.
    """
    options = Options()
    options.parseOptions(list(arguments))
    if options.subCommand is None:
        _say(str(options))
        return 0
    asked: Any = options.subOptions
    old = _key("--from", asked["from"], "MIGRATE_KEYS_FROM")
    new = _key("--to", asked["to"], "MIGRATE_KEYS_TO")
    if old is None and new is None:
        _say(str(asked))
        return 0
    if old == new:
        raise Refusal(WRONG_USE, "--from and --to are the same key", "Nothing would change.")
    for warning in weaknesses("--to", new) if new else ():
        sys.stderr.write(f"gptload: {warning}\n")
    try:
        config = load_config()
    except ConfigError as error:
        faults = "\n".join(f"  {fault}" for fault in error.faults)
        raise Refusal(WRONG_USE, f"the configuration is wrong.\n{faults}") from None
    engine = _engine(config)
    try:
        if asked["dry-run"]:
            return _dry_run(engine, old, new)
        return _migrate_keys(config, engine, old, new, bool(asked["yes"]))
    except GptloadError as error:  # what comes later than the first change is none of these
        raise Refusal(REFUSED, error.message, f"{error.hint} Nothing was changed.") from None
    except OSError as error:
        raise Refusal(
            REFUSED, f"{error.filename or 'the disk'}: {error.strerror}", "Nothing was changed."
        ) from None
    finally:
        engine.dispose()


def _key(name: str, given: str | None, variable: str) -> str | None:
    """A key from wherever it is; never shown again.

    Raises:
        Refusal: ENCRYPTION_KEY could never be that.
    """
    key = given
    if key is None:
        key = os.environ.get(variable) or None
    elif key == "-":
        key = _asked(name)
    if key is None:
        return None
    if not key or len(key) > _LONGEST_KEY or key != key.strip() or not key.isprintable():
        raise Refusal(
            WRONG_USE,
            f"{name} is no possible ENCRYPTION_KEY",
            f"Expected 1 to {_LONGEST_KEY} printable characters, without spaces around them.",
        )
    return key


def _asked(name: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline(_LONGEST_KEY + 2).rstrip("\r\n")
    key = getpass.getpass(f"The key for {name}: ")
    # A slip in the old key is noticed by itself.
    if name == "--to" and getpass.getpass("The same again: ") != key:
        raise Refusal(WRONG_USE, "These were two different keys")
    return key


def _engine(config: Config) -> Engine:
    try:
        url = parse_dsn(config.database_dsn)
        file = sqlite_file(url)
        if file is not None and not file.exists():
            raise Refusal(
                WRONG_USE,
                f"there is no database {file}",
                "Run it in the folder of the service, or set DATABASE_DSN.",
            )
        return make_engine(url)
    except ValueError as error:
        raise Refusal(WRONG_USE, str(error)) from None


def _dry_run(engine: Engine, old: str | None, new: str | None) -> int:
    if not is_current(engine):
        raise RekeyRefused(
            "the database's tables are older than this gptload",
            hint="The real run brings them up to date first; a dry run can't.",
        )
    # Before its first start a database has no salt, and nothing that needs one.
    salt = run_read(engine, known_salt) or secrets.token_bytes(16)
    rekey = Rekey(engine, Vault(old, salt), Vault(new, salt))
    is_done = rekey.check()
    found = _survey(rekey)
    _report(found, is_done, new)
    _say("This was a dry run: nothing was changed.")
    return 0


def _migrate_keys(
    config: Config, engine: Engine, old: str | None, new: str | None, is_sure: bool
) -> int:
    occupancy = Occupancy(engine.url, config.data_dir)
    try:
        occupancy.claim()
        run_read(engine, refuse_others)
        migrate(engine)
        salt = run_write(engine, ensure_salt)
        rekey = Rekey(engine, Vault(old, salt), Vault(new, salt))
        is_done = rekey.check()
        found = _survey(rekey)
        if _report(found, is_done, new):
            return 0
        if not is_sure:
            _confirm(engine, old, new)
        _carry_out(rekey, found)
    finally:
        occupancy.close()
    _say(
        "Done. Unset ENCRYPTION_KEY, then start gptload."
        if new is None
        else "Done. Set ENCRYPTION_KEY to the new key, then start gptload."
    )
    return 0


def _survey(rekey: Rekey) -> Survey:
    with _bar("Looking", rekey.rows()) as tick:
        return rekey.survey(tick)


def _carry_out(rekey: Rekey, found: Survey) -> None:
    try:
        with _bar("Changing", sum(table.rows for table in found.values())) as tick:
            rekey.change(tick)
        with _bar("Reading back", found["api_keys"].rows) as tick:
            rekey.settle(tick)
    except GptloadError as error:
        raise Refusal(BROKEN_OFF, error.message, f"{error.hint} {_AGAIN}".lstrip()) from None
    except KeyboardInterrupt:
        raise Refusal(BROKEN_OFF, "broken off", _AGAIN) from None


def _confirm(engine: Engine, old: str | None, new: str | None) -> None:
    words = "Decrypt" if new is None else "Encrypt" if old is None else "Change the key of"
    where = sqlite_file(engine.url) or engine.url.render_as_string(hide_password=True)
    sys.stderr.write(f"{words} all keys and logs of {where}? A backup is a good idea. [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline(16).strip().lower() not in ("y", "yes"):
        raise Refusal(WRONG_USE, "not begun, as nobody said yes", "--yes says it beforehand.")


@contextmanager
def _bar(what: str, rows: int) -> Iterator[Callable[[int], object]]:
    """A progress bar on a terminal; nothing in a log."""
    with tqdm(total=rows, desc=what, unit=" rows", file=sys.stderr, disable=None) as bar:
        yield bar.update


def _report(found: Survey, is_done: bool, new: str | None) -> bool:
    """Say what there is to do; whether that is nothing."""
    if is_done and not any(table.changing for table in found.values()):
        _say(
            "Nothing in this database is encrypted."
            if new is None
            else "Everything is under that key already."
        )
        return True
    for name, table in found.items():
        _say(f"{table.changing} of {table.rows} {_NAMES[name]} to change")
        if table.unreadable:
            _say(f"  {table.unreadable} open with neither key, and stay as they are")
    return False


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
