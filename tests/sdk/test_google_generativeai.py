"""The older `google-generativeai` package through a group.

It wants grpcio and an old protobuf, so it lives in an environment of its own, made by
`make sdk-generativeai`, and is called as a script.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.conftest import Group, OpenGroup
from tests.upstream.answers import ARGUMENTS, MODELS, TEXT, VECTOR
from tests.upstream.control import Upstream

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("generativeai_calls.py")
MODEL = "gemini-2.5-flash"


@pytest.fixture(scope="session")
def python() -> str:
    """The interpreter that has the package; a missing one is an error only with CI set."""
    path = ROOT / os.environ.get("GENERATIVEAI_PYTHON", ".venv-generativeai/bin/python")
    if not path.exists():
        text = f"{path} is missing: `make sdk-generativeai` makes it"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return str(path)


def run(python: str, base_url: str, api_key: str, *calls: str) -> dict[str, Any]:
    done = subprocess.run(
        [python, str(SCRIPT), base_url, api_key, *calls],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_all_its_calls(python: str, open_group: OpenGroup, upstream: Upstream) -> None:
    """Its stream is one JSON array: no `alt=sse`, and `%24alt` in the query."""
    group = open_group("gemini")
    told = run(python, group.base_url, group.api_key)
    assert told == {
        "unary": TEXT,
        "stream": TEXT,
        "tool": ARGUMENTS,
        "image": TEXT,
        "embed": list(VECTOR),
        "count": 14,
        "models": [f"models/{name}" for name in MODELS["gemini"]],
        "many": [TEXT] * 10,
    }
    seen = upstream.seen()
    assert {place for s in seen for place, _ in s.credentials} == {"x-goog-api-key"}
    assert seen[0].target == (
        f"/v1beta/models/{MODEL}:generateContent?%24alt=json%3Benum-encoding%3Dint"
    )
    assert max(s.body_length for s in seen) > 13 << 20


def test_the_client_never_notices_sick_keys(
    python: str,
    open_group: OpenGroup,
    sick_keys_were_met_and_set_aside: Callable[[Group], None],
) -> None:
    group = open_group("gemini", sick=True)
    told = run(python, group.base_url, group.api_key, "stream", "many")
    assert told == {"stream": TEXT, "many": [TEXT] * 10}
    sick_keys_were_met_and_set_aside(group)


def test_refusals_arrive_as_the_sdks_own_errors(
    python: str, open_group: OpenGroup, upstream: Upstream
) -> None:
    group = open_group("gemini")
    wrong = run(python, group.base_url, "sk-wrong", "unary")["unary"]
    assert wrong.startswith("Unauthorized: 401")

    upstream.script(others="bad_request")
    bad = run(python, group.base_url, group.api_key, "unary")["unary"]
    assert bad.startswith("BadRequest: 400")
    assert "contents is not specified" in bad
