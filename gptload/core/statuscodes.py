"""`"429,500-599"` is a set of status codes.

Source: the reference's `failover_status_codes` grammar and its error texts.
"""

from __future__ import annotations

import re

LOWEST, HIGHEST = 100, 999
_NUMBER = re.compile(r"[0-9]{1,9}")


def parse(text: str) -> frozenset[int]:
    """Read a list of codes and ranges, separated by commas or newlines.

    Raises:
        ValueError: an entry is malformed or out of range; the text quotes it.
    """
    codes: set[int] = set()
    for entry in re.split(r"[,\n]", text):
        entry = entry.strip()
        if not entry:
            continue
        first, dash, last = (part.strip() for part in entry.partition("-"))
        if dash and "-" in last:
            raise ValueError(f'invalid status code range: "{entry}"')
        if not _NUMBER.fullmatch(first) or (dash and not _NUMBER.fullmatch(last)):
            where = "invalid status code in range" if dash else "invalid status code"
            raise ValueError(f'{where}: "{entry}"')
        low, high = int(first), int(last if dash else first)
        if low > high:
            raise ValueError(f'invalid status code range (start > end): "{entry}"')
        if low < LOWEST or high > HIGHEST:
            raise ValueError(f'status code out of allowed range (100-999): "{entry}"')
        codes.update(range(low, high + 1))
    return frozenset(codes)
