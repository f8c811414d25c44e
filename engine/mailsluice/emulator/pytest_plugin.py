"""A pytest fixture that gives tests an SES v2 endpoint on loopback."""
