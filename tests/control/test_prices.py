"""What tokens cost: the table's price of the day, and never 0 for want of one."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.control.prices import cost_of
from gptload.core.usage import Usage

AT = datetime(2026, 1, 15, 12, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1/chat/completions"
ANTHROPIC = "https://api.anthropic.com/v1/messages"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent"


def cost(usage: Usage, model: str, upstream: str = OPENAI, at: datetime = AT) -> int | None:
    return cost_of(usage, model, upstream, at.timestamp())


def test_each_kind_of_token_has_its_price() -> None:
    # $2.50 in, $1.25 from the cache and $10 out, for a million of each.
    assert cost(Usage(1000, 100), "gpt-4o") == 3_500_000
    assert cost(Usage(1000, 100, cached=400), "gpt-4o") == 3_000_000
    # $3 in, $0.30 read, $3.75 written, $6 written for an hour, $15 out.
    said = Usage(1300, 100, cached=200, cache_write=100)
    assert cost(said, "claude-sonnet-4-5", ANTHROPIC) == 3_000_000 + 60_000 + 375_000 + 1_500_000
    hour = Usage(1300, 100, cached=200, cache_write=100, cache_write_hour=100)
    assert cost(hour, "claude-sonnet-4-5", ANTHROPIC) == 3_000_000 + 60_000 + 600_000 + 1_500_000


def test_a_long_prompt_has_the_price_of_long_prompts() -> None:
    short = cost(Usage(100_000, 0), "gemini-2.5-pro", GOOGLE)
    long = cost(Usage(300_000, 0), "gemini-2.5-pro", GOOGLE)
    assert short is not None
    assert long is not None
    assert long > 3 * short


def test_the_price_is_of_the_day_of_the_call() -> None:
    o3 = [cost(Usage(1000, 0), "o3", at=datetime(2025, month, 1, tzinfo=UTC)) for month in (5, 8)]
    assert o3 == [10_000_000, 2_000_000]


@pytest.mark.parametrize(
    ("usage", "model", "upstream"),
    [
        (Usage(9, 9), "my-own-model", OPENAI),
        (Usage(9, 9), "my-own-model", "http://10.0.0.7:8000/v1/chat/completions"),
        (Usage(9, 9), "", OPENAI),
        # The table names it, and no price of it.
        (Usage(9, 9), "deepseek/deepseek-chat:free", "https://openrouter.ai/api/v1"),
        (Usage(9, 9), "whisper-1", OPENAI),  # by the minute
        (Usage(9, 9), "text-embedding-3-small", OPENAI),  # nothing comes out of it
        (Usage(10, 5, cached=20), "gpt-4o", OPENAI),  # can't be
    ],
)
def test_without_a_price_the_cost_is_unknown(usage: Usage, model: str, upstream: str) -> None:
    assert cost(usage, model, upstream) is None


def test_a_gateway_has_the_makers_price() -> None:
    gateway = "https://relay.example/v1/chat/completions"
    assert cost(Usage(1000, 100), "gpt-4o", gateway) == cost(Usage(1000, 100), "gpt-4o")


counts = st.integers(0, 400_000)


@given(
    st.sampled_from([("gpt-4o", OPENAI), ("claude-sonnet-4-5", ANTHROPIC), ("o3", OPENAI)]),
    counts,
    counts,
    counts,
    counts,
)
def test_our_arithmetic_is_the_packages(
    place: tuple[str, str], fresh: int, cached: int, write: int, out: int
) -> None:
    model, upstream = place
    put_in = fresh + cached + write
    whole = genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=put_in,
            output_tokens=out,
            cache_read_tokens=cached,
            cache_write_tokens=write,
        ),
        model,
        provider_api_url=upstream,
        genai_request_timestamp=AT,
    ).total_price
    found = cost(Usage(put_in, out, cached=cached, cache_write=write), model, upstream)
    assert found is not None
    assert abs(Decimal(found) - whole * 10**9) <= 1


def test_names_that_clients_make_up_are_not_kept() -> None:
    before = threading.active_count()
    for number in range(100):
        cost(Usage(1, 1), f"made-up-{number}-{time.monotonic()}")
    table = genai_prices.data_snapshot.get_snapshot()
    assert not any("made-up" in str(key) for key in table._lookup_cache)
    assert not any("made-up" in str(key) for key in table._provider_misses)
    assert threading.active_count() == before
