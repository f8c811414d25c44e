"""The worker over HTTP: probes, status, metrics, a page, and an operator's requests.

`server` answers, within `connections`; `status` and `metrics` say how the worker stands, for people
and for Prometheus. It knows the worker. Start with `server`.
"""
