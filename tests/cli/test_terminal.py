"""Reading and writing small things."""

import errno

import pytest
import typer

from advdetect.cli.terminal import (
    eps_text,
    one_line_errors,
    parse_eps,
    parse_size,
    print_json,
    share,
    track,
)
from advdetect.errors import FileError, InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("28", (28, 28)), ("224x160", (224, 160)), ("8X9", (8, 9))],
)
def test_sizes(text, expected):
    assert parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "x", "28x", "0", "1x2x3", "-3", "3.5", "big"])
def test_says_what_is_no_size(text):
    with pytest.raises(InputError, match=f"expected a size such as 28 or 224x224, got '{text}'"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "expected"), [(None, None), ("0.1", 0.1), ("8/255", 8 / 255), ("0", 0), ("1e-2", 0.01)]
)
def test_eps(text, expected):
    assert parse_eps(text) == expected


@pytest.mark.parametrize("text", ["", "x", "8/", "8/0", "/255", "8/255/2"])
def test_says_what_is_no_eps(text):
    with pytest.raises(InputError, match=f"expected an eps such as 0.1 or 8/255, got '{text}'"):
        parse_eps(text)


@pytest.mark.parametrize("text", ["-0.1", "inf", "nan", "-8/255"])
def test_an_eps_is_a_size(text):
    with pytest.raises(InputError, match=f"an eps is not negative and finite, got {text}"):
        parse_eps(text)


@pytest.mark.parametrize(
    ("eps", "expected"), [(None, "-"), (8 / 255, "8/255"), (0.1, "0.1"), (1.5, "1.5"), (0, "0")]
)
def test_eps_is_written_in_grey_levels_where_it_is_some(eps, expected):
    assert eps_text(eps) == expected


def test_shares():
    assert (share(None), share(0.9236), share(1)) == ("-", "92.4 %", "100.0 %")


def test_nan_is_no_json():
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        print_json({"value": float("nan")})


def status_of(error):
    with pytest.raises(typer.Exit) as stopped, one_line_errors():
        raise error
    return stopped.value.exit_code


def test_errors_of_the_users_are_one_line(capsys):
    assert status_of(FileError("first\n  second")) == 1
    assert capsys.readouterr().err == "error: first second\n"
    assert status_of(OSError(errno.ENOSPC, "No space left on device", "/disk/run")) == 1
    assert capsys.readouterr().err == "error: /disk/run: No space left on device\n"
    assert status_of(OSError(errno.ENOSPC, "No space left on device")) == 1
    assert capsys.readouterr().err == "error: No space left on device\n"
    assert status_of(KeyboardInterrupt()) == 130


@pytest.mark.parametrize("error", [ZeroDivisionError(), OSError("of a library's own"), KeyError(1)])
def test_other_errors_keep_their_traceback(error):
    with pytest.raises(type(error)), one_line_errors():
        raise error


def test_a_reader_that_has_seen_enough_is_no_error():
    with pytest.raises(BrokenPipeError), one_line_errors():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_no_progress_where_standard_error_is_no_terminal(capsys):
    assert list(track([1, 2, 3], "working")) == [1, 2, 3]
    assert capsys.readouterr() == ("", "")
