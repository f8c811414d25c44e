"""An SES v2 endpoint on loopback."""
