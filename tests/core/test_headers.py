"""Which fields pass, and what a group's rules do to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core import headers
from gptload.core.headers import (
    CREDENTIALS,
    HOP_BY_HOP,
    OutgoingRequest,
    Passing,
    apply_rules,
    learn,
)
from gptload.core.snapshot import HeaderRule


def name(text: bytes) -> headers.FieldName:
    known = learn(text)
    assert known is not None
    return known


@pytest.mark.parametrize("field", sorted(HOP_BY_HOP))
def test_hop_by_hop_fields_stop_here_on_both_sides(field: bytes) -> None:
    for spelled in (field, field.upper(), field.title()):
        assert not name(spelled).to_upstream and not name(spelled).to_client


@pytest.mark.parametrize("field", sorted(CREDENTIALS))
def test_no_client_credential_reaches_an_upstream(field: bytes) -> None:
    assert name(field.title()).credential and not name(field.title()).to_upstream


@pytest.mark.parametrize(
    "field",
    [
        b"Cookie",
        b"Origin",
        b"Referer",
        b"Forwarded",
        b"X-Forwarded-For",
        b"X-Real-IP",
        b"Via",
        b"CF-Connecting-IP",
        b"Sec-Fetch-Mode",
        b"OpenAI-Organization",
        b"OpenAI-Project",
        b"x-goog-user-project",
        b"anthropic-dangerous-direct-browser-access",
    ],
)
def test_what_tells_about_the_client_stays_here(field: bytes) -> None:
    assert not name(field).to_upstream


@pytest.mark.parametrize(
    "field", [b"Set-Cookie", b"openai-organization", b"anthropic-organization-id"]
)
def test_what_tells_about_the_account_stays_here(field: bytes) -> None:
    assert not name(field).to_client


@pytest.mark.parametrize(
    "field",
    [
        b"Content-Type",
        b"Accept",
        b"Accept-Encoding",
        b"Content-Encoding",
        b"User-Agent",
        b"anthropic-version",
        b"anthropic-beta",
        b"X-Title",
        b"x-stainless-lang",
        b"X-Goog-Upload-Command",
        b"x-goog-api-client",
        b"X-Server-Timeout",
        b"Idempotency-Key",
    ],
)
def test_what_the_provider_needs_passes(field: bytes) -> None:
    assert name(field).to_upstream


@pytest.mark.parametrize("field", [b"x-request-id", b"Retry-After", b"Content-Encoding", b"Link"])
def test_what_the_client_needs_passes(field: bytes) -> None:
    assert name(field).to_client


def test_the_control_plane_gets_what_it_needs_and_no_forged_address() -> None:
    assert name(b"Cookie").to_control and name(b"Authorization").to_control
    assert not name(b"X-Gptload-Client").to_control
    assert name(b"Set-Cookie").back_from_control


@pytest.mark.parametrize("text", [b"", b"a b", b"a:", b"\xc3\xa4", b"a\x00", b"(a)", b"a\t"])
def test_what_is_no_token_is_no_name(text: bytes) -> None:
    assert learn(text) is None


def test_names_from_outside_cant_fill_the_memory() -> None:
    for number in range(5000):
        learn(b"x-made-up-%d" % number)
    assert len(headers.KNOWN) <= 4096
    assert name(b"x-yet-another").to_upstream


# Requests that share what passes of a head that repeats.

FIELDS = [b"x-a: 1", b"X-B: 2", b"X-A: 3", b"Accept: */*", b"anthropic-beta: a", b"Host: h"]
STEPS = st.tuples(
    st.sampled_from(["set", "remove", "get", "fields"]),
    st.sampled_from([b"X-A", b"accept", b"Authorization", b"anthropic-beta", b"host"]),
)


@given(lines=st.lists(st.sampled_from(FIELDS), max_size=5), steps=st.lists(STEPS, max_size=6))
def test_a_request_made_of_a_shared_head_is_like_one_of_its_own(
    lines: list[bytes], steps: list[tuple[str, bytes]]
) -> None:
    fields: list[headers.Field] = []
    for line in lines:
        known = learn(line.partition(b":")[0])
        assert known is not None
        fields.append((known, line))
    passing = Passing(fields)
    own = OutgoingRequest(b"POST", b"/", list(passing.fields))
    shared = OutgoingRequest(b"POST", b"/", [], passing)
    for number, (step, name) in enumerate(steps):
        for request in (own, shared):
            if step == "set":
                request.set(name, b"%d" % number)
            elif step == "remove":
                request.remove(name)
        assert (own.block, own.host) == (shared.block, shared.host)
        if step == "get":
            assert own.get(name) == shared.get(name)
        elif step == "fields":
            assert own.fields == shared.fields
    assert OutgoingRequest(b"POST", b"/", [], passing).block == Passing(fields).block


# Rules.


def outgoing(*lines: bytes) -> OutgoingRequest:
    return OutgoingRequest(
        b"POST", b"/", [(line.partition(b":")[0].lower(), line) for line in lines]
    )


def rule(field: str, value: str | None) -> HeaderRule:
    return HeaderRule(field.lower().encode(), field.encode(), value)


VARIABLES = {
    "CLIENT_IP": lambda: "1.2.3.4",
    "GROUP_NAME": lambda: "${API_KEY}",
    "API_KEY": lambda: "sk-1",
}


def test_rules_run_in_their_order_over_all_fields_of_a_name() -> None:
    request = outgoing(b"x-a: 1", b"X-B: 2", b"X-A: 3")
    rules = [rule("X-A", "new"), rule("X-B", None), rule("X-C", ""), rule("X-A", "newer")]
    apply_rules(request, rules, VARIABLES)
    assert [line for _, line in request.fields] == [b"X-C: ", b"X-A: newer"]


NAMES = st.sampled_from(["X-A", "x-a", "X-B", "Authorization"])


@given(
    st.lists(st.tuples(NAMES, st.text("ab", max_size=2)), max_size=6),
    st.lists(st.tuples(NAMES, st.none() | st.text("ab", max_size=2)), max_size=6),
)
def test_the_last_rule_of_a_name_holds_and_other_fields_are_left_alone(
    fields: list[tuple[str, str]], rules: list[tuple[str, str | None]]
) -> None:
    request = outgoing(*(f"{field}: {value}".encode() for field, value in fields))
    apply_rules(request, [rule(field, value) for field, value in rules], VARIABLES)
    last = {field.lower(): (field, value) for field, value in rules}
    untouched = [f"{f}: {v}".encode() for f, v in fields if f.lower() not in last]
    lines = [line for _, line in request.fields]
    assert lines[: len(untouched)] == untouched
    put = [f"{f}: {v}".encode() for f, v in last.values() if v is not None]
    assert sorted(lines[len(untouched) :]) == sorted(put)


def test_variables_are_replaced_once_and_unknown_ones_stay() -> None:
    """A value that contains another variable must not expand by luck (D45)."""
    request = outgoing()
    apply_rules(request, [rule("X", "${CLIENT_IP} ${GROUP_NAME} ${NOPE}")], VARIABLES)
    assert request.get(b"x") == b"1.2.3.4 ${API_KEY} ${NOPE}"


def test_a_rule_for_host_takes_the_upstreams_place() -> None:
    request = outgoing()
    apply_rules(request, [rule("Host", "virtual.example")], VARIABLES)
    assert request.host == b"virtual.example" and request.fields == []
    apply_rules(request, [rule("Host", None)], VARIABLES)
    assert request.host == b""


@given(st.text(max_size=40))
def test_no_value_can_end_its_field(text: str) -> None:
    request = outgoing()
    apply_rules(request, [rule("X", "${V}")], {"V": lambda: text})
    ((_, line),) = request.fields
    assert not set(line) & set(b"\r\n\x00")


@pytest.mark.parametrize("field", ["Content-Length", "transfer-encoding", "Connection", "Expect"])
def test_no_rule_touches_the_framing(field: str) -> None:
    """Old data may hold such a rule; two lengths in one request are how requests are smuggled."""
    request = outgoing()
    apply_rules(request, [rule(field, "5"), rule(field, None)], VARIABLES)
    assert request.fields == []


def test_set_and_remove_know_no_case() -> None:
    request = outgoing(b"Authorization: old", b"X: 1")
    request.set(b"AUTHORIZATION", b"new")
    assert request.get(b"authorization") == b"new"
    request.remove(b"x")
    assert [line for _, line in request.fields] == [b"AUTHORIZATION: new"]
