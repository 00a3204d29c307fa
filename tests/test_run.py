"""``kvfake run``: a command beside a double of its own, as if nothing stood between the user and the command."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kvfake.cli import main
from tests.support.process import CTRL_C, CTRL_Z, KVFAKE, PYTHON, Ended, Running, Terminal, asked, kvfake

SAY_ENVIRONMENT = (*PYTHON, "import json, os; print(json.dumps(dict(os.environ)))")

# Says which signals come to it, until it reads a line; then its exit code is 7. (It does not wait in read() with handlers in
# Python: a signal that comes on the way into read() is heard of after it. The system itself writes its number to the pipe.)
WITNESS = (
    *PYTHON,
    """
import os, select, signal, sys
heard, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
    signal.signal(getattr(signal, name), lambda number, frame: None)
signal.alarm(40)
os.write(1, b"ready\\n")
while heard in select.select([0, heard], [], [])[0]:
    for number in os.read(heard, 1000):
        os.write(1, signal.Signals(number).name.encode() + b"\\n")
os.read(0, 1000)
os.write(1, b"done\\n")
sys.exit(7)
""",
)
SETTLED_SECONDS = 0.2  # a signal that was sent twice would have come by then


# ------------------------------------------------------------------------------------------------- what the command is given


def environment_of_command(*flags: str, **environ: str) -> dict[str, str]:
    ended = kvfake("run", *flags, "--", *SAY_ENVIRONMENT, **environ)
    assert ended.code == 0
    found: dict[str, str] = json.loads(ended.out)
    return found


def test_the_command_finds_the_double_in_its_environment() -> None:
    """Addresses and tokens of both services stand there; a client that uses proxies leaves them out for this machine."""
    env = environment_of_command()
    url = env["KVFAKE_URL"]
    assert url.startswith("http://127.0.0.1:")
    assert env["MATTERMOST_SITE_URL"] == url
    assert env["BEEPBOOP_PERSIST_URL"] == env["BEEPBOOP_API_URL"] == url + "/api/v1"
    assert len(env["MATTERMOST_BOT_TOKEN"]) == 26
    assert len(env["BEEPBOOP_TOKEN"]) == 32
    assert env["NO_PROXY"] == "127.0.0.1"
    assert "no_proxy" not in env


def test_the_rest_of_the_environment_stays() -> None:
    """The hosts that needed no proxy before need none now, in both spellings; other variables are as they were."""
    env = environment_of_command(NO_PROXY="a.example, b.example", no_proxy="c.example", HTTP_PROXY="http://127.0.0.1:9", OTHER="x")
    assert env["NO_PROXY"] == "a.example,b.example,127.0.0.1"
    assert env["no_proxy"] == "c.example,127.0.0.1"
    assert env["HTTP_PROXY"] == "http://127.0.0.1:9"
    assert env["OTHER"] == "x"


def test_no_proxy_for_anything_stays_so() -> None:
    """``NO_PROXY=*`` holds for this machine already."""
    assert environment_of_command(NO_PROXY="*")["NO_PROXY"] == "*"


def test_run_takes_the_options_of_serve() -> None:
    """Flags and variables that settle a server settle the one of the command, all but the variable of the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = environment_of_command("--site-path", "/mm", KVFAKE_PORT=port)
        refused = kvfake("run", "--port", port, "--", *SAY_ENVIRONMENT)
    assert env["KVFAKE_URL"].endswith("/mm")
    assert env["BEEPBOOP_PERSIST_URL"] == env["KVFAKE_URL"] + "/api/v1"
    assert f":{port}/" not in env["KVFAKE_URL"]
    assert refused.code == 1
    assert refused.out == ""
    assert refused.err.startswith(f"kvfake: cannot listen on 127.0.0.1:{port}: Address already in use")


def test_its_own_tokens_are_known_also_with_strict() -> None:
    """A strict double refuses strangers, and never the command that it was started for."""
    program = """
import os, urllib.error, urllib.request
def status(url, token):
    request = urllib.request.Request(url, b"1", {"Authorization": "Bearer " + token}, method="PUT")
    try:
        return urllib.request.urlopen(request, timeout=10).status
    except urllib.error.HTTPError as refused:
        return refused.code
mattermost = os.environ["MATTERMOST_SITE_URL"] + "/plugins/com.mattermost.apps/api/v1/kv/name"
persist = os.environ["BEEPBOOP_PERSIST_URL"] + "/persist/kv/name"
for url, token in ((mattermost, "MATTERMOST_BOT_TOKEN"), (persist, "BEEPBOOP_TOKEN")):
    print(status(url, os.environ[token]), status(url, "stranger"))
"""
    ended = kvfake("run", "--strict", "--", *PYTHON, program)
    assert ended.code == 0
    first, second = ended.out.splitlines()
    assert first == "200 401"
    assert second.endswith(" 401")
    assert not second.startswith("401")


def test_stdout_is_the_commands_alone() -> None:
    """Nothing but what the command says comes out of stdout; the log of exchanges goes to stderr."""
    program = "import os, urllib.request as u; print(u.urlopen(os.environ['KVFAKE_URL'] + '/_kvfake/health', timeout=10).status)"
    ended = kvfake("run", "--log", "--", *PYTHON, program)
    assert ended.out == "200\n"
    assert " GET /_kvfake/health - 200 " in ended.err
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "heard"),
    [
        (["--", "printf", "%s|", "a", "b"], "a|b|"),
        (["printf", "%s|", "a", "--strict"], "a|--strict|"),
        (["--", "printf", "%s|", "--", "--help"], "--|--help|"),
        (["printf", "%s|", "--", "a"], "--|a|"),
    ],
    ids=["behind --", "without --", "-- behind --", "-- in the command"],
)
def test_the_commands_words_are_its_own(words: list[str], heard: str) -> None:
    """What stands behind the first word of the command reaches it as it was written, as in ``npm test -- --watch``."""
    assert kvfake("run", "--strict", *words) == Ended(0, heard, "")


def test_file_descriptors_of_the_shell_stay_open(tmp_path: Path) -> None:
    """A file descriptor that was handed over, as ``<(...)`` does, is there in the command."""
    file = tmp_path / "file"
    file.write_text("from descriptor 9")
    script = f'exec 9< "$1"; {shlex.join(KVFAKE)} run -- sh -c "cat <&9"'
    with Running("-c", script, "sh", str(file), program=("sh",)) as process:
        assert process.end() == Ended(0, "from descriptor 9", "")


def test_the_double_ends_with_the_command() -> None:
    """Afterwards nobody answers at its address."""
    port = int(environment_of_command()["KVFAKE_URL"].rpartition(":")[2])
    with socket.socket() as client:
        client.settimeout(10)
        with pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", port))


# ------------------------------------------------------------------------------------------------------------- how it ends


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143), ("kill -KILL $$", 137), ("kill -INT $$", 130)]
)
def test_the_exit_code_is_the_commands(script: str, code: int) -> None:
    """A command that a signal has ended has 128 and the signal's number, as in a shell."""
    assert kvfake("run", "--", "sh", "-c", script) == Ended(code, "", "")


def test_a_command_that_is_not_found() -> None:
    """One line on stderr, and what a shell would say: 127."""
    ended = kvfake("run", "--", "no-such-command-of-kvfake")
    assert ended == Ended(127, "", "kvfake: cannot run no-such-command-of-kvfake: No such file or directory\n")


def test_a_command_that_cannot_be_executed(tmp_path: Path) -> None:
    """A file that is no program, or a folder, is 126."""
    file = tmp_path / "file"
    file.write_text("echo never")
    for path in (file, tmp_path):
        assert kvfake("run", "--", str(path)) == Ended(126, "", f"kvfake: cannot run {path}: Permission denied\n")


@pytest.mark.parametrize("words", [["run"], ["run", "--"], ["run", "--strict"], ["run", "--strict", "--"]], ids=" ".join)
def test_no_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What to write is said, and the exit code is 2."""
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "run: expected a command, as in: kvfake run -- npm test" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("to_the_group", [False, True], ids=["to kvfake alone", "to the group of kvfake"])
def test_a_signal_reaches_the_command_once(to_the_group: bool) -> None:
    """Whoever ends a job signals its first process or its whole group: the command gets it, and gets it once."""
    with Running("run", "--", *WITNESS) as process:
        assert process.line() == "ready"
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
            (process.signal_group if to_the_group else process.signal)(getattr(signal, name))
            assert process.line() == name
        time.sleep(SETTLED_SECONDS)
        process.write("\n")
        assert process.end() == Ended(7, "done\n", "")


def test_a_signal_that_ends_the_command_ends_the_run() -> None:
    """The exit code says which one it was."""
    with Running("run", "--", "sh", "-c", "echo ready; exec sleep 40") as process:
        assert process.line() == "ready"
        process.signal(signal.SIGTERM)
        assert process.end() == Ended(143, "", "")


def test_a_command_that_ignores_a_signal_goes_on() -> None:
    """kvfake waits for it, serves it, and has its exit code."""
    with Running("run", "--", "sh", "-c", 'trap "" TERM; echo "$KVFAKE_URL"; read line; exit 5') as process:
        url = process.line()
        process.signal(signal.SIGTERM)
        assert asked(url + "/_kvfake/health").status == 200
        process.write("\n")
        assert process.end() == Ended(5, "", "")


def test_a_signal_that_comes_too_early_waits_for_the_command() -> None:
    """Sent while the command is being started, it reaches the command, and not only kvfake."""
    program = """
import os, signal, subprocess, sys
class Late(subprocess.Popen):
    def __init__(self, *args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        super().__init__(*args, **options)
subprocess.Popen = Late
from kvfake.cli import main
sys.exit(main(["run", "--", "sleep", "40"]))
"""
    with Running(program=(sys.executable, "-c", program)) as process:
        assert process.end() == Ended(143, "", "")


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """As under nohup, and in the background of a script: neither kvfake nor the command is disturbed."""
    script = f"trap '' INT HUP; exec {shlex.join(KVFAKE)} run -- sh -c 'echo ready; read line; echo undisturbed'"
    with Running("-c", script, program=("sh",)) as process:
        assert process.line() == "ready"
        process.signal_group(signal.SIGINT)
        process.signal_group(signal.SIGHUP)
        time.sleep(SETTLED_SECONDS)
        process.write("\n")
        assert process.end() == Ended(0, "undisturbed\n", "")


def test_an_ignored_sigchld_is_not_handed_down() -> None:
    """Whoever ignores SIGCHLD hands that down; kvfake learns of the command's end all the same."""
    program = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, "-m", "kvfake", "run", "--", "sh", "-c", "exit 3"])
"""
    with Running(program=(*PYTHON, program)) as process:
        assert process.end() == Ended(3, "", "")


def test_a_command_that_was_stopped_is_waited_for() -> None:
    """Without a terminal whoever stopped it makes it go on, and kvfake has nothing to do with it."""
    with Running("run", "--", "sh", "-c", "echo $$; kill -STOP $$; echo on; exit 4") as process:
        command = int(process.line())
        for _ in range(500):  # until the shell has stopped, it has no effect
            with suppress(ProcessLookupError):
                os.kill(command, signal.SIGCONT)
            if process.process.poll() is not None:
                break
            time.sleep(0.02)
        assert process.end() == Ended(4, "on\n", "")


# ------------------------------------------------------------------------------------------------------------- at a terminal


def test_ctrl_c_reaches_the_command_once() -> None:
    """The command alone decides what it means."""
    with Terminal("run", "--", *WITNESS) as terminal:
        assert terminal.line() == "ready"
        terminal.type(CTRL_C)
        assert terminal.line() == "SIGINT"
        time.sleep(SETTLED_SECONDS)
        terminal.type("\n")
        assert terminal.line() == "done"
        assert terminal.line() == "shell: ended with 7, terminal of the job"


def test_ctrl_c_ends_a_command_that_does_not_care() -> None:
    """The exit code is 130, and the terminal is back with kvfake's job."""
    with Terminal("run", "--", "sh", "-c", "echo ready; exec sleep 40") as terminal:
        assert terminal.line() == "ready"
        terminal.type(CTRL_C)
        assert terminal.line() == "shell: ended with 130, terminal of the job"


def test_the_command_can_read_from_the_terminal() -> None:
    """What is typed is the command's."""
    with Terminal("run", "--", "sh", "-c", 'echo "your name?"; read name; echo "hello, $name"') as terminal:
        assert terminal.line() == "your name?"
        terminal.type("Ada\n")
        assert terminal.line() == "hello, Ada"
        assert terminal.line() == "shell: ended with 0, terminal of the job"


# Says when it was stopped and goes on; ends with what it reads from the terminal. (Not a shell: one that was stopped while it
# starts a program waits for ever, beside kvfake or not. Nor does it wait in read(): a signal that comes on the way in is heard of
# after it. So it does itself what the system does to who reads in the background.)
EDITOR = (
    *PYTHON,
    """
import os, select, signal, sys
heard, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
signal.signal(signal.SIGCONT, lambda number, frame: None)
signal.alarm(40)
os.write(1, b"ready\\n")
while True:
    ready, _, _ = select.select([0, heard], [], [])
    if heard not in ready:
        os.write(1, os.read(0, 1000))
        sys.exit(6)
    os.read(heard, 1000)
    os.write(1, b"on\\n")
    if os.tcgetpgrp(0) != os.getpgrp():
        os.kill(0, signal.SIGTTIN)
""",
)


def test_ctrl_z_stops_both_and_fg_goes_on_with_both() -> None:
    """The shell gets its terminal back; brought to the foreground, the command reads from the terminal again."""
    with Terminal("run", "--", *EDITOR) as terminal:
        assert terminal.line() == "ready"
        for _ in range(2):
            terminal.type(CTRL_Z)
            assert terminal.line() == "shell: stopped, terminal of the job"
            terminal.type("fg\n")
            assert terminal.line() == "on"
        terminal.type("back\n")
        assert terminal.line() == "back"
        assert terminal.line() == "shell: ended with 6, terminal of the job"


def test_in_the_background_it_leaves_the_terminal_to_the_shell() -> None:
    """A job that ends in the background takes nothing from whoever types in the foreground."""
    program = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])
signal.alarm(40)
os.write(1, b"ready\\n")
signal.sigwait([signal.SIGCONT])
sys.exit(6)
"""
    with Terminal("run", "--", *PYTHON, program) as terminal:
        assert terminal.line() == "ready"
        terminal.type(CTRL_Z)
        assert terminal.line() == "shell: stopped, terminal of the job"
        terminal.type("bg\n")
        assert terminal.line() == "shell: ended with 6, terminal of the shell"


def test_a_command_that_wants_to_read_in_the_background_is_stopped_with_kvfake() -> None:
    """The shell learns of it, keeps its terminal, and can bring both to the foreground."""
    with Terminal("run", "--", *EDITOR) as terminal:
        assert terminal.line() == "ready"
        terminal.type(CTRL_Z)
        assert terminal.line() == "shell: stopped, terminal of the job"
        terminal.type("bg\n")
        assert terminal.line() == "on"
        assert terminal.line() == "shell: stopped, terminal of the shell"
        terminal.type("fg\n")
        assert terminal.line() == "on"
        terminal.type("back\n")
        assert terminal.line() == "back"
        assert terminal.line() == "shell: ended with 6, terminal of the job"


def test_ctrl_z_is_ignored_where_there_is_no_shell() -> None:
    """As the first process of a container's terminal: who would make it go on?"""
    with Terminal("run", "--", *EDITOR, shell=False) as terminal:
        assert terminal.line() == "ready"
        terminal.type(CTRL_Z)
        assert terminal.line() == "on"
        terminal.type("still here\n")
        assert terminal.line() == "still here"
        assert terminal.end() == 6


def test_a_command_that_is_not_found_leaves_the_terminal_where_it_was() -> None:
    """The fork that was to become the command had taken it."""
    with Terminal("run", "--", "no-such-command-of-kvfake") as terminal:
        assert terminal.line().startswith("kvfake: cannot run no-such-command-of-kvfake")
        assert terminal.line() == "shell: ended with 127, terminal of the job"
