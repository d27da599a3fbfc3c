"""An error is read the same, in whichever shape it comes."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.errorbody import LIMIT_BYTES, NO_QUOTA, ErrorBody, read_error
from gptload.core.outcome import Kind


def read(body: Any, **fields: str) -> ErrorBody:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_error(
        {name.replace("_", "-").encode(): v.encode() for name, v in fields.items()}, raw
    )


PLAIN = {"error": {"message": "Bad Key", "type": "auth", "code": "bad_key"}}


@pytest.mark.parametrize(
    "body",
    [
        PLAIN,
        [PLAIN],
        [None, PLAIN],
        PLAIN["error"],
        {"object": "error", **PLAIN["error"]},
        {"error": "Bad Key", "code": "bad_key", "type": "auth"},
        {"response": PLAIN},
        {"errors": [PLAIN["error"]]},
        {"detail": PLAIN["error"]},
        {"error": {"message": json.dumps(PLAIN), "type": "upstream_error", "code": 500}},
        {"error": None, **PLAIN["error"]},
        b"\n\n  " + json.dumps(PLAIN).encode(),  # DeepSeek, while it is busy
        b"\xef\xbb\xbf" + json.dumps(PLAIN).encode(),
    ],
)
def test_the_same_error_in_another_wrapping_reads_the_same(body: Any) -> None:
    error = read(body)
    assert error.kind is Kind.JSON
    assert (error.text, error.message) == ("Bad Key", "bad key")
    assert error.codes == {"bad_key", "auth"}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"base_resp": {"status_code": 1008, "status_msg": "no balance"}}, "no balance"),
        ({"error_msg": "No permission", "error_code": 6}, "No permission"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required"),
        ({"errors": ["no"]}, "no"),
        ({"message": "plain"}, "plain"),
        ({"weird": 1}, '{"weird": 1}'),
        ({"error": {"message": None, "code": 5}}, '{"error": {"message": null, "code": 5}}'),
        ([], "[]"),
        ({}, "{}")
    ]
)  # fmt: skip
def test_the_message_is_found_or_is_the_whole_body(body: Any, text: str) -> None:
    error = read(body)
    assert error.kind is Kind.JSON
    assert error.text == text


def test_googles_details_are_read() -> None:
    error = read(
        {
            "error": {
                "code": 429,
                "message": "Quota",
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {"reason": "RATE_LIMIT_EXCEEDED", "metadata": {"quota_limit": "PerMinuteX"}},
                    {"violations": [{"quotaId": "PerDayY", "quotaValue": "50"}]},
                    {"retryDelay": "34s"},
                    {"metadata": {"quotaResetDelay": "1h2m3.5s"}},
                    {"metadata": {"quotaResetTimeStamp": "2026-01-01T00:00:00Z"}},
                ]
            }
        }
    )  # fmt: skip
    assert error.codes == {"429", "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"}
    assert error.status == 429
    assert error.quotas == ("PerDayY", "PerMinuteX")
    assert error.delays == ("34s", "1h2m3.5s", "2026-01-01T00:00:00Z")


def test_anthropics_details_are_read() -> None:
    details = {"error_code": "enforced_spend_limit_reached"}
    error = read({"type": "error", "error": {"type": "rate_limit_error", "details": details}})
    assert error.codes == {"rate_limit_error", "enforced_spend_limit_reached"}


@pytest.mark.parametrize(
    ("values", "is_zero"), [(["0", "0"], True), (["0", "5"], False), ([], False)]
)
def test_a_quota_is_zero_only_if_all_violated_ones_are(values: list[str], is_zero: bool) -> None:
    violations = [{"quotaId": "x", "quotaValue": value} for value in values]
    error = read({"error": {"message": "q", "details": [{"violations": violations}]}})
    assert (NO_QUOTA in error.codes) is is_zero


def test_quoted_fields_and_resets_are_read() -> None:
    body = {"message": "x", "metadata": {"headers": {"X-RateLimit-Reset": "1764633600000"}}}
    assert read({"error": body}).delays == ("1764633600000",)
    body = {"type": "usage_limit_reached", "resets_at": 1764633600, "resets_in_seconds": 12.5}
    assert read({"error": body}).resets == ("1764633600", "12.5")


@pytest.mark.parametrize(
    ("code", "status"),
    [(429, 429), ("503", 503), (200, None), (4290, None), (True, None), ("x", None)],
)
def test_a_status_inside_is_one_from_400_to_599(code: object, status: int | None) -> None:
    assert read({"error": {"code": code, "message": "x"}}).status == status


@pytest.mark.parametrize(
    ("body", "fields", "kind"),
    [
        (b"", {}, Kind.EMPTY),
        (b" \r\n", {}, Kind.EMPTY),
        (b"<!DOCTYPE html><html>", {}, Kind.HTML),
        (b"Access denied", {"content_type": "text/html; charset=utf-8"}, Kind.HTML),
        (b'{"message":"x"}', {"content_type": "text/html"}, Kind.JSON),
        (b"Unauthorized", {}, Kind.TEXT),
        (b'"Invalid token"', {}, Kind.TEXT),
        (b"12", {}, Kind.TEXT),
        (b'{"error": {"message": "cut in the mid', {}, Kind.JSON),
        (b"\x1b\x00", {"content_encoding": "br"}, Kind.UNREADABLE),
        (b"\x28\xb5\x2f\xfd", {"content_encoding": "zstd"}, Kind.UNREADABLE),
        (b"\x1b\x00", {"content_encoding": "br", "content_type": "text/html"}, Kind.HTML),
        (b"not gzip", {"content_encoding": "gzip"}, Kind.UNREADABLE),
    ],
)
def test_the_kind_of_a_body_is_told(body: bytes, fields: dict[str, str], kind: Kind) -> None:
    assert read(body, **fields).kind is kind


RAW = json.dumps(PLAIN).encode()


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (RAW, "identity"),
        (gzip.compress(RAW), "gzip"),
        (gzip.compress(RAW), "X-GZIP"),
        (zlib.compress(RAW), "deflate"),
        (zlib.compress(RAW)[2:-4], "deflate"),  # as some servers send it: without its wrapping
        (gzip.compress(zlib.compress(RAW)), "deflate, gzip"),
    ],
)
def test_compressed_bodies_are_read(body: bytes, coding: str) -> None:
    assert read(body, content_encoding=coding).codes == {"bad_key", "auth"}


def test_a_compressed_body_that_was_cut_is_read_as_far_as_it_goes() -> None:
    noise = "".join(chr(33 + (i * 7919) % 90) for i in range(200_000))
    packed = gzip.compress(json.dumps({"error": {"message": "api key revoked " + noise}}).encode())
    assert "api key revoked" in read(packed[:LIMIT_BYTES], content_encoding="gzip").message


def test_a_small_body_that_unpacks_to_gigabytes_stays_small() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    bomb = b"".join(packer.compress(b"a" * 1_000_000) for _ in range(50)) + packer.flush()
    assert len(read(bomb, content_encoding="gzip").text) == LIMIT_BYTES


def test_bytes_that_are_not_utf8_are_read() -> None:
    body = b'{"error": {"message": "\xd3\xe0\xb6\xee", "code": "Arrearage"}}'
    assert read(body).codes == {"Arrearage"}


NAMES = st.sampled_from(
    ("error", "message", "code", "type", "status", "details", "detail", "errors", "metadata")
    + ("headers", "reason", "violations", "quotaId", "response", "base_resp", "resets_at")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=25,
)


@given(JSON)
def test_no_json_makes_it_raise(body: Any) -> None:
    read(body)


@given(
    st.binary(max_size=200), st.sampled_from(["", "gzip", "deflate", "br", "gzip, deflate", ","])
)
def test_no_bytes_make_it_raise(body: bytes, coding: str) -> None:
    read(body, content_encoding=coding)


def test_json_of_any_depth_is_read() -> None:
    assert read(b"[" * 60_000).kind is Kind.JSON
    assert read(b'{"error":' * 2_000).kind is Kind.JSON
