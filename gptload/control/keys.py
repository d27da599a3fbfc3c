"""What a person does to keys. A change is in force when the call returns."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar

from attrs import evolve, frozen
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from gptload.control.db.database import Database
from gptload.control.db.queries import keys as queries
from gptload.control.db.queries import timeline
from gptload.control.db.queries.groups import must_exist, one
from gptload.control.db.queries.keys import Batch, KeyFilter, KeyRow
from gptload.control.ledger import Ledger
from gptload.control.waiting import at_most, whole
from gptload.core import keytext
from gptload.core.errors import ValidationFailed
from gptload.core.keykinds import kind_of
from gptload.core.keypool import PoolKey
from gptload.core.keystate import Event, State
from gptload.core.vault import Vault

FRESH_S = 2.0
# One transaction; others who want to write wait for no longer than that.
SLICE_KEYS = 5000
# A page that is decrypted in one go, and one reactor turn's news for the pools.
PAGE_KEYS: Final = 1000
TOLD_KEYS: Final = 250
# So many keys may look alike; more are no answer to the question which one it is.
MASKED: Final = 500
# A group's reasons that a list may be narrowed to.
REASONS: Final = 50
UNDO_S: Final = 600.0
HEAVIEST: Final = 1_000_000

T = TypeVar("T")

Drain = Callable[[], Coroutine[Any, Any, None]]


@frozen
class Undo:
    """How to take a deletion back: `give_back(batch)` until then, in epoch seconds."""

    batch: str
    until: float


@frozen
class Done:
    """What a command did to some keys.

    Attributes:
        count: keys that it changed.
        total: keys that the group has now.
        undo: of a deletion; None if it met no key.
    """

    count: int
    total: int
    undo: Undo | None = None


class KeyCommands:
    """Keys of groups, from the database to every pool."""

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        vault: Vault,
        ledger: Ledger,
        drain: Drain,
        exhausted: frozenset[str] = frozenset(),
    ) -> None:
        """
        Args:
            drain: moves the request logs that wait in the journal to the database.
            exhausted: reasons that say that a key is used up.
        """
        self._clock = clock
        self._database = database
        self._vault = vault
        self._ledger = ledger
        self._drain = drain
        self._exhausted = exhausted
        # What the database learns first the pools learn first: a key that was added
        # and deleted must not come back because the news of the former took longer.
        self._order = DeferredLock()

    async def page(
        self,
        group_id: int,
        wanted: KeyFilter,
        mask: str = "",
        *,
        offset: int,
        limit: int,
        sort: str = "-used",
    ) -> tuple[list[KeyRow], int]:
        """Keys of a group, and how many there are.

        Args:
            mask: what a person sees of a key, see `gptload.core.keytext.ends`; empty
                for any.
            sort: one of `queries.SORTS`, also with a `-` before it.

        Raises:
            NotFound, ValidationFailed: there is no such group; the mask fits too many.
        """
        await at_most(self._clock, FRESH_S, self._drain())
        await at_most(self._clock, FRESH_S, self._ledger.flush())
        if mask:
            wanted = evolve(wanted, ids=await self._masked(group_id, wanted, mask))
        return await self._database.read(
            queries.page,
            self._vault,
            group_id,
            self._told(wanted),
            now=self._clock.seconds(),
            offset=offset,
            limit=limit,
            sort=sort,
        )

    def _told(self, wanted: KeyFilter) -> KeyFilter:
        return evolve(wanted, exhausted=self._exhausted) if wanted.kind else wanted

    def kind(self, key: KeyRow) -> str:
        """How a key does, in one of the six words of `gptload.core.keykinds`."""
        return kind_of(
            key.status,
            key.failure_count,
            key.rest_until,
            key.changed_at,
            key.reason,
            key.model_rests,
            now=self._clock.seconds(),
            exhausted=self._exhausted,
        )

    async def facets(self, group_id: int) -> tuple[dict[str, int], list[tuple[str, int]]]:
        """By what the keys of a group can be told apart: how many are of each kind, and
        the most frequent reasons of those that aren't active.

        Raises:
            NotFound: there is no such group.
        """
        await at_most(self._clock, FRESH_S, self._ledger.flush())
        now, read = self._clock.seconds(), self._database.read
        kinds = await read(queries.kinds, group_id, self._exhausted, now)
        return kinds, await read(queries.reasons, group_id, now, REASONS)

    async def _masked(self, group_id: int, wanted: KeyFilter, mask: str) -> tuple[int, ...]:
        # Sealed keys can't be searched by the database, and a column with their ends
        # would give away eight characters of each.
        first, last = keytext.ends(mask)
        found: list[int] = []
        async for page in self.opened(group_id, wanted):
            found += [
                key_id
                for key_id, secret in page
                if secret is not None and secret.startswith(first) and secret.endswith(last)
            ]
            if len(found) > MASKED:
                raise ValidationFailed(
                    f"more than {MASKED} keys look like that", hint="Give more of the key's ends."
                )
        return tuple(found)

    async def lookup(self, key: str) -> list[KeyRow]:
        """This very key in every group that has it."""
        await at_most(self._clock, FRESH_S, self._ledger.flush())
        return await self._database.read(queries.lookup, self._vault, key.encode(), PAGE_KEYS)

    async def value_of(self, key_id: int) -> str | None:
        """A key itself; None when it can't be decrypted.

        Raises:
            NotFound: there is no such key.
        """
        return await self._database.read(queries.value_of, self._vault, key_id)

    async def opened(
        self, group_id: int, wanted: KeyFilter, size: int = PAGE_KEYS
    ) -> AsyncIterator[list[tuple[int, bytes | None]]]:
        """Ids and keys, page by page; None for one that can't be decrypted.

        Raises:
            NotFound: there is no such group.
        """
        now, after = self._clock.seconds(), 0
        while True:
            page = await self._database.read(
                queries.opened_after,
                self._vault,
                group_id,
                self._told(wanted),
                now=now,
                after_id=after,
                limit=size,
            )
            if page:
                yield page
            if len(page) < size:
                return
            after = page[-1][0]

    async def count(self, group_id: int, wanted: KeyFilter) -> int:
        """How many such keys the group has.

        Raises:
            NotFound: there is no such group.
        """
        await at_most(self._clock, FRESH_S, self._ledger.flush())
        await self.must_exist(group_id)
        now = self._clock.seconds()
        return await self._database.read(queries.count, group_id, self._told(wanted), now)

    async def count_all(self, group_id: int, parts: Iterable[KeyFilter]) -> int:
        """As `count`, of all these together; they have no key in common."""
        found = [await self.count(group_id, part) for part in parts]
        return sum(found)

    async def last_id(self, group_id: int) -> int:
        """The highest id of the group's keys; 0 without any."""
        return await self._database.read(queries.last_id, group_id)

    async def must_exist(self, group_id: int) -> None:
        """
        Raises:
            NotFound: there is no such group.
        """
        await self._database.read(must_exist, group_id)

    async def group_name(self, group_id: int) -> str:
        """
        Raises:
            NotFound: there is no such group.
        """
        return str((await self._database.read(one, group_id))["name"])

    @whole
    async def add(self, group_id: int, keys: Sequence[str]) -> Done:
        """Add what the group doesn't have yet, and let it serve.

        Raises:
            NotFound: there is no such group.
        """
        added = 0
        for start in range(0, len(keys), SLICE_KEYS):
            piece = [key.encode() for key in keys[start : start + SLICE_KEYS]]
            added += len(await self.add_some(group_id, piece))
        return Done(added, await self._total(group_id))

    async def add_some(self, group_id: int, wanted: Sequence[bytes]) -> list[PoolKey]:
        """As `add`, no more keys than are right for one transaction; the new ones.

        Raises:
            NotFound: there is no such group.
        """
        await self._order.acquire()
        try:
            now = self._clock.seconds()
            fresh = await self._database.write(queries.add, self._vault, group_id, wanted, now)
            await self._in_turns(fresh, lambda some: self._ledger.keys_added(group_id, some))
        finally:
            self._order.release()
        return fresh

    async def _in_turns(self, items: Sequence[T], tell: Callable[[Sequence[T]], None]) -> None:
        """Tell the ledger and all pools of so many that no reactor turn takes long."""
        for start in range(0, len(items), TOLD_KEYS):
            tell(items[start : start + TOLD_KEYS])
            await deferLater(self._clock, 0)

    async def _total(self, group_id: int) -> int:
        return await self._database.read(queries.count, group_id)

    async def find(self, group_id: int, keys: Sequence[str]) -> dict[str, int]:
        """Ids of those keys that the group has.

        Raises:
            NotFound: there is no such group.
        """
        wanted = [key.encode() for key in keys]
        found = await self._database.read(queries.find, self._vault, group_id, wanted)
        return {secret.decode(): key_id for secret, key_id in found.items()}

    # Deleting, and taking that back.

    @whole
    async def remove(self, group_id: int, keys: Sequence[str]) -> Done:
        """Delete these keys: they are not used again, unless `give_back` returns them.

        Raises:
            NotFound: there is no such group.
        """
        batch = self.new_batch()
        gone = await self.remove_some(group_id, [key.encode() for key in keys], batch)
        return Done(len(gone), await self._total(group_id), self._undo(batch, len(gone)))

    async def remove_some(self, group_id: int, wanted: Sequence[bytes], batch: str) -> set[bytes]:
        """As `remove`, as a part of a deletion; those that the group had.

        Raises:
            NotFound: there is no such group.
        """
        found = await self._database.read(queries.find, self._vault, group_id, wanted)
        gone = set(await self._remove(group_id, list(found.values()), batch))
        return {secret for secret, key_id in found.items() if key_id in gone}

    @whole
    async def remove_all(self, group_id: int, *, only_invalid: bool) -> Done:
        """Delete a group's keys, or those that are invalid.

        Raises:
            NotFound: there is no such group.
        """
        gone = 0
        status = "invalid" if only_invalid else ""
        batch = self.new_batch()
        async for key_ids in self._slices(group_id, status):
            gone += len(await self._remove(group_id, key_ids, batch, status))
        return Done(gone, await self._total(group_id), self._undo(batch, gone))

    def new_batch(self) -> str:
        """A name for a deletion that nobody can guess or meet twice."""
        return secrets.token_hex(12)

    def _undo(self, batch: str, count: int) -> Undo | None:
        return Undo(batch, self._clock.seconds() + UNDO_S) if count else None

    async def _remove(
        self, group_id: int, key_ids: Sequence[int], batch: str, status: str = ""
    ) -> list[int]:
        # So that the log rows of their last requests still find their key, and that a
        # key comes back as it was.
        await at_most(self._clock, FRESH_S, self._drain())
        await self._ledger.flush()
        await self._order.acquire()
        try:
            now = self._clock.seconds()
            gone = await self._database.write(
                queries.remove, group_id, key_ids, batch=batch, now=now, status=status
            )
            await self._in_turns(gone, lambda some: self._ledger.keys_removed(group_id, some))
        finally:
            self._order.release()
        return gone

    async def batches(self, group_id: int) -> list[Batch]:
        """Deletions in a group that can still be undone, the last one first.

        Raises:
            NotFound: there is no such group.
        """
        await self.must_exist(group_id)
        since = self._clock.seconds() - UNDO_S
        return await self._database.read(queries.batches, group_id, since)

    @whole
    async def give_back(self, batch: str) -> tuple[Batch, int]:
        """Undo a deletion: its keys are what they were, and serve if they did.

        Returns:
            The deletion, and how many of its keys came back: not those that the group
            was given anew meanwhile.

        Raises:
            NotFound: there is no such deletion, or it was too long ago.
        """
        since = self._clock.seconds() - UNDO_S
        deletion = await self._database.read(queries.batch_of, batch, since)
        count, after = 0, 0
        while True:
            await self._order.acquire()
            try:
                loaded, back, last = await self._database.write(
                    queries.give_back, self._vault, batch, after
                )
                await self._in_turns(loaded, self._ledger.keys_returned)
            finally:
                self._order.release()
            count += back
            if last is None:
                return deletion, count
            after = last

    # States.

    @whole
    async def restore(self, group_id: int, keys: Sequence[str]) -> Done:
        """Make these keys good again, if they are invalid, rest, or have strikes.

        Raises:
            NotFound: there is no such group.
        """
        found = await self.find(group_id, keys)
        tired = [key for key in found.values() if self._is_tired(key)]
        await self._restore(group_id, tired)
        return Done(len(tired), await self._total(group_id))

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
        await self._in_turns(key_ids, lambda some: self._ledger.restored(group_id, some))
        await self._ledger.flush()

    @whole
    async def switch(self, key_id: int, event: Event) -> None:
        """Take a key out of use until a person wants it back, or put it into use again.

        Args:
            event: `Event.SWITCHED_OFF` or `Event.SWITCHED_ON`.

        Raises:
            NotFound: there is no such key.
        """
        group_id = await self._database.read(queries.group_of, key_id)
        self._ledger.switched(group_id, (key_id,), event)
        await self._ledger.flush()

    # The same for many that are told by their ids, all of one group.

    async def states(self, group_id: int) -> dict[str, int]:
        """How many keys of a group there are in each state."""
        return await self._database.read(queries.states, group_id, self._clock.seconds())

    async def counts_of_all(self) -> dict[int, tuple[Counter[str], Counter[str]]]:
        """How many keys of each group are in each state, and of each kind; by the group's id."""
        found: dict[int, tuple[Counter[str], Counter[str]]] = {}
        counted = await self._database.read(
            queries.counts_of_all, self._exhausted, self._clock.seconds()
        )
        for group_id, state, kind, count in counted:
            states, kinds = found.setdefault(group_id, (Counter(), Counter()))
            states[state] += count
            kinds[kind] += count
        return found

    async def meant(
        self, group_id: int, wanted: KeyFilter, size: int = PAGE_KEYS
    ) -> AsyncIterator[list[int]]:
        """Ids of the keys that a filter means, in their order, so many at a time.

        Raises:
            NotFound: there is no such group.
        """
        now, after = self._clock.seconds(), 0
        told = self._told(wanted)
        while True:
            key_ids = await self._database.read(
                queries.meant_after, group_id, told, now=now, after_id=after, limit=size
            )
            if key_ids:
                yield key_ids
            if len(key_ids) < size:
                return
            after = key_ids[-1]

    @whole
    async def restore_some(self, group_id: int, key_ids: Sequence[int]) -> int:
        """As `restore`; how many there was something to restore of."""
        tired = [key_id for key_id in key_ids if self._is_tired(key_id)]
        await self._restore(group_id, tired)
        return len(tired)

    @whole
    async def switch_some(self, group_id: int, key_ids: Sequence[int], event: Event) -> int:
        """As `switch`."""
        await self._in_turns(key_ids, lambda some: self._ledger.switched(group_id, some, event))
        await self._ledger.flush()
        return len(key_ids)

    @whole
    async def note_some(self, key_ids: Sequence[int], notes: str) -> int:
        """As `write_notes`; the text is checked already."""
        await self._database.write(queries.write_all_notes, key_ids, notes, self._clock.seconds())
        return len(key_ids)

    @whole
    async def weigh_some(self, group_id: int, key_ids: Sequence[int], weight: int) -> int:
        """As `write_weight`; the weight is checked already."""
        now = self._clock.seconds()
        found = await self._database.write(queries.write_weights, self._vault, key_ids, weight, now)

        def tell(some: Sequence[tuple[int, bytes]]) -> None:
            for key_id, secret in some:
                self._ledger.key_weighed(group_id, key_id, secret, weight)

        await self._in_turns(found, tell)
        return len(key_ids)

    @whole
    async def delete_some(self, group_id: int, key_ids: Sequence[int], batch: str) -> int:
        """As a part of a deletion; `undo_of` says how it is taken back."""
        return len(await self._remove(group_id, key_ids, batch))

    def undo_of(self, batch: str, count: int) -> Undo | None:
        """How to take a deletion of so many keys back; None if there were none."""
        return self._undo(batch, count)

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
        text = checked_notes(notes)
        await self._database.write(queries.write_notes, key_id, text, self._clock.seconds())

    @whole
    async def write_weight(self, key_id: int, weight: int) -> None:
        """Give a key another share of its group's requests.

        Raises:
            NotFound, ValidationFailed: there is no such key; it is no weight.
        """
        check_weight(weight)
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


def checked_notes(notes: str) -> str:
    """A note without blanks around it.

    Raises:
        ValidationFailed: it is too long.
    """
    text = notes.strip()
    if len(text) > 255:
        raise ValidationFailed("notes length must be <= 255 characters")
    return text


def check_weight(weight: int) -> None:
    """
    Raises:
        ValidationFailed: it is no weight of a key.
    """
    if not 1 <= weight <= HEAVIEST:
        raise ValidationFailed(
            f"weight must be between 1 and {HEAVIEST}, got {weight}",
            hint="A key that must not serve is to be deleted.",
        )
