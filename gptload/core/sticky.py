"""Which resources a request names, which an answer makes, and which key owns them.

Files, batches, stored responses, caches and their like live in the account that made
them: another key gets a 404 for them. So what a key made is noted by its id, and a
later request that names it goes to that key first.

What an API keeps is a table of its provider (`Resources`). This file never parses a
body that may be large: names are found by one pass of one expression, which takes
half a microsecond for a usual request and a few milliseconds for the largest. A
member's name can't be mistaken for text: within a JSON string its quotes are escaped.
Whatever is found in excess meets no owner and does nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Final
from urllib.parse import unquote_to_bytes

from attrs import field, frozen

from gptload.core.jsonscan import text_of
from gptload.core.resttime import DAY_S

# Of what lives until somebody deletes it. Longer, and ids would never leave the table.
UNTIL_DELETED_S: Final = 365 * DAY_S
OWNERS_LIMIT: Final = 100_000
# All creating calls say the id in their first lines.
HEAD_BYTES: Final = 4096
# What is made on the side is told somewhere in the answer; past this it is given up.
WITHIN_BYTES: Final = 1024 * 1024

# No request means more; each costs a look-up.
_NAMED_LIMIT: Final = 32
_MATCHES_LIMIT: Final = 256
_LIST_BYTES: Final = 8192
_PATHS_SEEN: Final = 256
# What a table column takes, in any database and spelling.
_PLAIN: Final = re.compile(r"[!-~]{1,200}")
_OPENS_JSON: Final = re.compile(rb"\s*[{\[]")
_STRING: Final = rb'"(?:[^"\\]|\\.){1,1024}"'
_STRINGS: Final = re.compile(_STRING)
_CURSOR: Final = re.compile(rb"(?:^|&)(?:after|before)(?:_id)?=([^&]+)")
_EVENT: Final = re.compile(rb"^data:", re.MULTILINE)
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|["{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


def _expression(text: bytes | None) -> re.Pattern[bytes] | None:
    return re.compile(text) if text else None


@frozen
class Within:
    """What a call makes on the side, e.g. the container of a tool.

    Attributes:
        pattern: finds it in the answer, wherever that tells of it; one group, the id.
        life_s: how long it lives.
        when: expression that the request's body must have for it; None: any body.
    """

    pattern: re.Pattern[bytes]
    life_s: float
    when: re.Pattern[bytes] | None = field(default=None, converter=_expression)


@frozen
class Kind:
    """A call that makes a resource.

    Attributes:
        path: expression for the path's end, behind a slash; without groups.
        ids: members of the answer that may hold the id, inner ones with dots:
            `file.name`. Also of the first event's data, where the answer is a stream.
            Empty: the call makes something on the side only.
        life_s: how long the API keeps it, where the answer doesn't say.
        ends: the member that says until when: epoch seconds or an RFC 3339 time.
        when: expression that the request's body must have; None: any body.
        unless: expression that it must not have.
    """

    path: bytes
    ids: tuple[str, ...] = ("id",)
    life_s: float = UNTIL_DELETED_S
    ends: str = ""
    method: bytes = b"POST"
    when: re.Pattern[bytes] | None = field(default=None, converter=_expression)
    unless: re.Pattern[bytes] | None = field(default=None, converter=_expression)
    within: Within | None = None


@frozen
class Resources:
    """What an API keeps for the key that made it.

    Attributes:
        kinds: the calls that make something.
        collections: path segments that an id follows.
        members: names of body members that hold an id, a list of them, or an object
            with one; the most telling first.
    """

    kinds: tuple[Kind, ...] = ()
    collections: tuple[bytes, ...] = ()
    members: tuple[bytes, ...] = ()
    _calls: Mapping[bytes, tuple[re.Pattern[bytes], tuple[Kind, ...]]] = field(init=False)
    _in_path: re.Pattern[bytes] | None = field(init=False)
    _in_body: re.Pattern[bytes] | None = field(init=False)
    _ranks: Mapping[bytes, int] = field(init=False)
    # What calls make, by method and path: nearly all come on a few paths.
    _seen: dict[tuple[bytes, bytes], Kind | None] = field(
        factory=dict, init=False, eq=False, repr=False
    )

    @_calls.default
    def _compiled_calls(self) -> Mapping[bytes, tuple[re.Pattern[bytes], tuple[Kind, ...]]]:
        calls = {}
        for method in {kind.method for kind in self.kinds}:
            kinds = tuple(kind for kind in self.kinds if kind.method == method)
            ends = b"|".join(b"(%b)" % kind.path for kind in kinds)
            calls[method] = (re.compile(rb"/(?:%b)/?$" % ends), kinds)
        return calls

    @_in_path.default
    def _compiled_path(self) -> re.Pattern[bytes] | None:
        if not self.collections:
            return None
        names = b"|".join(map(re.escape, self.collections))
        # `:` begins a method, as in Google's paths; no id has one.
        return re.compile(rb"/(?:%b)/((?:(?!%%3[Aa])[^/:])+)" % names)

    @_in_body.default
    def _compiled_body(self) -> re.Pattern[bytes] | None:
        if not self.members:
            return None
        names = b"|".join(map(re.escape, self.members))
        # A list need not end within reach: what fails late would be begun again and
        # again, and a body of such beginnings would stop the reactor.
        return re.compile(
            rb'"(%b)"\s*:\s*(?:(%b)|(\[[^\]]{0,%d})|\{\s*"id"\s*:\s*(%b))'
            % (names, _STRING, _LIST_BYTES, _STRING)
        )

    @_ranks.default
    def _ranked(self) -> Mapping[bytes, int]:
        return {name: rank for rank, name in enumerate(self.members)}


NO_RESOURCES: Final = Resources()


def named(resources: Resources, path: bytes, query: bytes, body: bytes) -> tuple[str, ...]:
    """Resources that a request names, the most specific first. Never raises.

    Args:
        path: percent-encoded, without query.
        query: of a list, a page's cursor counts: it is an id of the account's own.
        body: whole, or empty when it isn't kept.
    """
    # Hot: once a request; most name nothing.
    found: dict[str, None] = {}
    if resources._in_path is not None:
        for segment in reversed(resources._in_path.findall(path)[:_NAMED_LIMIT]):
            _add(found, _unquoted(segment))
    if query:
        for cursor in _CURSOR.findall(query)[:_NAMED_LIMIT]:
            _add(found, _unquoted(cursor))
    pattern = resources._in_body
    if body and pattern is not None and _OPENS_JSON.match(body) is not None:
        first = pattern.search(body)
        if first is not None:
            for text in _in_body(resources, pattern, body, first.start()):
                _add(found, text)
    return tuple(found)[:_NAMED_LIMIT] if found else ()


def _in_body(
    resources: Resources, pattern: re.Pattern[bytes], body: bytes, start: int
) -> Iterable[str]:
    ranked: list[tuple[int, bytes]] = []
    for match in islice(pattern.finditer(body, start), _MATCHES_LIMIT):
        rank = resources._ranks[match[1]]
        token = match[2] or match[4]
        tokens = [token] if token else _STRINGS.findall(match[3])
        ranked += [(rank, each) for each in tokens[:_NAMED_LIMIT]]
    ranked.sort(key=lambda pair: pair[0])
    return [text_of(token) for _, token in ranked[:_MATCHES_LIMIT]]


def _unquoted(text: bytes) -> str:
    return unquote_to_bytes(text).decode("utf-8", "replace")


def _add(found: dict[str, None], text: str) -> None:
    name = resource_name(text)
    if name:
        found[name] = None


def resource_name(text: str) -> str:
    """The one name of a resource, however it is spelled: its bare id.

    `files/abc`, `https://host/v1beta/files/abc:download?alt=media` and `abc` are one.
    What is too long or odd for a table's column goes by its digest.
    """
    bare = text.partition("?")[0].rpartition("/")[2].partition(":")[0]
    if not bare or _PLAIN.fullmatch(bare):
        return bare
    return hashlib.sha256(bare.encode("utf-8", "surrogatepass")).hexdigest()


@frozen
class Maker:
    """What to look for in the answer of a call that makes something.

    Attributes:
        kind: None when the resource itself is not kept, only what is made on the side.
        look_bytes: how much of the answer's beginning `made` wants to see, decoded.
    """

    kind: Kind | None
    within: Within | None

    @property
    def look_bytes(self) -> int:
        return HEAD_BYTES if self.within is None else WITHIN_BYTES


def makes(resources: Resources, method: bytes, path: bytes, body: bytes = b"") -> Maker | None:
    """What this call makes; None for most.

    Args:
        path: percent-encoded, without query.
        body: whole, or empty when it isn't kept: it may ask to store or not.
    """
    # Hot: once a request.
    seen, call = resources._seen, (method, path)
    kind = seen[call] if call in seen else _kind_of(resources, call)
    if kind is None:
        return None
    within = kind.within
    if within is not None and within.when is not None and within.when.search(body) is None:
        within = None
    kept = (kind.when is None or kind.when.search(body) is not None) and (
        kind.unless is None or kind.unless.search(body) is None
    )
    if not kept and within is None:
        return None
    return Maker(kind if kept else None, within)


def _kind_of(resources: Resources, call: tuple[bytes, bytes]) -> Kind | None:
    kind = None
    method, path = call
    if method in resources._calls:
        pattern, kinds = resources._calls[method]
        match = pattern.search(path)
        if match is not None and match.lastindex is not None:
            kind = kinds[match.lastindex - 1]
    if len(resources._seen) < _PATHS_SEEN:
        resources._seen[call] = kind
    return kind


def made(maker: Maker, status: int, body: bytes, now: float) -> list[tuple[str, float]]:
    """Resources that an answer tells of, and until when each lives. Never raises.

    Args:
        body: JSON or an event stream, or the beginning of one; plain, not compressed.
        now: epoch seconds.

    Returns:
        (name, epoch seconds), none twice.
    """
    if not 200 <= status < 300:
        return []
    found: dict[str, float] = {}
    kind, within = maker.kind, maker.within
    if kind is not None and kind.ids:
        values = _values(body, kind.ids, kind.ends)
        until = _instant(values.get(kind.ends, b""), now) or now + kind.life_s
        for member in kind.ids:
            name = resource_name(text_of(values.get(member, b"")))
            if name:
                found[name] = until
    if within is not None:
        for token in islice(within.pattern.findall(body), _MATCHES_LIMIT):
            name = resource_name(text_of(b'"%b"' % token))
            if name:
                found.setdefault(name, now + within.life_s)
    return list(found.items())[:_NAMED_LIMIT]


def _values(body: bytes, ids: tuple[str, ...], ends: str) -> dict[str, bytes]:
    """Values, as they stand in the JSON, of members by dotted name.

    Walks until it has an id and, if one is asked for, the end. Works on a beginning
    too, so no answer has to be held back for it.
    """
    found: dict[str, bytes] = {}
    start = 0
    if _OPENS_JSON.match(body) is None:
        event = _EVENT.search(body, 0, HEAD_BYTES)
        start = event.end() if event is not None else 0
    # For each open bracket: what its members' names begin with; None in a list.
    around: list[str | None] = []
    name, name_next = "", False
    for match in _TOKEN.finditer(body, start, start + HEAD_BYTES):
        token = match[0]
        if token == b'"':
            break  # a string that is cut off
        if token in (b"{", b"["):
            prefix = around[-1] if around else ""
            if token == b"[" or prefix is None:
                around.append(None)  # nothing in lists is asked for
            else:
                around.append(f"{prefix}{name}." if around else "")
            name_next = token == b"{"
        elif token in (b"}", b"]"):
            if around:
                around.pop()
            if not around:
                break
        elif token == b",":
            name_next = bool(around) and around[-1] is not None
        elif token == b":":
            name_next = False
        elif name_next:
            name, name_next = text_of(token), False
        elif around and around[-1] is not None:
            member = around[-1] + name
            if member == ends or member in ids:
                found.setdefault(member, token)
                if (not ends or ends in found) and any(each in found for each in ids):
                    break
    return found


def _instant(token: bytes, now: float) -> float | None:
    try:
        if token[:1] == b'"':
            stamp = datetime.fromisoformat(text_of(token))
            instant = stamp.timestamp() if stamp.tzinfo is not None else now
        else:
            instant = float(token)
    except (ValueError, OverflowError, OSError):
        return None
    # Neither a wrong clock nor NaN may keep an id for ever, or forget it at once.
    return min(instant, now + UNTIL_DELETED_S) if instant > now else None


@frozen
class Owner:
    """Who made a resource.

    Attributes:
        upstream: `Upstream.mark` of the one that made it.
        until: epoch seconds until which it may exist.
    """

    key_id: int
    upstream: int
    until: float


class Owners:
    """Who made which resource, as far as one data plane remembers.

    Bounded: of too many, those go that nobody has asked for the longest.
    """

    def __init__(self, limit: int = OWNERS_LIMIT) -> None:
        self._limit = limit
        self._owners: OrderedDict[tuple[int, str], Owner] = OrderedDict()
        self._by_key: dict[int, set[tuple[int, str]]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def note(self, group_id: int, resource: str, owner: Owner) -> None:
        """The resource lives with this key, whatever was known before."""
        place = (group_id, resource)
        self._drop(place)
        self._owners[place] = owner
        self._by_key.setdefault(owner.key_id, set()).add(place)
        if len(self._owners) > self._limit:
            self._drop(next(iter(self._owners)))

    def of(self, group_id: int, resource: str, now: float) -> Owner | None:
        """Whose it is; None when nobody knows, or when it is gone by now."""
        place = (group_id, resource)
        owner = self._owners.get(place)
        if owner is None:
            return None
        if owner.until <= now:
            self._drop(place)
            return None
        self._owners.move_to_end(place)
        return owner

    def forget_key(self, key_id: int) -> None:
        """The key is gone, and with it the way to all that it made."""
        for place in self._by_key.pop(key_id, ()):
            self._owners.pop(place, None)

    def _drop(self, place: tuple[int, str]) -> None:
        owner = self._owners.pop(place, None)
        if owner is None:
            return
        places = self._by_key[owner.key_id]
        places.discard(place)
        if not places:
            del self._by_key[owner.key_id]
