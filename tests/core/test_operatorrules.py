"""An operator's rule is taken whole or refused by its field, and none is ever slow."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.errors import ValidationFailed
from gptload.core.operatorrules import MOST_RULES, checked, parse, read
from gptload.core.outcome import Outcome, Rest, Rule, Scope, Verdict
from gptload.core.verdict import Answer, judge, judge_inner

NOW = 1_795_000_000.0
UP, REQ, REJ = Outcome.UPSTREAM_FAULT, Outcome.REQUEST_FAULT, Outcome.KEY_REJECTED
EXH, RL = Outcome.KEY_EXHAUSTED, Outcome.RATE_LIMITED


@frozen
class Plain:
    """A provider with one line of its own."""

    name: str = "plain"
    errors: tuple[Rule, ...] = (Rule(RL, "own", status=429),)


def verdict(rules: Any, status: int, body: Any = b"", **fields: str) -> Verdict:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return judge(Plain(), Answer(status, named, raw), NOW, "h", parse(rules))


def decides(rule: dict[str, Any], status: int, body: Any = b"") -> bool:
    return verdict([{"outcome": "key_exhausted", **rule}], status, body).reason == "group.rule_0"


def test_an_operators_rule_comes_before_all_others() -> None:
    rules = [{"status": 429, "outcome": "key_exhausted", "scope": "account", "rest": 7200}]
    got = verdict(rules, 429, {"error": {"code": "invalid_api_key"}}, retry_after="5")
    assert got == Verdict(EXH, Scope.ACCOUNT, NOW + 7200, "group.rule_0")
    assert verdict(rules, 428).reason == "common.status_428"


def test_the_first_rule_that_matches_wins_and_is_named_by_its_place_or_its_name() -> None:
    rules = [
        {"status": "5xx", "outcome": "key_exhausted"},
        {"status": "4xx", "outcome": "rate_limited", "name": "busy_box"},
        {"status": "4xx", "outcome": "key_exhausted"},
    ]
    assert verdict(rules, 404, b"x").reason == "group.busy_box"
    assert verdict(rules, 500, b"x").reason == "group.rule_0"


@pytest.mark.parametrize(
    ("status", "matching", "others"),
    [
        (429, {429}, {428, 430}),
        ("429", {429}, {428}),
        ("4xx", {400, 499}, {500}),
        ("5*", {500, 599}, {499}),
        ("42x", {420, 429}, {419, 430}),
        ("50*", {500, 509}, {510}),
        ("401, 5XX", {401, 503}, {402}),
        ([401, "403", "52x"], {401, 403, 525}, {402, 530}),
    ],
)
def test_a_status_may_be_a_pattern_or_a_list(
    status: Any, matching: set[int], others: set[int]
) -> None:
    assert all(decides({"status": status}, code, b"x") for code in matching)
    assert not any(decides({"status": status}, code, b"x") for code in others)


BODY = {"error": {"code": "E_7", "details": [{"n": 5, "ok": True}], "message": "Over Budget!"}}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"contains": "over budget"}, True),
        ({"contains": "OVER BUDGET!"}, True),
        ({"contains": "over.budget"}, False),
        ({"contains": "details"}, True),  # the body as it came, names too
        ({"regex": "over.budget"}, True),
        ({"regex": r"^E_\d$", "where": "error.code"}, True),
        ({"contains": "over", "where": "error.code"}, False),
        ({"where": "error.details"}, True),
        ({"where": "error.details.0.n", "contains": "5"}, True),
        ({"where": "error.details.0.ok", "contains": "true"}, True),
        ({"where": "error.details", "contains": '"n":5'}, True),
        ({"where": "error.details.1.n"}, False),
        ({"where": "error.code.x"}, False),
        ({"where": "error.other"}, False),
    ],
)
def test_a_rule_looks_where_it_is_told(rule: dict[str, Any], expected: bool) -> None:
    assert decides(rule, 418, BODY) is expected
    assert decides(rule, 418, [BODY]) is expected or "where" not in rule


def test_a_path_leads_nowhere_in_what_is_no_json() -> None:
    assert not decides({"where": "error.code"}, 418, b"<html>")
    assert decides({"contains": "html"}, 418, b"<html>")


def test_only_the_first_4_kib_of_a_body_are_looked_at() -> None:
    assert decides({"contains": "needle"}, 418, b"x" * 4090 + b"needle")
    assert not decides({"contains": "needle"}, 418, b"x" * 4091 + b"needle")
    long = {"error": {"code": "x" * 4091 + "needle"}}
    assert not decides({"contains": "needle", "where": "error.code"}, 418, long)


def test_a_rule_about_a_status_is_about_the_one_that_people_see() -> None:
    """A gateway's 502 around the provider's own 401."""
    inner = {"error": {"code": 401, "message": "x"}}
    assert decides({"status": 502}, 502, inner)
    assert not decides({"status": 401}, 502, inner)


def test_rules_hold_for_errors_inside_a_success_too() -> None:
    rules = parse([{"status": "4xx", "contains": "e_7", "outcome": "key_rejected"}])
    body = json.dumps(BODY).encode()
    got = judge_inner(Plain(), Answer(200, (), body), NOW, "", rules)
    assert (got.outcome, got.reason) == (REJ, "group.rule_0")
    assert judge(Plain(), Answer(200, (), body), NOW, "", rules) == Verdict(Outcome.OK)


def test_a_page_rejects_a_key_only_by_a_rule_that_knows_its_text() -> None:
    rule = {"status": 403, "outcome": "key_rejected"}
    assert verdict([rule], 403, b"<html>Key banned</html>").outcome is UP
    assert verdict([rule | {"contains": "key banned"}], 403, b"<html>Key banned").outcome is REJ


@pytest.mark.parametrize(
    ("rest", "fields", "until"),
    [
        (None, {}, 1800),
        (None, {"retry_after": "9"}, 9),
        ("named", {"retry_after": "9"}, 9),
        (90.5, {"retry_after": "9"}, 90.5),
        (0, {"retry_after": "9"}, None),
    ],
)
def test_the_rest_is_the_named_one_or_the_operators(
    rest: Any, fields: dict[str, str], until: float | None
) -> None:
    got = verdict([{"status": 418, "outcome": "key_exhausted", "rest": rest}], 418, b"x", **fields)
    assert got.rest_until == (None if until is None else NOW + until)
    assert got.named is (until == 9)


def test_for_an_upstream_the_rest_is_how_long_it_is_left_alone() -> None:
    rule = {"status": 418, "outcome": "upstream_fault", "scope": "egress", "rest": 40}
    assert verdict([rule], 418) == Verdict(UP, Scope.EGRESS, NOW + 40, "group.rule_0")
    assert verdict([rule | {"rest": 0}], 418, retry_after="7").rest_until is None
    assert verdict([rule | {"rest": None}], 418, retry_after="7").rest_until == NOW + 7


@pytest.mark.parametrize(
    ("outcome", "scope"),
    [
        ("key_rejected", Scope.KEY),
        ("key_exhausted", Scope.KEY),
        ("rate_limited", Scope.KEY),
        ("upstream_fault", Scope.UPSTREAM),
        ("request_fault", Scope.KEY),
    ],
)
def test_without_a_scope_a_rule_is_about_the_nearest(outcome: str, scope: Scope) -> None:
    assert parse([{"status": 418, "outcome": outcome}])[0].scope is scope


GOOD = {"status": 429, "outcome": "key_exhausted"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"outcome": None}, "outcome"),
        ({"outcome": "ok"}, "outcome"),
        ({"outcome": "client_gone"}, "outcome"),
        ({"outcome": 1}, "outcome"),
        ({"status": "200"}, "status"),
        ({"status": 600}, "status"),
        ({"status": "4x9"}, "status"),
        ({"status": "*"}, "status"),
        ({"status": ""}, "status"),
        ({"status": True}, "status"),
        ({"status": []}, "status"),
        ({"status": [429, None]}, "status"),
        ({"status": {"a": 1}}, "status"),
        ({"status": None}, "status"),  # a rule for everything
        ({"where": 5}, "where"),
        ({"where": ""}, "where"),
        ({"where": "error..code"}, "where"),
        ({"where": "a" * 201}, "where"),
        ({"where": ".".join("a" * 11)}, "where"),
        ({"contains": ""}, "contains"),
        ({"contains": 5}, "contains"),
        ({"contains": "x" * 201}, "contains"),
        ({"contains": "x", "regex": "x"}, "regex"),
        ({"regex": "("}, "regex"),
        ({"regex": "x" * 201}, "regex"),
        ({"regex": "x{99999999999999}"}, "regex"),
        ({"scope": "planet"}, "scope"),
        ({"scope": "upstream"}, "scope"),
        ({"outcome": "upstream_fault", "scope": "key"}, "scope"),
        ({"outcome": "key_rejected", "scope": "key+model"}, "scope"),
        ({"rest": -1}, "rest"),
        ({"rest": 1e9}, "rest"),
        ({"rest": float("nan")}, "rest"),
        ({"rest": True}, "rest"),
        ({"rest": "long"}, "rest"),
        ({"outcome": "key_rejected", "rest": 5}, "rest"),
        ({"outcome": "request_fault", "rest": "named"}, "rest"),
        ({"name": "With Space"}, "name"),
        ({"name": ""}, "name"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_fault_is_told_with_the_rule_and_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationFailed) as fault:
        parse([GOOD, GOOD | change])
    assert fault.value.message.startswith(f"error_rules[1].{field}: ")


@pytest.mark.parametrize("value", [None, {}, "x", 5, [GOOD] * (MOST_RULES + 1)])
def test_what_is_no_list_of_at_most_50_rules_is_refused(value: Any) -> None:
    with pytest.raises(ValidationFailed, match="^error_rules: "):
        parse(value)
    assert len(parse([GOOD] * MOST_RULES)) == MOST_RULES


@pytest.mark.parametrize("item", [None, 5, "x", [GOOD]])
def test_a_rule_is_an_object(item: Any) -> None:
    with pytest.raises(ValidationFailed, match=r"^error_rules\[0\]: must be an object"):
        parse([item])


def test_rules_are_kept_as_given_without_what_says_nothing() -> None:
    assert checked([GOOD | {"rest": None, "where": "body"}]) == [GOOD | {"where": "body"}]
    assert checked([]) == []


def test_of_stored_rules_the_good_ones_hold_and_the_others_say_why() -> None:
    stored = [GOOD, GOOD | {"status": "9xx"}, 5]
    good, bad, odd = read(json.dumps(stored))
    assert good == parse([GOOD])[0]
    assert str(bad).startswith("error_rules[1].status: ")
    assert odd == "error_rules[2]: must be an object"
    assert list(read(None)) == []
    assert list(read("{")) == ["error_rules: no JSON"]
    assert list(read('{"a": 1}')) == ["error_rules: must be a list of rules"]


QUICK = [
    "quota", r"over.budget", r"(?:daily|monthly) quota.{0,60}exceeded", r"a.*b", r"[^\]]+x",
    r"(a|b|c)d", r"(?:abc)+", r"\bkey\b", r"x{2,5}y?", r"[]*+?]", r"a{", r"a{}", r"\{\d{1,3}\}",
    r"\(+", r"^\s*$", r".+?x", r"(?:daily |monthly )?quota", r"(?:x?y)?",
]  # fmt: skip
SLOW = [
    "(a+)+$", "(a|aa)+$", "(a*)*b", "a*a*b", ".*.*x", "(?:a?){30}", "([a-z]+)*x", "(.{1,80}){2}",
    "a?" * 20, "(a|a)" * 20, "(a)\\1", "(?=a)", "(?i)a", "(?P<n>a)", "a{,}a{,}b",
    ".{0,99}.{0,99}x", "(?:a{1,3}b){1,9}", "a{0,}a{0,}b", "(?>a*)*", "a++b*c",
]  # fmt: skip


@pytest.mark.parametrize("regex", QUICK)
def test_an_expression_that_is_quick_is_taken(regex: str) -> None:
    assert parse([GOOD | {"regex": regex}])[0].search is not None


@pytest.mark.parametrize("regex", SLOW)
def test_an_expression_that_could_take_long_is_refused(regex: str) -> None:
    with pytest.raises(ValidationFailed, match=r"^error_rules\[0\].regex: "):
        parse([GOOD | {"regex": regex}])


PIECES = st.lists(
    st.sampled_from(
        ["a", ".", "[ab]", "(", "(?:", ")", "|", "*", "+", "?", "{2,3}", "{,}", "{3}", "$", "\\w"]
    ),
    max_size=12,
)


@given(PIECES)
def test_no_expression_that_is_taken_holds_up_the_others(pieces: list[str]) -> None:
    """The worst text there is for it: nearly a match, from every place."""
    try:
        (rule,) = parse([GOOD | {"regex": "".join([*pieces, "!"])}])
    except ValidationFailed:
        return
    assert rule.search is not None and rule.search.pattern is not None
    began = time.process_time()
    rule.search.pattern.search("a" * 4096)
    assert time.process_time() - began < 2  # 0.2 on a quiet machine


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "where", "contains", "regex", "outcome", "scope", "rest"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_rules_or_one_named_fault(value: Any) -> None:
    try:
        rules = parse(value)
    except ValidationFailed as fault:
        assert fault.message.startswith("error_rules")
    else:
        assert all(rule.rest in (Rest.NAMED, Rest.DEFAULT, Rest.NONE) for rule in rules)
