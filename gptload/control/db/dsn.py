"""How a database on a server is named: `DATABASE_DSN` for PostgreSQL, MySQL and MariaDB.

Whatever the spelling, the result names our own driver, so that the rest of the code
knows three engines and no more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, unquote

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

SUPPORTED: Final = (
    "a file for SQLite (./data/gptload.db, sqlite:///absolute/path.db, sqlite://relative/path.db, "
    "file:path.db), postgres://user:password@host:5432/database?sslmode=require, or "
    "mysql://user:password@host:3306/database, also as "
    "user:password@tcp(host:3306)/database?tls=true"
)

_POSTGRESQL = re.compile(r"postgres(?:ql)?(?:\+(\w+))?://", re.ASCII)
_MYSQL = re.compile(r"(?:mysql|mariadb)(?:\+(\w+))?://", re.ASCII)
# The Go driver's own form. Nothing in it is escaped, so a password may hold @ and /.
_GO = re.compile(
    r"(?P<user>[^:@/]*)(?::(?P<password>.*))?@(?P<net>tcp|unix)"
    r"(?:\((?P<address>[^()]*)\))?/(?P<name>[^?]*)(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[^\[\]:]*))(?::(?P<port>[0-9]{1,5}))?")
# Of the Go driver and without a meaning here: we say ourselves how we talk to it.
_IGNORED: Final = {
    "allownativepasswords",
    "charset",
    "clientfoundrows",
    "collation",
    "interpolateparams",
    "loc",
    "multistatements",
    "parsetime",
    "readtimeout",
    "timeout",
    "writetimeout",
}
_PASSED: Final = {
    "ssl_ca",
    "ssl_cert",
    "ssl_key",
    "ssl_verify_cert",
    "ssl_verify_identity",
    "unix_socket",
}
# What `tls` says, as PyMySQL says it: whether to encrypt, and whom to believe.
_TLS: Final[Mapping[str, Mapping[str, str]]] = {
    "false": {},
    "preferred": {},  # PyMySQL encrypts whenever the server can, and checks nothing
    "true": {"ssl_verify_cert": "true", "ssl_verify_identity": "true"},
    "skip-verify": {"ssl_verify_cert": "false", "ssl_verify_identity": "false"},
}


def server_url(text: str) -> URL | None:
    """A server's database as an engine's URL; None when the text names no server.

    Raises:
        ValueError: it names one in a form that we can't use. The text tells the right
            form, and repeats nothing: what is wrong may be the password.
    """
    if "\0" in unquote(text):
        raise ValueError(f"it holds a NUL; expected {SUPPORTED}")
    if found := _POSTGRESQL.match(text):
        if found[1] not in (None, "psycopg"):
            raise ValueError(f"write postgresql:// without a driver; expected {SUPPORTED}")
        return _checked(_postgresql(_url(text)))
    if found := _MYSQL.match(text):
        if found[1] not in (None, "pymysql"):
            raise ValueError(f"write mysql:// without a driver; expected {SUPPORTED}")
        url = _url(text)
        return _checked(_mysql(url, {name: str(value) for name, value in url.query.items()}))
    if found := _GO.fullmatch(text):
        return _checked(_go(found))
    if re.search(r"@(tcp|unix)\b", text):
        raise ValueError(f"this MySQL form can't be read; expected {SUPPORTED}")
    if re.match(r"\w+\s*=", text):
        raise ValueError(f"the key=value form is not supported; expected {SUPPORTED}")
    return None


def _url(text: str) -> URL:
    try:
        return make_url(text)
    except (ArgumentError, ValueError):  # the latter shows what stands for the port
        raise ValueError(
            "this URL can't be read (in a password, write @ as %40, / as %2F and : as %3A); "
            f"expected {SUPPORTED}"
        ) from None


def _postgresql(url: URL) -> URL:
    # Not at the top: who has no PostgreSQL needs no libpq.
    from psycopg import ProgrammingError
    from psycopg.conninfo import make_conninfo

    try:
        make_conninfo("", **{name: str(value) for name, value in url.query.items()})
    except ProgrammingError:
        raise ValueError(
            "behind the ? stands something that is none of PostgreSQL's connection "
            f"parameters; expected {SUPPORTED}"
        ) from None
    return url.set(drivername="postgresql+psycopg")


def _go(found: re.Match[str]) -> URL:
    query = dict(parse_qsl(found["query"] or "", keep_blank_values=True))
    host, port = None, None
    if found["net"] == "unix":
        query["unix_socket"] = found["address"] or "/run/mysqld/mysqld.sock"
    else:
        address = _ADDRESS.fullmatch(found["address"] or "")
        if address is None:
            raise ValueError(f"the address in tcp(…) can't be read; expected {SUPPORTED}")
        host, port = address["v6"] or address["host"] or "127.0.0.1", int(address["port"] or 3306)
    url = URL.create("mysql", found["user"], found["password"], host, port, found["name"])
    return _mysql(url, query)


def _mysql(url: URL, asked: Mapping[str, str]) -> URL:
    query = {"charset": "utf8mb4"}
    for name, value in asked.items():
        if name.lower() == "tls":
            if value.lower() not in _TLS:
                raise ValueError(f"tls must be one of {', '.join(_TLS)}; expected {SUPPORTED}")
            query |= _TLS[value.lower()]
        elif name in _PASSED:
            query[name] = value
        elif name.lower() not in _IGNORED:
            raise ValueError(
                "behind the ? stands something that is none of tls, "
                f"{', '.join(sorted(_PASSED))}; expected {SUPPORTED}"
            )
    return url.set(drivername="mysql+pymysql", query=query)


def _checked(url: URL) -> URL:
    if not url.database:
        raise ValueError(f"the database's name is missing; expected {SUPPORTED}")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError(f"the port must be from 1 to 65535; expected {SUPPORTED}")
    return url
