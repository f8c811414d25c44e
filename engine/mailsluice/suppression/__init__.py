"""Whom not to mail: hard bounces, complaints, unsubscribed, and whom an operator names."""
