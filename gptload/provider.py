"""The plugin border: what an AI API must tell us, and how its module is found.

A provider is a small stateless object in a module of its own, named by an entry
point of the group `gptload.providers`. It gets plain values and answers plain
values, so its tests need no server. docs/providers.md shows one from start to end.

A broken plugin never stops the service: it is reported by name and reason, and
skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from attrs import frozen
from zope.interface import Attribute, Interface
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from gptload.core.dialects import Sign, error_event, has_ended, sign_of
from gptload.core.headers import OutgoingRequest
from gptload.core.outcome import Outcome, Rest, Rule, Scope, Verdict
from gptload.core.sse import Event
from gptload.core.sticky import NO_RESOURCES, Kind, Resources, Within

__all__ = [
    "ENTRY_POINTS",
    "Broken",
    "Event",
    "IProvider",
    "Kind",
    "Outcome",
    "OutgoingRequest",
    "Probe",
    "Providers",
    "Resources",
    "Rest",
    "Rule",
    "Scope",
    "Sign",
    "Verdict",
    "Within",
    "discover",
    "error_event",
    "has_ended",
    "resources_of",
    "sign_of",
]

ENTRY_POINTS = "gptload.providers"

# What zope says before it comes to the point.
_ZOPE_NOISE = re.compile(
    r"^The object .* has failed to implement interface [\w.]+:|The [\w.]+\.IProvider\."
)


@frozen
class Probe:
    """The cheap request that tells whether a key is good.

    Attributes:
        path: path and query below the upstream's base URL.
        body: JSON text; empty for a GET.
    """

    method: bytes
    path: bytes
    body: bytes = b""


class IProvider(Interface):
    """One AI API. Stateless: one object serves every group and every request.

    An API that keeps files, batches or the like for the account that made them says so
    by one more attribute, `resources` (`gptload.core.sticky.Resources`). Most keep none.
    """

    name = Attribute("str: the channel type, as groups name it, e.g. `openai`.")
    default_upstream = Attribute("str: base URL that a new group starts with.")
    default_test_model = Attribute("str: the cheapest model that proves a key.")
    default_validation_path = Attribute(
        "str: path of the validation request; empty when the group can't change it."
    )
    errors = Attribute(
        "Sequence[Rule]: how this API says that a key is dead, empty or limited. The first "
        "match wins; where none matches, the rules common to all APIs decide."
    )

    def sign(request: OutgoingRequest, key: bytes) -> None:
        """Put the pool key in. The client's own credentials are already gone."""

    def model_in_path(path: bytes) -> str:
        """The model that the path names; empty when it names none.

        Args:
            path: percent-encoded path below the base URL, without query.
        """

    def redirect_path(path: bytes, model: str) -> bytes:
        """The same path with `model` in the place of the one it names.

        Called only when `model_in_path` found one.
        """

    def streams_by_path(path: bytes) -> bool:
        """Whether the path alone says that the answer is streamed."""

    def probe(model: str, path: str) -> Probe:
        """The validation request.

        Args:
            model: the group's test model.
            path: the group's own validation path, or `default_validation_path`.
        """

    def add_models(answer: dict[str, Any], names: Iterable[str], only: bool) -> None:
        """Change a decoded model list in place.

        Args:
            answer: the upstream's JSON object.
            names: the redirect rules' source names, in their order.
            only: strict mode: leave nothing but `names`.
        """

    def error_body(status: int, code: str, message: str) -> dict[str, Any]:
        """An error of ours as this API's SDKs can read it."""

    def stream_sign(event: Event) -> Sign:
        """What an event of a stream is to somebody who waits for the first word.

        Decides how long a stream is held back, so that another key can still take over.
        Called for its first events, and at its end for the last ones; never in between.
        `sign_of` knows all APIs that ship with gptload.

        Args:
            event: a JSON object that comes without an event around it has no name.
        """

    def stream_ended(events: Sequence[Event]) -> bool:
        """Whether a stream whose last events are these came to its end.

        False means that it was cut, and the client is told so: say it only where the
        API has an end marker that is missing. `has_ended` does, for what it knows.

        Args:
            events: the last few; none when the last one is too large to be kept.
        """

    def stream_error(status: int, code: str, message: str) -> bytes:
        """A last event that tells of an error of ours, as this API's SDKs can read it.

        Returns:
            All bytes of the event, from a place where one can begin. `error_event` makes
            them of a JSON body.
        """


@frozen
class Broken:
    """A plugin that was skipped, and why."""

    name: str
    origin: str
    reason: str


@frozen
class Providers:
    """All channels of this process.

    Attributes:
        by_name: in a stable order: our own first, then by distribution and name.
    """

    by_name: Mapping[str, IProvider]
    broken: tuple[Broken, ...] = ()

    def names(self) -> list[str]:
        """The channel types, sorted."""
        return sorted(self.by_name)


def resources_of(provider: IProvider) -> Resources:
    """What the API keeps for the key that made it; nothing, where its plugin doesn't say."""
    found = getattr(provider, "resources", NO_RESOURCES)
    return found if isinstance(found, Resources) else NO_RESOURCES


def discover(points: Iterable[EntryPoint] | None = None) -> Providers:
    """Load every provider that is installed.

    Args:
        points: for tests; the installed entry points otherwise.
    """
    if points is None:
        points = entry_points(group=ENTRY_POINTS)
    found: dict[str, IProvider] = {}
    broken: list[Broken] = []
    for point in sorted(points, key=_ours_first):
        try:
            if point.name in found:
                raise ValueError(f"the name {point.name!r} is already taken")
            found[point.name] = _load(point)
        except (Exception, SystemExit) as error:  # a plugin may do anything while it is imported
            broken.append(Broken(point.name, _origin(point), _reason(error)))
    return Providers(found, tuple(broken))


def _load(point: EntryPoint) -> IProvider:
    provider = point.load()
    verifyObject(IProvider, provider)
    if provider.name != point.name:
        raise ValueError(f"its name is {provider.name!r}, its entry point's {point.name!r}")
    return provider  # type: ignore[no-any-return]


def _reason(error: BaseException) -> str:
    if not isinstance(error, Invalid):
        return f"{type(error).__name__}: {error}"
    # One fault a line, with the object's address in the first.
    lines = (_ZOPE_NOISE.sub("", line).strip() for line in str(error).splitlines())
    return "; ".join(filter(None, lines))


def _ours_first(point: EntryPoint) -> tuple[bool, str, str]:
    # The order on sys.path must not decide who owns a name.
    return (point.dist is None or point.dist.name != "gptload", _origin(point), point.name)


def _origin(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
