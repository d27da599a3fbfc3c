"""The ways to name a database in `DATABASE_DSN`."""

from __future__ import annotations

import pytest

from gptload.control.db.database import make_engine, parse_dsn, sqlite_file


@pytest.mark.parametrize(
    ("dsn", "url"),
    [
        ("postgres://u:p@h/db", "postgresql+psycopg://u:p@h/db"),
        ("postgresql://u:p@h:6543/db", "postgresql+psycopg://u:p@h:6543/db"),
        ("postgresql+psycopg://u@h/db", "postgresql+psycopg://u@h/db"),
        (
            "postgres://u:a%40b@h/db?sslmode=verify-full",
            "postgresql+psycopg://u:a%40b@h/db?sslmode=verify-full",
        ),
        ("postgres:///db?host=/run/postgresql", "postgresql+psycopg:///db?host=/run/postgresql"),
        ("mysql://u:p@h/db", "mysql+pymysql://u:p@h/db?charset=utf8mb4"),
        ("mariadb+pymysql://u:p@h:3307/db", "mysql+pymysql://u:p@h:3307/db?charset=utf8mb4"),
        (
            "u:p@tcp(h:3307)/db?charset=utf8&parseTime=True&loc=Local",
            "mysql+pymysql://u:p@h:3307/db?charset=utf8mb4",
        ),
        ("u:a@b:c/d@tcp(h)/db", "mysql+pymysql://u:a%40b%3Ac%2Fd@h:3306/db?charset=utf8mb4"),
        ("u@tcp([::1]:3306)/db", "mysql+pymysql://u@[::1]:3306/db?charset=utf8mb4"),
        ("u:p@tcp/db", "mysql+pymysql://u:p@127.0.0.1:3306/db?charset=utf8mb4"),
        (
            "u:p@unix(/run/m.sock)/db",
            "mysql+pymysql://u:p@/db?charset=utf8mb4&unix_socket=/run/m.sock",
        ),
        (
            "u:p@tcp(h:3306)/db?tls=true",
            "mysql+pymysql://u:p@h:3306/db?charset=utf8mb4&ssl_verify_cert=true"
            "&ssl_verify_identity=true",
        ),
    ],
)
def test_every_spelling_of_a_server_is_understood(dsn: str, url: str) -> None:
    found = parse_dsn(dsn)
    assert found.render_as_string(hide_password=False).replace("%2F", "/") == url.replace(
        "%2F", "/"
    )
    assert sqlite_file(found) is None
    make_engine(found).dispose()  # the driver is there, and nobody is asked yet


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        "   ",
        "sqlite://",
        ":memory:",
        "sqlite://:memory:",
        "file:x?mode=memory",
        "postgres://user:s3cret@host",
        "postgres://user:s3cret@host/",
        "postgresql+psycopg2://user:s3cret@host/db",
        "postgresql://user:s3cret@host/db?s3cret=1",
        "postgresql://user:s3cret@host:0/db",
        "mysql://user:s3cret@host",
        "mysql://user:s3cret@host:s3cret/db",
        "mysql+mysqldb://user:s3cret@host/db",
        "user:s3cret@tcp(host:3306)/",
        "user:s3cret@tcp(host:3306)",
        "user:s3cret@tcp(host:port)/db",
        "user:s3cret@tcp(host:3306)/db?tls=s3cret",
        "user:s3cret@tcp(host:3306)/db?s3cret=1",
        "user:s3cret@udp(host:3306)/db@tcp",
        "host=localhost user=gptload password=s3cret dbname=gptload",
        "mongodb://user:s3cret@host/db",
        "postgres://user:s3cret@host/d\0b",
    ],
)
def test_anything_else_is_refused_with_what_is_supported_and_no_secret(dsn: str) -> None:
    with pytest.raises(ValueError, match="SQLite") as caught:
        parse_dsn(dsn)
    assert "mysql://user:password@host:3306/database" in str(caught.value)
    assert "s3cret" not in str(caught.value)
