"""Chromium over a running service's page, watched for whatever it should not do."""

import shutil
from contextlib import contextmanager

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium():
    """Where it is, or None."""
    return shutil.which("chromium")


@contextmanager
def launched():
    """A browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield browser
        browser.close()


class Watched:
    """A page at a service, and all that it asked for, and complained about.

    Args:
        browser: From ``launched``.
        url: The service.
        options: Of the browser's context: viewport, color_scheme, ...
    """

    def __init__(self, browser, url, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.asked, self.complaints, self.url = [], [], url
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        # Told by the browser itself, before any console could miss it.
        self.page.add_init_script(
            "document.addEventListener('securitypolicyviolation',"
            " (e) => console.error('policy: ' + e.violatedDirective));"
        )
        self.page.goto(url)

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def until_shown(self):
        """Wait for a verdict."""
        self.page.locator("#result:not([hidden]):not([aria-busy])").wait_for()
        return self

    def verdict(self):
        """What the page says of the picture: headline and reading."""
        return self.page.locator("#verdict").inner_text(), self.page.locator(
            "#reading"
        ).inner_text()

    def strangers(self):
        """What was asked of anybody else."""
        own = (self.url + "/", "data:", f"blob:{self.url}/")
        return [url for url in self.asked if not url.startswith(own)]
