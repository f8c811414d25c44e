"""Handlebars.js, which says what the engine's own renderer should have said."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from mailsluice.mailing.rendering import Fault, Source, Template, TemplateError, Verdict

HERE = Path(__file__).parent
FOLDER = HERE / ".node"
"""Where npm puts it; git ignores it."""

VERSION = "4.7.10"


class Answer(NamedTuple):
    """What Handlebars.js made of a case."""

    output: str | None = None
    error: str | None = None
    syntax: str | None = None


def installed() -> str:
    """Install it, if it is not there yet; what is in the way, or nothing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are needed on the PATH"
    package = FOLDER / "node_modules" / "handlebars" / "package.json"
    if not package.exists() or orjson.loads(package.read_bytes())["version"] != VERSION:
        FOLDER.mkdir(exist_ok=True)
        wanted = f"handlebars@{VERSION}"
        command = ["npm", "install", "--silent", "--prefix", str(FOLDER), wanted]
        if subprocess.run(command, check=False).returncode:
            return f"npm cannot install {wanted}"
    shutil.copy(HERE / "oracle.cjs", FOLDER)
    return ""


def answers(cases: Iterable[Sequence[Any]]) -> list[Answer]:
    """Let it render cases, each a template and its data."""
    lines = b"\n".join(
        orjson.dumps({"template": template, "data": data}) for template, data in cases
    )
    done = subprocess.run(
        ["node", FOLDER / "oracle.cjs"], input=lines, stdout=subprocess.PIPE, check=True
    )
    return [Answer(**orjson.loads(line)) for line in done.stdout.splitlines()]


def judged(template: str, data: dict[str, Any]) -> tuple[Answer, Verdict, bool]:
    """Render the same with the engine; the verdict; and True if the text is only a guess."""
    try:
        rendering = Template.stored(Source(html=template)).render(data)
    except TemplateError as error:
        return Answer(syntax=str(error)), Verdict.FAILS, False
    is_guess = any(each.fault is Fault.FORM for each in rendering.findings)
    if rendering.verdict is Verdict.FAILS:
        return Answer(error=str(rendering.findings)), Verdict.FAILS, False
    return Answer(output=rendering.html), rendering.verdict, is_guess


def disagreement(template: str, data: dict[str, Any], said: Answer) -> str | None:
    """Say how the engine's judgement differs; empty if it does not judge; None if they agree."""
    own, verdict, is_guess = judged(template, data)
    if verdict is Verdict.UNKNOWN:
        return ""
    same = [(mine is None) == (its is None) for mine, its in zip(own, said, strict=True)]
    if all(same) and (is_guess or own.output == said.output):
        return None
    return f"{template!r}\n  {data}\n  own  {own}\n  node {said}"
