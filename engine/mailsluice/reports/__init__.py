"""What can be told of a run: from its journal afterwards, or before it begins.

`report` is what a run came to and its exit code; `export` lists recipients, `history` tells one
recipient's attempts, `overview` how a run stands. `audit` compares a journal with what SES
accepted. `plan` and `forecast` say what a run would send, and when. `remedies` says what to do
about a hold.

It knows journals, mailings and the dispatch's figures; it changes nothing. Start with `report`.
"""
