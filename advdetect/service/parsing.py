"""HTTP parsed by httptools, with the limits that h11 has by itself."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# As h11, and as much as any proxy sends.
LONGEST_HEAD = 64 * 1024


class LimitedHeads(HttpToolsProtocol):
    """HTTP/1.1, whose heads end within ``LONGEST_HEAD`` bytes; httptools itself reads on."""

    in_head = True
    unfinished = 0
    header_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Parse, and refuse a head that does not end."""
        self.unfinished += len(data)  # which the end of a head, or of a message, sets to 0
        super().data_received(data)
        if self.in_head and self.unfinished > LONGEST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """Begin to count."""
        self.header_bytes = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count headers, trailers too; what is raised here becomes status 400."""
        self.header_bytes += len(name) + len(value)
        if self.header_bytes > LONGEST_HEAD:
            raise ValueError("the head is too long")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A body follows, which is limited where it is read."""
        self.in_head, self.unfinished = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes are another head."""
        self.in_head, self.unfinished = True, 0
        super().on_message_complete()
