"""Reports on a run: from its journal afterwards, or before it begins.

`report` is a run's result and exit code; `export` lists recipients, `history` one recipient's
attempts, `overview` a run's present state. `audit` compares a journal with what SES accepted.
`plan` and `forecast` say what a run would send, and when. `remedies` says what to do about a hold.

It knows journals, mailings and the figures of `dispatch`; it changes nothing. Start with `report`.
"""
