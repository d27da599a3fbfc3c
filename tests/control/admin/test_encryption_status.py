"""`GET /api/dashboard/encryption-status`: whether ENCRYPTION_KEY and the keys fit together."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, update

from gptload.control.db.queries.encryption import Sample, mismatch
from gptload.control.db.tables import api_keys
from tests.control.admin.conftest import Admin, MakeAdmin

WELL = {"has_mismatch": False, "scenario_type": "", "message": "", "suggestion": ""}


async def test_all_is_well_without_keys_and_with_our_own(make_admin: MakeAdmin) -> None:
    for password in ("", "a password of the tests"):
        admin: Admin = await make_admin(password)
        assert await admin.api("GET", "/dashboard/encryption-status") == WELL
        await admin.add_keys(await admin.group(), ["sk-a", "g1:looks-sealed"])
        assert await admin.api("GET", "/dashboard/encryption-status") == WELL


async def test_a_database_of_another_time(make_admin: MakeAdmin) -> None:
    admin: Admin = await make_admin("a password of the tests")
    await admin.add_keys(await admin.group(), ["sk-a"])

    def spoil(connection: Connection) -> None:
        connection.execute(update(api_keys).values(key_value="g1:AAAA", key_hash="0" * 64))

    await admin.write(spoil)
    status = await admin.api("GET", "/dashboard/encryption-status")
    assert (status["has_mismatch"], status["scenario_type"]) == (True, "key_mismatch")
    assert status["message"]
    assert status["suggestion"]


@pytest.mark.parametrize(
    ("encrypts", "plain", "readable", "scenario"),
    [
        (True, 1.0, 0.0, "data_not_encrypted"),
        (True, 0.8, 0.0, ""),
        (False, 0.1, 0.0, "key_not_configured"),
        (False, 0.2, 0.0, ""),
        (True, 0.1, 0.1, "key_mismatch"),
        (True, 0.1, 0.2, ""),
        (False, 1.0, 1.0, ""),
    ],
)
def test_scenarios(encrypts: bool, plain: float, readable: float, scenario: str) -> None:
    assert mismatch(Sample(20, plain, readable), encrypts) == scenario
