"""Questions to web servers: patience, proxies and certificates of the environment (as requests reads them),
and which failures are worth another attempt."""

import datetime
import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

import requests
import urllib3

import retimbre
from retimbre.errors import RetimbreError

Result = TypeVar("Result")
CHUNK = 1 << 18
HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"retimbre/{retimbre.__version__}"}
LATER = {408, 425, 429, 500, 502, 503, 504}  # answers after which another attempt makes sense
LONGEST_TEXT = 8 << 20
UNRESOLVED = (
    "Name or service not known", "Temporary failure in name resolution", "nodename nor servname provided",
)  # fmt: skip
CAUSES = (
    "Connection refused", "Network is unreachable", "No route to host", "timed out", "Connection reset",
    "Remote end closed",
)  # fmt: skip
PATIENT_S = 3.0  # a longer wait for another attempt is announced


@dataclass(frozen=True)
class Patience:
    """Waiting times, and the number of attempts without a single new byte."""

    attempts: int = 7
    first_wait_s: float = 1.0  # doubled each time, times 0.5 to 1.5 at random
    longest_wait_s: float = 120.0
    connect_s: float = 15.0
    read_s: float = 60.0  # without a byte


class Later(Exception):
    """Worth another attempt; ``wait_s`` is what the server asks for."""

    def __init__(self, reason: str, wait_s: float | None = None, quick: bool = False):
        super().__init__(reason)
        self.wait_s, self.quick = wait_s, quick


class NotThere(Exception):
    """This location cannot give the file; another one may."""


class GivenUp(NotThere):
    """Patience has ended."""


class Stopped(Exception):
    """Nobody waits for the file any more: another one failed, or the user interrupted."""


def unreachable(name: str, reasons: list[str]) -> RetimbreError:
    """The error for a file that no location could give."""
    advice = "check the network" if "cannot reach" in reasons[-1] else "try later"
    return RetimbreError(f"{name}: {'; '.join(dict.fromkeys(reasons))}: {advice} or give dataset.archives.")


def shown(url: str) -> str:
    """The host of a URL, for messages (it may hold a password)."""
    return urlsplit(url).hostname or url


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, a number or a date."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.datetime.now(datetime.UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def request(
    session: requests.Session, url: str, headers: dict[str, str], patience: Patience, method: str = "GET"
) -> requests.Response:
    """An answer with its body still to come. Raises Later and NotThere."""
    timeouts = (patience.connect_s, patience.read_s)
    try:
        response = session.request(
            method, url, headers=HEADERS | headers, stream=True, timeout=timeouts, allow_redirects=True
        )
    except requests.exceptions.SSLError as error:
        raise NotThere(f"the certificate of {shown(url)} is not accepted ({_cause(error)})") from None
    except requests.exceptions.ProxyError as error:
        raise Later(f"cannot reach the proxy for {shown(url)} ({_cause(error)})", quick=True) from None
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
        cause = _cause(error)
        raise Later(f"cannot reach {shown(url)} ({cause})", quick="resolve" in cause) from None
    except requests.exceptions.RequestException as error:  # redirects in a circle, a URL that is none
        raise NotThere(f"{shown(url)} cannot be asked ({_cause(error)})") from None
    if response.status_code in LATER:
        response.close()
        wait_s = _retry_after(response.headers.get("Retry-After"))
        raise Later(f"{shown(url)} answers {response.status_code} {response.reason}", wait_s)
    if response.status_code >= 400 and response.status_code != 416:
        response.close()
        raise NotThere(f"{shown(url)} answers {response.status_code} {response.reason}")
    return response


def _cause(error: BaseException) -> str:
    """The innermost reason, in a few words."""
    text = str(error)
    if any(words in text for words in UNRESOLVED):
        return "its name does not resolve"
    for words in CAUSES:
        if words in text:
            return words[0].lower() + words[1:]
    return text.splitlines()[0][:120] if text else type(error).__name__


def patiently(
    attempt: Callable[[], Result],
    patience: Patience,
    moved: Callable[[], int] = lambda: 0,
    pause: Callable[[float], bool | None] = time.sleep,
    say: Callable[[str], None] = lambda said: print(said, flush=True),
) -> Result:
    """Call ``attempt`` again after each Later as long as ``patience`` lasts, and return its result.

    Patience begins anew when ``moved`` (bytes that are there) has grown. ``pause(s)`` waits and says whether
    to stop. Raises GivenUp, Stopped, and what ``attempt`` raises.
    """
    failures, before = 0, moved()
    while True:
        try:
            return attempt()
        except Later as error:
            failures = 1 if moved() > before else failures + 1
            before = moved()
            if failures >= (3 if error.quick else patience.attempts):
                raise GivenUp(str(error)) from None
            wait_s = wait_s_of(failures - 1, patience, error.wait_s)
            if wait_s > PATIENT_S:
                say(f"{error}; another attempt in {wait_s:.0f} s")
            if pause(wait_s):
                raise Stopped from None


def wait_s_of(failures: int, patience: Patience, asked_s: float | None) -> float:
    """Seconds until the next attempt: what the server asks for, within limits, else ever longer."""
    if asked_s is not None:
        return min(asked_s, patience.longest_wait_s * 5)
    return min(patience.first_wait_s * 2**failures, patience.longest_wait_s) * random.uniform(0.5, 1.5)


def read_text(url: str, patience: Patience) -> str | None:
    """A small text file, None when there is none. Raises RetimbreError for an unreachable server."""

    def attempt() -> str:
        with closing(request(session, url, {}, patience)) as response:
            try:
                return response.raw.read(LONGEST_TEXT, decode_content=True).decode("utf-8", "replace")
            except urllib3.exceptions.HTTPError as error:
                raise Later(str(error)) from None

    with requests.Session() as session:
        try:
            return patiently(attempt, patience)
        except GivenUp as error:
            raise RetimbreError(f"{error}: check the network and dataset.archives.") from None
        except NotThere:
            return None


def encoded(response: requests.Response) -> bool:
    return response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")


def read_chunk(response: requests.Response) -> bytes | None:
    """The next bytes of a body, b"" at its end, None when the connection breaks or stays silent."""
    try:
        return response.raw.read(CHUNK, decode_content=encoded(response))
    except urllib3.exceptions.HTTPError:
        return None


def validator(response: requests.Response) -> str:
    """The value for If-Range: a strong entity tag or a date; "" when the server gives neither."""
    tag = response.headers.get("ETag", "")
    if encoded(response):
        return ""
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def total_of(response: requests.Response) -> int | None:
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else None
