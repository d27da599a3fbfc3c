"""A variable of the static configuration, as it may be shown."""

from __future__ import annotations

from attrs import frozen


@frozen
class Variable:
    """A variable as people may see it.

    Attributes:
        value: what holds, without passwords; of a secret its end, where it is long enough
            for that to say little; empty for none.
        origin: `environment`, `.env` or `default`.
    """

    name: str
    value: str
    origin: str
    is_secret: bool = False
