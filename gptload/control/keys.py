"""What a person does to keys. A change is in force when the call returns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from gptload.control.db.database import Database
from gptload.control.db.queries import keys as queries
from gptload.control.db.queries import timeline
from gptload.control.db.queries.groups import must_exist
from gptload.control.db.queries.keys import KeyRow
from gptload.control.ledger import TURN_KEYS, Ledger
from gptload.control.waiting import at_most, whole
from gptload.core.errors import ValidationFailed
from gptload.core.keystate import State
from gptload.core.vault import Vault

FRESH_S = 2.0
# One transaction; others who want to write wait for no longer than that.
SLICE_KEYS = 5000
HEAVIEST: Final = 1_000_000

Drain = Callable[[], Coroutine[Any, Any, None]]


@frozen
class Done:
    """What a command did to some keys.

    Attributes:
        count: keys that it changed.
        total: keys that the group has now.
    """

    count: int
    total: int


class KeyCommands:
    """Keys of groups, from the database to every pool."""

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        vault: Vault,
        ledger: Ledger,
        drain: Drain,
    ) -> None:
        """
        Args:
            drain: moves the request logs that wait in the journal to the database.
        """
        self._clock = clock
        self._database = database
        self._vault = vault
        self._ledger = ledger
        self._drain = drain

    async def page(
        self, group_id: int, *, status: str, value: str, offset: int, limit: int
    ) -> tuple[list[KeyRow], int]:
        """Keys of a group, the last used first, and how many there are.

        Args:
            status: empty for any.
            value: a whole key; empty for any.

        Raises:
            NotFound: there is no such group.
        """
        await at_most(self._clock, FRESH_S, self._drain())
        await at_most(self._clock, FRESH_S, self._ledger.flush())
        return await self._database.read(
            queries.page,
            self._vault,
            group_id,
            status=status,
            value=value,
            offset=offset,
            limit=limit,
        )

    async def must_exist(self, group_id: int) -> None:
        """
        Raises:
            NotFound: there is no such group.
        """
        await self._database.read(must_exist, group_id)

    @whole
    async def add(self, group_id: int, keys: Sequence[str]) -> Done:
        """Add what the group doesn't have yet, and let it serve.

        Raises:
            NotFound: there is no such group.
        """
        secrets = [key.encode() for key in keys]
        added = total = 0
        for start in range(0, len(secrets), SLICE_KEYS):
            piece = secrets[start : start + SLICE_KEYS]
            now = self._clock.seconds()
            fresh, total = await self._database.write(
                queries.add, self._vault, group_id, piece, now
            )
            added += len(fresh)
            for turn in range(0, len(fresh), TURN_KEYS):
                self._ledger.keys_added(group_id, fresh[turn : turn + TURN_KEYS])
        return Done(added, total)

    async def find(self, group_id: int, keys: Sequence[str]) -> dict[str, int]:
        """Ids of those keys that the group has.

        Raises:
            NotFound: there is no such group.
        """
        secrets = [key.encode() for key in keys]
        found = await self._database.read(queries.find, self._vault, group_id, secrets)
        return {secret.decode(): key_id for secret, key_id in found.items()}

    @whole
    async def remove(self, group_id: int, keys: Sequence[str]) -> Done:
        """Delete these keys: they are never used again.

        Raises:
            NotFound: there is no such group.
        """
        found = await self.find(group_id, keys)
        count = await self._remove(group_id, list(found.values()))
        return Done(count, await self._database.read(queries.count, group_id))

    @whole
    async def remove_all(self, group_id: int, *, only_invalid: bool) -> int:
        """Delete a group's keys, or those that are invalid; how many there were.

        Raises:
            NotFound: there is no such group.
        """
        gone = 0
        status = "invalid" if only_invalid else ""
        async for key_ids in self._slices(group_id, status):
            await self._ledger.flush()  # one may have recovered meanwhile
            gone += await self._remove(group_id, key_ids, status)
        return gone

    async def _remove(self, group_id: int, key_ids: Sequence[int], status: str = "") -> int:
        # So that the log rows of their last requests still find their key.
        await at_most(self._clock, FRESH_S, self._drain())
        gone = await self._database.write(queries.remove, group_id, key_ids, status)
        self._ledger.keys_removed(group_id, gone)
        return len(gone)

    @whole
    async def restore(self, group_id: int, keys: Sequence[str]) -> Done:
        """Make these keys good again, if they are invalid, rest, or have strikes.

        Raises:
            NotFound: there is no such group.
        """
        found = await self.find(group_id, keys)
        tired = [key for key in found.values() if self._is_tired(key)]
        await self._restore(group_id, tired)
        return Done(len(tired), await self._database.read(queries.count, group_id))

    @whole
    async def restore_invalid(self, group_id: int) -> int:
        """Make all invalid keys of a group good again; how many there were.

        Raises:
            NotFound: there is no such group.
        """
        restored = 0
        async for key_ids in self._slices(group_id, "invalid"):
            invalid = [key for key in key_ids if self._ledger.view(key).state is State.INVALID]
            await self._restore(group_id, invalid)
            restored += len(invalid)
        return restored

    async def _restore(self, group_id: int, key_ids: Sequence[int]) -> None:
        for turn in range(0, len(key_ids), TURN_KEYS):
            self._ledger.restored(group_id, key_ids[turn : turn + TURN_KEYS])
            await deferLater(self._clock, 0)
        await self._ledger.flush()

    def _is_tired(self, key_id: int) -> bool:
        holds = self._ledger.view(key_id)
        if holds.state is State.ACTIVE:
            return bool(holds.strikes or holds.rests)
        return holds.state is not State.DISABLED

    async def _slices(self, group_id: int, status: str) -> AsyncIterator[list[int]]:
        """Ids of a group's keys, so many at a time that others get their turn."""
        await self._ledger.flush()
        after = 0
        while True:
            key_ids = await self._database.read(
                queries.ids_after, group_id, after, SLICE_KEYS, status
            )
            if key_ids:
                yield key_ids
            if len(key_ids) < SLICE_KEYS:
                return
            after = key_ids[-1]

    @whole
    async def write_notes(self, key_id: int, notes: str) -> None:
        """
        Raises:
            NotFound, ValidationFailed: there is no such key; they are too long.
        """
        text = notes.strip()
        if len(text) > 255:
            raise ValidationFailed("notes length must be <= 255 characters")
        await self._database.write(queries.write_notes, key_id, text, self._clock.seconds())

    @whole
    async def write_weight(self, key_id: int, weight: int) -> None:
        """Give a key another share of its group's requests.

        Raises:
            NotFound, ValidationFailed: there is no such key; it is no weight.
        """
        if not 1 <= weight <= HEAVIEST:
            raise ValidationFailed(
                f"weight must be between 1 and {HEAVIEST}, got {weight}",
                hint="A key that must not serve is to be deleted.",
            )
        group_id, secret = await self._database.write(
            queries.write_weight, self._vault, key_id, weight, self._clock.seconds()
        )
        if secret is not None:
            self._ledger.key_weighed(group_id, key_id, secret, weight)

    async def timeline(
        self, key_id: int, *, offset: int, limit: int
    ) -> tuple[list[dict[str, Any]], int]:
        """What happened to a key, the newest first, and how many lines there are.

        Raises:
            NotFound: there is no such key.
        """
        await at_most(self._clock, FRESH_S, self._ledger.flush())
        return await self._database.read(timeline.page, key_id, offset=offset, limit=limit)
