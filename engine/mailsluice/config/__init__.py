"""One tree of settings, and how it is read.

`settings` has an engine's settings, `worker` those of `mailsluice worker`; `loading` reads them
from a TOML file, the environment and flags, and names the place of whatever is wrong.

It knows what a setting may say: mailings, sources, the model. Start with `settings`.
"""
