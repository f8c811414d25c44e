"""SigV4 for requests that differ only in body and time.

The SDK signs the first request with a set of credentials, and `Signer.like` reads off what it has
signed, where, and for which service; all others are signed alike, with the key that SigV4 derives
for the day kept. That is a sixth of the SDK's time (docs/adr/0013). Whether it is the same is not
taken on trust: a signer that does not arrive at the SDK's own signature is none.
(AWS General Reference, "Signature Version 4 signing process".)
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

_authorization = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key_id>[^,/]+)/(?P<date>\d{8})/(?P<scope>[^,]+), "
    r"SignedHeaders=(?P<names>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
).fullmatch

_AUTHORIZATION = "authorization"
_DATE = "x-amz-date"


class Signer:
    """Signs requests like one that the SDK has signed; made by `Signer.like`."""

    def __init__(  # noqa: PLR0913, PLR0917  # the parts of a signature
        self, secret: str, key_id: str, scope: str, names: str, opened: str, headers: dict[str, str]
    ) -> None:
        self._secret = secret
        self._key_id = key_id
        self._scope = scope
        self._names = names
        self._opened = opened
        """The canonical request up to the body's hash, without a date."""
        self._headers = headers
        self._day = ""
        self._key = b""

    @classmethod
    def like(cls, url: str, headers: Mapping[str, str], body: bytes, secret: str) -> Signer | None:
        """Return a signer that signs as this POST is signed; None if that is not plain SigV4."""
        found = {name.lower(): value for name, value in headers.items()}
        match = _authorization(found.get(_AUTHORIZATION, ""))
        if match is None or _DATE not in found:
            return None
        parts = urlsplit(url)
        signed = {**found, "host": parts.netloc, _DATE: "{date}"}
        names = match["names"]
        if parts.query or not all(name in signed for name in names.split(";")):
            return None
        lines = "".join(f"{name}:{signed[name].strip()}\n" for name in names.split(";"))
        opened = f"POST\n{parts.path}\n\n{lines}\n{names}\n"
        left = {
            name: value
            for name, value in headers.items()
            if name.lower() not in {_AUTHORIZATION, _DATE}
        }
        signer = cls(secret, match["key_id"], match["scope"], names, opened, left)
        again = signer.sign(body, found[_DATE])
        return signer if again["Authorization"] == found[_AUTHORIZATION] else None

    def sign(self, body: bytes, date: str) -> dict[str, str]:
        """Return all headers of a request with that body; `date` is `YYYYMMDDTHHMMSSZ`, UTC."""
        day = date[:8]
        if day != self._day:
            self._day, self._key = day, self._derived(day)
        canonical = self._opened.replace("{date}", date) + hashlib.sha256(body).hexdigest()
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{date}\n{day}/{self._scope}\n{digest}"
        signature = hmac.digest(self._key, text.encode(), "sha256").hex()
        return {
            **self._headers,
            "X-Amz-Date": date,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={self._key_id}/{day}/{self._scope}, "
            f"SignedHeaders={self._names}, Signature={signature}",
        }

    def _derived(self, day: str) -> bytes:
        key = f"AWS4{self._secret}".encode()
        for part in (day, *self._scope.split("/")):
            key = hmac.digest(key, part.encode(), "sha256")
        return key
