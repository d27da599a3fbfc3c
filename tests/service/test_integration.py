"""What a group says of itself comes from the control plane, past the proxy's own door."""

from __future__ import annotations

from tests.parts.service import Service
from tests.service.conftest import OpenGroup


def test_a_group_is_asked_about_itself_through_the_front(
    service: Service, open_group: OpenGroup
) -> None:
    group = open_group()
    path = f"/proxy/{group.name}/api/integration/info"
    status, said = service.call("GET", f"{path}?key={service.auth_key}", key=None)
    assert status == 200
    assert said["data"] == [
        {"name": group.name, "display_name": "", "channel_type": "openai", "path": ""}
    ]


def test_each_change_names_the_address_that_it_came_from(service: Service) -> None:
    service.set(max_retries=2)
    newest = service.api("GET", "/audit?subject=settings&page_size=1")["items"][0]
    assert newest["source_ip"] in ("127.0.0.1", "::1")
    assert newest["after"] == {"max_retries": 2}
    history = service.api("GET", "/settings/history?key=max_retries")["items"]
    service.api("POST", f"/settings/history/{history[0]['id']}/undo")
