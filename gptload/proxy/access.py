"""Proxy key → group, or a refusal.

A client may show its key in any form that some SDK uses, and in several at once:
any one valid credential lets it in (docs/decisions: the stale second one of a chat
app must not lock it out).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Final

from gptload.core.errors import NotFound, Unauthorized
from gptload.core.headers import Field, value_of
from gptload.core.snapshot import Group, Snapshot, digest

_ADMITTED_LIMIT: Final = 1024


def credentials(fields: Sequence[Field], in_query: Sequence[bytes]) -> Iterator[bytes]:
    """All credentials that a request shows, in no matter which form."""
    yield from in_query
    for field in fields:
        if not field[0].credential:
            continue
        value = value_of(field)
        if field[0].lower != b"authorization":
            if value:
                yield value
            continue
        scheme, _, rest = value.partition(b" ")
        rest = rest.strip(b" \t")
        if scheme.lower() == b"bearer" and rest:
            yield rest
        elif scheme.lower() == b"basic":
            # OpenAI takes the key as the password of an empty user.
            try:
                yield base64.b64decode(rest, validate=True).partition(b":")[2]
            except binascii.Error:
                continue


def admit(
    snapshot: Snapshot, name: bytes, fields: Sequence[Field], in_query: Sequence[bytes]
) -> Group:
    """The group that a request may use.

    Args:
        fields: those that may carry a credential, at least.

    Raises:
        Unauthorized: no credential, or none that opens this group. Said of an unknown
            group too, as long as the client hasn't shown a key that opens any: names
            of groups are nobody's business.
        NotFound: no such group.
    """
    # Hot: once a request. The digest is taken once for each client.
    group = snapshot.groups.get(name)
    if group is not None:
        for _, line in fields:
            if line in group.admitted:
                return group
    shown = False
    for credential in credentials(fields, in_query):
        shown = True
        found = digest(credential)
        if group is not None:
            if found in group.access:
                # Only where no other credential can have been the right one.
                if len(fields) == 1 and not in_query and len(group.admitted) < _ADMITTED_LIMIT:
                    group.admitted.add(fields[0][1])
                return group
        elif any(found in other.access for other in snapshot.groups.values()) or (
            found in snapshot.system_access
        ):
            text = name.decode("utf-8", "replace")[:100]
            raise NotFound(
                f"Group '{text}' does not exist",
                hint="The path is /proxy/{group}/…; GET /api/groups/list names the groups.",
            )
    raise Unauthorized(
        "Authentication failed",
        hint="The proxy key opens another group or none."
        if shown
        else "Send a proxy key as `Authorization: Bearer …`, `x-api-key`, `x-goog-api-key` or "
        "`?key=`.",
    )
