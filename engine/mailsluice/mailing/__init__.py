"""What is sent: mailings and messages, checked once and encoded once.

`mailing` is what all recipients share, `message` a single one. `intake` makes entries of rows, by
`addresses`, `fields` and `dedupe`; `recognition` tells by `fingerprints` whether a row is the
recipient that it was. `rendering` judges a row's data for a template, as SES would.

It knows sources by their rows and the journal by its records, and calls neither; files that a
mailing names are read by `sources.reading`. Start with `intake`.
"""
