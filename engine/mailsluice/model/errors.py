"""The errors that mailsluice raises. A subclass exists only where a caller acts differently.

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
    """The engine is used where or when it cannot be: not open, busy, of another event loop."""


class ConfigurationError(MailsluiceError):
    """A mailing file, setting, flag or credential cannot be used; nothing was sent."""


class CheckFailedError(ConfigurationError):
    """What a check has found keeps a mailing from being sent; the text has the remedies."""


class MailingChangedError(ConfigurationError):
    """The mailing is not the one that part of the run's recipients have been sent."""


class RunFinishedError(ConfigurationError):
    """The journal's run has finished, and was of another mailing or another list."""


class SourceError(MailsluiceError):
    """The recipients cannot be read: a missing file, an unusable header, a broken gzip stream."""


class SourceChangedError(SourceError):
    """The source is not the one that this journal was begun with."""


class SourceUnavailableError(SourceError):
    """The recipients cannot be reached at present: the same may work later."""


class JournalError(MailsluiceError):
    """The journal cannot be written or trusted; nothing was sent after it was noticed."""


class JournalLockedError(JournalError):
    """Another process writes this journal."""


class StoreError(MailsluiceError):
    """What was heard of mails, or whom not to mail, cannot be read, written or trusted."""


class EngineError(MailsluiceError):
    """An error that nobody foresaw, its `__cause__`, has ended an engine's single messages.

    What was sent is in the journal. Nothing more is sent before another engine is opened.
    """


def root_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error in a task group's end that a caller can act on: the others followed from it."""
    errors = _leaves(group)
    return next((each for each in errors if isinstance(each, MailsluiceError)), errors[0])


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
