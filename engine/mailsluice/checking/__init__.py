"""Before the first call: what of a mailing, its list and its account will go wrong, and the remedy.

`gathering` asks SES, `rows` reads the list, and pure functions decide: `account`, `sender`,
`events`, `headers` and `recipients` each turn what was read into findings.
"""
