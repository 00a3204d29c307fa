"""What is made for each request: named fields, compared and shown by their names."""

from __future__ import annotations

from kvfake.services.messages import Request, Response


def test_the_same_fields_are_the_same_value() -> None:
    """Of the same kind."""
    assert Response(200, body=b"1") == Response(200, body=b"1")
    assert Response(200, body=b"1") != Response(200, body=b"2")
    assert Response(200) != Request("GET", b"/", {})


def test_another_value_with_a_few_fields_changed() -> None:
    """The first stays as it is."""
    response = Response(200, body=b"1")
    assert response.replace(status=404, close=True) == Response(404, body=b"1", close=True)
    assert response == Response(200, body=b"1")


def test_a_failing_test_shows_the_fields() -> None:
    """By name."""
    assert (
        repr(Response(204, rows=("M17",)))
        == "Response(body=b'', close=False, headers=(), rows=('M17',), status=204, wire_fault=None)"
    )
