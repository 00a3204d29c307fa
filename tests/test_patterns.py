"""Patterns are matched in time linear in the text, and mean what they mean to `re`."""

from __future__ import annotations

import inspect
import random
import re
import sys
import time
import tracemalloc

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import kvfake
from kvfake.double import Double
from kvfake.services.messages import Job, Lane, Request, Response
from kvfake.world.matching import MAX_CHARACTERS, Matcher
from kvfake.world.patterns import MAX_NODES, LinearPattern
from tests.support.served import server_of
from tests.support.wire import Wire, request_bytes
from tests.test_house import loaded_after
from tests.test_matching import asked

ATOMS = st.sampled_from(
    [
        *("a", "b", "A", "é", "É", "k", "\u212a", "s", "\u017f", "_", "1", " ", r"\n", r"\x41", ".", ""),
        *(r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", "[ab]", "[^a]", r"[^a\n]", "[a-cà-ÿ]", r"[\w-]", r"[^\W\d]"),
        *("^", "$", r"\A", r"\Z", r"\b", r"\B"),
    ]
)
REPEATS = st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,3}?", "{2,}", "{0}"])
GROUPS = st.sampled_from(["(", "(?:", "(?i:", "(?m:", "(?s:", "(?-i:", "(?a:"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: (
        st.tuples(inner, inner).map("".join)
        | st.tuples(inner, inner).map("|".join).map("(?:{})".format)
        | st.tuples(inner, REPEATS).map(lambda pair: f"(?:{pair[0]}){pair[1]}")
        | st.tuples(GROUPS, inner).map(lambda pair: f"{pair[0]}{pair[1]})")
    ),
    max_leaves=12,
)
FLAGS = st.lists(st.sampled_from([re.I, re.M, re.S, re.A, re.X]), max_size=3).map(lambda flags: sum(set(flags)))
TEXTS = st.text(st.sampled_from("abAkKs1_ -\n\té\u00c9\u212a\u017f\udcff"), max_size=9)


@given(pattern=PATTERNS, flags=FLAGS, texts=st.lists(TEXTS, min_size=1, max_size=5))
@example(pattern=r"\B", flags=0, texts=["", "a"])
@example(pattern="a$", flags=0, texts=["a\n", "a\n\n", "a\nb"])
@example(pattern="(?m:^b$)", flags=0, texts=["a\nb\n", "a\nb\nc", "ab"])
@example(pattern=r"(?m:\Ab|a\Z)", flags=0, texts=["a\nb", "b\na", "a\n", "ba"])
@example(pattern=r"(?a:\bé)|(?u:\bé)", flags=0, texts=["aé", "é"])
@example(pattern="(?:){3}(?:){0,5}", flags=0, texts=["", "a"])
@example(pattern="(?i)é(?x: b )", flags=0, texts=["Éb"])
def test_a_pattern_means_what_it_means_to_re(pattern: str, flags: int, texts: list[str]) -> None:
    """Found somewhere, and matching the whole: the same yes or no for every pattern, flag and text.

    ``re.search`` is asked a position at a time: as a whole it contradicts ``re.match`` for patterns such as ``(?a:\\W)``.
    """
    theirs = re.compile(pattern, flags)
    ours = LinearPattern(theirs)
    for text in texts:
        assert ours.search(text) == any(theirs.match(text, position) for position in range(len(text) + 1))
        assert ours.fullmatch(text) == (theirs.fullmatch(text) is not None)


@given(code=st.integers(0, 0x10FFFF), item=ATOMS, flags=FLAGS)
def test_every_character_is_what_it_is_to_re(code: int, item: str, flags: int) -> None:
    """In whatever script, and also where two characters are one without regard to case."""
    for pattern in (item, re.escape(chr(code)), f"[^{re.escape(chr(code))}]"):
        theirs = re.compile(pattern, flags)
        for text in (chr(code), chr(code).swapcase(), "K", "\u017f"):
            assert LinearPattern(theirs).fullmatch(text) == (theirs.fullmatch(text) is not None)


@pytest.mark.parametrize("flag", [re.I, re.M, re.S, re.A, re.X, re.DEBUG])
def test_flags_of_a_compiled_pattern_count(flag: re.RegexFlag, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that `re.compile` was given, as those that stand in the pattern. `re.DEBUG` prints once, when it is compiled."""
    theirs = re.compile(r"^a . b\w$", flag)
    capsys.readouterr()
    ours = LinearPattern(theirs)
    for text in ("a - bc", "A - BC", "x\na - bc", "a \n bc", "a - bé", "a-bc", "axbc"):
        assert ours.search(text) == (theirs.search(text) is not None)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        ("(?=a)", "looks ahead or behind"),
        ("(?!a)", "looks ahead or behind"),
        ("(?!)", "looks ahead or behind"),
        ("x(?<=a)", "looks ahead or behind"),
        ("(?<!a)", "looks ahead or behind"),
        (r"(a)\1", "refers back to a group"),
        ("(?P<one>a)|(?P=one)", "refers back to a group"),
        ("(a)?(?(1)b|c)", "asks whether a group matched"),
        *([("(?>a)", "has an atomic group"), ("a*+", "has a possessive repeat")] if sys.version_info >= (3, 11) else []),
    ],
)
def test_a_pattern_that_is_not_regular_is_refused(pattern: str, what: str) -> None:
    """Where it is given, with what is wrong and what to do; not when the first request comes."""
    words = f"{re.escape(repr(pattern))} {what}, which kvfake's linear matching cannot do; expected a pattern without that"
    with Double() as double:
        with pytest.raises(ValueError, match=f"^key: {words}"):
            double.faults.add(503, key=re.compile(pattern))
        with pytest.raises(ValueError, match=f"^path: {words}"):
            double.respond("GET", re.compile(pattern))
        with pytest.raises(ValueError, match=f"^owner: {words}"):
            double.journal.filter(owner=re.compile(pattern))
        assert (len(double.faults), double._world.routes.routes) == (0, ())


@pytest.mark.parametrize("pattern", ["a{5000}", "((a?){70}){70}", "(?:a|bc){1,2000}", "|".join(map(str, range(1000, 3000)))])
def test_a_pattern_that_is_too_large_is_refused(pattern: str) -> None:
    """Repeats are written out, so a short pattern can be a large one."""
    with pytest.raises(ValueError, match=f"^key: .* is too large: expected at most {MAX_NODES} nodes, with"):
        Matcher(key=re.compile(pattern))


@pytest.mark.parametrize("pattern", ["a{4000}", "(?:){100000}", "(?:){0,100000}", "(?:(?:){2}|){1000}"])
def test_a_large_repeat_is_no_reason_to_refuse(pattern: str) -> None:
    """Up to the bound; what matches nothing but the empty text is not written out at all."""
    assert LinearPattern(re.compile(pattern)).fullmatch("a" * 4000) == pattern.startswith("a")


def test_a_pattern_that_is_nested_too_deep_for_the_stack_is_refused() -> None:
    """The standard library's parser recurses; where it was compiled, there may have been more room."""
    pattern = re.compile("(" * 60 + "a" + ")" * 60)

    def below(frames: int) -> LinearPattern:
        return LinearPattern(pattern) if frames == 0 else below(frames - 1)

    with pytest.raises(ValueError, match=r"is nested too deep$"):
        below(sys.getrecursionlimit() - len(inspect.stack()) - 50)


# ------------------------------------------------------------------------------------------------------------------ growth


def seconds(pattern: str, text: str) -> float:
    ours = LinearPattern(re.compile(pattern))
    began = time.thread_time()
    ours.search(text)
    return time.thread_time() - began


@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "(a|a)*b", "(.*a){20}c", ".*.*.*.*x", "(a?){40}a{40}b", "^(a|b|ab)*c", "(?:a|b)*a(?:a|b){30}c"]
)
def test_twice_the_text_takes_twice_the_time(pattern: str) -> None:
    """Also for the patterns that keep `re` busy for ever, and also where no set of nodes comes a second time."""
    pick = random.Random(1)
    text = "".join(pick.choice("ab" if "b)" in pattern else "a") for _ in range(20_000)) + "!"
    half = whole = 5.0
    for attempt in range(30):  # processor time, and the best of several tries: others may be busy
        half, whole = min(half, seconds(pattern, text[10_000:])), min(whole, seconds(pattern, text))
        if attempt >= 2 and whole < 2.5 * half:
            break
    assert whole < 2.5 * half


def test_what_a_pattern_keeps_is_bounded() -> None:
    """A pattern keeps what it has worked out, and begins anew where that grows too large. Its answers stay right."""
    pick = random.Random(1)
    theirs = re.compile("a[ab]{50}c")
    ours = LinearPattern(theirs)
    texts = ["".join(pick.choices("ab", k=300)) + pick.choice("ac") for _ in range(20)]
    tracemalloc.start()
    answers = [ours.search(text) for text in texts]
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answers == [theirs.search(text) is not None for text in texts]
    assert set(answers) == {False, True}
    assert kept < 1_500_000, f"{kept:,} bytes"


@given(texts=st.lists(st.text(), min_size=1))
def test_what_a_pattern_was_asked_before_changes_no_answer(texts: list[str]) -> None:
    """Searching and matching the whole use the same cache."""
    ours, theirs = LinearPattern(re.compile("(?i)a.?$|é")), re.compile("(?i)a.?$|é")
    assume(any(texts))
    for text in [*texts, *texts, "a", "xa\n", "a"]:
        assert (ours.fullmatch(text), ours.search(text)) == (bool(theirs.fullmatch(text)), bool(theirs.search(text)))


# --------------------------------------------------------------------------------------------------------- in front of it all


def test_a_fault_with_a_bad_pattern_stops_nobody() -> None:
    """``^(a+)+$`` would have the loop for as long as the machine lives."""
    with kvfake.start() as double, Wire(server_of(double).port) as wire:
        double.faults.add(503, key=re.compile("^(a+)+$"), times=None)
        double.respond(None, re.compile("/(a+)+"), body="routed")
        kv = double.mattermost.url_for("").removeprefix(double.url)
        assert wire.ask(request_bytes("GET", f"{kv}{'a' * 5000}!", double.mattermost.headers)).status == 200
        assert wire.ask(request_bytes("GET", f"{kv}{'a' * 5000}", double.mattermost.headers)).status == 503
        assert wire.ask(request_bytes("GET", f"/{'a' * 5000}!")).status == 404
        assert wire.ask(request_bytes("GET", f"/{'a' * 5000}")).text == "routed"


def test_comparing_that_takes_long_leaves_the_loop() -> None:
    """Many patterns, or large ones, and a long key or path: a thread compares them, and the answers are the same."""
    with Double() as double:
        for _ in range(4):
            double.faults.add(503, key=re.compile("[ab]{500}x"))
            double.respond("GET", re.compile(f"/[ab]{{1,{len(double._world.routes.routes) + 500}}}"), body="routed")
        double.mount("/c", lambda environ, start: start("201 Created", []) and [])
        kv, headers = double.mattermost.url_for("").removeprefix(double.url), {b"authorization": b"Bearer t"}
        long = {
            f"{kv}{'ab' * 400}": (Job, 200),
            f"{kv}{'ab' * 400}x": (Job, 503),
            f"/{'ab' * 200}": (Job, 200),
            f"/{'ac' * 200}": (Job, 404),
            f"/c/{'ac' * 200}": (Job, 201),
            f"{kv}a": (Response, 200),
            "/a": (Response, 200),
            "/ac": (Response, 404),
        }
        for path, (kind, status) in long.items():
            answer = double._router.answer(Request("GET", path.encode(), headers))
            assert isinstance(answer, kind)
            assert not (isinstance(answer, Job) and path.startswith(kv)) or answer.lane is Lane.SERVICE
            response = answer() if isinstance(answer, Job) else answer
            assert (path, response.status) == (path, status)


def test_an_mget_is_compared_with_all_its_keys_as_far_as_the_bound() -> None:
    """A pattern looks at the first 65,536 characters of a field, and of a path."""
    keys = [b"k" * 1000] * (MAX_CHARACTERS // 1000)
    assert Matcher(key=re.compile("x$")).matches(asked("mget", keys=(*keys, b"x")))
    assert not Matcher(key=re.compile("x$")).matches(asked("mget", keys=(*keys, b"k" * 1000, b"x")))
    with Double() as double:
        double.respond("GET", re.compile("/a+"), body="routed")
        (route,) = double._world.routes.routes
        assert route.matches("GET", "/" + "a" * MAX_CHARACTERS + "b")
        assert not route.matches("GET", "/" + "a" * (MAX_CHARACTERS - 2) + "b")


def test_only_who_gives_a_pattern_loads_what_matches_it() -> None:
    """A double without patterns costs nothing more."""
    code = "import kvfake, kvfake.double, re; double = kvfake.Double(); double.faults.add(503, key={}); double.respond('GET', '/a')"
    assert "kvfake.world.patterns" not in loaded_after(code.format("'k'"))
    assert "kvfake.world.patterns" in loaded_after(code.format("re.compile('k')"))
