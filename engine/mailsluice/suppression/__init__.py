"""Addresses not to be mailed: hard bounces, complaints, unsubscribed, and an operator's.

- `scopes`: what a suppression is, and which mail it keeps back. Pure.
- `keys`: addresses become keyed hashes; without the key nobody can guess who is on the list.
- `store`: `suppressions.db`, the truth.
- `index`: all hashes in one file that processes share, by which most addresses are let pass.
- `exports`: lists of SES, Mailgun, SendGrid, Postmark, and any CSV. Pure.
- `links`: signed one-click links to unsubscribe (RFC 8058). Pure.

It knows `model` and `database`. Start reading at `store.Suppressions`.
"""
