"""The `twistd gptload` command: its options, and the service that it makes.

Everything that can be wrong with the configuration is said here, at once, before
anything listens.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from attrs import frozen
from twisted.application.service import IService
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.logfile import LogFile

from gptload._version import __version__
from gptload.config import Config, ConfigError, from_files
from gptload.observers import LineFile, make_observer

_VARIABLES = """\
Everything else is set by environment variables, or in a file .env in the working
directory (a variable that is set wins):

  PORT                        port to listen on (3001)
  HOST                        address to listen on (127.0.0.1 with the default
                              AUTH_KEY, else 0.0.0.0)
  AUTH_KEY                    opens the admin API; also the first proxy key (sk-123456)
  ENCRYPTION_KEY              encrypts the API keys in the database (not set)
  DATABASE_DSN                SQLite file, postgres:// or mysql:// (./data/gpt-load.db)
  DATA_DIR                    where the journal is kept (folder of the database)
  JOURNAL_MAX_MB              its size while the database is away (1024; 0: no limit)
  UPSTREAM_CA_FILE            PEM file with more certificate authorities for upstreams
  HTTP_PROXY, HTTPS_PROXY, NO_PROXY
                              the way out to the upstreams (direct)
  ALLOW_LINK_LOCAL_UPSTREAMS  let upstreams be link-local or metadata addresses (false)
  MAX_CONCURRENT_REQUESTS     proxied requests at once (100)
  SERVER_READ_TIMEOUT         seconds in which a request has to move on (60)
  SERVER_WRITE_TIMEOUT        seconds in which a client has to take something (600)
  SERVER_IDLE_TIMEOUT         seconds between two requests of one connection (120)
  SERVER_GRACEFUL_SHUTDOWN_TIMEOUT
                              seconds for requests under way when stopping (10)
  ENABLE_CORS                 let websites' scripts call this service (false)
  ALLOWED_ORIGINS, ALLOWED_METHODS, ALLOWED_HEADERS, ALLOW_CREDENTIALS
                              which websites, and what they may do
  METRICS_ENABLED             answer Prometheus at /metrics (false; true with a token)
  METRICS_TOKEN               opens /metrics (not set: AUTH_KEY does)
  LOG_LEVEL                   error, warn, info or debug (info)
  LOG_FORMAT                  text or json (text)
  LOG_ENABLE_FILE             append log lines to a file as well (false)
  LOG_FILE_PATH               that file (./data/logs/app.log)
  TZ                          time zone of log lines

.env.example says more about each.
"""


class Options(usage.Options):
    """Options of the command itself; `twistd --help` has those of the process."""

    synopsis = "[options]"
    longdesc = "Serve many AI-API keys behind one address."

    def __init__(self) -> None:
        super().__init__()
        # Here, because no reactor exists yet: later is too late to choose one.
        from gptload.wire.reactor import install

        install()

    def getUsage(self, width: int | None = None) -> str:
        """Help text. The variables come last, with their lines as they are above."""
        return f"{super().getUsage(width)}\n{_VARIABLES}"

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        sys.stdout.write(f"gptload {__version__}\n")
        sys.exit(0)

    def postOptions(self) -> None:
        """Read the configuration, or say all that is wrong with it and exit with status 1."""
        self["config"] = read_config()
        twistd = self.parent
        if twistd is not None and not (twistd["logger"] or twistd.get("syslog")):
            global _log_to
            _log_to = LogChoice(self["config"], twistd.get("logfile") or "-", twistd["nodaemon"])
            twistd["logger"] = "gptload.tap.log_observer"


@frozen
class LogChoice:
    """What decides where log lines go.

    Attributes:
        path: twistd's --logfile; `-` is the console.
        stays: whether the process stays in front; a daemon has no console.
    """

    config: Config
    path: str
    stays: bool


# twistd takes its log observer by a dotted name and calls it without arguments, so
# they wait here.
_log_to: LogChoice | None = None


def log_observer() -> ILogObserver:
    """Our log lines in the place of twistd's own; it calls this when it begins to log."""
    assert _log_to is not None
    console: LineFile = sys.stdout
    if _log_to.path != "-" or not _log_to.stays:
        # twistd's own name and rotation.
        console = LogFile.fromFullPath("twistd.log" if _log_to.path == "-" else _log_to.path)
    return make_observer(_log_to.config, console)


def read_config() -> Config:
    """The configuration of this process; exits with status 1 if it can't be used."""
    try:
        return load_config()
    except ConfigError as error:
        lines = "\n".join(f"  {fault}" for fault in error.faults)
        _refuse(f"the configuration is wrong.\n{lines}")


def load_config() -> Config:
    """The same from the environment and `.env`.

    Raises:
        ConfigError: it can't be used.
    """
    # Not at the top: `--help` needs no database.
    from gptload.control.db.database import parse_dsn, sqlite_file

    def database_file(dsn: str) -> Path | None:
        return sqlite_file(parse_dsn(dsn))

    found = from_files(os.environ, Path.cwd())
    return Config.from_environ(found, database_file, found.keys() - os.environ.keys())


def makeService(options: Options) -> IService:
    """The whole service, ready to start; twistd calls this."""
    from gptload.node import StartError, make_node

    try:
        return make_node(options["config"])
    except StartError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"{error.filename or 'the disk'}: {error.strerror}")


def _refuse(reason: str) -> NoReturn:
    sys.stderr.write(f"gptload can't start: {reason}\n")
    raise SystemExit(1)
