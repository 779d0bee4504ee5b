"""Errors a user can cause and can fix. Bugs raise anything else."""


class AdvDetectError(Exception):
    """Root of the errors the command line prints as one line, without a traceback."""


class AdvDetectWarning(UserWarning):
    """What works, and is hardly meant; the command line prints it as one line."""


class InputError(AdvDetectError, ValueError):
    """An argument has the wrong shape, range, pairing or name."""


class FileError(AdvDetectError):
    """A file or folder is missing, damaged, or was written for something else."""


class ModelError(AdvDetectError):
    """A model cannot be found, loaded, or seen into."""
