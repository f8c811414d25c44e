"""What leaves next, how fast, and what an answer leads to. Pure.

`dispatcher` decides: which recipients, how many, when. Recipients wait in `backlog`, from which
`batching` cuts batches, and the batches under way are in `calls`. `gate` shares out what an account
allows: the rate (`pacer`, with `departures`, `bucket` and `adaptive_rate`), the daily quota
(`daily_quota`), the calls (`in_flight`). `attempts`, `bisection`, `backoff` and `breaker` decide
what an answer means for each recipient.

It knows the model and SES's table (`ses.statuses`), no I/O and no clock: every method takes `now`.
Start with `dispatcher.decide`.
"""
