"""`python -m tests.upstream`: serve until stopped; one JSON line says where."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import ssl
from dataclasses import replace
from pathlib import Path

from tests.upstream.script import Script
from tests.upstream.server import Provider


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.upstream", description="A scripted AI provider for tests and demos."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument(
        "--tls", nargs=2, metavar=("CERT", "KEY"), help="serve TLS too, on --tls-port"
    )
    parser.add_argument("--tls-port", type=int, default=0)
    parser.add_argument(
        "--control-port", type=int, default=0, help="takes scripts, tells what was seen"
    )
    parser.add_argument("--script", type=Path, help="a JSON file to begin with")
    parser.add_argument("--keys", default="{}", help='e.g. \'{"sk-dead": "invalid_api_key"}\'')
    parser.add_argument("--interval-ms", type=float, default=0, help="between a stream's events")
    parser.add_argument("--events", type=int, default=5, help="of a stream")
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    """Listen, say where, and serve until SIGTERM or SIGINT."""
    script = Script.of(json.loads(options.script.read_bytes()) if options.script else {})
    script.keys = {**script.keys, **Script.of({"keys": json.loads(options.keys)}).keys}
    script.pace = replace(script.pace, interval_ms=options.interval_ms, events=options.events)
    provider = Provider(script)
    where = {"port": await provider.listen("plain", options.host, options.port, None)}
    if options.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*options.tls)
        where["tls_port"] = await provider.listen("tls", options.host, options.tls_port, tls)
    where["control_port"] = await provider.listen_to_orders(options.host, options.control_port)
    print(json.dumps(where), flush=True)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
