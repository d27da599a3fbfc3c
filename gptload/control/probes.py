"""Tests keys: one small request each, the way a client's request would go.

Only an answer about the key itself is a verdict. An outage, a limit or a wrong test
model proves nothing, is told as that, and leaves the key's state alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final, Protocol

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries import keys as queries
from gptload.control.ledger import Ledger
from gptload.control.snapshots import Snapshots
from gptload.core import paths
from gptload.core.balance import Rotation
from gptload.core.errors import NotFound, ValidationFailed
from gptload.core.headers import OutgoingRequest, apply_rules, value_of
from gptload.core.outcome import Outcome, Rule, Verdict
from gptload.core.settings import Settings
from gptload.core.snapshot import Group, Upstream
from gptload.core.vault import Vault, redact
from gptload.core.verdict import Answer, judge, message_of
from gptload.provider import IProvider
from gptload.wire.client import Reply
from gptload.wire.upstream import UpstreamFailure

_JUDGED_BYTES: Final = 64 * 1024
_UNPROVEN: Final = {
    Outcome.KEY_EXHAUSTED: "not proven: its quota or credit is used up for now",
    Outcome.RATE_LIMITED: "not proven: it is rate limited for now",
    Outcome.UPSTREAM_FAULT: "not proven: the upstream is in trouble",
    Outcome.REQUEST_FAULT: (
        "not proven: the upstream doesn't take the test request; check the group's test model "
        "and validation path"
    ),
}


class Send(Protocol):
    """How a probe goes out; `gptload.wire.client.Client.request` is one."""

    def __call__(
        self,
        upstream: Upstream,
        proxy: str,
        request: OutgoingRequest,
        body: bytes,
        settings: Settings,
        timeout_s: float,
    ) -> Deferred[Reply]: ...


@frozen
class Result:
    """What a test showed.

    Attributes:
        error: why the key isn't proven good; empty when it is. Never shows the key.
    """

    key: str
    is_valid: bool
    error: str = ""


class Probes:
    """Tests keys of a group at the same time, as many as the group allows."""

    log = Logger()

    def __init__(
        self,
        seconds: Callable[[], float],
        database: Database,
        vault: Vault,
        ledger: Ledger,
        snapshots: Snapshots,
        providers: Mapping[str, IProvider],
        send: Send,
        proxy_for: Callable[[str, str, int], str],
        user_agent: str,
    ) -> None:
        """
        Args:
            proxy_for: outbound proxy from the environment for (scheme, host, port).
        """
        self._seconds = seconds
        self._database = database
        self._vault = vault
        self._ledger = ledger
        self._snapshots = snapshots
        self._providers = providers
        self._send = send
        self._proxy_for = proxy_for
        self._user_agent = user_agent.encode("ascii")
        # By group id, and for which upstreams: a lone test must not always meet the first.
        self._turns: dict[int, tuple[tuple[Upstream, ...], Rotation[Upstream]]] = {}

    async def test(self, group_id: int, keys: Iterable[str]) -> list[Result]:
        """Test these keys, each once; results in the keys' order.

        What is seen of a key is in force before the result is told.

        Raises:
            NotFound, ValidationFailed: there is no such group; it can't test keys.
        """
        wanted = list(keys)
        secrets = [key.encode() for key in wanted]
        found = await self._database.read(queries.find, self._vault, group_id, secrets)
        group = self.group(group_id)
        results: dict[str, Result] = {}
        waiting = iter(dict.fromkeys(wanted))

        async def work() -> None:
            for key in waiting:  # shared: each worker takes the next one
                key_id = found.get(key.encode())
                results[key] = (
                    Result(key, False, "Key does not exist in this group or has been removed.")
                    if key_id is None
                    else await self._test(group, key_id, key)
                )

        count = min(group.settings.key_validation_concurrency, len(wanted))
        workers = [Deferred.fromCoroutine(work()) for _ in range(count)]
        await gatherResults(workers, consumeErrors=True)
        return [results[key] for key in wanted]

    def group(self, group_id: int) -> Group:
        """A group whose keys can be tested.

        Raises:
            NotFound, ValidationFailed: there is no such group; it can't test keys.
        """
        group = self._snapshots.current.by_id.get(group_id)
        if group is None:
            reason = self._snapshots.unusable.get(group_id)
            if reason is None:
                raise NotFound("Resource not found")
            raise ValidationFailed(f"The group can't be used: {reason}")
        if group.sub_groups is not None:
            raise ValidationFailed(
                "An aggregate group has no upstream of its own",
                hint="Test the keys in its sub-groups.",
            )
        return group

    async def _test(self, group: Group, key_id: int, key: str) -> Result:
        try:
            _, error = await self.check(group, key_id, key.encode())
        except CancelledError:
            raise  # whoever asked has gone
        except Exception:  # a plugin's: the other keys still want their result
            self.log.failure("A test of key {key_id} failed", key_id=key_id)
            error = "not proven: the channel's plugin failed; see the log"
        return Result(key, not error, error)

    async def check(self, group: Group, key_id: int, secret: bytes) -> tuple[Verdict | None, str]:
        """Ask about one key. What is seen of it is in force before this returns.

        Args:
            group: a standard one; it must be of the current snapshot.

        Returns:
            What is proven of the key, None for nothing; and why it isn't proven good,
            without the key itself: empty when it is.

        Raises:
            Exception: whatever the channel's plugin raises.
        """
        try:
            verdict, error = await self._ask(group, secret)
        except UpstreamFailure as failure:
            verdict, error = None, f"not proven: {failure}"
        if verdict is not None:
            self._ledger.tested(group.id, key_id, verdict)
        return verdict, redact(error, (secret,))

    async def reach(self, upstream: Upstream) -> tuple[int, str]:
        """Ask a base URL once, without a key: whether anybody is there.

        Returns:
            The status, whatever it is; 0 and the reason when nobody answers.
        """
        request = OutgoingRequest(b"GET", paths.join(upstream, b"/", b""), [])
        request.set(b"User-Agent", self._user_agent)
        try:
            reply = await self._reply(upstream, request, b"", self._snapshots.settings)
        except UpstreamFailure as failure:
            return 0, str(failure)
        return reply.status, ""

    async def _ask(self, group: Group, secret: bytes) -> tuple[Verdict | None, str]:
        """The verdict, if the answer is one, and an error text unless the key is good."""
        provider = self._providers[group.channel]
        upstream = self._next_upstream(group)
        probe = provider.probe(
            group.test_model, group.validation_path or provider.default_validation_path
        )
        path, _, query = probe.path.partition(b"?")
        request = OutgoingRequest(probe.method, paths.join(upstream, path, query), [])
        request.set(b"User-Agent", self._user_agent)
        request.set(b"Accept", b"application/json")
        if probe.body:
            request.set(b"Content-Type", b"application/json")
        provider.sign(request, secret)
        now = self._seconds()
        apply_rules(
            request,
            group.header_rules,
            {
                "CLIENT_IP": lambda: "127.0.0.1",  # we ask for ourselves
                "GROUP_NAME": lambda: group.name,
                "API_KEY": lambda: secret.decode("utf-8", "replace"),
                "TIMESTAMP_MS": lambda: str(int(now * 1000)),
                "TIMESTAMP_S": lambda: str(int(now)),
            },
        )
        reply = await self._reply(upstream, request, probe.body, group.settings)
        return self._judge(provider, reply, upstream.origin.host, group.error_rules)

    def _reply(
        self, upstream: Upstream, request: OutgoingRequest, body: bytes, settings: Settings
    ) -> Deferred[Reply]:
        origin = upstream.origin
        proxy = settings.proxy_url or self._proxy_for(origin.scheme, origin.host, origin.port)
        timeout_s = float(settings.key_validation_timeout_seconds)
        return self._send(upstream, proxy, request, body, settings, timeout_s)

    def _judge(
        self, provider: IProvider, reply: Reply, host: str, rules: Sequence[Rule]
    ) -> tuple[Verdict | None, str]:
        if 300 <= reply.status < 400:
            return None, f"[status {reply.status}] not proven: the upstream redirects elsewhere"
        fields = [(field[0].lower, value_of(field)) for field in reply.fields]
        answer = Answer(reply.status, fields, reply.body[:_JUDGED_BYTES])
        verdict = judge(provider, answer, self._seconds(), host, rules)
        if verdict.outcome is Outcome.OK:
            return verdict, ""
        said = message_of(answer) or _phrase(reply.status)
        error = f"[status {reply.status}] {said}"
        if verdict.outcome is Outcome.KEY_REJECTED:
            return verdict, error
        return None, f"{error} ({_UNPROVEN[verdict.outcome]})"

    def _next_upstream(self, group: Group) -> Upstream:
        upstreams, turns = self._turns.get(group.id, ((), Rotation[Upstream]()))
        if upstreams != group.upstreams:
            self._turns = {
                key: held
                for key, held in self._turns.items()
                if key in self._snapshots.current.by_id
            }
            turns = Rotation()
            for upstream in dict.fromkeys(group.upstreams):
                turns.add(upstream, upstream.weight)
            self._turns[group.id] = (group.upstreams, turns)
        chosen = turns.pick()
        assert chosen is not None  # a group without upstreams is in no snapshot
        return chosen


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no error text"
