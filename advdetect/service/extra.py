"""Whether the ``serve`` extra is installed."""

from importlib.util import find_spec

from advdetect.errors import InputError

NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")


def check_extra() -> None:
    """Require what the service is built on, without importing it.

    Raises:
        InputError: something of it is missing.
    """
    if not all(find_spec(name) for name in NEEDED):
        raise InputError('serving needs an extra: pip install "advdetect[serve]"')
