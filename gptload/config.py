"""Static configuration: environment and .env → one frozen `Config`, or one `ConfigError`.

Nothing else reads the environment. What may change while the service runs is a
setting (`gptload.core.settings`), not a variable.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from attrs import evolve, field, frozen
from dotenv import dotenv_values
from OpenSSL import SSL

from gptload.core.variable import Variable
from gptload.core.vault import PUBLIC, mask

LOOPBACK: Final = "127.0.0.1"

_TRUE: Final = frozenset("true 1 yes on".split())
_FALSE: Final = frozenset("false 0 no off".split())
_LEVELS: Final = {
    "panic": "critical",
    "fatal": "critical",
    "error": "error",
    "warn": "warn",
    "warning": "warn",
    "info": "info",
    "debug": "debug",
    "trace": "debug",
}
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 §5.6.2
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
# What drivers read from a DSN's query beside the place for the password.
_IN_QUERY: Final = re.compile(r"(?i)\b(\w*(?:pass|secret|token|key)\w*)=[^&]*")
_WEAK_WORDS: Final = ("password", "sk-123456", "123456", "admin", "secret")
_WEAK_LENGTH: Final = 16


class ConfigError(Exception):
    """Variables that can't be used.

    Attributes:
        faults: one a line: the variable, what was read, what is allowed. No secrets.
    """

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@frozen
class OutboundProxies:
    """HTTP_PROXY, HTTPS_PROXY and NO_PROXY, by the rules that Go's libraries follow.

    Attributes:
        exceptions: hosts, domains (`.example.com`), addresses and networks that are
            reached directly; `*` for all.
    """

    http: str = ""
    https: str = ""
    exceptions: tuple[str, ...] = ()

    def for_url(self, scheme: str, host: str, port: int) -> str:
        """URL of the proxy for an upstream; empty for none."""
        proxy = self.https if scheme == "https" else self.http
        if not proxy or self._is_direct(host.lower(), port):
            return ""
        return proxy

    def _is_direct(self, host: str, port: int) -> bool:
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(_covers(exception, host, address, port) for exception in self.exceptions)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _covers(
    exception: str,
    host: str,
    address: ipaddress.IPv4Address | ipaddress.IPv6Address | None,
    port: int,
) -> bool:
    if exception == "*":
        return True
    if address is not None:
        try:
            return address in ipaddress.ip_network(exception, strict=False)
        except ValueError:
            pass
    name, colon, only_port = exception.rpartition(":")
    if colon and only_port.isdigit():
        if int(only_port) != port:
            return False
        exception = name
    exception = exception.strip("[]")
    if exception.startswith("*."):
        exception = exception[1:]
    if exception.startswith("."):
        return host.endswith(exception)
    return host == exception or host.endswith("." + exception)


@frozen
class Config:
    """All that is fixed for the life of the process. See .env.example for each variable.

    Attributes:
        host: address to listen on.
        auth_key: opens the admin API, and seeds the first proxy key.
        database_dsn: as written; `gptload.control.db.database` reads it.
        data_dir: the journal and the private sockets live there.
        journal_max_mb: the journal's size in MiB, past which records are dropped; 0 = no limit.
        read_timeout, write_timeout, idle_timeout: seconds; 0 = no limit.
        log_level: a level of twisted.logger.
        metrics_token: opens `/metrics`; AUTH_KEY does while it is empty.
        allow_link_local_upstreams: whether a group may call link-local and metadata addresses.
        variables: each of them, for people.
    """

    host: str
    port: int
    auth_key: str
    encryption_key: str
    database_dsn: str
    data_dir: Path
    journal_max_mb: int
    max_concurrent_requests: int
    read_timeout: int
    write_timeout: int
    idle_timeout: int
    shutdown_timeout: int
    cors_enabled: bool
    cors_origins: tuple[str, ...]
    cors_methods: tuple[str, ...]
    cors_headers: tuple[str, ...]
    cors_credentials: bool
    log_level: str
    log_format: str
    log_file: Path | None
    outbound_proxies: OutboundProxies
    upstream_ca_file: Path | None
    metrics_enabled: bool
    metrics_token: str
    allow_link_local_upstreams: bool
    variables: tuple[Variable, ...] = field(default=(), eq=False)

    @classmethod
    def from_environ(
        cls,
        environ: Mapping[str, str],
        check_dsn: Callable[[str], Path | None] = lambda dsn: Path(dsn),
        from_file: Collection[str] = (),
    ) -> Config:
        """Read the variables.

        Args:
            environ: names and values; an empty value counts as unset.
            check_dsn: reads a DATABASE_DSN and returns the SQLite file, if it names
                one; raises ValueError with what is supported.
            from_file: names that `.env` has set, and not the process's environment.

        Raises:
            ConfigError: with all that is wrong.
        """
        read = _Reader(environ)
        auth_key = read.secret("AUTH_KEY", PUBLIC)
        dsn = read.text("DATABASE_DSN", "./data/gpt-load.db")
        database_file: Path | None = None
        try:
            database_file = check_dsn(dsn)
        except ValueError as error:
            read.trouble("DATABASE_DSN", _without_password(dsn), str(error))
        folder = database_file.parent if database_file is not None else Path("./data")
        cors_enabled = read.truth("ENABLE_CORS", False)
        cors_credentials = read.truth("ALLOW_CREDENTIALS", False)
        cors_origins = read.origins(cors_enabled, cors_credentials)
        log_to_file = read.truth("LOG_ENABLE_FILE", False)
        log_file = Path(read.text("LOG_FILE_PATH", "./data/logs/app.log"))
        metrics_token = read.secret("METRICS_TOKEN", "")
        if read.text("REDIS_DSN", ""):
            read.fault("REDIS_DSN", "****", "it unset: this version runs on one node, alone")
        if read.truth("IS_SLAVE", False):
            read.fault("IS_SLAVE", "true", "it unset or false: this version runs on one node")
        config = cls(
            host=read.host("HOST", LOOPBACK if auth_key == PUBLIC else "0.0.0.0"),
            port=read.number("PORT", 3001, 1, 65535),
            auth_key=auth_key,
            encryption_key=read.secret("ENCRYPTION_KEY", ""),
            database_dsn=dsn,
            data_dir=read.folder("DATA_DIR", folder),
            journal_max_mb=read.number("JOURNAL_MAX_MB", 1024, 0, 1_000_000),
            max_concurrent_requests=read.number("MAX_CONCURRENT_REQUESTS", 100, 1, 1_000_000),
            read_timeout=read.number("SERVER_READ_TIMEOUT", 60, 0, 86_400),
            write_timeout=read.number("SERVER_WRITE_TIMEOUT", 600, 0, 86_400),
            idle_timeout=read.number("SERVER_IDLE_TIMEOUT", 120, 0, 86_400),
            shutdown_timeout=read.number("SERVER_GRACEFUL_SHUTDOWN_TIMEOUT", 10, 1, 3_600),
            cors_enabled=cors_enabled,
            cors_origins=cors_origins,
            cors_methods=read.tokens("ALLOWED_METHODS", "GET,POST,PUT,DELETE,OPTIONS"),
            cors_headers=read.tokens("ALLOWED_HEADERS", "*"),
            cors_credentials=cors_credentials,
            log_level=_LEVELS[read.choice("LOG_LEVEL", "info", _LEVELS)],
            log_format=read.choice("LOG_FORMAT", "text", ("text", "json")),
            log_file=log_file.absolute() if log_to_file else None,
            outbound_proxies=OutboundProxies(
                read.proxy("HTTP_PROXY"),
                read.proxy("HTTPS_PROXY"),
                tuple(item.lower() for item in _parts(read.either_case("NO_PROXY"))),
            ),
            upstream_ca_file=read.certificates("UPSTREAM_CA_FILE"),
            metrics_enabled=read.truth("METRICS_ENABLED", bool(metrics_token)),
            metrics_token=metrics_token,
            allow_link_local_upstreams=read.truth("ALLOW_LINK_LOCAL_UPSTREAMS", False),
        )
        if read.faults:
            raise ConfigError(read.faults)
        return evolve(config, variables=_variables(config, environ, from_file))

    def warnings(self) -> list[str]:
        """What an operator should know before trusting this configuration."""
        found: list[str] = []
        if self.auth_key == PUBLIC:
            where = (
                "so only this machine can connect; set AUTH_KEY before you set HOST"
                if self.host in (LOOPBACK, "::1", "localhost")
                else f"and HOST={self.host} lets others connect: set AUTH_KEY now"
            )
            found.append(f"AUTH_KEY is the well-known default, {where}.")
        else:
            found += weaknesses("AUTH_KEY", self.auth_key)
        if self.metrics_token:
            found += weaknesses("METRICS_TOKEN", self.metrics_token)
        if self.encryption_key:
            found += weaknesses("ENCRYPTION_KEY", self.encryption_key)
        else:
            found.append("ENCRYPTION_KEY is not set: API keys are stored as plain text.")
        if self.cors_enabled and "*" in self.cors_origins:
            found.append("ALLOWED_ORIGINS=* lets every website's scripts call this service.")
        return found


# Every variable of .env.example that is read here, in its order, with what holds of it.
_SHOWN: Final[tuple[tuple[str, Callable[[Config], object]], ...]] = (
    ("AUTH_KEY", lambda config: config.auth_key),
    ("ENCRYPTION_KEY", lambda config: config.encryption_key),
    ("PORT", lambda config: config.port),
    ("HOST", lambda config: config.host),
    ("DATABASE_DSN", lambda config: _without_password(config.database_dsn)),
    ("DATA_DIR", lambda config: config.data_dir),
    ("JOURNAL_MAX_MB", lambda config: config.journal_max_mb),
    ("UPSTREAM_CA_FILE", lambda config: config.upstream_ca_file or ""),
    ("ALLOW_LINK_LOCAL_UPSTREAMS", lambda config: config.allow_link_local_upstreams),
    ("HTTP_PROXY", lambda config: _without_password(config.outbound_proxies.http)),
    ("HTTPS_PROXY", lambda config: _without_password(config.outbound_proxies.https)),
    ("NO_PROXY", lambda config: config.outbound_proxies.exceptions),
    ("MAX_CONCURRENT_REQUESTS", lambda config: config.max_concurrent_requests),
    ("SERVER_READ_TIMEOUT", lambda config: config.read_timeout),
    ("SERVER_WRITE_TIMEOUT", lambda config: config.write_timeout),
    ("SERVER_IDLE_TIMEOUT", lambda config: config.idle_timeout),
    ("SERVER_GRACEFUL_SHUTDOWN_TIMEOUT", lambda config: config.shutdown_timeout),
    ("ENABLE_CORS", lambda config: config.cors_enabled),
    ("ALLOWED_ORIGINS", lambda config: config.cors_origins),
    ("ALLOWED_METHODS", lambda config: config.cors_methods),
    ("ALLOWED_HEADERS", lambda config: config.cors_headers),
    ("ALLOW_CREDENTIALS", lambda config: config.cors_credentials),
    ("METRICS_ENABLED", lambda config: config.metrics_enabled),
    ("METRICS_TOKEN", lambda config: config.metrics_token),
    ("LOG_LEVEL", lambda config: config.log_level),
    ("LOG_FORMAT", lambda config: config.log_format),
    ("LOG_ENABLE_FILE", lambda config: config.log_file is not None),
    ("LOG_FILE_PATH", lambda config: config.log_file or ""),
)
_SECRETS: Final = frozenset(("AUTH_KEY", "ENCRYPTION_KEY", "METRICS_TOKEN"))
_EITHER_CASE: Final = frozenset(("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"))


def _variables(
    config: Config, environ: Mapping[str, str], from_file: Collection[str]
) -> tuple[Variable, ...]:
    return tuple(_variable(name, read(config), environ, from_file) for name, read in _SHOWN)


def _variable(
    name: str, value: object, environ: Mapping[str, str], from_file: Collection[str]
) -> Variable:
    names = (name, name.lower()) if name in _EITHER_CASE else (name,)
    there = next((one for one in names if environ.get(one)), None)
    origin = "default" if there is None else ".env" if there in from_file else "environment"
    if isinstance(value, bool):
        text = "true" if value else "false"
    else:
        text = ",".join(value) if isinstance(value, tuple) else str(value)
    is_secret = name in _SECRETS
    return Variable(name, _end_of(text) if is_secret else text, origin, is_secret)


def _end_of(secret: str) -> str:
    if not secret:
        return ""
    return f"…{secret[-2:]}" if len(secret) >= _WEAK_LENGTH else "…"


class _Reader:
    """Reads variables one by one, and keeps what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.faults: list[str] = []

    def trouble(self, name: str, shown: str, words: str) -> None:
        """Note a fault in words of its own. `shown` holds no secret."""
        self.faults.append(f"{name}={shown!r}: {words}")

    def fault(self, name: str, shown: str, allowed: str) -> None:
        """Note a fault, and what would have been right."""
        self.trouble(name, shown, f"expected {allowed}")

    def text(self, name: str, default: str) -> str:
        return self._environ.get(name, "") or default

    def number(self, name: str, default: int, low: int, high: int) -> int:
        text = self.text(name, "")
        if not text:
            return default
        digits = text.removeprefix("-")
        if digits.isascii() and digits.isdigit() and len(digits) < 12 and low <= int(text) <= high:
            return int(text)
        self.fault(name, text, f"a whole number from {low} to {high}")
        return default

    def truth(self, name: str, default: bool) -> bool:
        text = self.text(name, "").lower()
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        if text:
            self.fault(name, text, "true, 1, yes or on; false, 0, no or off")
        return default

    def choice(self, name: str, default: str, allowed: Iterable[str]) -> str:
        text = self.text(name, default).lower()
        if text in allowed:
            return text
        self.fault(name, text, "one of " + ", ".join(allowed))
        return default

    def either_case(self, name: str) -> str:
        """Upper case first, as Go reads them."""
        return self.text(name, self.text(name.lower(), "")).strip()

    def secret(self, name: str, default: str) -> str:
        """A key that has to fit into a header field."""
        text = self.text(name, default)
        if text != text.strip() or not text.isprintable():
            self.fault(name, mask(text), "printable characters, without spaces around them")
        return text

    def host(self, name: str, default: str) -> str:
        text = self.text(name, default)
        if _address(text) is None and not _HOST_NAME.fullmatch(text):
            self.fault(name, text, "an IP address or a host name, without scheme and port")
        return text

    def tokens(self, name: str, default: str) -> tuple[str, ...]:
        """A list of what may stand in a header field: methods, or names of fields."""
        items = _parts(self.text(name, default)) or _parts(default)
        for item in items:
            if not _TOKEN.fullmatch(item):
                self.fault(name, item, "names, separated by commas")
        return items

    def origins(self, enabled: bool, credentials: bool) -> tuple[str, ...]:
        """Allowed origins; checked only where they count."""
        items = _parts(self.text("ALLOWED_ORIGINS", ""))
        if not enabled:
            return items
        if not items:
            self.fault("ALLOWED_ORIGINS", "", "origins, or *, while ENABLE_CORS is on")
        for item in items:
            if item != "*" and not _is_origin(item):
                self.fault("ALLOWED_ORIGINS", item, "scheme://host[:port], or *")
        if credentials and "*" in items:
            # Any website could act with a visitor's session. The Fetch standard forbids
            # the pair; echoing each origin would only go around that.
            self.fault("ALLOWED_ORIGINS", "*", "single origins while ALLOW_CREDENTIALS is on")
        return items

    def proxy(self, name: str) -> str:
        text = self.either_case(name)
        if not text:
            return ""
        url = text if "://" in text else f"http://{text}"
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https", "socks5", "socks5h")
            good = known and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good:
            self.fault(name, _without_password(text), "http://, https:// or socks5://host:port")
            return ""
        return url

    def folder(self, name: str, default: Path) -> Path:
        """A folder that can be written to, or be made."""
        text = self.text(name, "")
        if not text:
            return default.absolute()
        path = Path(text).absolute()
        there = next((found for found in (path, *path.parents) if found.exists()), path)
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            self.fault(name, text, "a folder that can be written to, or be made")
        return path

    def certificates(self, name: str) -> Path | None:
        text = self.text(name, "")
        if not text:
            return None
        path = Path(text)
        try:
            SSL.Context(SSL.TLS_CLIENT_METHOD).load_verify_locations(str(path))
        except (SSL.Error, OSError):
            self.fault(name, text, "a readable PEM file with CA certificates")
            return None
        return path.resolve()


def from_files(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment with what `.env` in a folder adds; what is set already wins.

    Raises:
        ConfigError: the file can't be read.
    """
    file = folder / ".env"
    try:
        # No `${…}`: a dollar in a password is a dollar.
        added = dotenv_values(file, interpolate=False) if file.exists() else {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError([f".env can't be read: {reason}"]) from None
    return {**{name: value for name, value in added.items() if value is not None}, **environ}


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.scheme and parts.hostname and not parts.path and parts.port != 0)
    except ValueError:
        return False


def _without_password(url: str) -> str:
    url = _IN_QUERY.sub(r"\1=****", url)
    head, at, tail = url.rpartition("@")
    if not at:
        return url
    scheme, found, _ = head.partition("://")
    return f"{scheme}://****@{tail}" if found else f"****@{tail}"


def weaknesses(name: str, secret: str) -> list[str]:
    """What makes a secret easy to guess, in words that don't show it."""
    found = []
    if len(secret) < _WEAK_LENGTH:
        found.append(f"{name} is shorter than {_WEAK_LENGTH} characters.")
    word = next((word for word in _WEAK_WORDS if word in secret.lower()), None)
    if word is not None:
        found.append(f"{name} contains a word that is easily guessed.")
    return found
