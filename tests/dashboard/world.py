"""What visitors find: groups of each channel, keys in all states, and calls that failed.

All of it comes about as for a user: over the admin API, and by calls through the proxy to
the scripted provider. So it is small, and everything in it agrees.
"""

from __future__ import annotations

from attrs import evolve, frozen

from tests.parts.calls import CALLS, chat
from tests.parts.service import Service, wait_for
from tests.upstream.control import Upstream
from tests.upstream.script import Rule, Step

GOOD = 18
REST_S = 3000


@frozen
class Pool:
    """A group, and its keys by what they are like."""

    id: int
    name: str
    good: tuple[str, ...] = ()
    limited: str = ""
    empty: str = ""
    dead: str = ""
    disabled: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """All of them."""
        sick = (self.limited, self.empty, self.dead, self.disabled)
        return (*self.good, *(key for key in sick if key))


@frozen
class World:
    """
    Attributes:
        main: an OpenAI group with keys in every state.
        others: one of each other channel, healthy.
        aggregate: over the main one and another.
        requests: how many calls clients had made to the node by then.
        failed: how many of the world's own ended badly.
        retried: the exchange's id of a call whose first attempt failed.
    """

    main: Pool
    others: tuple[Pool, ...]
    aggregate: Pool
    requests: int
    failed: int
    retried: str


def make_world(service: Service, upstream: Upstream) -> World:
    """Make it on a node that is still empty."""
    main = Pool(
        0,
        "chat-main",
        tuple(f"sk-world-good-{number:04}-0123456789" for number in range(GOOD)),
        "sk-world-limited-0001-0123456789",
        "sk-world-empty-0001-0123456789",
        "sk-world-dead-0001-0123456789",
        "sk-world-disabled-0001-0123456789",
    )
    upstream.script(
        keys={
            main.limited: Step(error="rate_limited", retry_after=REST_S),
            main.empty: Step(error="insufficient_quota"),
            main.dead: Step(error="invalid_api_key"),
        }
    )
    sick = (main.limited, main.empty, main.dead)
    before = len(service.logs())
    counted = _requests(service)
    group = service.create_group(
        main.name,
        "openai",
        upstream.url,
        sick,
        config={"blacklist_threshold": 1, "max_retries": 0},
        description="The team's chat",
    )
    # One at a time, as long as there is nobody else: so each of them is met.
    for _ in sick:
        service.ask(chat(main.name))
    service.add_keys(group, [*main.good, main.disabled])
    disabled = service.key(group, main.disabled)
    service.api(
        "POST",
        "/keys/actions",
        {"group_id": group, "action": "disable", "ids": [disabled["id"]]},
    )
    for number in range(9):
        service.ask(chat(main.name, model=("gpt-4.1", "gpt-4.1-mini")[number % 2]))

    service.change_group(group, config={"blacklist_threshold": 1, "max_retries": 3})
    upstream.script(Rule(Step(status=503), times=1))
    service.ask(chat(main.name, model="gpt-4.1-nano"))
    upstream.script(
        Rule(Step(status=400, body=b'{"error": {"message": "no such field"}}'), times=2)
    )
    for _ in range(2):
        service.ask(chat(main.name, model="gpt-4.1"))

    others = []
    for channel in ("anthropic", "gemini", "openai-response"):
        name = f"{channel}-pool"
        keys = tuple(f"sk-world-{channel}-{number}-0123456789" for number in range(3))
        others.append(Pool(service.create_group(name, channel, upstream.url, keys), name, keys))
        if channel in CALLS:
            service.ask(CALLS[channel](name))
            service.ask(CALLS[channel](name))

    spare = tuple(f"sk-world-spare-{number}-0123456789" for number in range(2))
    second = Pool(service.create_group("chat-spare", "openai", upstream.url, spare), "chat-spare")
    aggregate = service.api(
        "POST",
        "/groups",
        {"name": "everything", "group_type": "aggregate", "channel_type": "openai"},
    )
    members = [{"group_id": group, "weight": 3}, {"group_id": second.id, "weight": 1}]
    service.api("POST", f"/groups/{aggregate['id']}/sub-groups", {"sub_groups": members})

    attempts = 3 + 9 + 2 + 2 + 4
    logs = service.wait_logs(before + attempts)
    assert len(logs) == before + attempts, len(logs)
    retried = next(log["exchange_id"] for log in logs if log["request_type"] == "retry")
    requests = counted + attempts - 1
    wait_for(lambda: _requests(service), lambda count: count == requests)
    return World(
        evolve(main, id=group),
        (*others, second),
        Pool(int(aggregate["id"]), "everything"),
        requests,
        3 + 2,
        retried,
    )


def _requests(service: Service) -> int:
    return int(service.api("GET", "/stats/summary")["current"]["requests"])
