"""What variables mean, and that a wrong one is named, never replaced by a default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gptload.config import Config, ConfigError, OutboundProxies, from_files
from gptload.control.db.database import parse_dsn, sqlite_file
from gptload.core.variable import Variable
from tests.upstream import certificates

GOOD_KEY = "a-long-and-private-key-of-mine"


def config(**environ: str) -> Config:
    return Config.from_environ(environ)


def faults(**environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Config.from_environ(environ, lambda dsn: sqlite_file(parse_dsn(dsn)))
    return caught.value.faults


def test_nothing_set_means_the_defaults() -> None:
    got = config()
    assert (got.host, got.port) == ("127.0.0.1", 3001)
    assert got.auth_key == "sk-123456"
    assert got.encryption_key == ""
    assert got.database_dsn == "./data/gpt-load.db"
    assert got.data_dir == Path("data").absolute()
    assert got.journal_max_mb == 1024
    assert got.max_concurrent_requests == 100
    assert (got.read_timeout, got.write_timeout, got.idle_timeout) == (60, 600, 120)
    assert got.shutdown_timeout == 10
    assert not got.cors_enabled
    assert got.cors_methods == ("GET", "POST", "PUT", "DELETE", "OPTIONS")
    assert got.cors_headers == ("*",)
    assert (got.log_level, got.log_format, got.log_file) == ("info", "text", None)
    assert got.outbound_proxies == OutboundProxies()
    assert got.upstream_ca_file is None
    assert not got.allow_link_local_upstreams
    assert (got.metrics_enabled, got.metrics_token) == (False, "")


def test_empty_is_unset() -> None:
    names = [line.split("=")[0].lstrip("#") for line in example_lines()]
    assert config(**dict.fromkeys(names, "")) == config()


@pytest.mark.parametrize(
    ("variable", "text", "attribute", "value"),
    [
        ("PORT", "8080", "port", 8080),
        ("HOST", "::1", "host", "::1"),
        ("HOST", "gateway.example", "host", "gateway.example"),
        ("AUTH_KEY", GOOD_KEY, "auth_key", GOOD_KEY),
        ("ENCRYPTION_KEY", "pässwört", "encryption_key", "pässwört"),
        ("DATABASE_DSN", "/var/lib/x/y.db", "database_dsn", "/var/lib/x/y.db"),
        ("MAX_CONCURRENT_REQUESTS", "5000", "max_concurrent_requests", 5000),
        ("SERVER_READ_TIMEOUT", "0", "read_timeout", 0),
        ("SERVER_WRITE_TIMEOUT", "7", "write_timeout", 7),
        ("SERVER_IDLE_TIMEOUT", "8", "idle_timeout", 8),
        ("SERVER_GRACEFUL_SHUTDOWN_TIMEOUT", "30", "shutdown_timeout", 30),
        ("ALLOWED_METHODS", "GET, PUT", "cors_methods", ("GET", "PUT")),
        ("ALLOWED_HEADERS", " X-A ,, X-B", "cors_headers", ("X-A", "X-B")),
        ("ALLOW_CREDENTIALS", "YES", "cors_credentials", True),
        ("IS_SLAVE", "off", "port", 3001),
        ("LOG_LEVEL", "WARNING", "log_level", "warn"),
        ("LOG_LEVEL", "trace", "log_level", "debug"),
        ("LOG_LEVEL", "fatal", "log_level", "critical"),
        ("LOG_FORMAT", "JSON", "log_format", "json"),
    ],
)
def test_a_variable_is_read(variable: str, text: str, attribute: str, value: Any) -> None:
    assert getattr(config(**{variable: text}), attribute) == value


@pytest.mark.parametrize(
    ("variable", "text", "allowed"),
    [
        ("PORT", "0", "from 1 to 65535"),
        ("PORT", "65536", "from 1 to 65535"),
        ("PORT", " 80", "a whole number"),
        ("PORT", "80.0", "a whole number"),
        ("PORT", "٣", "a whole number"),  # a digit to Python, not to a person who reads logs
        ("PORT", "9" * 30, "a whole number"),
        ("HOST", "http://here:3001", "without scheme and port"),
        ("HOST", "two words", "an IP address or a host name"),
        ("MAX_CONCURRENT_REQUESTS", "0", "from 1"),
        ("SERVER_READ_TIMEOUT", "-1", "from 0"),
        ("SERVER_WRITE_TIMEOUT", "1m", "a whole number"),
        ("SERVER_IDLE_TIMEOUT", "x", "a whole number"),
        ("SERVER_GRACEFUL_SHUTDOWN_TIMEOUT", "0", "from 1"),
        ("ENABLE_CORS", "maybe", "true, 1, yes or on"),
        ("ALLOW_CREDENTIALS", "2", "true, 1, yes or on"),
        ("ALLOWED_METHODS", "GET;PUT", "separated by commas"),
        ("ALLOWED_HEADERS", "X-A\r\nX-B: c", "separated by commas"),
        ("LOG_LEVEL", "loud", "one of panic, fatal, error, warn"),
        ("LOG_FORMAT", "xml", "one of text, json"),
        ("LOG_ENABLE_FILE", "ja", "true, 1, yes or on"),
        ("HTTP_PROXY", "ftp://proxy:21", "socks5://host:port"),
        ("HTTPS_PROXY", "http://:8080", "socks5://host:port"),
        ("https_proxy", "http://proxy:port", "socks5://host:port"),
        ("UPSTREAM_CA_FILE", "/no/such/file.pem", "a readable PEM file"),
        ("UPSTREAM_CA_FILE", __file__, "a readable PEM file"),
        ("DATA_DIR", __file__, "a folder that can be written to"),
        ("DATABASE_DSN", "mysql://root@db", "the database's name is missing"),
        ("REDIS_DSN", "redis://cache", "one node"),
        ("IS_SLAVE", "true", "one node"),
        ("IS_SLAVE", "perhaps", "true, 1, yes or on"),
        ("AUTH_KEY", "two\nlines", "printable characters"),
        ("ENCRYPTION_KEY", "ends with a blank ", "printable characters"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(
    variable: str, text: str, allowed: str
) -> None:
    [fault] = faults(**{variable: text})
    assert fault.startswith(f"{variable.upper()}=")
    assert allowed in fault


def test_all_faults_come_in_one_error() -> None:
    found = faults(PORT="x", LOG_LEVEL="y", IS_SLAVE="1", REDIS_DSN="z", DATABASE_DSN="host=db")
    assert [fault.split("=")[0] for fault in sorted(found)] == [
        "DATABASE_DSN",
        "IS_SLAVE",
        "LOG_LEVEL",
        "PORT",
        "REDIS_DSN",
    ]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("AUTH_KEY", "sk-hidden-hunter2\t"),
        ("ENCRYPTION_KEY", " hidden-hunter2"),
        ("DATABASE_DSN", "postgres://u:hunter2@db"),
        ("DATABASE_DSN", "u:hunter2@tcp(db:3306)"),
        ("REDIS_DSN", "redis://:hunter2@cache"),
        ("HTTP_PROXY", "gopher://u:hunter2@proxy"),
        ("HTTPS_PROXY", "u:hunter2@"),
    ],
)
def test_no_secret_is_in_the_message(variable: str, text: str) -> None:
    [fault] = faults(**{variable: text})
    assert "****" in fault
    assert "hunter2" not in fault.replace("****ter2", "")


def test_loopback_only_while_everybody_knows_the_key() -> None:
    assert config(AUTH_KEY="sk-123456").host == "127.0.0.1"
    assert config(AUTH_KEY=GOOD_KEY).host == "0.0.0.0"
    assert config(HOST="0.0.0.0").host == "0.0.0.0"


def test_data_lives_beside_the_database_unless_told_otherwise(tmp_path: Path) -> None:
    dsn = str(tmp_path / "here" / "x.db")
    assert config(DATABASE_DSN=dsn).data_dir == tmp_path / "here"
    there = tmp_path / "there" / "deeper"
    assert config(DATABASE_DSN=dsn, DATA_DIR=str(there)).data_dir == there
    assert not there.exists()  # reading a configuration makes nothing


def test_cors_needs_origins_and_checks_them() -> None:
    assert "ALLOWED_ORIGINS" in faults(ENABLE_CORS="true")[0]
    assert "https//x" in faults(ENABLE_CORS="true", ALLOWED_ORIGINS="*,https//x")[0]
    assert "/path" in faults(ENABLE_CORS="true", ALLOWED_ORIGINS="https://x/path")[0]
    got = config(ENABLE_CORS="1", ALLOWED_ORIGINS="https://a.example, http://localhost:5173")
    assert got.cors_origins == ("https://a.example", "http://localhost:5173")


def test_no_website_may_use_every_visitors_credentials() -> None:
    together = {"ENABLE_CORS": "on", "ALLOW_CREDENTIALS": "on"}
    assert "ALLOW_CREDENTIALS" in faults(**together, ALLOWED_ORIGINS="*")[0]
    assert config(**together, ALLOWED_ORIGINS="https://a.example").cors_credentials


def test_a_log_file_needs_its_switch() -> None:
    assert config(LOG_FILE_PATH="x.log").log_file is None
    assert config(LOG_ENABLE_FILE="on", LOG_FILE_PATH="x.log").log_file == Path("x.log").absolute()
    assert config(LOG_ENABLE_FILE="on").log_file == Path("data/logs/app.log").absolute()


def test_a_ca_file_is_taken(tmp_path: Path) -> None:
    authority = certificates.make(tmp_path).ca
    assert config(UPSTREAM_CA_FILE=str(authority)).upstream_ca_file == authority


@pytest.mark.parametrize(
    ("exceptions", "scheme", "host", "port", "used"),
    [
        ("", "http", "api.example.com", 80, "http://plain:1"),
        ("", "https", "api.example.com", 443, "http://tls:2"),
        ("", "https", "localhost", 443, ""),
        ("", "http", "127.0.0.9", 80, ""),
        ("", "http", "::1", 80, ""),
        ("*", "https", "api.example.com", 443, ""),
        ("example.com", "https", "example.com", 443, ""),
        ("example.com", "https", "API.example.com", 443, ""),
        ("example.com", "https", "anexample.com", 443, "http://tls:2"),
        (".example.com", "https", "api.example.com", 443, ""),
        (".example.com", "https", "example.com", 443, "http://tls:2"),
        ("*.example.com", "https", "api.example.com", 443, ""),
        ("Example.com:8443", "https", "example.com", 8443, ""),
        ("example.com:8443", "https", "example.com", 443, "http://tls:2"),
        ("10.0.0.0/8", "http", "10.1.2.3", 80, ""),
        ("10.0.0.0/8", "http", "11.1.2.3", 80, "http://plain:1"),
        ("192.0.2.7", "http", "192.0.2.7", 8080, ""),
        ("192.0.2.7:80", "http", "192.0.2.7", 8080, "http://plain:1"),
        ("192.0.2.7:80", "http", "192.0.2.7", 80, ""),
        ("[2001:db8::1]:80", "http", "2001:db8::1", 80, ""),
        ("[2001:db8::1]", "http", "2001:db8::1", 80, ""),
        ("2001:db8::/32", "http", "2001:db8::1", 80, ""),
        ("a.example, ,b.example", "http", "b.example", 80, ""),
    ],
)
def test_outbound_proxies_follow_gos_rules(
    exceptions: str, scheme: str, host: str, port: int, used: str
) -> None:
    """Source: golang.org/x/net/http/httpproxy, `Config`."""
    got = config(HTTP_PROXY="plain:1", HTTPS_PROXY="http://tls:2", NO_PROXY=exceptions)
    assert got.outbound_proxies.for_url(scheme, host, port) == used


def test_proxies_are_read_in_both_cases_and_upper_case_wins() -> None:
    lower = config(http_proxy="http://low", no_proxy="x.example").outbound_proxies
    assert lower.for_url("http", "y.example", 80) == "http://low"
    assert lower.for_url("http", "x.example", 80) == ""
    both = config(http_proxy="http://low", HTTP_PROXY="http://up").outbound_proxies
    assert both.http == "http://up"


@pytest.mark.parametrize("url", ["socks5://u:p@h:1080", "socks5h://h", "https://h:8443"])
def test_proxies_of_each_kind_are_taken_as_written(url: str) -> None:
    assert config(HTTPS_PROXY=url).outbound_proxies.https == url


def test_warnings_name_what_is_weak() -> None:
    [default, plain] = config().warnings()
    assert "well-known default" in default
    assert "only this machine" in default
    assert "ENCRYPTION_KEY is not set" in plain

    assert "lets others connect" in config(HOST="0.0.0.0").warnings()[0]

    weak = "\n".join(config(AUTH_KEY="my-Admin-1", ENCRYPTION_KEY="short").warnings())
    assert "AUTH_KEY is shorter than 16" in weak
    assert "AUTH_KEY contains a word" in weak
    assert "ENCRYPTION_KEY is shorter" in weak
    assert "my-Admin-1" not in weak

    strong = config(
        AUTH_KEY=GOOD_KEY, ENCRYPTION_KEY=GOOD_KEY, ENABLE_CORS="1", ALLOWED_ORIGINS="*"
    )
    [only] = strong.warnings()
    assert only.startswith("ALLOWED_ORIGINS=*")


def test_a_token_switches_metrics_on_unless_somebody_says_no() -> None:
    assert config(METRICS_TOKEN=GOOD_KEY).metrics_enabled
    assert config(METRICS_ENABLED="yes").metrics_enabled
    assert not config(METRICS_TOKEN=GOOD_KEY, METRICS_ENABLED="off").metrics_enabled
    assert "METRICS_TOKEN is shorter" in "\n".join(config(METRICS_TOKEN="short").warnings())


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# ours\nPORT=4000\nAUTH_KEY='it costs $5 ${HOME}'\nLOG_LEVEL=\nHOST=::1\nBARE\n"
    )
    got = from_files({"PORT": "5000", "HOST": ""}, tmp_path)
    assert got == {
        "PORT": "5000",
        "AUTH_KEY": "it costs $5 ${HOME}",
        "LOG_LEVEL": "",
        "HOST": "",
    }
    assert from_files({"A": "b"}, tmp_path / "elsewhere") == {"A": "b"}


def test_an_unreadable_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"AUTH_KEY=\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"\.env can't be read: it is not UTF-8"):
        from_files({}, tmp_path)


def example_lines() -> list[str]:
    text = (Path(__file__).parents[1] / ".env.example").read_text()
    return [line for line in text.splitlines() if "=" in line and not line.startswith("# ")]


def test_the_example_shows_the_defaults_and_every_variable(tmp_path: Path) -> None:
    """Copied as it is, it changes nothing; with its lines uncommented, neither."""
    from gptload import config as module

    lines = example_lines()
    (tmp_path / ".env").write_text("\n".join(line.lstrip("#") for line in lines))
    shown = from_files({}, tmp_path)
    assert Config.from_environ(shown) == config()
    source = Path(module.__file__).read_text()
    read = {name for name in shown if f'"{name}"' in source}
    assert set(shown) - read == {"TZ"}  # the runtime reads that one
    variables = {word for word in source.split('"') if word.isupper() and word.isidentifier()}
    assert variables <= set(shown)


def told(**environ: str) -> dict[str, Variable]:
    """What people see of it, by name."""
    made = Config.from_environ(environ, lambda dsn: sqlite_file(parse_dsn(dsn)), ["PORT"])
    return {one.name: one for one in made.variables}


def test_people_see_what_holds_and_where_it_comes_from() -> None:
    found = told(
        PORT="4000", http_proxy="proxy.example:3128", ENABLE_CORS="yes", ALLOWED_ORIGINS="*"
    )
    assert (found["PORT"].value, found["PORT"].origin) == ("4000", ".env")
    assert found["HTTP_PROXY"] == Variable("HTTP_PROXY", "http://proxy.example:3128", "environment")
    assert found["ENABLE_CORS"] == Variable("ENABLE_CORS", "true", "environment")
    assert found["ALLOWED_METHODS"].value == "GET,POST,PUT,DELETE,OPTIONS"
    assert found["ALLOWED_METHODS"].origin == found["HOST"].origin == "default"
    assert (found["HOST"].value, found["UPSTREAM_CA_FILE"].value) == ("127.0.0.1", "")


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("AUTH_KEY", "sk-a-long-one-of-the-tests-f3", "…f3"),
        ("ENCRYPTION_KEY", "short", "…"),
        ("METRICS_TOKEN", "", ""),
        ("DATABASE_DSN", "postgres://me:hidden@db:5432/x", "postgres://****@db:5432/x"),
        ("DATABASE_DSN", "me:hidden@tcp(db:3306)/x", "****@tcp(db:3306)/x"),
        (
            "DATABASE_DSN",
            "postgres://db/x?sslmode=require&sslpassword=hidden",
            "postgres://db/x?sslmode=require&sslpassword=****",
        ),
        ("HTTPS_PROXY", "socks5://me:hidden@proxy:1080", "socks5://****@proxy:1080"),
    ],
)
def test_people_see_no_secret_and_no_password(name: str, text: str, shown: str) -> None:
    found = told(**{name: text})[name]
    assert found.value == shown
    assert "hidden" not in repr(told(**{name: text}))


def test_people_see_every_variable_that_can_be_set() -> None:
    example = (Path(__file__).parent.parent / ".env.example").read_text()
    names = re.findall(r"^#([A-Z_]+)=", example, re.MULTILINE)
    assert list(told()) == [name for name in names if name not in ("TZ", "REDIS_DSN", "IS_SLAVE")]
