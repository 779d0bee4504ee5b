"""A multipart body, which is in memory already, into its parts."""

from dataclasses import dataclass, field
from typing import Any

from advdetect.service.refusals import Refused


@dataclass
class Part:
    """One part: its name, its file's name, what it says it is, and its bytes."""

    headers: dict[str, str] = field(default_factory=dict)
    content: bytearray = field(default_factory=bytearray)

    @property
    def content_type(self) -> str | None:
        """As declared, without parameters."""
        declared = self.headers.get("content-type")
        return None if declared is None else declared.partition(";")[0].strip().lower()

    @property
    def name(self) -> str | None:
        """The file's name, or the field's, if it has a readable one."""
        from python_multipart.multipart import parse_options_header

        try:
            _, options = parse_options_header(self.headers.get("content-disposition", ""))
        except (ValueError, LookupError):  # a character set of the client's own invention
            return None
        found = options.get(b"filename") or options.get(b"name")
        return None if found is None else found.decode("utf-8", "replace")


def parse_multipart(body: bytes, boundary: bytes, *, max_parts: int) -> list[Part]:
    """Split a body; nothing touches the disk.

    Raises:
        Refused: the body is no multipart, is cut off, or has too many parts.
    """
    from python_multipart import MultipartParser
    from python_multipart.exceptions import FormParserError

    parts: list[Part] = []
    header: list[bytearray] = [bytearray(), bytearray()]
    ended = []

    def begin() -> None:
        if len(parts) == max_parts:
            raise Refused(413, "inputs", f"at most {max_parts} inputs a request")
        parts.append(Part())

    def part_data(data: bytes, start: int, end: int) -> None:
        parts[-1].content += data[start:end]

    def header_field(data: bytes, start: int, end: int) -> None:
        header[0] += data[start:end]

    def header_value(data: bytes, start: int, end: int) -> None:
        header[1] += data[start:end]

    def header_end() -> None:
        name, value = (bytes(text).decode("latin-1") for text in header)
        parts[-1].headers[name.strip().lower()] = value.strip()
        header[:] = [bytearray(), bytearray()]

    callbacks: Any = {
        "on_part_begin": begin,
        "on_part_data": part_data,
        "on_header_field": header_field,
        "on_header_value": header_value,
        "on_header_end": header_end,
        "on_end": lambda: ended.append(True),
    }
    try:
        parser = MultipartParser(boundary, callbacks)
        parser.write(body)
        parser.finalize()
    except FormParserError:
        ended.clear()
    if not ended:
        raise Refused(400, "body", "the multipart body is damaged or cut off")
    return parts
