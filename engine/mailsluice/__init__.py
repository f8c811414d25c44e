"""An async, high-throughput sending engine for Amazon SES v2."""
