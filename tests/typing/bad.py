"""Mistakes of users. Type checkers find each of them, on the lines that end with ``# error``, and nothing else."""

from __future__ import annotations

import kvfake
from kvfake import Doubel  # error
from kvfake import Double, DoubleFactory

kvfake.strat()  # error
kvfake.start(prot=1)  # error
kvfake.start(port="any")  # error
kvfake.start(export="values.json")  # error
kvfake.start().server  # error
Double(profile="nope")  # error
Double(mattermost_missing="none")  # error
Double(token={"mine": 1})  # error
Double(strcit=True)  # error
Double().holdings()  # error


def settings(kvfake_factory: DoubleFactory) -> None:
    kvfake_factory(prot=1)  # error
    kvfake_factory(port=1)  # error
    kvfake_factory(profile="plugin-2")  # error


def values(double: Double) -> None:
    double.persist["k"] = 5  # error
    double.persist.raw["k"] = "text"  # error
    double.mattermost.call({"dish": 1})  # error
    double.mattermost.project("other")  # error


def faults(double: Double) -> None:
    double.faults.add(staus=503)  # error
    double.faults.add(sever="atfer")  # error
    double.faults.add(delay={"medain": 1})  # error
    double.faults.on("PUT", kye="k")  # error
    double.faults.on("PUT").lose()  # error
    double.faults.on("PUT").answer("503")  # error


def journal(double: Double) -> None:
    double.journal.filter(kye="a")  # error
    double.journal.assert_requested("PUT", kye="a")  # error
    double.journal.assert_not_requested(kye="a")  # error
    double.journal.wait_for("PUT", kye="a")  # error
    double.journal[-1].fault.hts  # error
    double.journal[-1].statsu  # error


def clock(double: Double) -> None:
    double.clock.frezee()  # error
    double.clock.shift("1s")  # error
