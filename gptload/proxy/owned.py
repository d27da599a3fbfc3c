"""Requests that one key alone can serve, and answers that make such requests.

What a key made (a file, a batch, a stored response) lives with its account. A request
that names it goes to that key; where that key rests, it waits or hears for how long,
rather than a 404 from somebody else's account.
"""

from __future__ import annotations

from attrs import frozen

from gptload.core import uploads
from gptload.core.errorbody import unpacked
from gptload.core.headers import first, value_of
from gptload.core.snapshot import Group
from gptload.core.sticky import Maker, Owner, Owners, Resources, made, makes, named
from gptload.core.uploads import Ticket
from gptload.link.messages import OwnerNoted
from gptload.proxy.request import ClientRequest
from gptload.proxy.routing import Choice, Routing
from gptload.wire.codec import RequestHead, ResponseHead


@frozen
class Owned:
    """Whose turn it must be.

    Attributes:
        upstream: `Upstream.mark` of the one that has it.
    """

    group_id: int
    key_id: int
    upstream: int


def owner_of(
    resources: Resources,
    routing: Routing,
    request: ClientRequest,
    now: float,
) -> Owned | None:
    """Whom a request names by what it names; None for most."""
    # Hot: once a request.
    if request.ticket is not None:
        ticket = request.ticket
        return Owned(ticket.group_id, ticket.key_id, ticket.upstream)
    owners = routing.owners
    if not len(owners):
        return None
    names = named(resources, request.path, request.query, request.body)
    if not names:
        return None
    for name in names:
        for group in routing.members(request.entry):
            owner = owners.of(group.id, name, now)
            if owner is not None:
                return Owned(group.id, owner.key_id, owner.upstream)
    return None


def maker_of(resources: Resources, request: ClientRequest) -> Maker | None:
    """What to look for in the answer; None for most calls."""
    return makes(resources, request.head.method, request.path, request.body)


def note(
    owners: Owners, maker: Maker, choice: Choice, head: ResponseHead, body: bytes, now: float
) -> list[OwnerNoted]:
    """Remember what an answer made.

    Args:
        body: its beginning, as it came.

    Returns:
        What the control plane should know.
    """
    plain = unpacked(body, head.coding) if head.coding else body
    if plain is None:
        return []
    group_id, key_id = choice.group.id, choice.key.id
    mark = choice.destination.upstream.mark
    notes = []
    for name, until in made(maker, head.status, plain, now):
        owners.note(group_id, name, Owner(key_id, mark, until))
        notes.append(OwnerNoted(group_id, name, key_id, mark, until))
    return notes


def lead_back(
    head: ResponseHead,
    lines: list[bytes],
    request: RequestHead,
    entry: Group,
    choice: Choice,
    secret: bytes,
    now: float,
) -> list[bytes]:
    """An upload's answer with the URL of the next step towards us.

    Args:
        lines: of the answer, as the client would get them.
        entry: the group that the client named.
    """
    replaced = {}
    for field in head.fields:
        if field[0].lower not in uploads.URL_FIELDS:
            continue
        ticket = Ticket(
            choice.group.id,
            choice.key.id,
            choice.destination.upstream.mark,
            int(now + uploads.UPLOAD_S),
        )
        base = b"%b://%b/proxy/%b" % (_scheme(request), request.host, entry.name.encode())
        upstream = choice.destination.upstream
        url = uploads.lead_back(value_of(field), base, upstream, secret, ticket)
        spelled = field[1][: len(field[0].lower)]
        replaced[field[1]] = b"" if url is None else b"%b: %b" % (spelled, url)
    return [line for line in (replaced.get(line, line) for line in lines) if line]


def _scheme(request: RequestHead) -> bytes:
    """As the client called us: TLS, if there is any, ends in front of us."""
    said = first(request.fields, b"x-forwarded-proto")
    return b"https" if said is not None and said.lower() == b"https" else b"http"
