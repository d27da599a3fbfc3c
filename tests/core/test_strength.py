"""How easily a secret is guessed."""

from __future__ import annotations

import pytest

from gptload.core.strength import weaknesses

STRONG = "Rk7-Wq2.Zt9_Lm4-Xv8.Hd3_Nb6-Jc1x"


@pytest.mark.parametrize(
    ("secret", "severities"),
    [
        (STRONG, []),
        (STRONG[:31], ["medium"]),
        (STRONG[:16], ["medium"]),
        (STRONG[:15], ["high"]),
        (STRONG + "PassWord", ["high"]),
        ("q" * 32, ["medium"]),
        ("Qq" * 16, ["medium"]),
        ("Qq1" * 11, []),
        ("sk-123456", ["high", "high"]),
        ("", ["high"]),
    ],
)
def test_what_is_weak(secret: str, severities: list[str]) -> None:
    found = weaknesses("AUTH_KEY", secret)
    assert [weakness.severity for weakness in found] == severities
    for weakness in found:
        assert weakness.message.startswith("AUTH_KEY ")
        assert weakness.suggestion
        assert not secret or secret not in weakness.message
