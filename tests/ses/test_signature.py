"""A signer that does not arrive at the signature that it is to repeat is none."""

import pytest

from mailsluice.ses.signature import Signer

URL = "https://email.us-east-1.amazonaws.com/v2/email/outbound-bulk-emails"
HEADERS = {
    "Content-Type": "application/json",
    "X-Amz-Date": "20261124T120000Z",
    "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261124/us-east-1/ses/aws4_request, "
    "SignedHeaders=content-type;host;x-amz-date, Signature=" + "0" * 64,
}


@pytest.mark.parametrize(
    "changed",
    [
        {},  # another signature
        {"Authorization": "AWS4-ECDSA-P256-SHA256 Credential=A/B, SignedHeaders=host, Signature=0"},
        {"Authorization": HEADERS["Authorization"].replace("host", "host;x-unknown")},
        {"Authorization": ""},
        {"X-Amz-Date": "20261124T120001Z"},
    ],
)
def test_what_it_cannot_repeat_it_does_not_sign(changed: dict[str, str]) -> None:
    assert Signer.like(URL, HEADERS | changed, b"{}", "secret") is None
    assert Signer.like(URL + "?a=b", HEADERS | changed, b"{}", "secret") is None
