"""The admin API, as a script calls it."""

from __future__ import annotations

import http.client
import json
from typing import Any


def call(port: int, auth_key: str, method: str, path: str, said: object = None) -> Any:
    """The `data` of an answer.

    Args:
        path: below `/api`.

    Raises:
        RuntimeError: the answer is an error.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        given = None if said is None else json.dumps(said)
        fields = {"Authorization": f"Bearer {auth_key}", "Content-Type": "application/json"}
        connection.request(method, f"/api{path}", given, fields)
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
    return json.loads(text).get("data")
