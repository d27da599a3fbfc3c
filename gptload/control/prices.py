"""What tokens cost, by the price table that `genai-prices` ships.

The rule of this file: a price that isn't known is None, never 0. The table is the
package's own, of the day of its release; nothing is fetched, and no thread is started.
Costs are whole nano-dollars (10⁻⁹ US$): a token of the cheapest model costs some ten of
them, and a sum of them is exact in every database.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any, Final

import genai_prices
from genai_prices.data_snapshot import get_snapshot

from gptload.core.usage import Usage

_NANO: Final = Decimal(10**9)
# Prices that depend on the time of day change at a half or a full hour.
_STEADY_S: Final = 900
_MOST: Final = 2**53 - 1  # what JSON's readers can hold


def cost_of(usage: Usage, model: str, upstream: str, at: float) -> int | None:
    """What it cost, in nano-dollars; None where no price is known.

    It is the list price. A host that the table doesn't know may be somebody's gateway:
    there a model that its maker's name gives away has its maker's price.

    Args:
        model: as the upstream was asked for it.
        upstream: the URL that was called.
        at: epoch seconds of the call: prices change.
    """
    quarter = int(min(max(at, 0.0), 2.0**32) // _STEADY_S) * _STEADY_S
    price = _price(model, "/".join(upstream.split("/", 3)[:3]), quarter)
    if price is None:
        return None
    cost = _by_table(price, usage)
    if cost is None:
        cost = _by_package(price, usage)
    if cost is None:
        return None
    return min(int((cost * _NANO).to_integral_value(ROUND_HALF_EVEN)), _MOST)


# What clients ask for is their own text, so the package's look-ups, which remember every
# name for ever, are passed by.


@lru_cache(4096)
def _price(model: str, origin: str, at: int) -> Any | None:
    """The prices of a model's tokens at a time; None if it has none."""
    table = get_snapshot()
    name = model.lower()
    provider = _provider_at(origin)
    if provider is None:
        provider = next((one for one in table.providers if _makes(one, name)), None)
    found = None if provider is None else provider.find_model(name, all_providers=table.providers)
    return None if found is None else found.get_prices(datetime.fromtimestamp(at, UTC))


def _makes(provider: Any, model: str) -> bool:
    return provider.model_match is not None and provider.model_match.is_match(model)


@lru_cache(256)
def _provider_at(origin: str) -> Any | None:
    url = f"{origin}/"
    return next((one for one in get_snapshot().providers if re.match(one.api_pattern, url)), None)


def _by_table(price: Any, usage: Usage) -> Decimal | None:
    """The cost where each kind of token has one price; None where it isn't as simple.

    # Hot: once a record. The package's own arithmetic costs 50 µs, this one 3.
    """
    if usage.audio or usage.cache_write_hour:
        return None
    put_in, cached, write = usage.input or 0, usage.cached or 0, usage.cache_write or 0
    fresh = put_in - cached - write
    if fresh < 0:
        return None
    whole = Decimal(0)
    for count, name in (
        (fresh, "input_mtok"),
        (cached, "cache_read_mtok"),
        (write, "cache_write_mtok"),
        (usage.output or 0, "output_mtok"),
    ):
        if count:
            rate = getattr(price, name, None)
            if not isinstance(rate, Decimal):
                return None
            whole += count * rate
    return whole / 1_000_000


def _by_package(price: Any, usage: Usage) -> Decimal | None:
    if (usage.input and not _has(price, "input_mtok")) or (
        usage.output and not _has(price, "output_mtok")
    ):
        return None  # the package would count such tokens as free
    try:
        counted = genai_prices.Usage(
            input_tokens=usage.input,
            output_tokens=usage.output,
            cache_read_tokens=usage.cached,
            cache_write_tokens=usage.cache_write,
            cache_write_1h_tokens=usage.cache_write_hour,
            input_audio_tokens=usage.audio_input,
            output_audio_tokens=usage.audio_output,
        )
        total: Decimal = price.calc_price(counted)["total_price"]
    except ValueError:  # more read from a cache than was put in
        return None
    return total


def _has(price: Any, name: str) -> bool:
    return getattr(price, name, None) is not None
