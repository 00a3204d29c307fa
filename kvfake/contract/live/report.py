"""What ``kvfake verify`` says: lines for whoever reads them, JSON and JUnit's XML for what does.

Law: verdicts in, text out. Everything that came from a server goes through what hides tokens before it is shown, or cut.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree as ET

from kvfake.contract.call import Answer
from kvfake.contract.live.hiding import HIDDEN, shortened
from kvfake.contract.live.judging import DIFFERS, HOLDS, UNSEEN, Finding, Verdict

_MAX_SENTENCE_CHARACTERS = 90
_MAX_CHARACTERS = 240  # of a header, a target, a body
_MAX_WHY_CHARACTERS = 1000
_MAX_BODY_BYTES = 4096  # of one that is looked through for tokens, to show its beginning
_MAX_EXCHANGES = 20  # of one check
_LEFT = " " * 5


class Report:
    """Of one service at one place; ``against`` is ``None`` for the double itself. ``hide`` takes tokens out of a text."""

    def __init__(self, service: str, against: str | None, hide: Callable[[str], str]) -> None:
        self.service, self.against, self._hide = service, against, hide
        self.profile: str | None = None
        self.verdicts: list[Verdict] = []
        self.stopped: str | None = None  # why not every row was asked about

    # --------------------------------------------------------------------------------------------------------------- lines

    def heading(self) -> str:
        return f"Asking {self.against or 'the double itself'} ({self.service}, profile {self.profile})"

    def lines(self, verdict: Verdict) -> list[str]:
        """One line, and what differs below it."""
        sentence = textwrap.shorten(_plain(verdict.row.sentence), _MAX_SENTENCE_CHARACTERS, placeholder=" ...")
        if verdict.outcome == UNSEEN:
            sentence = f"{self._why_unseen(verdict)}: {sentence}"
        lines = [f"{verdict.row.id}  {verdict.outcome:{len(UNSEEN)}}  {sentence}"]
        for finding in verdict.differing:
            lines.append(f"{_LEFT}{self._why(finding)}")
            lines += [f"{_LEFT}  {line}" for answer in finding.exchanges[-1:] for line in self._exchange(answer)]
        return lines

    def summary(self) -> str:
        counts = self._counts()
        seen = f"{counts['holds']} {_verb(counts['holds'], 'hold')}, {counts['differs']} {_verb(counts['differs'], 'differ')}"
        unseen = counts["not seen"]
        why = ", ".join(
            f"{number} {_verb(number, 'need')} {missing}" if missing.startswith("--") else f"{number} {missing}"
            for missing, number in self._missing().items()
        )
        return f"{counts['rows']} rows: {seen}, {unseen} could not be seen" + (f" ({why})" if why else "")

    def _counts(self) -> dict[str, int]:
        outcomes = Counter(verdict.outcome for verdict in self.verdicts)
        return {"rows": len(self.verdicts), **{outcome: outcomes[outcome] for outcome in (HOLDS, DIFFERS, UNSEEN)}}

    def _missing(self) -> Counter[str]:
        """What would have to be there for how many rows; one may need two things."""
        named = [
            {missing if missing.startswith("--") else "that no client can see" for missing in verdict.missing}
            for verdict in self.verdicts
            if verdict.outcome == UNSEEN
        ]
        return Counter(missing for names in named for missing in sorted(names))

    def _why_unseen(self, verdict: Verdict) -> str:
        options = [missing for missing in verdict.missing if missing.startswith("--")]
        needs = [f"needs {' and '.join(options)}"] if options else []
        others = [self._hide(missing) for missing in verdict.missing if not missing.startswith("--")]
        return "; ".join(needs + others) + (" (the rest holds)" if verdict.does_rest_hold else "")

    def _why(self, finding: Finding) -> str:
        return f"{finding.check.partition('-')[2]}: {shortened(self._hide(finding.why), _MAX_WHY_CHARACTERS)}"

    def _exchange(self, answer: Answer) -> Iterator[str]:
        shown = self._shown(answer)
        for mark, message in ((">", shown["request"]), ("<", shown["response"])):
            yield f"{mark} {message.get('status') or message['method'] + ' ' + message['target']}".rstrip()
            yield from (f"{mark} {name}: {value}" for name, value in message["headers"].items())
            if message["body"]:
                yield f"{mark} {message['body']}"

    def _shown(self, answer: Answer) -> dict[str, Any]:
        """What may be shown. A request that was written byte by byte is its own body, and has no target."""
        call = answer.call
        return {
            "request": {
                "method": self._hide(call.method),
                "target": self._cut(call.target),
                "headers": self._headers(call.headers),
                "body": self._body(call.body),
            },
            "response": {"status": answer.status, "headers": self._headers(answer.headers), "body": self._body(answer.body)},
        }

    def _headers(self, headers: Any) -> dict[str, str]:
        return {self._cut(name): self._cut(value) for name, value in headers.items()}

    def _cut(self, text: str) -> str:
        return shortened(self._hide(text), _MAX_CHARACTERS)

    def _body(self, body: bytes) -> str:
        text = body[:_MAX_BODY_BYTES].decode("utf-8", "backslashreplace") + (HIDDEN if len(body) > _MAX_BODY_BYTES else "")
        shown = self._cut(text)
        return shown if len(body) <= _MAX_CHARACTERS else f"{shown} ({len(body)} bytes)"

    # -------------------------------------------------------------------------------------------------------------- files

    def as_json(self) -> dict[str, Any]:
        return {
            "service": self.service,
            "against": self.against,
            "profile": self.profile,
            "rows": [self._row(verdict) for verdict in self.verdicts],
            "counts": self._counts(),
            "missing": self._missing(),
            **({"stopped": self.stopped} if self.stopped else {}),
        }

    def _row(self, verdict: Verdict) -> dict[str, Any]:
        row = verdict.row
        why = [self._why(finding) for finding in verdict.differing]
        if verdict.missing:
            why.append(self._why_unseen(verdict))
        return {
            "row": row.id,
            "sentence": _plain(row.sentence),
            "source": row.source,
            "outcome": verdict.outcome,
            "why": why,
            "exchanges": [self._shown(answer) for finding in verdict.differing for answer in finding.exchanges[-_MAX_EXCHANGES:]],
        }

    def as_junit(self, is_unseen_failure: bool) -> bytes:
        """A test case for each row."""
        failing = (DIFFERS, UNSEEN) if is_unseen_failure else (DIFFERS,)
        failures = [verdict for verdict in self.verdicts if verdict.outcome in failing]
        skipped = [verdict for verdict in self.verdicts if verdict.outcome == UNSEEN and not is_unseen_failure]
        suite = ET.Element(
            "testsuite",
            name=f"kvfake verify {self.service}",
            tests=str(len(self.verdicts) + bool(self.stopped)),
            failures=str(len(failures)),
            errors=str(int(bool(self.stopped))),
            skipped=str(len(skipped)),
        )
        for verdict in self.verdicts:
            case = _case(suite, self.service, f"{verdict.row.id} {_plain(verdict.row.sentence)}")
            first, *more = self.lines(verdict)
            if verdict in failures:
                message = more[0].strip() if more else self._why_unseen(verdict)
                ET.SubElement(case, "failure", message=message).text = "\n".join([first, *more])
            elif verdict in skipped:
                ET.SubElement(case, "skipped", message=self._why_unseen(verdict))
        if self.stopped:
            ET.SubElement(_case(suite, self.service, "every row is asked about"), "error", message=self.stopped)
        document: bytes = ET.tostring(suite, "utf-8", xml_declaration=True)
        return document


def _case(suite: ET.Element, service: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=f"kvfake.verify.{service}", name=name)


def _plain(sentence: str) -> str:
    return sentence.replace("``", "")


def _verb(number: int, verb: str) -> str:
    return verb + "s" if number == 1 else verb
