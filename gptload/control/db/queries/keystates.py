"""Keys as pools and the ledger need them: all of them once, then only what changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import frozen
from sqlalchemy import Connection, bindparam, func, select, update

from gptload.control.db.tables import Instant, api_keys
from gptload.core.keypool import PoolKey
from gptload.core.keystate import State
from gptload.core.vault import Vault, VaultError

PAGE_ROWS = 10_000


@frozen
class Loaded:
    """One key, decrypted. A rest may be over already: there is no clock here."""

    group_id: int
    key: PoolKey
    reason: str
    changed_at: float | None


@frozen
class Page:
    """Keys by id.

    Attributes:
        unreadable: how many more there are that can't be decrypted.
        last_id: where the next page begins; None when this was the last one.
    """

    keys: tuple[Loaded, ...]
    unreadable: int
    last_id: int | None


@frozen
class Written:
    """One key's state in the database's words; `model_rests` are epoch seconds by model."""

    key_id: int
    status: str
    failure_count: int
    rest_until: float | None
    reason: str
    changed_at: float | None
    account: str
    model_rests: dict[str, float]


_KEYS = api_keys.c
_COLUMNS = (
    _KEYS.id,
    _KEYS.group_id,
    _KEYS.key_value,
    _KEYS.weight,
    _KEYS.status,
    _KEYS.failure_count,
    _KEYS.rest_until,
    _KEYS.reason,
    _KEYS.changed_at,
    _KEYS.account,
    _KEYS.model_rests,
)


def page(connection: Connection, vault: Vault, after_id: int) -> Page:
    """The next `PAGE_ROWS` keys after an id. Decrypts here, in the database's thread."""
    query = select(*_COLUMNS).where(_KEYS.id > after_id).order_by(_KEYS.id).limit(PAGE_ROWS)
    rows = connection.execute(query).all()
    loaded = _loaded(vault, rows)
    last_id = rows[-1][0] if len(rows) == PAGE_ROWS else None
    return Page(tuple(loaded), len(rows) - len(loaded), last_id)


def chosen(connection: Connection, vault: Vault, key_ids: Sequence[int]) -> list[Loaded]:
    """Those of these keys that can be decrypted; no more of them than fit a statement."""
    query = select(*_COLUMNS).where(_KEYS.id.in_(key_ids)).order_by(_KEYS.id)
    return _loaded(vault, connection.execute(query).all())


def _loaded(vault: Vault, rows: Iterable[Sequence[Any]]) -> list[Loaded]:
    loaded = []
    for key_id, group_id, sealed, weight, status, strikes, until, reason, changed_at, *more in rows:
        try:
            secret = vault.open(sealed)
        except VaultError:
            continue
        account, rests = more
        state = _state(status, until)
        rest = until if state is State.RESTING else None
        key = PoolKey(
            key_id, secret, max(1, weight), state, strikes, rest, dict(rests or {}), account
        )
        loaded.append(Loaded(group_id, key, reason, changed_at))
    return loaded


def _state(status: str, until: float | None) -> State:
    if status == "active":
        return State.ACTIVE if until is None else State.RESTING
    # A word we don't know is no reason to spend the key.
    return State.INVALID if status == "invalid" else State.DISABLED


def write(connection: Connection, states: Iterable[Written], now: float) -> list[int]:
    """Write the states.

    Returns:
        The ids that there is no row for.
    """
    statement = (
        update(api_keys)
        .where(api_keys.c.id == bindparam("of_id"))
        .values(
            status=bindparam("new_status"),
            failure_count=bindparam("new_failure_count"),
            rest_until=bindparam("new_rest_until"),
            reason=bindparam("new_reason"),
            # Of a healthy key nobody remembers since when.
            changed_at=func.coalesce(
                bindparam("new_changed_at", type_=Instant), api_keys.c.changed_at
            ),
            account=bindparam("new_account"),
            model_rests=bindparam("new_model_rests"),
            updated_at=now,
        )
    )
    missing = []
    for state in states:
        # One by one: of many at once no driver says which one met no row.
        changed = connection.execute(
            statement,
            {
                "of_id": state.key_id,
                "new_status": state.status,
                "new_failure_count": state.failure_count,
                "new_rest_until": state.rest_until,
                "new_reason": state.reason[:128],
                "new_changed_at": state.changed_at,
                "new_account": state.account,
                "new_model_rests": state.model_rests or None,
            },
        )
        if not changed.rowcount:
            missing.append(state.key_id)
    return missing
