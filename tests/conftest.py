"""What all tests share."""

from hypothesis import settings

# The machines are shared: how long an example takes says nothing.
settings.register_profile("mailsluice", deadline=None, print_blob=True)
settings.load_profile("mailsluice")
