"""The lean reactor keeps every promise of Twisted's own; each scene is a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from gptload.wire.reactor import fits

LIMIT_S = 20


def run(*arguments: str) -> str:
    """What a new Python prints; fails with its complaints."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def scene(name: str) -> Any:
    """What was seen in one of `tests.wire.scenes`."""
    return json.loads(run("-m", "tests.wire.scenes", name))


def test_the_installed_twisted_has_the_insides_that_we_build_on() -> None:
    """Fails with a Twisted that moved them: read `gptload.wire.reactor` anew, then mend `fits`."""
    assert fits()


@pytest.mark.parametrize(
    "moved",
    [
        "del tcp.Port._fromListeningDescriptor",
        "del abstract.FileDescriptor.dataBuffer",
        "del abstract.FileDescriptor._writeDisconnecting",
        "tcp.Port.transport = None",
    ],
)
def test_where_one_of_them_has_moved_twisteds_own_reactor_serves(moved: str) -> None:
    said = run(
        "-c",
        "from twisted.internet import abstract, tcp\n"
        "from gptload.wire.reactor import fits, install\n"
        f"{moved}\n"
        "print(fits(), install())",
    )
    assert said.split() == ["False", "False"]


def test_bytes_keep_their_order_whichever_way_they_take() -> None:
    """10 MB each way, in pieces from 1 byte to 300 kB, some joined and some queued."""
    seen = scene("order")
    assert seen["kinds"] == ["DirectServer", "DirectClient"]
    assert seen["both ways"] and seen["same"] == [True, True]


def test_what_a_turn_writes_leaves_at_its_end_behind_what_must_come_first() -> None:
    """`before_sending` is how a record gets to the disk before its answer leaves."""
    assert scene("soon") == {"there": "hello", "queue": False, "arrived": [0, 0, 0, 20_000]}


def test_a_loss_is_never_news_inside_a_write() -> None:
    assert scene("loss") == {"early": [], "in write": False, "times": 1}


def test_losing_a_connection_sends_what_waits_first() -> None:
    assert scene("flush") == {
        "early": [],
        "received": 5 * 1024 * 1024,
        "lost": [["ConnectionDone"], ["ConnectionDone"]],
        "small": "bye",
    }


def test_a_producer_is_paused_and_resumed_as_ever() -> None:
    assert scene("producers") == {"stopped": True, "waited": True, "bounded": True}


def test_tls_works_on_top_and_when_it_is_switched_on_later() -> None:
    assert scene("tls") == {"seen": [[True, ["ConnectionDone"]]] * 2}


def test_an_exception_ends_its_own_connection_only() -> None:
    assert scene("failing") == {"bad": ["RuntimeError"], "good": [], "writer": ["RuntimeError"]}


def test_connections_may_end_one_another_within_a_turn() -> None:
    assert scene("turns") == {"times": [1], "complaints": 0}


def test_an_adopted_listener_has_them_too_and_a_unix_one_is_left_alone() -> None:
    assert scene("adopted") == {"direct": [True, False]}


REACTOR_NAME = "from twisted.internet import reactor; print(type(reactor).__name__)"


def test_the_command_brings_the_lean_reactor() -> None:
    said = run("-c", f"from gptload.tap import Options; Options(); {REACTOR_NAME}")
    assert said.split() == ["LeanEPollReactor"]


@pytest.mark.parametrize(
    ("module", "name"), [("epollreactor", "EPollReactor"), ("pollreactor", "PollReactor")]
)
def test_a_reactor_that_somebody_chose_stays(module: str, name: str) -> None:
    """`twistd -r` installs its own before the command's options are looked at."""
    chosen = f"from twisted.internet import {module}; {module}.install()\n"
    said = run("-c", f"{chosen}from gptload.tap import Options; Options(); {REACTOR_NAME}")
    assert said.split() == [name]
    said = run("-c", f"{chosen}from gptload.wire.reactor import install; print(install())")
    assert said.split() == ["False"]
