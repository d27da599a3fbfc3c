"""Courses: wherever a task is cut, what it did and what it left are all of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gptload.control.db.queries.keys import KeyFilter
from gptload.control.keycourse import Course
from gptload.core.idspans import unpacked

PAGE = 4
FOUND = st.sampled_from(["good", "failed", "rejected"])


def meant(keys: list[int], part: KeyFilter) -> list[int]:
    """What the database would find: here, filters have no other words."""
    assert part.spans is not None
    return [key for key in keys if any(a <= key <= b for a, b in part.spans)]


def gone_through(course: Course, keys: list[int], found: Callable[[int], str], stop: int) -> bool:
    """Go on until so many keys are done; whether that was the end."""
    done = 0
    for part in course.parts():
        some = meant(keys, part)
        for start in range(0, len(some), PAGE):
            page = some[start : start + PAGE]
            course.begin_page(page)
            for key in page:
                if done == stop:
                    return False
                course.met(key, found(key))
                done += 1
    course.end()
    return True


def keys_of(course: Course, keys: list[int]) -> list[int]:
    return [key for part in course.parts() for key in meant(keys, part)]


@given(st.data())
def test_a_cut_task_and_its_retries_meet_each_key_until_it_has_a_verdict(data: Any) -> None:
    keys = sorted(data.draw(st.sets(st.integers(1, 60), min_size=1)))
    course = Course.of(KeyFilter(), keys[-1])
    later = [*keys, keys[-1] + 1]  # one that came when it had begun
    for _ in range(4):
        todo = keys_of(course, later)
        found = {key: data.draw(FOUND) for key in todo}
        stop = data.draw(st.integers(0, len(todo)))
        is_whole = gone_through(course, later, found.__getitem__, stop)
        left = json.loads(json.dumps(course.left()))
        wanted = {key for n, key in enumerate(todo) if n >= stop or found[key] == "failed"}
        again = Course.again(1, left)
        assert keys_of(again, later) == sorted(wanted)
        assert left["failed_count"] == sum(found[key] == "failed" for key in todo[:stop])
        assert left["is_cut"] is not is_whole
        bad = [key for key in todo[:stop] if found[key] == "rejected"]
        assert keys_of(Course.rejected(1, left), later) == bad
        course = again


def test_chosen_ids_are_named_and_a_filter_is_kept_without_what_is_secret() -> None:
    course = Course.of(KeyFilter(ids=(7, 3, 4)), 99)
    assert list(course.parts()) == [KeyFilter(spans=((3, 4), (7, 7)))]
    wanted = KeyFilter(state="invalid", notes="team", value="sk-whole", exhausted=frozenset("x"))
    left = Course.of(wanted, 9, {"weight": 3}).left()
    assert left["rest"] == {
        "wanted": {"state": "invalid", "notes": "team"},
        "after": 0,
        "until": 9,
    }
    assert left["more"] == {"weight": 3}
    assert "sk-whole" not in json.dumps(left)


def test_a_page_that_was_begun_is_named_as_a_filter_may_not_mean_it_any_more() -> None:
    """Half of a step may be done: those keys have another state by now."""
    course = Course.of(KeyFilter(state="invalid"), 90)
    course.begin_page([10, 20, 30])
    course.met_all()
    course.begin_page([40, 50])
    left = course.left()
    assert unpacked(left["named"]) == ((40, 40), (50, 50))
    assert left["rest"] == {"wanted": {"state": "invalid"}, "after": 50, "until": 90}


def test_many_spans_are_asked_for_in_parts() -> None:
    course = Course.of(KeyFilter(ids=tuple(range(1, 1001, 2))), 1001)
    parts = list(course.parts())
    assert [len(part.spans or ()) for part in parts] == [200, 200, 100]
