"""Sticky resources: what a request names, what an answer makes, who owns it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.resttime import DAY_S, HOUR_S
from gptload.core.sticky import (
    HEAD_BYTES,
    NO_RESOURCES,
    UNTIL_DELETED_S,
    WITHIN_BYTES,
    Maker,
    Owner,
    Owners,
    Resources,
    made,
    makes,
    named,
    resource_name,
)
from gptload.provider import resources_of
from gptload_providers.anthropic import provider as anthropic
from gptload_providers.gemini import provider as gemini
from gptload_providers.openai import provider as openai
from gptload_providers.openai_response import provider as openai_response

NOW = 1_800_000_000.0
TABLES = {
    "openai": openai.resources,
    "anthropic": anthropic.resources,
    "gemini": gemini.resources,
}
GOOGLE = "https://generativelanguage.googleapis.com"


def names(channel: str, path: str, body: Any = b"", query: bytes = b"") -> list[str]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(named(TABLES[channel], path.encode(), query, text))


def answer(
    channel: str, call: str, body: Any, asked: bytes = b"", status: int = 200
) -> dict[str, float]:
    """What a call's answer makes: name → seconds of life."""
    method, path = call.split()
    maker = makes(TABLES[channel], method.encode(), path.encode(), asked)
    if maker is None:
        return {}
    text = body if isinstance(body, bytes) else json.dumps(body, indent=2).encode()
    return {name: until - NOW for name, until in made(maker, status, text, NOW)}


# What a request names.


@pytest.mark.parametrize(
    ("channel", "path", "body", "wanted"),
    [
        ("openai", "/v1/responses/resp_1", b"", ["resp_1"]),
        ("openai", "/v1/responses/resp_1/input_items", b"", ["resp_1"]),
        ("openai", "/files/file-1/content", b"", ["file-1"]),
        ("openai", "/v1/containers/cntr_1/files/cfile_2", b"", ["cfile_2", "cntr_1"]),
        ("openai", "/v1/threads/thread_1/runs/run_1", b"", ["thread_1"]),
        ("openai", "/v1/uploads/upload_1/parts", b"", ["upload_1"]),
        ("openai", "/v1/batches", {"input_file_id": "file-1"}, ["file-1"]),
        ("openai", "/v1/fine_tuning/jobs", {"training_file": "file-1"}, ["file-1"]),
        ("openai", "/v1/fine_tuning/jobs/ftjob-1/events", b"", ["ftjob-1"]),
        ("openai", "/v1/vector_stores", {"file_ids": ["file-1", "file-2"]}, ["file-1", "file-2"]),
        (
            "openai",
            "/v1/responses",
            {
                "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}],
                "input": [{"content": [{"type": "input_file", "file_id": "file-1"}]}],
                "previous_response_id": "resp_1",
            },
            ["resp_1", "file-1", "vs_1"],
        ),
        ("openai", "/v1/responses", {"conversation": "conv_1"}, ["conv_1"]),
        ("openai", "/v1/responses", {"conversation": {"id": "conv_1"}}, ["conv_1"]),
        ("openai", "/v1/responses", {"tools": [{"container": "cntr_1"}]}, ["cntr_1"]),
        ("openai", "/v1/responses", {"tools": [{"container": {"type": "auto"}}]}, []),
        ("openai", "/v1/chat/completions", {"model": "ft:gpt-4o:org::x", "messages": []}, []),
        ("openai", "/v1/audio/speech", {"voice": {"id": "voice_1"}}, ["voice_1"]),
        ("anthropic", "/v1/messages/batches/msgbatch_1/results", b"", ["msgbatch_1"]),
        (
            "anthropic",
            "/v1/messages",
            {
                "container": {"id": "container_1", "skills": [{"skill_id": "skill_1"}]},
                "messages": [{"content": [{"source": {"type": "file", "file_id": "file_1"}}]}],
            },
            ["container_1", "file_1", "skill_1"],
        ),
        ("anthropic", "/v1/sessions", {"agent": "agent_1", "vault_ids": ["v_1"]}, None),
        ("gemini", "/v1beta/files/abc:download", b"", ["abc"]),
        ("gemini", "/v1beta/files/abc%3Adownload", b"", ["abc"]),
        ("gemini", "/v1beta/models/veo-3/operations/op1", b"", ["op1"]),
        ("gemini", "/v1beta/batches/b1:cancel", b"", ["b1"]),
        ("gemini", "/v1beta/interactions", {"previous_interaction_id": "v1_x"}, ["v1_x"]),
        (
            "gemini",
            "/v1beta/models/gemini-3:generateContent",
            {
                "contents": [
                    {"parts": [{"fileData": {"fileUri": f"{GOOGLE}/v1beta/files/abc"}}]},
                    {"parts": [{"file_data": {"file_uri": "files/def"}}]},
                ],
                "cachedContent": "cachedContents/c1",
            },
            ["c1", "abc", "def"],
        ),
        (
            "gemini",
            "/v1beta/models/gemini-3:generateContent",
            b'{"fileData": {"fileUri": "https:\\/\\/host\\/v1beta\\/files\\/abc"}}',
            ["abc"],
        ),
    ],
)
def test_a_follow_up_names_its_resources_the_most_specific_first(
    channel: str, path: str, body: Any, wanted: list[str] | None
) -> None:
    assert names(channel, path, body) == (["agent_1", "v_1"] if wanted is None else wanted)


def test_a_page_of_a_list_is_its_cursors_key() -> None:
    assert names("openai", "/v1/files", query=b"limit=2&after=file-1") == ["file-1"]
    assert names("anthropic", "/v1/messages/batches", query=b"after_id=msgbatch_1") == [
        "msgbatch_1"
    ]


def test_text_that_looks_like_a_member_names_nothing() -> None:
    said = 'Use {"file_id": "file-1", "previous_response_id": "resp_1"}'
    body = {"model": "m", "messages": [{"role": "user", "content": said}]}
    assert names("openai", "/v1/chat/completions", body) == []


def test_a_name_that_is_not_in_json_names_nothing() -> None:
    assert names("openai", "/v1/files", b'--x\r\n\r\n{"file_id": "file-1"}') == []


def test_an_odd_or_long_id_goes_by_its_digest() -> None:
    for text in ("x" * 201, "ключ", "a b"):
        assert len(resource_name(text)) == 64
    assert resource_name("file-1") == "file-1"
    assert resource_name("") == resource_name("files/") == ""


@pytest.mark.parametrize(
    "part", [b'"file_ids":[', b'"file_id":', b'"file_id":"', b'"', b"\\", b" "]
)
def test_a_body_made_to_be_slow_is_not(part: bytes) -> None:
    """8 MiB of beginnings that never end: each must fail soon, and none twice."""
    body = b'{"a":' + part * (8 * 1024 * 1024 // len(part))
    began = time.perf_counter()
    named(TABLES["openai"], b"/v1/responses", b"", body)
    assert time.perf_counter() - began < 5.0


def test_a_channel_that_keeps_nothing_names_and_makes_nothing() -> None:
    body = b'{"file_id": "file-1"}'
    assert named(NO_RESOURCES, b"/v1/files/file-1", b"", body) == ()
    assert makes(NO_RESOURCES, b"POST", b"/v1/files") is None
    assert resources_of(object()) is NO_RESOURCES  # type: ignore[arg-type]
    assert resources_of(openai_response) is openai.resources


# What an answer makes.


@pytest.mark.parametrize(
    ("channel", "call", "body", "wanted"),
    [
        ("openai", "POST /v1/responses", {"id": "resp_1", "output": []}, {"resp_1": 30 * DAY_S}),
        ("openai", "POST /v1/files", {"object": "file", "id": "file-1"}, {"file-1": None}),
        ("openai", "POST /files", {"id": "file-1", "expires_at": NOW + 60}, {"file-1": 60.0}),
        ("openai", "POST /v1/files", {"id": "file-1", "expires_at": None}, {"file-1": None}),
        ("openai", "POST /v1/files", {"id": "file-1", "expires_at": 5}, {"file-1": None}),
        ("openai", "POST /v1/uploads", {"id": "upload_1"}, {"upload_1": HOUR_S}),
        (
            "openai",
            "POST /v1/uploads/upload_1/complete",
            {"id": "upload_1", "file": {"object": "file", "id": "file-1"}},
            {"file-1": None},
        ),
        (
            "openai",
            "POST /v1/batches",
            {"metadata": {"id": "mine"}, "errors": [{"id": "no"}], "id": "batch_1"},
            {"batch_1": None},
        ),
        (
            "openai",
            "GET /v1/batches/batch_1",
            {"id": "batch_1", "output_file_id": "file-o", "error_file_id": None},
            {"file-o": 30 * DAY_S},
        ),
        ("openai", "POST /v1/fine_tuning/jobs", {"id": "ftjob-1"}, {"ftjob-1": None}),
        (
            "openai",
            "GET /v1/fine_tuning/jobs/ftjob-1",
            {"result_files": ["file-r"]},
            {"file-r": 30 * DAY_S},
        ),
        ("openai", "POST /v1/vector_stores", {"id": "vs_1"}, {"vs_1": None}),
        ("openai", "POST /v1/containers", {"id": "cntr_1"}, {"cntr_1": DAY_S}),
        ("openai", "POST /v1/conversations", {"id": "conv_1"}, {"conv_1": None}),
        ("openai", "POST /v1/threads", {"id": "thread_1"}, {"thread_1": 60 * DAY_S}),
        (
            "openai",
            "POST /v1/threads/runs",
            {"id": "run_1", "thread_id": "thread_1"},
            {"thread_1": 60 * DAY_S},
        ),
        ("openai", "POST /v1/chat/completions", {"id": "chatcmpl-1"}, {}),
        ("openai", "GET /v1/files", {"id": "file-1"}, {}),
        ("openai", "DELETE /v1/files/file-1", {"id": "file-1"}, {}),
        (
            "anthropic",
            "POST /v1/messages/batches",
            {"id": "msgbatch_1", "expires_at": "2027-01-16T00:00:00Z"},
            {"msgbatch_1": 29 * DAY_S},
        ),
        ("anthropic", "POST /v1/files", {"id": "file_1"}, {"file_1": None}),
        ("anthropic", "POST /v1/messages", {"id": "msg_1"}, {}),
        (
            "gemini",
            "POST /upload/v1beta/files",
            {"file": {"displayName": "x", "name": "files/abc", "uri": f"{GOOGLE}/files/abc"}},
            {"abc": 2 * DAY_S},
        ),
        (
            "gemini",
            "POST /upload/v1beta/files",
            {"file": {"name": "files/abc", "expirationTime": "2027-01-15T09:00:00.123456789Z"}},
            {"abc": pytest.approx(HOUR_S, abs=1)},
        ),
        ("gemini", "POST /upload/v1beta/files", b"", {}),
        ("gemini", "POST /v1beta/cachedContents", {"name": "cachedContents/c"}, {"c": HOUR_S}),
        (
            "gemini",
            "PATCH /v1beta/cachedContents/c",
            {"name": "cachedContents/c", "expireTime": "2027-01-15T10:00:00+01:00"},
            {"c": HOUR_S},
        ),
        (
            "gemini",
            "POST /v1beta/models/gemini-3:batchGenerateContent",
            {"name": "batches/b1"},
            {"b1": 30 * DAY_S},
        ),
        (
            "gemini",
            "POST /v1beta/models/veo-3%3ApredictLongRunning",
            {"name": "models/veo-3/operations/op1"},
            {"op1": 2 * DAY_S},
        ),
        (
            "gemini",
            "GET /v1beta/models/veo-3/operations/op1",
            {"response": {"samples": [{"video": {"uri": f"{GOOGLE}/v1/files/v1:download"}}]}},
            {"v1": 2 * DAY_S},
        ),
        ("gemini", "POST /v1beta/interactions", {"id": "v1_x"}, {"v1_x": 55 * DAY_S}),
        ("gemini", "POST /v1beta/models/gemini-3:generateContent", {"name": "files/x"}, {}),
    ],
)
def test_what_a_call_makes_and_how_long_it_lives(
    channel: str, call: str, body: Any, wanted: dict[str, Any]
) -> None:
    lives = {name: UNTIL_DELETED_S if life is None else life for name, life in wanted.items()}
    assert answer(channel, call, body) == lives


def test_a_streams_first_event_tells_the_id() -> None:
    event = b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1"'
    assert answer("openai", "POST /v1/responses", event) == {"resp_1": 30 * DAY_S}
    event = b'data: {"event_type":"interaction.created","interaction":{"id":"v1_x"}}\n\n'
    assert answer("gemini", "POST /v1beta/interactions", event) == {"v1_x": 55 * DAY_S}


def test_what_is_not_to_be_stored_makes_nothing() -> None:
    path, asked = b"/v1/responses", b'{"model": "gpt-5", "store": false}'
    assert makes(TABLES["openai"], b"POST", path, asked) is None
    assert makes(TABLES["openai"], b"POST", path, b'{"store":true}') is not None


def test_a_chat_completion_is_kept_only_when_asked() -> None:
    call, body = "POST /v1/chat/completions", {"id": "chatcmpl-1"}
    assert answer("openai", call, body, b'{"store":true}') == {"chatcmpl-1": 30 * DAY_S}


def test_a_tools_container_is_found_late_in_the_answer() -> None:
    asked = b'{"tools": [{"type": "code_execution_20250825"}]}'
    body = {"id": "msg_1", "content": "x" * HEAD_BYTES, "container": {"id": "container_1"}}
    assert answer("anthropic", "POST /v1/messages", body, asked) == {"container_1": 30 * DAY_S}
    asked = b'{"store": false, "tools": [{"type": "code_interpreter"}]}'
    output = [{"container_id": "cntr_1"}]
    told = {"id": "resp_1", "output": output}
    assert answer("openai", "POST /v1/responses", told, asked) == {"cntr_1": DAY_S}


def test_only_such_an_answer_is_looked_at_for_long() -> None:
    plain = makes(TABLES["openai"], b"POST", b"/v1/responses")
    tool = makes(TABLES["openai"], b"POST", b"/v1/responses", b'"code_interpreter"')
    assert plain is not None and plain.look_bytes == HEAD_BYTES
    assert tool is not None and tool.look_bytes == WITHIN_BYTES


def test_an_error_makes_nothing() -> None:
    assert answer("openai", "POST /v1/files", {"id": "file-1"}, status=400) == {}


@given(cut=st.integers(0, 200))
def test_a_beginning_of_an_answer_never_tells_a_wrong_id(cut: int) -> None:
    body = json.dumps({"note": 'say "id": "bad"', "list": [{"id": "bad"}], "id": "file-1"})
    found = answer("openai", "POST /v1/files", body.encode()[:cut])
    assert set(found) <= {"file-1"}


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "name", "file", "response", "expires_at", "file_id", "store"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
ANY_BODY = st.binary(max_size=300) | ANY_JSON.map(lambda value: json.dumps(value).encode())


@given(
    resources=st.sampled_from(list(TABLES.values())),
    path=st.binary(max_size=60)
    | st.sampled_from([b"/v1/files", b"/v1/responses", b"/v1/batches/x"]),
    query=st.binary(max_size=40),
    asked=ANY_BODY,
    body=ANY_BODY,
)
def test_no_bytes_make_it_raise(
    resources: Resources, path: bytes, query: bytes, asked: bytes, body: bytes
) -> None:
    for name in named(resources, path, query, asked):
        assert 0 < len(name) <= 200 and name.isascii()
    for kind in resources.kinds:
        for name, until in made(Maker(kind, kind.within), 200, body, NOW):
            assert 0 < len(name) <= 200 and name.isascii()
            assert NOW < until <= NOW + UNTIL_DELETED_S
    makes(resources, b"POST", path, asked)


# Who owns it.


def test_an_owner_is_known_in_its_group_until_its_time() -> None:
    owners = Owners()
    owner = Owner(7, 1, NOW + 10)
    owners.note(1, "file-1", owner)
    assert owners.of(1, "file-1", NOW) == owner
    assert owners.of(2, "file-1", NOW) is None
    assert owners.of(1, "file-1", NOW + 10) is None
    assert len(owners) == 0


def test_the_last_word_about_an_owner_counts() -> None:
    owners = Owners()
    owners.note(1, "file-1", Owner(7, 0, NOW + 10))
    owners.note(1, "file-1", Owner(8, 0, NOW + 10))
    owners.forget_key(7)
    assert owners.of(1, "file-1", NOW) == Owner(8, 0, NOW + 10)


def test_with_a_key_goes_all_that_it_made() -> None:
    owners = Owners()
    for number in range(10):
        owners.note(1, f"file-{number}", Owner(number % 2, 0, NOW + 10))
    owners.forget_key(0)
    owners.forget_key(99)
    assert len(owners) == 5
    assert owners.of(1, "file-0", NOW) is None


def test_what_nobody_asks_for_goes_first() -> None:
    owners = Owners(limit=2)
    for name in ("a", "b"):
        owners.note(1, name, Owner(7, 0, NOW + 10))
    assert owners.of(1, "a", NOW) is not None
    owners.note(1, "c", Owner(7, 0, NOW + 10))
    assert len(owners) == 2
    assert owners.of(1, "b", NOW) is None
    assert owners.of(1, "a", NOW) is not None


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["note", "of", "forget"]),
            st.integers(0, 5),
            st.integers(0, 3),
            st.floats(0, 20),
        ),
        max_size=60,
    )
)
def test_owners_stay_bounded_and_never_answer_what_is_over(
    steps: list[tuple[str, int, int, float]],
) -> None:
    owners = Owners(limit=3)
    gone: set[int] = set()
    for step, name, key, time_ in steps:
        if step == "note":
            gone.discard(key)
            owners.note(1, str(name), Owner(key, 0, time_))
        elif step == "forget":
            gone.add(key)
            owners.forget_key(key)
        else:
            owner = owners.of(1, str(name), time_)
            assert owner is None or (owner.until > time_ and owner.key_id not in gone)
        assert len(owners) <= 3
