"""A language model behind an OpenAI-compatible address, asked for words. Off unless the environment names one.

    SAELAB_LLM_URL     where `/chat/completions` is found, as http://127.0.0.1:11434/v1
    SAELAB_LLM_MODEL   the model's name there
    SAELAB_LLM_KEY     the key, where one is needed: read here, sent in one header, kept and shown nowhere

What comes back is text from outside: bounded here, and made visible wherever it is shown.
"""

import http.client
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from saelab.errors import EvalError

URL, MODEL, KEY = "SAELAB_LLM_URL", "SAELAB_LLM_MODEL", "SAELAB_LLM_KEY"
TRIES = 4
LONGEST_WAIT = 60.0  # seconds that a server may ask us to wait
LARGEST = 1 << 20  # bytes of an answer that are read
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
BUSY = {429, 500, 502, 503, 504}  # worth another try


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class LLM:
    """One model at one address."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout: float = 60.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EvalError(f"{URL} is {self.url!r}, which is no address.\n  fix:   as in http://127.0.0.1:11434/v1")
        if parts.username or parts.password:  # it would be shown with the address
            raise EvalError(f"{URL} holds a name or a password.\n  fix:   give the key in {KEY}")
        if self.key and parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise EvalError(
                f"the key of {KEY} would go to {parts.hostname} unencrypted.\n  fix:   give {URL} an https address"
            )

    @classmethod
    def from_environment(cls, known: Mapping[str, str] = os.environ) -> "LLM | None":
        """The model that the environment names; None when it names none. Raises EvalError when it says half of it."""
        url, model = known.get(URL, ""), known.get(MODEL, "")
        if not url and not model:
            return None
        if not url or not model:
            raise EvalError(f"{URL} is {url!r} and {MODEL} is {model!r}.\n  fix:   set both, or neither")
        return cls(url, model, known.get(KEY) or None)

    def ask(self, task: str, question: str) -> str:
        """The answer to `question`, under the standing `task`. Raises EvalError when none is to be had."""
        body = {
            "model": self.model,
            "temperature": 0,
            "messages": [{"role": "system", "content": task}, {"role": "user", "content": question}],
        }
        for attempt in range(TRIES):
            try:
                return _content(self._post(body))
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in BUSY or attempt == TRIES - 1:
                    raise self._failed(f"it answered {error.code} {error.reason}") from None
                self.sleep(_wait(error.headers.get("Retry-After"), attempt))
            except (OSError, http.client.HTTPException) as error:  # unreachable, cut off, too slow, no HTTP
                if attempt == TRIES - 1:
                    raise self._failed(f"no answer within {self.timeout:g} s: {_reason(error)}") from None
                self.sleep(_wait(None, attempt))
            except (ValueError, KeyError, IndexError, TypeError, RecursionError):
                raise self._failed("its answer is not what /chat/completions answers") from None
        raise AssertionError("every last try returns or raises")

    def _post(self, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.key}"} if self.key else {})}
        request = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers)
        direct = [urllib.request.ProxyHandler({})] if urlsplit(self.url).hostname in LOOPBACK else []
        with urllib.request.build_opener(_NoRedirect, *direct).open(request, timeout=self.timeout) as answer:
            return json.loads(answer.read(LARGEST))

    def _failed(self, why: str) -> EvalError:
        return EvalError(f"the language model {self.model} at {self.url} was asked in vain: {why}.")


def _content(answer: Any) -> str:
    text = answer["choices"][0]["message"]["content"]
    if not isinstance(text, str):
        raise TypeError("no text")
    return text


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", error))[:200]


def _wait(asked: str | None, attempt: int) -> float:
    """Seconds until the next try: what the server asks for, at most a minute; else 1, 2, 4."""
    try:
        seconds = float(asked or "")
        return min(LONGEST_WAIT, max(0.0, seconds)) if math.isfinite(seconds) else LONGEST_WAIT
    except ValueError:
        return float(2**attempt)
