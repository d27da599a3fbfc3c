"""Tokens through the whole service: from what the upstream says to the log and statistics."""

from __future__ import annotations

import pytest

from tests.parts.calls import CALLS, STREAMS, call, chat
from tests.parts.service import Service
from tests.service.conftest import OpenGroup
from tests.upstream.control import Upstream

# As `tests.upstream.answers` says them.
SAID = {"openai": (9, 12), "openai-response": (9, 12), "anthropic": (9, 12), "gemini": (9, 12)}
WHOLE = {
    **CALLS,
    "openai-response": lambda name: call(
        name, "POST", "/v1/responses", {"model": "gpt-4.1-mini", "input": "hi"}
    ),
}
STREAMED = {
    **STREAMS,
    "openai": lambda name: chat(name, stream=True, stream_options={"include_usage": True}),
    "openai-response": lambda name: call(
        name, "POST", "/v1/responses", {"model": "gpt-4.1-mini", "input": "hi", "stream": True}
    ),
}


@pytest.mark.parametrize("channel", SAID)
def test_whole_and_streamed_answers_tell_their_tokens(
    service: Service, upstream: Upstream, open_group: OpenGroup, channel: str
) -> None:
    group = open_group(channel)
    for made in (WHOLE[channel], STREAMED[channel]):
        assert service.ask(made(group.name)).status == 200
    rows = service.wait_logs(2, group_name=group.name)
    assert [(row["input_tokens"], row["output_tokens"]) for row in rows] == [SAID[channel]] * 2
    assert all(row["cost_nano_usd"] > 0 for row in rows)
    figures = service.api("GET", f"/stats/summary?group={group.id}")["current"]
    assert figures["tokens"]["input"] == 18
    assert figures["priced_share"] == 1
    assert figures["cost_nano_usd"] == sum(row["cost_nano_usd"] for row in rows)


def test_a_chat_stream_without_the_option_says_nothing(
    service: Service, upstream: Upstream, open_group: OpenGroup
) -> None:
    group = open_group("openai")
    service.ask(chat(group.name, stream=True))
    (row,) = service.wait_logs(1, group_name=group.name)
    assert (row["input_tokens"], row["cost_nano_usd"]) == (None, None)
