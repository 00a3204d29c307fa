"""Faults as sentences: ``faults.on("PUT", key="k").nth(3).answer(503)``, in Python and as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, get_args

import pytest
import requests

import kvfake
from kvfake.services.mattermost import KV
from kvfake.services.messages import Sever
from kvfake.world.faults import Fault, FaultBuilder, SeverWord
from kvfake.world.matching import IncomingRequest
from tests.support.doors import opened
from tests.test_faults import kv, statuses


def wants_more(request: IncomingRequest) -> bool:
    return bool(request.request.body)


def nothing() -> None: ...


SENTENCES: list[tuple[Callable[[Callable[..., FaultBuilder]], Fault], dict[str, Any], dict[str, Any], str]] = [
    (  # the sentence, its JSON, the arguments of `add` that it stands for, and its text
        lambda on: on("PUT", key="k").answer(503, times=2),
        {"on": "PUT", "key": "k", "answer": 503, "times": 2},
        {"method": "PUT", "key": "k", "status": 503, "times": 2},
        "on PUT, key='k': answer 503, 2 times",
    ),
    (
        lambda on: on(service="persist", owner="project").answer(429, {"error": "busy"}, {"Retry-After": "7"}),
        {
            "service": "persist",
            "owner": "project",
            "answer": {"status": 429, "body": {"error": "busy"}, "headers": {"Retry-After": "7"}},
        },
        {
            "service": "persist",
            "owner": "project",
            "status": 429,
            "body": {"error": "busy"},
            "headers": {"Retry-After": "7"},
        },
        "on any request, service='persist', owner='project': "
        "answer 429, body {'error': 'busy'}, headers {'Retry-After': '7'}, once",
    ),
    (
        lambda on: on("put").lose_acknowledgement(),
        {"on": "put", "lose_acknowledgement": True},
        {"method": "put", "sever": "after"},
        "on PUT: lose the acknowledgement, once",
    ),
    (
        lambda on: on("DELETE").pretend(times=None),
        {"on": "DELETE", "pretend": True, "times": None},
        {"method": "DELETE", "status": 200, "times": None},
        "on DELETE: pretend with 200, until removed",
    ),
    (lambda on: on().nth(3).cut(), {"on": None, "nth": 3, "cut": True}, {"after": 2, "sever": "before"},
     "on any request, after the first 2: cut, once"),
    (lambda on: on("GET").every(2).reset(), {"on": "GET", "every": 2, "reset": True},
     {"method": "GET", "every": 2, "times": None, "sever": "reset"}, "on GET, one of every 2: reset, until removed"),
    (lambda on: on(key=re.compile("^a")).after(1).hang(), {"key": {"matches": "^a"}, "after": 1, "hang": True},
     {"key": re.compile("^a"), "after": 1, "sever": "silence"},
     "on any request, key=re.compile('^a'), after the first: hang, once"),
    (lambda on: on(re.compile("P")).times(3).truncate(), {"on": {"matches": "P"}, "times": 3, "truncate": True},
     {"method": re.compile("P"), "times": 3, "sever": "truncate"}, "on re.compile('P'): truncate, 3 times"),
    (lambda on: on().rate(0.5, seed=7).garble(times=1), {"rate": 0.5, "seed": 7, "times": 1, "garble": True},
     {"rate": 0.5, "seed": 7, "sever": "garbage"}, "on any request, at a rate of 0.5 (seed 7): garble, once"),
    (lambda on: on("GET").delay(0.2), {"on": "GET", "delay": 0.2}, {"method": "GET", "delay": 0.2}, "on GET: delay 0.2, once"),
    (lambda on: on("GET").stale(), {"on": "GET", "stale": True}, {"method": "GET", "stale": True}, "on GET: stale, once"),
    (lambda on: on("PUT").limit(10, per=60), {"on": "PUT", "limit": 10, "per": 60}, {"method": "PUT", "limit": 10, "per": 60},
     "on PUT: beyond 10 in 60 seconds answer 429, until removed"),
    (lambda on: on("PUT").between("2026-01-01", "2026-01-02").cut(),
     {"on": "PUT", "start": "2026-01-01", "end": "2026-01-02", "cut": True},
     {"method": "PUT", "start": "2026-01-01", "end": "2026-01-02", "times": None, "sever": "before"},
     "on PUT, from 2026-01-01, until 2026-01-02: cut, until removed"),
]  # fmt: skip
TEXTS = [text for *_, text in SENTENCES]


@pytest.mark.parametrize(("say", "arguments", "text"), [(say, given, text) for say, _, given, text in SENTENCES], ids=TEXTS)
def test_a_sentence_is_a_fault_as_add_makes_it(
    say: Callable[[Callable[..., FaultBuilder]], Fault], arguments: dict[str, Any], text: str
) -> None:
    """With the same arguments; and it is shown as a sentence, however it was added."""
    faults = kvfake.Double().faults
    said, added = say(faults.on), faults.add(**arguments)
    assert said.arguments == added.arguments
    assert (str(said), str(added), list(faults)) == (text, text, [said, added])


@pytest.mark.parametrize(("sentence", "arguments", "text"), [(json, given, text) for _, json, given, text in SENTENCES], ids=TEXTS)
def test_a_sentence_as_json_is_the_same_fault(sentence: dict[str, Any], arguments: dict[str, Any], text: str) -> None:
    """``POST /_kvfake/faults`` takes the words of Python, and answers with the arguments and the text."""
    with kvfake.start() as double:
        made = requests.post(double.url + "/_kvfake/faults", json=sentence, timeout=10)
        assert made.status_code == 201, made.text
        (fault,) = double.faults
        assert fault.arguments == double.faults.add(**arguments).arguments
        assert made.json()["text"] == str(fault) == text


@pytest.mark.parametrize(
    ("say", "struck"),
    [
        (lambda on: on.answer(503), "x......."),
        (lambda on: on.nth(3).answer(503), "..x....."),
        (lambda on: on.nth(3).answer(503, times=2), "..xx...."),
        (lambda on: on.every(2).nth(3).answer(503), "..x....."),
        (lambda on: on.every(2).answer(503), ".x.x.x.x"),
        (lambda on: on.every(2).times(1).answer(503), ".x......"),
        (lambda on: on.times(2).every(3).answer(503), "..x..x.."),
        (lambda on: on.every(2).answer(503, times=3), ".x.x.x.."),
        (lambda on: on.after(2).answer(503), "..x....."),
        (lambda on: on.after(2).times(None).answer(503), "..xxxxxx"),
        (lambda on: on.after(2).every(2).answer(503), "...x.x.x"),
        (lambda on: on.rate(1).answer(503), "xxxxxxxx"),
        (lambda on: on.between(start="2000-01-01").answer(503), "xxxxxxxx"),
        (lambda on: on.between().answer(503), "x......."),
    ],
)
def test_which_of_the_requests_a_sentence_is_about(say: Callable[[FaultBuilder], Fault], struck: str) -> None:
    """Once, if nothing else is said; with ``every``, ``rate`` or ``between`` until it is removed."""
    with opened("site") as one:
        fault = say(one.double.faults.on("GET"))
        assert "".join("x" if status == 503 else "." for status in statuses(one, 8)) == struck
        assert fault.hits == struck.count("x")


def test_a_sentence_stands_for_as_long_as_a_block() -> None:
    """The fault is a context manager."""
    with opened("site") as one:
        with one.double.faults.on("GET").answer(503, times=None) as fault:
            assert statuses(one, 2) == [503, 503]
        assert statuses(one, 1) == [200]
        assert fault.hits == 2


def test_the_beginning_of_a_sentence_can_be_shared() -> None:
    """A builder never changes, so two faults can begin alike."""
    with opened("site") as one:
        on_put = one.double.faults.on("PUT")
        third = on_put.nth(3)
        first, other = on_put.answer(500), third.answer(503)
        assert [kv(one, "PUT", body=b"1").status for _ in range(4)] == [500, 200, 503, 200]
        assert (first.hits, other.hits) == (1, 1)
        assert repr(on_put) == "<on PUT: no action yet, so nothing happens>"


def test_a_sentence_without_an_action_does_nothing() -> None:
    """And its repr says so."""
    with opened("site") as one:
        begun = one.double.faults.on("GET", key="k", when=wants_more).every(2)
        assert statuses(one, 4) == [200] * 4
        assert len(one.double.faults) == 0
        assert repr(begun) == "<on GET, key='k', when wants_more, one of every 2: no action yet, so nothing happens>"


def test_a_function_can_be_called_in_a_sentence() -> None:
    """Before anything is done; the text has its name."""
    with opened("site") as one:
        found: list[Any] = []
        fault = one.double.faults.on("PUT", when=wants_more).call(lambda request: found.append(request.key))
        assert kv(one, "PUT", body=b"1").status == 200
        assert (found, fault.hits, one.double.mattermost["k"]) == (["k"], 1, 1)
        assert str(fault) == "on PUT, when wants_more: call <lambda>, once"
        assert str(one.double.faults.on().call(nothing)) == "on any request: call nothing, once"


def test_a_sentence_that_is_not_possible() -> None:
    """It is refused as by ``add``, by the action; an ``nth`` of 0 at once."""
    faults = kvfake.Double().faults
    with pytest.raises(ValueError, match=r"^nth: expected a whole number of at least 1, got 0"):
        faults.on("PUT").nth(0)
    with pytest.raises(ValueError, match=r"^every: expected a whole number of at least 1, got 0"):
        faults.on("PUT").every(0).cut()
    with pytest.raises(ValueError, match=r"^times: a quota .* stands until it is removed, so expected none, got 3"):
        faults.on("PUT").times(3).limit(1, per=1)
    assert len(faults) == 0


@pytest.mark.parametrize(
    ("sentence", "error"),
    [
        ({"on": "PUT"}, "expected exactly one of answer, lose_acknowledgement, pretend, cut, reset, hang, truncate, garble, stale, "
         "delay, limit; got none"),
        ({"on": "PUT", "cut": True, "answer": 503}, "expected exactly one of answer, lose_acknowledgement, "),
        ({"on": "PUT", "cut": 1}, "cut: expected true, got 1"),
        ({"on": "PUT", "cut": False}, "cut: expected true, got False"),
        ({"on": "PUT", "answer": "soon"}, "answer: expected a whole number from 200 to 599, got 'soon'"),
        ({"on": "PUT", "answer": 99}, "answer: expected a whole number from 200 to 599, got 99"),
        ({"answer": {"body": "x"}}, "answer: expected a status, or an object with status, body, headers, got {'body': 'x'}"),
        ({"answer": {"status": 503, "boddy": "x"}}, "answer: expected a status, or an object with status, body, headers, got "),
        ({"answer": {"status": None}}, "answer: expected a whole number from 200 to 599, got None"),
        ({"on": 5, "cut": True}, "on: expected a text or a compiled pattern of text, got 5"),
        ({"on": {"like": "P"}, "cut": True}, 'on: expected a text or {"matches": "<regular expression>"}, got '),
        ({"on": "PUT", "nth": 0, "cut": True}, "nth: expected a whole number of at least 1, got 0"),
        ({"on": "PUT", "nth": 2, "every": 2, "cut": True}, "nth: expected neither after nor every beside it"),
        ({"on": "PUT", "nth": 2, "after": 2, "cut": True}, "nth: expected neither after nor every beside it"),
        ({"on": "PUT", "every": None, "cut": True}, "every: expected a whole number of at least 1, got None"),
        ({"on": "PUT", "seed": 5, "cut": True}, "seed: expected it beside rate"),
        ({"on": "PUT", "rate": 2, "cut": True}, "rate: expected a number from 0 to 1, got 2"),
        ({"on": "PUT", "times": 0, "cut": True}, "times: expected a whole number of at least 1, got 0"),
        ({"on": "PUT", "limit": 5}, "limit, per: expected both, such as limit=10, per=60 (10 requests in 60 seconds), or neither"),
        ({"on": "PUT", "per": 5, "cut": True}, "per: expected it beside limit, not beside cut"),
        ({"on": "PUT", "start": "soon", "cut": True}, "start: expected a datetime, a text such as 2016-12-31T23:59:59.5Z, or "),
        ({"on": "PUT", "status": 503}, 'status: expected no such name beside on; write "answer"'),
        ({"on": "PUT", "sever": "after"}, "sever: expected no such name beside on; write one of lose_acknowledgement, pretend, "),
        ({"cut": True, "hang": True, "method": "PUT"}, 'method: expected no such name beside cut, hang; write "on"'),
        ({"answer": 503, "body": "x"}, 'body: expected no such name beside answer; write "answer": {"status": 503, "body": ..., '),
        ({"on": "PUT", "colour": "red"}, "'colour' is not known here: expected status, delay, "),
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_sentence_as_json_that_is_not_possible(sentence: dict[str, Any], error: str) -> None:
    """The refusal names the word and what is expected, and no fault is added."""
    with kvfake.start() as double:
        refused = requests.post(double.url + "/_kvfake/faults", json=sentence, timeout=10)
        assert (refused.status_code, refused.json()["error"][: len(error)]) == (400, error)
        assert len(double.faults) == 0


def test_a_whole_number_may_have_a_point() -> None:
    """Some languages write 503 as 503.0."""
    with kvfake.start() as double:
        sentence = b'{"on": "GET", "nth": 2.0, "times": 1.0, "answer": {"status": 503.0}}'
        assert requests.post(double.url + "/_kvfake/faults", data=sentence, timeout=10).ok
        url, headers = double.url + KV + "/k", double.mattermost.headers
        assert [requests.get(url, headers=headers, timeout=10).status_code for _ in range(3)] == [200, 503, 200]


def test_the_words_of_sever_are_those_that_a_type_checker_knows() -> None:
    """In the same order."""
    assert get_args(SeverWord) == tuple(sever.value for sever in Sever)


def test_a_type_checker_refuses_what_is_misspelt() -> None:
    """mypy runs over this file, and would complain of a comment that is not needed; at run time it is a ``ValueError``."""
    faults = kvfake.Double().faults
    with pytest.raises(ValueError, match=r"^sever: "):
        faults.add(sever="atfer")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^delay: "):
        faults.add(delay={"medain": 1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^delay: "):
        faults.on().delay({"median": 1})  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        faults.on("PUT").anwser(503)  # type: ignore[attr-defined]
    hits: int = faults.add(503).hits
    assert hits == 0


def test_what_is_for_users_is_what_dir_shows() -> None:
    """Not what the library itself needs."""
    faults = kvfake.Double().faults
    assert dir(faults) == ["active", "add", "assert_all_used", "clear", "on", "remove", "unused"]
    assert dir(faults.add(503)) == ["arguments", "hits", "number", "remove"]
    assert [name for name in dir(faults.on()) if not name.startswith("_")] == [
        "after", "answer", "between", "call", "cut", "delay", "every", "garble", "hang", "limit", "lose_acknowledgement", "nth",
        "pretend", "rate", "reset", "stale", "times", "truncate",
    ]  # fmt: skip
    assert {name for owner in (faults, faults.on(), faults.add(503)) for name in dir(owner) if not hasattr(owner, name)} == set()
