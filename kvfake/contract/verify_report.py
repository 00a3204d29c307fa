"""The report of ``kvfake verify``: lines for people, JSON and JUnit's XML for tools.

Law: verdicts in, text out. A text from a server is first redacted as a whole, and then cut.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from kvfake.contract.checks import DIFFERS, HOLDS, NOT_SEEN, Finding, Verdict
from kvfake.contract.checks.client import CheckResponse
from kvfake.lines import printable
from kvfake.world.redaction import HIDDEN, Redactor, shortened

_MAX_SENTENCE_CHARACTERS = 90
_MAX_CHARACTERS = 240  # of a header, a target, a body
_MAX_WHY_CHARACTERS = 1000
_MAX_MISMATCH_BODY_CHARACTERS = 200  # of one body in the sentence of a mismatch
_MAX_EXCHANGES = 20  # of one check
_NO_OPTION = "that no client can see"
_JUNIT_COUNTS = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}  # attribute: element
_INDENT = " " * 5


class Report:
    """The report on one service of one server. ``against`` is its URL, or ``None`` for the double itself; ``stopped`` says why not
    every row was checked.
    """

    def __init__(self, service: str, against: str | None, redactor: Redactor) -> None:
        self.service, self.against, self._redact = service, against, redactor.redact
        self._redactor = redactor
        self.profile: str | None = None
        self.verdicts: list[Verdict] = []
        self.stopped: str | None = None

    # --------------------------------------------------------------------------------------------------------------- lines

    def heading(self) -> str:
        return f"Asking {self.against or 'the double itself'} ({self.service}, profile {self.profile})"

    def lines(self, verdict: Verdict) -> list[str]:
        """A line for the row, and below it what differs."""
        sentence = textwrap.shorten(_plain(verdict.row.sentence), _MAX_SENTENCE_CHARACTERS, placeholder=" ...")
        if verdict.outcome == NOT_SEEN:
            sentence = f"{self._why_unseen(verdict)}: {sentence}"
        lines = [f"{verdict.row.id}  {verdict.outcome:{len(NOT_SEEN)}}  {sentence}"]
        for finding in verdict.mismatches:
            lines.append(f"{_INDENT}{self._why(finding)}")
            lines += [f"{_INDENT}  {line}" for exchange in finding.exchanges[-1:] for line in self._exchange(exchange)]
        return lines

    def summary(self) -> str:
        counts = self._counts()
        seen = f"{counts['holds']} {_verb(counts['holds'], 'hold')}, {counts['differs']} {_verb(counts['differs'], 'differ')}"
        unseen = counts["not seen"]
        why = ", ".join(
            f"{number} {_NO_OPTION}" if option is None else f"{number} {_verb(number, 'need')} {option}"
            for option, number in self._missing().items()
        )
        return f"{counts['rows']} rows: {seen}, {unseen} could not be seen" + (f" ({why})" if why else "")

    def _counts(self) -> dict[str, int]:
        outcomes = Counter(verdict.outcome for verdict in self.verdicts)
        return {"rows": len(self.verdicts), **{outcome: outcomes[outcome] for outcome in (HOLDS, DIFFERS, NOT_SEEN)}}

    def _missing(self) -> Counter[str | None]:
        """How many rows could not be seen for want of each option; ``None`` counts those that no option changes. A row may count
        twice.
        """
        unseen = [verdict for verdict in self.verdicts if verdict.outcome == NOT_SEEN]
        return Counter(one for verdict in unseen for one in (*sorted(verdict.options), *([None] if verdict.reasons else [])))

    def _why_unseen(self, verdict: Verdict) -> str:
        needs = [f"needs {' and '.join(verdict.options)}"] if verdict.options else []
        return "; ".join([*needs, *verdict.reasons]) + (" (the rest holds)" if verdict.does_rest_hold else "")

    def _why(self, finding: Finding) -> str:
        why = "".join(self._redact(part) if isinstance(part, str) else self._bytes(part) for part in finding.mismatch.parts)
        return f"{finding.check.title}: {shortened(why, _MAX_WHY_CHARACTERS)}"

    def _bytes(self, data: bytes) -> str:
        text = self._redact(repr(self._redactor.redact_message(data))[1:])
        if len(text) <= _MAX_MISMATCH_BODY_CHARACTERS:
            return text
        return f"{text[:_MAX_MISMATCH_BODY_CHARACTERS]}{text[0]}{HIDDEN} ({len(data)} bytes)"

    def _exchange(self, exchange: CheckResponse) -> Iterator[str]:
        shown = self._shown(exchange)
        for mark, message in ((">", shown["request"]), ("<", shown["response"])):
            yield f"{mark} {message.get('status') or message['method'] + ' ' + message['target']}".rstrip()
            yield from (f"{mark} {name}: {value}" for name, value in message["headers"].items())
            if message["body"]:
                yield f"{mark} {message['body']}"

    def _shown(self, exchange: CheckResponse) -> dict[str, Any]:
        """The exchange without tokens. A request that was sent on a plain connection has its bytes as the body, and no target."""
        request = exchange.request
        return {
            "request": {
                "method": self._redact(request.method),
                "target": self._cut(request.target),
                "headers": self._headers(request.headers),
                "body": self._body(request.body),
            },
            "response": {"status": exchange.status, "headers": self._headers(exchange.headers), "body": self._body(exchange.body)},
        }

    def _headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {self._cut(name): self._cut(self._header(name, value)) for name, value in headers.items()}

    def _header(self, name: str, value: str) -> str:
        return self._redactor.header(name.lower().encode(), value.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def _cut(self, text: str) -> str:
        return shortened(printable(self._redactor.redact_text(text)), _MAX_CHARACTERS)

    def _body(self, body: bytes) -> str:
        shown = self._cut(body.decode("utf-8", "backslashreplace"))
        return shown if len(body) <= _MAX_CHARACTERS else f"{shown} ({len(body)} bytes)"

    # -------------------------------------------------------------------------------------------------------------- files

    def as_json(self) -> dict[str, Any]:
        return {
            "service": self.service,
            "against": self.against,
            "profile": self.profile,
            "rows": [self._row(verdict) for verdict in self.verdicts],
            "counts": self._counts(),
            "missing": {option or _NO_OPTION: number for option, number in self._missing().items()},
            **({"stopped": self.stopped} if self.stopped else {}),
        }

    def _row(self, verdict: Verdict) -> dict[str, Any]:
        row = verdict.row
        why = [self._why(finding) for finding in verdict.mismatches]
        if verdict.options or verdict.reasons:
            why.append(self._why_unseen(verdict))
        return {
            "row": row.id,
            "sentence": _plain(row.sentence),
            "source": row.source,
            "outcome": verdict.outcome,
            "why": why,
            "exchanges": [self._shown(one) for finding in verdict.mismatches for one in finding.exchanges[-_MAX_EXCHANGES:]],
        }

    def as_junit(self, is_unseen_failure: bool) -> bytes:
        """A test case for each row."""
        suite = ET.Element("testsuite", name=f"kvfake verify {self.service}")
        classname = f"kvfake.verify.{self.service}"
        for verdict in self.verdicts:
            case = add_case(suite, classname, f"{verdict.row.id} {_plain(verdict.row.sentence)}")
            first, *more = self.lines(verdict)
            if verdict.outcome == DIFFERS or (is_unseen_failure and verdict.outcome == NOT_SEEN):
                message = more[0].strip() if more else self._why_unseen(verdict)
                ET.SubElement(case, "failure", message=message).text = "\n".join([first, *more])
            elif verdict.outcome == NOT_SEEN:
                ET.SubElement(case, "skipped", message=self._why_unseen(verdict))
        if self.stopped:
            ET.SubElement(add_case(suite, classname, "every row is asked about"), "error", message=self.stopped)
        return junit_document(suite)


def add_case(suite: ET.Element, classname: str, name: str) -> ET.Element:
    """A new test case of the suite."""
    return ET.SubElement(suite, "testcase", classname=classname, name=name)


def junit_document(suite: ET.Element) -> bytes:
    """The suite as a file of JUnit's XML, with its counts."""
    for attribute, tag in _JUNIT_COUNTS.items():
        suite.set(attribute, str(len(list(suite.iter(tag)))))
    document: bytes = ET.tostring(suite, "utf-8", xml_declaration=True)
    return document


def _plain(sentence: str) -> str:
    return sentence.replace("``", "")


def _verb(number: int, verb: str) -> str:
    return verb + "s" if number == 1 else verb
