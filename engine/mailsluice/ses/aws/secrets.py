"""Masks secrets in texts that are kept: journal, exports, reports and logs hold error texts.

`masked` is called where a text of the SDK, of a proxy or of AWS becomes one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"

TEXT_CHARS_MAX = 2_000
"""Longest masked text. The SDK's may quote an answer of a megabyte, and the search for secrets
takes a time that grows with the square of the length."""

_PATTERNS = (
    # A user and password in a URL, or in what was meant to be one. The password of a malformed URL
    # may hold any character, so everything goes up to the last @.
    (re.compile(r"(\w://)[^\s'\"]*@"), rf"\1{MASK}@"),
    (re.compile(r"(?<![\w.+-])[^\s:/@'\"<]+:[^\s@'\"]+@(?=[\w.-]+:\d)"), f"{MASK}@"),
    (re.compile(r"\b(Basic|Bearer) +[\w+/=.~-]+"), rf"\1 {MASK}"),
    (re.compile(r"(?i)\b(Signature|X-Amz-Signature|X-Amz-Security-Token|SecretAccessKey|"
                r"SessionToken|aws_secret_access_key|aws_session_token)"
                r"(['\"]?\s*[=:]\s*['\"]?)[^\s,&'\"<>]+"), rf"\1\2{MASK}"),
    # What looks like a secret key (40 characters of base64), a signature or a token.
    (re.compile(r"(?<![\w+/=-])(?=[\w+/]*\d)(?=[\w+/]*[A-Za-z])[\w+/]{40}(?![\w+/=-])"), MASK),
    (re.compile(r"(?<![\w+/=-])[0-9a-f]{64}(?![\w+/=-])"), MASK),
    (re.compile(r"[\w+/=.~%-]{200,}"), MASK),
)  # fmt: skip


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Cut `text` to TEXT_CHARS_MAX, and mask the given secrets and whatever looks like one."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, MASK)
    text = text[:TEXT_CHARS_MAX]
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
