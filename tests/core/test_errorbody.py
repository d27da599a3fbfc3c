"""An error is read the same, in whichever shape it comes."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Callable
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.errorbody import LIMIT_BYTES, NO_QUOTA, TOO_LARGE, ErrorBody, read_error
from gptload.core.outcome import Kind


def read(body: Any, **fields: str) -> ErrorBody:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_error(
        {name.replace("_", "-").encode(): v.encode() for name, v in fields.items()}, raw
    )


PLAIN = {"error": {"message": "Bad Key", "type": "auth", "code": "bad_key"}}
RAW = json.dumps(PLAIN).encode()


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


def test_what_openrouter_tells_about_a_limit_is_read() -> None:
    about = {
        "limit_source": "openrouter_key_limit",
        "raw": "x is Temporarily rate-limited upstream",
    }
    error = read({"error": {"code": 429, "message": "Provider returned error", "metadata": about}})
    assert error.codes == {"429", "openrouter_key_limit"}
    assert error.text == "Provider returned error"
    assert error.message == "provider returned error x is temporarily rate-limited upstream"


def test_whom_google_counts_the_call_for_is_read() -> None:
    details = [{"reason": "RATE_LIMIT_EXCEEDED", "metadata": {"consumer": "projects/42"}}]
    assert read({"error": {"message": "x", "details": details}}).consumer == "projects/42"


@pytest.mark.parametrize(
    ("message", "is_too_large"),
    [
        ("on tokens per min (TPM): Limit 30000, Requested 41000.", True),
        ("Limit: 30,000 / Requested: 41,000", True),
        ("Limit 30000, Used 29000, Requested 2000", False),
        ("limit 0, requested 5", False),
        ("limit reached, requested 5", False),
        ("Limit " + "9" * 5000 + ", Requested 5", False),
    ],
)
def test_a_request_is_too_large_when_it_asks_for_more_than_the_limit(
    message: str, is_too_large: bool
) -> None:
    assert (TOO_LARGE in read({"error": {"message": message}}).codes) is is_too_large


def test_the_body_is_kept_as_json_and_as_text_for_operators_rules() -> None:
    error = read([PLAIN])
    assert error.document == PLAIN
    assert error.plain == json.dumps([PLAIN])
    assert len(read(b"x" * 9000).plain) == 4096


@pytest.mark.parametrize("name", ["status", "status_code", "raw_status_code"])
def test_a_status_inside_may_have_other_names(name: str) -> None:
    assert read({"error": {"code": "1300", name: 429, "message": "x"}}).status == 429


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
        (b"no brotli at all", {"content_encoding": "br"}, Kind.UNREADABLE),
        (brotli.compress(RAW)[:8], {"content_encoding": "br"}, Kind.UNREADABLE),
        (brotli.compress(b""), {"content_encoding": "br"}, Kind.EMPTY),
        (b"no frame at all", {"content_encoding": "zstd"}, Kind.UNREADABLE),
        (zstandard.compress(b""), {"content_encoding": "zstd"}, Kind.EMPTY),
        (b"packed", {"content_encoding": "compress"}, Kind.UNREADABLE),
    ],
)
def test_the_kind_of_a_body_is_told(body: bytes, fields: dict[str, str], kind: Kind) -> None:
    assert read(body, **fields).kind is kind


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (RAW, "identity"),
        (gzip.compress(RAW, mtime=0), "gzip"),
        (gzip.compress(RAW, mtime=0), "X-GZIP"),
        (zlib.compress(RAW), "deflate"),
        (zlib.compress(RAW)[2:-4], "deflate"),  # as some servers send it: without its wrapping
        (gzip.compress(zlib.compress(RAW), mtime=0), "deflate, gzip"),
        (brotli.compress(RAW), "br"),
        (brotli.compress(RAW, quality=0), "BR"),
        (zstandard.compress(RAW), "zstd"),
        (zstandard.ZstdCompressor(level=19, write_content_size=False).compress(RAW), "zstd"),
        (zstandard.compress(RAW[:9]) + zstandard.compress(RAW[9:]), "zstd"),  # two frames
        (brotli.compress(zstandard.compress(RAW)), "zstd, br"),
    ],
)
def test_compressed_bodies_are_read(body: bytes, coding: str) -> None:
    assert read(body, content_encoding=coding).codes == {"bad_key", "auth"}


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": lambda plain: brotli.compress(plain, quality=4),
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("coding", PACKERS)
def test_a_compressed_body_that_was_cut_is_read_as_far_as_it_goes(coding: str) -> None:
    noise = "".join(random.Random(4).choices("0123456789", k=300_000))
    packed = PACKERS[coding](
        json.dumps({"error": {"message": "api key revoked " + noise}}).encode()
    )
    assert len(packed) > LIMIT_BYTES
    cut = read(packed[:LIMIT_BYTES], content_encoding=coding)
    assert "api key revoked" in cut.message


@pytest.mark.parametrize("coding", PACKERS)
def test_a_small_body_that_unpacks_to_gigabytes_stays_small(coding: str) -> None:
    bomb = PACKERS[coding](b"a" * 50_000_000)
    assert len(bomb) < LIMIT_BYTES
    assert len(read(bomb, content_encoding=coding).text) == LIMIT_BYTES


def test_zstd_gets_no_more_memory_than_a_content_coding_may_ask_for() -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=25, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    body = stream.compress(RAW * 10) + stream.flush()
    assert read(body, content_encoding="zstd").kind is Kind.UNREADABLE


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
    st.binary(max_size=200),
    st.sampled_from(["", "gzip", "deflate", "br", "zstd", "gzip, deflate", "zstd, br", ","]),
)
def test_no_bytes_make_it_raise(body: bytes, coding: str) -> None:
    read(body, content_encoding=coding)


def test_json_of_any_depth_is_read() -> None:
    assert read(b"[" * 60_000).kind is Kind.JSON
    assert read(b'{"error":' * 2_000).kind is Kind.JSON
