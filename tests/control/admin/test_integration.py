"""`/api/integration/info`: which groups a proxy key opens."""

from __future__ import annotations

from tests.control.admin.conftest import AUTH_KEY, Admin


async def test_a_key_sees_the_groups_that_it_opens(admin: Admin) -> None:
    await admin.group("one", proxy_keys="sk-own", display_name="One", sort=2)
    await admin.group("two", validation_endpoint="/v4/chat/completions", sort=1)
    answer = await admin.call("GET", f"/api/integration/info?key={AUTH_KEY}", key=None)
    assert answer.data == [
        {
            "name": "two",
            "display_name": "",
            "channel_type": "custom",
            "path": "/proxy/two/v4/chat/completions",
        },
        {
            "name": "one",
            "display_name": "One",
            "channel_type": "openai",
            "path": "/proxy/one",
        },
    ]
    answer = await admin.call("GET", "/api/integration/info?key=sk-own", key=None)
    assert [group["name"] for group in answer.data] == ["one"]


async def test_a_group_says_the_same_of_itself(admin: Admin) -> None:
    await admin.group("one", proxy_keys="sk-own")
    await admin.group("two")
    path = "/proxy/one/api/integration/info?key=sk-own"
    for method in ("GET", "POST"):
        (shown,) = (await admin.call(method, path, key=None)).data
        assert shown == {
            "name": "one",
            "display_name": "",
            "channel_type": "openai",
            "path": "",
        }
    answer = await admin.call("GET", path.replace("one", "two"), key=None)
    assert answer.refused(400, "VALIDATION_FAILED") == "Invalid or unauthorized proxy key"
    answer = await admin.call("GET", path.replace("one", "none"), key=None)
    assert answer.refused(404, "NOT_FOUND") == "Group not found"


async def test_only_the_query_counts(admin: Admin) -> None:
    await admin.group()
    answer = await admin.call("GET", "/api/integration/info")  # with a bearer
    assert answer.refused(400, "VALIDATION_FAILED") == "Proxy key is required"
    answer = await admin.call("GET", "/api/integration/info?key=sk-none", key=None)
    assert answer.refused(400, "VALIDATION_FAILED") == "Invalid or unauthorized proxy key"
