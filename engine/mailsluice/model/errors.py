"""The errors that mailsluice raises. A subclass exists only if a caller acts differently.

Expected results of sending are values (`model.Outcome`), never exceptions: what is raised here is
a configuration that cannot work, an input that cannot be read, or a journal that cannot be trusted.
"""


class MailsluiceError(Exception):
    """The root of every error that mailsluice raises on purpose."""


class ArgumentError(MailsluiceError, ValueError):
    """An argument cannot be used: the text names it, what it was, and what to give instead."""


class ArgumentTypeError(ArgumentError, TypeError):
    """An argument is of a type that cannot be used."""


class UsageError(MailsluiceError, RuntimeError):
    """The engine cannot be used here or now: it is not open, busy, or of another event loop."""


class ConfigurationError(MailsluiceError):
    """A mailing file, setting, flag or credential cannot be used; nothing was sent."""


class CheckFailedError(ConfigurationError):
    """A check has found errors, so the mailing is not sent; the text has the remedies."""


class MailingChangedError(ConfigurationError):
    """The mailing differs from the one that some of the run's recipients have been sent."""


class RunFinishedError(ConfigurationError):
    """The journal's run has finished, and its mailing or list was another one."""


class SourceError(MailsluiceError):
    """The recipients cannot be read: a missing file, an unusable header, a broken gzip stream."""


class SourceChangedError(SourceError):
    """The source is not the one with which this journal's run began."""


class SourceUnavailableError(SourceError):
    """The recipients cannot be reached at present: the same may work later."""


class JournalError(MailsluiceError):
    """The journal cannot be written or trusted; nothing was sent after it was noticed."""


class JournalLockedError(JournalError):
    """Another process writes this journal."""


class StoreError(MailsluiceError):
    """The file of feedback or of suppressions cannot be read, written or trusted."""


class EngineError(MailsluiceError):
    """An unexpected error (`__cause__`) has ended the engine's single messages.

    What was sent is in the journal. Open another engine to send more.
    """


def root_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the error of a task group that a caller can act on; the others followed from it."""
    errors = _leaves(group)
    return next((each for each in errors if isinstance(each, MailsluiceError)), errors[0])


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
