"""What the emulated SES publishes about the mail that it has accepted.

`script` says by rules and a seed what becomes of whom, `plan` turns an accepted mail into events at
their times, `records` gives them SES's shapes and `wrapping` those of SNS and EventBridge. All of
these are pure. `publisher` keeps what is planned until it is due, on whatever clock it is asked by;
`sinks` write what is due into a queue or a file. It shares nothing with the engine, which reads
these events. Start with `plan.plan`.
"""
