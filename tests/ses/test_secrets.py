"""No secret stands in an error text that is kept."""

import pytest

from mailsluice.ses.aws.secrets import masked

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(
    "text",
    [
        "InvalidURL: http://user:hush@proxy.test:port",
        "http://user:hu/sh@proxy.test:3128",
        "http://user:hu@hush@proxy.test",
        "cannot use 'http://hush:hush@[::1'",
        "user:hush@proxy.test:3128 is not a URL",
        "Proxy-Authorization: Basic hush==",
        "Authorization: Bearer hush.hush.hush",
        "x-amz-security-token:hush\nx-amz-date:2026",
        "X-Amz-Signature=hush&X-Amz-Date=2026",
        "Signature=hush, and more",
        '{"SecretAccessKey": "hush", "SessionToken": "hush"}',
        "aws_secret_access_key = hush",
        f"the key is {SECRET}.",
        "signed " + "0123456789abcdef" * 4,
        "token " + "IQoJb3JpZ2luX2VjE" * 20,
    ],
)
def test_a_secret_is_masked(text: str) -> None:
    said = masked(text)
    for secret in ("hush", SECRET, "0123456789abcdef", "IQoJb3JpZ2luX2VjE"):
        assert secret not in said
    assert "***" in said


@pytest.mark.parametrize(
    "text",
    [
        "Email address is not verified. The following identities failed: ann@example.com",
        "Cannot connect to host 127.0.0.1:443 ssl:default [Connection refused]",
        "Template arn:aws:ses:us-east-1:123456789012:template/welcome does not exist",
        "0100018d3f2b4c5e-01234567-89ab-cdef-0123-456789abcdef-000000 is a MessageId",
        "Signature expired: 20261127T000000Z is now earlier than 20261127T001000Z",
    ],
)
def test_what_is_no_secret_is_left(text: str) -> None:
    assert masked(text) == text


def test_what_is_known_to_be_secret_is_masked_in_any_form() -> None:
    assert masked("it says hush here", ["hush", ""]) == "it says *** here"
