"""The `twistd gptload` command: its options, and the service that it makes.

Everything that can be wrong with the configuration is said here, at once, before
anything listens.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from twisted.application.service import IService
from twisted.logger import ILogObserver
from twisted.python import usage

from gptload._version import __version__
from gptload.config import Config, ConfigError, from_files

_EPILOGUE = """
Everything else is set by environment variables, or in a file .env in the working
directory (a variable that is set wins):

  PORT                        port to listen on (3001)
  HOST                        address to listen on (127.0.0.1 with the default
                              AUTH_KEY, else 0.0.0.0)
  AUTH_KEY                    opens the admin API; also the first proxy key (sk-123456)
  ENCRYPTION_KEY              encrypts the API keys in the database (not set)
  DATABASE_DSN                SQLite file (./data/gpt-load.db)
  DATA_DIR                    journal and private sockets (folder of the database)
  UPSTREAM_CA_FILE            PEM file with more certificate authorities for upstreams
  HTTP_PROXY, HTTPS_PROXY, NO_PROXY   the way out to the upstreams
  MAX_CONCURRENT_REQUESTS     proxied requests at once (100)
  SERVER_READ_TIMEOUT, SERVER_WRITE_TIMEOUT, SERVER_IDLE_TIMEOUT,
  SERVER_GRACEFUL_SHUTDOWN_TIMEOUT    seconds (60, 600, 120, 10)
  ENABLE_CORS, ALLOWED_ORIGINS, ALLOWED_METHODS, ALLOWED_HEADERS, ALLOW_CREDENTIALS
  LOG_LEVEL, LOG_FORMAT, LOG_ENABLE_FILE, LOG_FILE_PATH

.env.example says more about each.
"""


class Options(usage.Options):
    """Options of the command itself; `twistd --help` has those of the process."""

    synopsis = "[options]"
    longdesc = "Serve many AI-API keys behind one address." + _EPILOGUE

    def __init__(self) -> None:
        super().__init__()
        # Here, because no reactor exists yet: later is too late to choose one.
        from gptload.wire.reactor import install

        install()

    def getUsage(self, width: int | None = None) -> str:
        """Help text, with the variables as they are written above."""
        return super().getUsage(width).split(self.longdesc.split("\n")[0])[0] + self.longdesc

    def opt_version(self) -> NoReturn:
        """Show the version and exit."""
        print(f"gptload {__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        """Read the configuration, or say all that is wrong with it and exit with status 1."""
        self["config"] = read_config()
        twistd = self.parent
        chosen = twistd is None or twistd["logger"] or twistd["logfile"] or twistd.get("syslog")
        if not chosen:
            twistd["logger"] = "gptload.tap.make_log_observer"


def read_config() -> Config:
    """The configuration of this process; exits with status 1 if it can't be used."""
    from gptload.control.db.database import parse_dsn

    try:
        return Config.from_environ(
            from_files(os.environ, Path.cwd()), lambda dsn: Path(parse_dsn(dsn).database or "")
        )
    except ConfigError as error:
        lines = "\n".join(f"  {fault}" for fault in error.faults)
        sys.stderr.write(f"gptload can't start: the configuration is wrong.\n{lines}\n")
        raise SystemExit(1) from None


def make_log_observer() -> ILogObserver:
    """twistd calls this by name when it begins to log."""
    from gptload.observers import make_observer

    return make_observer(read_config())


def makeService(options: Options) -> IService:
    """The whole service, ready to start; twistd calls this."""
    from gptload.node import StartError, make_node

    try:
        return make_node(options["config"])
    except StartError as error:
        sys.stderr.write(f"gptload can't start: {error}\n")
        raise SystemExit(1) from None
