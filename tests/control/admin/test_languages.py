"""Messages in English, Chinese and Japanese, as `Accept-Language` asks."""

from __future__ import annotations

import pytest

from gptload.core.settings import SETTINGS
from gptload.core.settingtexts import TEXTS
from tests.control.admin.conftest import Admin, good_group


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("zh-CN", "操作成功"),
        ("ja-JP,ja;q=0.9", "成功"),
        ("en-US", "Success"),
        ("fr-FR, zh;q=0.5", "操作成功"),  # the best match in the whole field, not the first
        ("fr", "Success"),
        ("", "Success"),  # D62: Chinese in the reference
    ],
)
async def test_a_message_in_the_language_that_was_asked_for(
    admin: Admin, wish: str, message: str
) -> None:
    answer = await admin.call("GET", "/api/groups", fields={"Accept-Language": wish})
    assert answer.said["message"] == message


async def test_errors_and_labels_are_translated_and_codes_are_not(admin: Admin) -> None:
    chinese = {"Accept-Language": "zh-CN"}
    answer = await admin.call("POST", "/api/groups", {"name": "A B"}, fields=chinese)
    assert answer.refused(400, "VALIDATION_FAILED").startswith("分组名称无效")
    bad = good_group() | {"upstreams": []}
    answer = await admin.call("POST", "/api/groups", bad, fields=chinese)
    assert answer.said["message"] == "上游配置无效：at least one upstream is required"
    chart = (await admin.call("GET", "/api/dashboard/chart", fields=chinese)).data
    assert [line["label"] for line in chart["datasets"]] == ["成功请求", "失败请求"]
    japanese = {"Accept-Language": "ja"}
    (basic, *_) = (await admin.call("GET", "/api/settings", fields=japanese)).data
    assert (basic["category_name"], basic["settings"][0]["key"]) == ("基本設定", "app_url")
    assert basic["settings"][0]["name"] == "アプリケーション URL"
    options = (await admin.call("GET", "/api/groups/config-options", fields=chinese)).data
    assert options[0]["name"] == "请求超时（秒）"
    stats = (await admin.call("GET", "/api/dashboard/stats", fields=chinese)).data
    assert any("ENCRYPTION_KEY:" in item["message"] for item in stats["security_warnings"])


def test_every_setting_has_its_words_in_every_language() -> None:
    assert set(TEXTS) == {setting.key for setting in SETTINGS}
