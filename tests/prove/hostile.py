"""Proof 7: lists and mailing files that are wrong by accident or on purpose.

No crash, no hang, memory bounded, every row accounted for, and nothing that goes out which SES
would not take for its form: the emulator, which shares nothing with the engine, is the judge.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import orjson
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from mailsluice import Mailing
from mailsluice.config import loading
from mailsluice.emulator import (
    AccountSettings,
    Emulator,
    EmulatorOptions,
    emulator_thread,
    submission,
)
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.mailing.intake import Intake
from mailsluice.mailing.mailing import assemble
from mailsluice.model import BATCH_RECIPIENTS_MAX, Entry, State
from mailsluice.model.errors import ConfigurationError, SourceError
from mailsluice.reports import export
from mailsluice.sources import Fields
from mailsluice.sources.encoding import Parser
from mailsluice.sources.files import PARSERS
from tests.prove.figures import Figure, Proved, Size, at_least, at_most, exactly
from tests.support import forked

EXAMPLES = {"short": 80, "full": 20_000}
"""Fuzzed files of each format."""

ATHERIS_S = {"short": 0, "full": 60}
"""Seconds of coverage-guided fuzzing of each format."""

LINE_BYTES = {"short": 16 * 2**20, "full": 2**30}
"""Of a line without an end."""

MEMORY_MB_MAX = 150

PATIENCE_S = 120.0

MAILING = Mailing(from_address="a@example.com", template="t")
PREFIX = MAILING.prefix()
FIELDS = Fields(cc="cc", headers={"X-Subject": "subject"}, tags={"campaign": "tag"}, key="key")

FORMATS = (".csv", ".tsv", ".ndjson", "")


# --- one file ------------------------------------------------------------------------------------


def take(content: bytes, suffix: str, cuts: Sequence[int] = ()) -> tuple[int, list[Entry], int]:
    """Parse and judge a whole file, cut into blocks at `cuts`: rows, entries, remarks.

    Raises AssertionError where a promise breaks, SourceError where the file is refused as a whole.
    """
    intake = Intake(MAILING, "run", "address")
    parser = PARSERS[suffix]("list", FIELDS)
    rows, entries, remarks, line = 0, [], 0, 0
    for found in _parsed(parser, content, cuts):
        for row in found:
            assert row.line > line, "rows go on, line by line"
            line = row.line
        chunk = intake.take(found)
        assert (chunk.first, chunk.last) == (rows + 1, rows + len(found))
        rows += len(found)
        entries += chunk.entries
        remarks += len(chunk.remarks)
        for remark in chunk.remarks:
            assert remark.state in (State.REFUSED, State.DUPLICATE)
            orjson.dumps(list(remark))  # it can be journalled
    assert rows == len(entries) + remarks, "every row is accounted for"
    return rows, entries, remarks


def _parsed(parser: Parser, content: bytes, cuts: Sequence[int]) -> Iterator[list]:  # type: ignore[type-arg]  # of rows
    begin = 0
    for cut in [*sorted(cuts), len(content)]:
        if content[begin:cut]:
            yield from parser.feed(content[begin:cut])
        begin = cut
    yield from parser.finish()


def judge(entries: Sequence[Entry]) -> None:
    """What goes out is what SES takes, and no address or header breaks out of its line."""
    for begin in range(0, len(entries), BATCH_RECIPIENTS_MAX):
        batch = entries[begin : begin + BATCH_RECIPIENTS_MAX]
        asked = submission.read(assemble(PREFIX, batch))  # raises where SES would refuse
        assert not asked.problems, asked.problems
        assert len(asked.entries) == len(batch)
        for entry in asked.entries:
            assert not any(char in address for address in entry.addresses for char in "\r\n\0")


def check(content: bytes, suffix: str, cuts: Sequence[int] = ()) -> None:
    """All that must hold of one file, whatever is in it."""
    try:
        whole = take(content, suffix)
    except SourceError as error:
        whole_error = str(error)
        assert whole_error.startswith("list"), "which file?"
        assert "\n" not in whole_error.rstrip() or suffix, whole_error
        return
    judge(whole[1])
    if cuts:
        assert take(content, suffix, cuts) == whole, "where the blocks are cut makes no difference"


def check_toml(content: bytes) -> None:
    """A mailing file is loaded, or refused by name."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "mailing.toml"
        path.write_bytes(content)
        with contextlib.suppress(ConfigurationError):
            loading.load(path)


# --- Hypothesis ----------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *(b"email", b"cc", b"subject", b"tag", b"key", b"name", b"to", b"data", b"headers"),
        *(b"ann@example.com", b"Bob <bob@example.com>", b"zo\xc3\xab@example.com", b"a@b", b"@"),
        *(b",", b";", b"\t", b"|", b'"', b'""', b"\n", b"\r\n", b"\r", b"\x0b", b"\x0c", b" ", b""),
        *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xc0\x80"),
        *(b"\r\nBcc: victim@example.com", b"x\r\n\r\nbody", b"\xe2\x80\xa8", b"\x85", b"=cmd()"),
        *(b"{", b"}", b"[", b"]", b":", b'{"email":"', b'"}', b"null", b"1e999", b"-0", b"NaN"),
        *(b'{"email":"a@example.com","key":7}', b'{"to":["a@example.com","b@example.com"]}'),
        *(b'{"email":"c@example.com","headers":{"X":"a\\r\\nY: b"}}', b'{"email":"\\ud800@e.org"}'),
        *(b"sep=;", b"a" * 300, b"[" * 2_000, b"," * 500),
    ]
)
HEADERS = st.sampled_from(
    [
        b"",
        b"email\n",
        b"email,cc,subject,tag,key\n",
        b"email;subject;tag;cc;key\r\n",
        b"\xef\xbb\xbfemail,cc,key,tag,subject\r",
    ]
)
CONTENT = st.tuples(HEADERS, st.lists(PIECES | st.binary(max_size=12), max_size=60)).map(
    lambda parts: parts[0] + b"".join(parts[1])
)

TOML_LINES = st.sampled_from(
    [
        *(
            "[mailing]",
            "[recipients]",
            "[quota]",
            "[delivery]",
            "[ses]",
            "[mailing.content]",
            "[x]",
        ),
        *(
            'from = "News <news@example.com>"',
            'from = "a\\r\\nBcc: b@example.com"',
            'template = "t"',
        ),
        *(
            "data = { a = 1 }",
            "data = { a = inf }",
            "data = { a = 1979-05-27 }",
            "tags = { a = 1 }",
        ),
        *(
            'headers = { "X" = "a\\nb" }',
            'headers = { "X:" = "a" }',
            "rate = -1",
            'rate = "account"',
        ),
        *("rate = nan", "in_flight = 0", "in_flight = 1e9", 'in_doubt = "maybe"', "timeout_s = 0"),
        *('path = "\\u0000"', 'path = "x.csv"', 'address = ""', "[[mailing]]", "a = [[[[[[", "= 1"),
        *('attachments = ["/etc/hostname"]', 'attachments = ["."]', 'subject = "{{#if}}"', "\x00"),
        *('reply_to = ["a@example.com", 7]', 'tags = { "mailsluice-id" = "x" }', 'region = "\\n"'),
    ]
)
TOML = st.lists(TOML_LINES | st.text(max_size=20), max_size=14).map(
    lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass")
)


def fuzz(examples: int) -> tuple[int, list[str]]:
    """So many files of each format: how many were looked at, and what broke, with its blob."""
    profile = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=True,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    looked_at = Counter[str]()

    def lists(suffix: str) -> None:
        @seed(examples)
        @profile
        @given(CONTENT, st.lists(st.integers(0, 600), max_size=4))
        def one(content: bytes, cuts: list[int]) -> None:
            looked_at[suffix] += 1
            check(content, suffix, cuts)

        one()

    @seed(examples)
    @profile
    @given(TOML)
    def mailing(content: bytes) -> None:
        looked_at["toml"] += 1
        check_toml(content)

    broke = []
    formats: list[Callable[[], None]] = [*(partial(lists, suffix) for suffix in FORMATS), mailing]
    for one_format in formats:
        try:
            one_format()
        except Exception as error:  # noqa: BLE001  # whatever a broken parser raises
            broke.append(f"{error!r} {getattr(error, '__notes__', '')}")
    return looked_at.total(), broke


def fuzz_by_coverage(seconds: int) -> int:
    """atheris on each format, for so long; how many inputs found something."""
    crashed = 0
    for target in (*FORMATS[:3], "toml"):
        flags = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=1024", "-verbosity=0"]
        with tempfile.TemporaryDirectory() as name:
            ended = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "tests.prove.fuzz",
                    target,
                    *flags,
                    f"-artifact_prefix={name}/",
                ],
                capture_output=True,
                check=False,
            )
        if ended.returncode:
            print(ended.stderr.decode()[-4000:], file=sys.stderr)
            crashed += 1
    return crashed


# --- the command ---------------------------------------------------------------------------------

HEAD = b"email,cc,subject,tag,key\n"
GOOD = b"ann@example.com,,Hello,t,k1\nbob@example.com,,Hello,t,k2\n"
MANY_COLUMNS = HEAD[:-1] + b"".join(b",c%d" % n for n in range(10_000)) + b"\n"


@dataclass(frozen=True, slots=True)
class Nasty:
    """A list, and what the command makes of it."""

    name: str
    content: bytes
    sent: int
    refused: int
    code: int = 1
    suffix: str = ".csv"


def nasties() -> list[Nasty]:
    """Lists as an attacker, or a spreadsheet, makes them."""
    random = Random(7)
    megabytes = b"x" * 10 * 2**20
    half = b"\xed\xa0\x80"
    return [
        Nasty(
            "header injection",
            HEAD + GOOD + b'c@example.com,,"Hi\r\nBcc: v@example.com",t,k3\n',
            2,
            1,
        ),
        Nasty(
            "address injection", HEAD + GOOD + b'"c@example.com\r\nBcc: v@example.com",,,,\n', 2, 1
        ),
        Nasty("NUL in an address", HEAD + GOOD + b"c\x00@example.com,,,,\n", 2, 1),
        Nasty("NUL everywhere", b"\x00" * 100_000, 0, 0, code=2),
        Nasty(
            "lone surrogates",
            HEAD + GOOD + half + b"@example.com,,,,\nd@example.com,," + half + b",,\n",
            0,
            0,
            code=2,  # two of five lines: the list as a whole is in another encoding
        ),
        Nasty("a BOM in the middle", HEAD + GOOD + b"\xef\xbb\xbfc@example.com,,,,\n", 2, 1),
        Nasty("two BOMs at the start", b"\xef\xbb\xbf\xef\xbb\xbf" + HEAD + GOOD, 2, 0, code=0),
        Nasty("UTF-16", (HEAD + GOOD).decode().encode("utf-16"), 0, 0, code=2),
        Nasty("a field of 10 MB", HEAD + GOOD + b"c@example.com,," + megabytes + b",,\n", 2, 1),
        Nasty(
            "a quoted field of 10 MB",
            HEAD + GOOD + b'c@example.com,,"' + megabytes + b'",,\n',
            2,
            1,
        ),
        Nasty("a column twice", b"email,name,name\n" + GOOD, 0, 0, code=2),
        Nasty("the address column twice", b"email,email,subject,tag,key\n" + GOOD, 0, 0, code=2),
        Nasty(
            "10,000 columns",
            MANY_COLUMNS + GOOD.replace(b"\n", b"," * 10_000 + b"\n"),
            2,
            0,
            code=0,
        ),
        Nasty(
            "10,000 columns too many", HEAD + GOOD + b"c@example.com" + b"," * 10_000 + b"\n", 2, 1
        ),
        Nasty(
            "a quote that is never closed",
            HEAD + GOOD + b'"c@example.com,,,,\n' + b"d,,,,\n" * 3,
            2,
            4,
        ),
        Nasty("only a header", HEAD, 0, 0, code=0),
        Nasty("nothing", b"", 0, 0, code=2),
        Nasty("noise", random.randbytes(200_000), 0, 0, code=2),
        Nasty("a gzip bomb", HEAD + GOOD + bytes(50 * 2**20), 2, 1, suffix=".csv.gz"),
        Nasty(
            "deep JSON",
            b'{"email":"a@example.com"}\n' + b"[" * 100_000 + b"\n",
            1,
            1,
            suffix=".ndjson",
        ),
        Nasty(
            "deep data",
            b'{"email":"a@example.com","data":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}\n",
            0,
            1,
            suffix=".ndjson",
        ),
        Nasty(
            "infinity", b'{"email":"a@example.com","data":{"a":1e999}}\n', 0, 1, suffix=".ndjson"
        ),
        Nasty("JSON of another kind", b'7\nnull\n"a"\n[]\n{}\n', 0, 5, suffix=".ndjson"),
        Nasty("a JSON array", b'[{"email":"a@example.com"}]', 0, 0, code=2, suffix=".ndjson"),
        Nasty(
            "header injection in JSON",
            b'{"email":"a@example.com","headers":{"X":"a\\r\\nBcc: v@e.org"}}\n',
            0,
            1,
            suffix=".ndjson",
        ),
        Nasty(
            "a lone surrogate in JSON",
            b'{"email":"a@example.com","data":{"a":"\\ud800"}}\n',
            0,
            1,
            suffix=".ndjson",
        ),
        Nasty(
            "60 addresses",
            orjson.dumps({"to": [f"u{n}@example.com" for n in range(60)]}),
            0,
            1,
            suffix=".ndjson",
        ),
    ]


TOML_OF_NASTIES = """\
[mailing]
from = "News <news@example.com>"
template = "welcome"
"""


def send(nasty: Nasty, emulator: Emulator) -> str | None:
    """Send it; what was wrong with what came of it, if anything."""
    with tempfile.TemporaryDirectory(prefix="mailsluice-hostile-") as name:
        folder = Path(name)
        columns = (
            []
            if nasty.suffix == ".ndjson"
            else [
                *("--set", "recipients.cc=cc", "--set", "recipients.headers.X-Subject=subject"),
                *("--set", "recipients.tags.campaign=tag", "--set", "recipients.key=key"),
            ]
        )
        (folder / "mailing.toml").write_text(TOML_OF_NASTIES)
        packed = gzip.compress(nasty.content, 1) if nasty.suffix.endswith(".gz") else nasty.content
        (folder / f"list{nasty.suffix}").write_bytes(packed)
        before = len(emulator.ledger)
        process = forked.start(
            forked.context(),
            folder,
            emulator.environment,
            ["send", "mailing.toml", "--recipients", f"list{nasty.suffix}", "--quiet", *columns],
        )
        process.join(PATIENCE_S)
        code = process.exitcode
        process.kill()
        said = (folder / forked.OUTPUT).read_text(errors="replace")
        states = _states(folder / "mailing.journal")
        came = (code, len(emulator.ledger) - before, states.count("sent"), states.count("refused"))
        wanted = (nasty.code, nasty.sent, nasty.sent, nasty.refused)
        if came != wanted or "Traceback" in said or "@" in said:
            return f"{nasty.name}: {came}, wanted {wanted}: {said[:500]}"
    return None


def _states(path: Path) -> list[str]:
    if not path.exists():
        return []
    with closing(SqliteJournal.read(path)) as journal:
        return [line.state for line in export.lines(journal)]


def endless_line(size: int, emulator: Emulator) -> tuple[int, int]:
    """A list with a line of so many bytes and no end, through a pipe: exit code and peak MB."""
    with tempfile.TemporaryDirectory(prefix="mailsluice-hostile-") as name:
        folder = Path(name)
        (folder / "mailing.toml").write_text(TOML_OF_NASTIES)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(size)], stdout=subprocess.PIPE)
        command = [sys.executable, "-m", "mailsluice", "send", "mailing.toml", "--quiet"]
        measured = subprocess.run(
            [sys.executable, "-c", MEASURER, *command, "--recipients", "-"],
            cwd=folder,
            env={**os.environ, **emulator.environment},
            stdin=writer.stdout,
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
        )
        writer.communicate()
        states = _states(folder / "mailing.journal")
        assert sorted(states) == ["refused", "sent", "sent"], states
        code, peak_kb = map(int, measured.stdout.split())
        return code, peak_kb // 1024


WRITER = """\
import sys
out, left = sys.stdout.buffer, int(sys.argv[1])
out.write(b"email\\nann@example.com\\nbob@example.com\\n")
block = b"x" * 1048576
while left > 0:
    out.write(block)
    left -= len(block)
"""

MEASURER = """\
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss)
"""
"""A small process between: the peak of a child is at least what its parent had when it began."""


def prove(size: Size) -> Proved:
    """Fuzzing of each format, nasty lists through the command, and a line without an end."""
    looked_at, broke = fuzz(EXAMPLES[size])
    options = EmulatorOptions(account=AccountSettings(rate_per_s=10_000, daily_max=-1))
    with emulator_thread(options) as emulator:
        wrong = [found for each in nasties() if (found := send(each, emulator))]
        code, peak_mb = endless_line(LINE_BYTES[size], emulator)
    figures: list[Figure] = [
        at_least("fuzzed lists and mailing files", EXAMPLES[size] * (len(FORMATS) + 1), looked_at),
        exactly("  files that broke a promise", 0, len(broke)),
        exactly("nasty lists through `send`: not as they should be", 0, len(wrong)),
        exactly(f"a line of {LINE_BYTES[size] // 2**20:,} MiB: exit code", 1, code),
        at_most("  peak memory, MB", MEMORY_MB_MAX, peak_mb),
    ]
    if ATHERIS_S[size]:
        assert importlib.util.find_spec("atheris"), "atheris is missing: pip install '.[prove]'"
        crashed = fuzz_by_coverage(ATHERIS_S[size])
        name = f"coverage-guided fuzzing, {ATHERIS_S[size]} s a format: formats that broke"
        figures.append(exactly(name, 0, crashed))
    return Proved(figures, [*broke, *wrong])
