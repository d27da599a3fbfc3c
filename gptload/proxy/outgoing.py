"""A client's request as an upstream gets it: for attempts, and for rehearsals of them."""

from __future__ import annotations

from collections.abc import Sequence

from gptload.core import paths
from gptload.core.headers import OutgoingRequest, apply_rules
from gptload.core.snapshot import Group, HeaderRule
from gptload.provider import IProvider
from gptload.proxy.request import ClientRequest
from gptload.proxy.routing import Choice


def signed(
    provider: IProvider, client: ClientRequest, choice: Choice, path: bytes
) -> OutgoingRequest:
    """The request's head with the key in it, before the group's header rules.

    Args:
        path: after the group's rules; see `ClientRequest.towards`.
    """
    # Hot: once an attempt.
    head = client.head
    target = paths.join(choice.destination.upstream, path, client.query)
    if head.passing is not None:
        request = OutgoingRequest(head.method, target, [], head.passing)
    else:
        fields = [(name.lower, line) for name, line in head.fields if name.to_upstream]
        request = OutgoingRequest(head.method, target, fields)
    provider.sign(request, choice.key.secret)
    if client.edits_models(choice.group):
        request.set(b"Accept-Encoding", b"identity")
    return request


def header_rules(entry: Group, group: Group) -> Sequence[HeaderRule]:
    """The rules of the group that the client named and of the one that serves, in order."""
    rules = group.header_rules
    return rules if entry is group else entry.header_rules + rules


def follow(
    request: OutgoingRequest, rules: Sequence[HeaderRule], choice: Choice, peer: str, now: float
) -> None:
    """Apply header rules.

    Args:
        peer: the client's address.
        now: epoch seconds.
    """
    apply_rules(
        request,
        rules,
        {
            "CLIENT_IP": lambda: peer,
            "GROUP_NAME": lambda: choice.group.name,
            "API_KEY": lambda: choice.key.secret.decode("utf-8", "replace"),
            "TIMESTAMP_MS": lambda: str(int(now * 1000)),
            "TIMESTAMP_S": lambda: str(int(now)),
        },
    )
