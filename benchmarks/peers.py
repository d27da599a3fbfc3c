"""What is measured: gptload, and others that pass the same requests to the same upstream.

Each peer is started here, on a free port of the loopback interface, and stopped at
the end. All run in one process on one core, and keep their upstream connections.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Final

from benchmarks import admin, certificate, tools
from benchmarks.load import SHAPES, model
from benchmarks.processes import Process, free_port
from gptload._version import __version__

_ROOT: Final = Path(__file__).parents[1]
_TOKEN: Final = "sk-bench-Zk41-client"
_KEYS: Final = 10
_CHAT: Final = "/v1/chat/completions"


class Upstream:
    """The mock AI API as a process; see `benchmarks.upstream`."""

    def __init__(self, folder: Path) -> None:
        self.http_port = free_port()
        self.https_port = free_port()
        self.certificate = certificate.make(folder)
        self.process = Process(
            [
                sys.executable,
                "-m",
                "benchmarks.upstream",
                str(self.http_port),
                str(self.https_port),
                str(self.certificate),
            ],
            folder,
            [self.http_port, self.https_port],
            {"PYTHONPATH": str(_ROOT)},
        )
        self.process.wait_until(lambda: True)


class Peer(ABC):
    """One program between the load and the upstream.

    Attributes:
        name: for `--peer`.
        label: for people.
        tls: whether it can also be asked to reach the upstream by HTTPS.
        pace: how many times longer its bursts are: a slow one needs time to answer at all.
        token: what clients present.
        process: once it is started.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    tls: ClassVar[bool] = False
    pace: ClassVar[int] = 1
    token: str = _TOKEN
    process: Process

    @abstractmethod
    def start(self, upstream: Upstream, folder: Path) -> None:
        """Start it and wait until it serves.

        Raises:
            tools.Missing: it isn't installed and can't be.
            StartFailed: it doesn't run.
        """

    @abstractmethod
    def url(self, kind: str, *, tls: bool = False) -> str:
        """Where a request goes to be answered by the upstream's `/kind/`."""

    @abstractmethod
    def version(self) -> str:
        """What was measured."""

    def catch_up(self) -> None:  # noqa: B027  most put nothing off
        """Do at once what the peer puts off until after its requests."""


class Relay(Peer):
    """A Twisted TCP relay on gptload's reactor."""

    name = "relay"
    label = "Twisted TCP relay (floor)"
    _mode: ClassVar[tuple[str, ...]] = ()

    def start(self, upstream: Upstream, folder: Path) -> None:
        self._port = free_port()
        self.process = Process(
            [
                sys.executable,
                "-m",
                "benchmarks.tcprelay",
                str(self._port),
                str(upstream.http_port),
                *self._mode,
            ],
            folder,
            [self._port],
            {"PYTHONPATH": str(_ROOT)},
        )
        self.process.wait_until(lambda: True)

    def url(self, kind: str, *, tls: bool = False) -> str:
        return f"http://127.0.0.1:{self._port}/{kind}{_CHAT}"

    def version(self) -> str:
        return "Twisted " + importlib.metadata.version("twisted")


class StockRelay(Relay):
    """The same on Twisted's own reactor and transports."""

    name = "relay-stock"
    label = "Twisted TCP relay, stock reactor"
    _mode = ("stock",)


class Nginx(Peer):
    """nginx's `proxy_pass`, one worker, unbuffered as streams need it."""

    name = "nginx"
    label = "nginx"
    tls = True

    def start(self, upstream: Upstream, folder: Path) -> None:
        self._program = tools.find("nginx", "nginx")
        self._ports = (free_port(), free_port())
        configuration = folder / "nginx.conf"
        configuration.write_text(
            f"""
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 10000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_buffering off;
  upstream plain {{
    server 127.0.0.1:{upstream.http_port};
    keepalive 256;
    keepalive_requests 10000000;
  }}
  upstream secured {{
    server 127.0.0.1:{upstream.https_port};
    keepalive 256;
    keepalive_requests 10000000;
  }}
  server {{
    listen 127.0.0.1:{self._ports[0]};
    location / {{ proxy_pass http://plain; }}
  }}
  server {{
    listen 127.0.0.1:{self._ports[1]};
    location / {{
      proxy_pass https://secured;
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_server_name on;
      proxy_ssl_name localhost;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {upstream.certificate};
    }}
  }}
}}
"""
        )
        self.process = Process(
            [self._program, "-p", str(folder), "-c", str(configuration)], folder, self._ports
        )
        self.process.wait_until(lambda: True)

    def url(self, kind: str, *, tls: bool = False) -> str:
        return f"http://127.0.0.1:{self._ports[tls]}/{kind}{_CHAT}"

    def version(self) -> str:
        return tools.version([self._program, "-v"])


class Caddy(Peer):
    """Caddy's `reverse_proxy` on one core."""

    name = "caddy"
    label = "Caddy"

    def start(self, upstream: Upstream, folder: Path) -> None:
        self._program = tools.caddy()
        self._port = free_port()
        configuration = folder / "Caddyfile"
        configuration.write_text(
            f"""
{{
    admin off
    auto_https off
    persist_config off
    log {{
        level ERROR
    }}
}}
http://127.0.0.1:{self._port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{upstream.http_port} {{
        flush_interval -1
        transport http {{
            keepalive_idle_conns_per_host 256
        }}
    }}
}}
"""
        )
        self.process = Process(
            [self._program, "run", "--config", str(configuration), "--adapter", "caddyfile"],
            folder,
            [self._port],
            {"GOMAXPROCS": "1", "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
        )
        self.process.wait_until(lambda: True)

    def url(self, kind: str, *, tls: bool = False) -> str:
        return f"http://127.0.0.1:{self._port}/{kind}{_CHAT}"

    def version(self) -> str:
        # Of one that `go install` built, `caddy version` knows nothing.
        built = tools.version([self._program, "build-info"], r"caddy/v2\s+v([\d.]+)")
        return tools.version([self._program, "version"]) if built == "?" else built


class LiteLLM(Peer):
    """LiteLLM's proxy, one worker, client authentication on, no database."""

    name = "litellm"
    label = "LiteLLM"
    pace = 3

    def start(self, upstream: Upstream, folder: Path) -> None:
        self._program = tools.litellm()
        self._port = free_port()
        configuration = folder / "config.yaml"
        # JSON is YAML.
        configuration.write_text(
            json.dumps(
                {
                    "model_list": [
                        {
                            "model_name": model(shape),
                            "litellm_params": {
                                "model": f"openai/{model(shape)}",
                                "api_base": f"http://127.0.0.1:{upstream.http_port}/{shape}/v1",
                                "api_key": "sk-bench-upstream",
                            },
                        }
                        for shape in SHAPES
                    ],
                    "general_settings": {"master_key": self.token},
                    "litellm_settings": {"telemetry": False, "num_retries": 0},
                }
            )
        )
        self.process = Process(
            [
                self._program,
                *("--config", str(configuration)),
                *("--host", "127.0.0.1"),
                *("--port", str(self._port)),
                *("--num_workers", "1"),
            ],
            folder,
            [self._port],
            # It must not ask the internet for its price table.
            {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
        )
        self.process.wait_until(
            lambda: _answers(f"http://127.0.0.1:{self._port}/health/liveliness"), 120
        )

    def url(self, kind: str, *, tls: bool = False) -> str:
        return f"http://127.0.0.1:{self._port}{_CHAT}"

    def version(self) -> str:
        python = Path(self._program).with_name("python")
        code = "import importlib.metadata as m; print(m.version('litellm'))"
        return tools.version([str(python), "-c", code])


class Gptload(Peer):
    """The service as a user starts it, with everything on.

    Client authentication, choice of ten keys, journal, counters. Two settings are not
    the default: how many idle upstream connections it may keep, as for nginx and Caddy;
    and when records move from the journal to the database, so that it doesn't fall into
    another peer's burst. `catch_up` moves them, and that cost is shown too.
    """

    name = "gptload"
    label = "gptload"
    tls = True
    _reactor: ClassVar[tuple[str, ...]] = ()

    def start(self, upstream: Upstream, folder: Path) -> None:
        self._port = free_port()
        self._auth_key = "sk-bench-Ry77-of-the-admin-API"
        twistd = Path(sys.executable).with_name("twistd")
        self.process = Process(
            [str(twistd), *self._reactor, "-n", "--pidfile=", "gptload"],
            folder,
            [self._port],
            {
                "HOST": "127.0.0.1",
                "PORT": str(self._port),
                "AUTH_KEY": self._auth_key,
                "ENCRYPTION_KEY": "bench-Tq52-encrypts-the-keys",
                "MAX_CONCURRENT_REQUESTS": "10000",
                "UPSTREAM_CA_FILE": str(upstream.certificate),
            },
        )
        self.process.wait_until(lambda: _answers(f"http://127.0.0.1:{self._port}/health"), 60)
        self._api(
            "PUT",
            "/settings",
            {
                "request_log_write_interval_minutes": 1440,
                # As many as nginx and Caddy are allowed.
                "max_idle_conns": 2048,
                "max_idle_conns_per_host": 2048,
            },
        )
        plain = f"http://127.0.0.1:{upstream.http_port}"
        secured = f"https://localhost:{upstream.https_port}"
        for shape in SHAPES:
            self._make_group(shape, f"{plain}/{shape}")
            self._make_group(f"{shape}-tls", f"{secured}/{shape}")
        for kind in ("flood", "stream-1", f"stream-{STREAM_EVENTS}"):
            self._make_group(kind, f"{plain}/{kind}")

    def url(self, kind: str, *, tls: bool = False) -> str:
        group = f"{kind}-tls" if tls else kind
        return f"http://127.0.0.1:{self._port}/proxy/{group}{_CHAT}"

    def version(self) -> str:
        return __version__

    def catch_up(self) -> None:
        self._api("GET", "/logs?page_size=1")
        self._api("GET", "/stats/summary")  # what was moved is counted before it is told

    def _make_group(self, name: str, upstream: str) -> None:
        made = self._api(
            "POST",
            "/groups",
            {
                "name": name,
                "channel_type": "openai",
                "upstreams": [{"url": upstream, "weight": 1}],
                "test_model": model("small"),
                "proxy_keys": self.token,
            },
        )
        keys = "\n".join(f"sk-bench-{name}-{number:04d}-upstream" for number in range(_KEYS))
        self._api("POST", "/keys/add-multiple", {"group_id": made["id"], "keys_text": keys})

    def _api(self, method: str, path: str, said: object = None) -> Any:
        return admin.call(self._port, self._auth_key, method, path, said)


class StockGptload(Gptload):
    """The same on Twisted's own epoll reactor and transports."""

    name = "gptload-stock"
    label = "gptload, stock reactor"
    _reactor = ("-r", "epoll")


# What one stream of the streams benchmark has: 15 seconds.
STREAM_EVENTS: Final = 300

ALL: Final[tuple[type[Peer], ...]] = (
    Relay,
    StockRelay,
    Nginx,
    Caddy,
    LiteLLM,
    Gptload,
    StockGptload,
)
# Without those that only answer a developer's question.
USUAL: Final[tuple[str, ...]] = ("relay", "nginx", "caddy", "gptload", "litellm")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
