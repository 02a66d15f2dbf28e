"""Asks a server with OpenAI's chat completions API, with the standard library alone."""

from __future__ import annotations

import http.client
import json
import math
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from divmon.errors import DivmonError, InputError
from divmon.visible import visible

_OPENAI = "https://api.openai.com/v1"
_AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
_LONGEST_PAUSE = 60.0
_MOST_BYTES = 4 << 20

Message = Mapping[str, str]
"""``{"role": "system" | "user" | "assistant", "content": text}``"""


class JudgeError(DivmonError, RuntimeError):
    """The judge cannot be asked, or does not answer as asked.

    Attributes:
        lasting: It would be the same for the next question: a wrong key or address, not a full queue.
    """

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class ChatModel(Protocol):
    """What a judge needs of a language model."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides a reply beside the messages: model, server, sampling; JSON-like, no secrets."""

    def complete(self, messages: Sequence[Message]) -> str:
        """Reply to a conversation; called from several threads at once.

        Raises:
            JudgeError: If there is no reply to be had, whatever the reason (a connection that breaks, a refusal): the
                question is left without a verdict. Anything else that is raised is taken for a fault in this method's
                own code, and ends what asked.
        """


@dataclass(frozen=True)
class OpenAIChat:
    """A model behind ``<base_url>/chat/completions``.

    The key is read from the environment each time, and is in no field, log, cache or error message. It is sent to
    ``base_url`` only: redirections are not followed.

    Attributes:
        model: Name that the server knows the model by.
        base_url: Up to and including the version, ``http://localhost:8000/v1`` say.
        api_key_env: Environment variable that holds the key; default: ``OPENAI_API_KEY`` for OpenAI's own address,
            else none, so that OpenAI's key is not sent elsewhere.
        temperature: None leaves it to the server (some models accept no other).
        max_tokens: Limit of a reply, reasoning included.
        timeout: Seconds for one request.
        attempts: Requests until one is given up (sooner once twice ``timeout`` is over), with pauses of ``backoff``
            seconds, doubled each time, or what the server asks for; 60 at most.
        backoff: Seconds.
        options: Further fields of the request; None removes one (``{"max_completion_tokens": None, "max_tokens": 512}``
            for a server that does not know the newer name).
    """

    model: str
    base_url: str = _OPENAI
    api_key_env: str = ""
    temperature: float | None = 0.0
    max_tokens: int = 1024
    timeout: float = 120.0
    attempts: int = 5
    backoff: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        address = urllib.parse.urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise InputError(f"base_url: expected an address as http://localhost:8000/v1, got {self.base_url!r}.")
        if address.username or address.password or address.query:
            raise InputError("base_url: keep keys out of the address; name a variable that holds it with api_key_env.")
        if not isinstance(self.model, str) or not self.model:
            raise InputError(f"model: expected the name that the server knows its model by, got {self.model!r}.")
        for name, least in (("max_tokens", 1), ("timeout", 0.01), ("attempts", 1), ("backoff", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
                raise InputError(f"{name}: expected a number of at least {least}, got {value!r}.")

    @property
    def identity(self) -> Mapping[str, Any]:
        """Model, server and sampling."""
        return {
            "model": self.model,
            "base_url": self.base_url,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "options": dict(self.options),
        }

    def complete(self, messages: Sequence[Message]) -> str:
        """Reply to a conversation.

        Raises:
            JudgeError: Where the server cannot be reached, refuses, or sends what is no reply.
        """
        body = {
            "model": self.model,
            "messages": [dict(message) for message in messages],
            "temperature": self.temperature,
            "max_completion_tokens": self.max_tokens,
        } | dict(self.options)
        data = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        started = time.monotonic()
        for attempt in range(1, self.attempts + 1):
            try:
                return _content(self._post(data))
            except _TransientError as error:
                if attempt == self.attempts or time.monotonic() - started > 2 * self.timeout:
                    raise JudgeError(f"{error} Tried {attempt} times.", lasting=error.lasting) from None
                # Spread, so that requests that failed together do not come back together.
                grown = self.backoff * 2 ** (attempt - 1) * random.Random().uniform(0.75, 1)
                pause = error.pause if error.pause is not None else grown
                time.sleep(min(pause, _LONGEST_PAUSE))
        raise AssertionError("unreachable")

    def _post(self, data: bytes) -> bytes:
        url = f"{self.base_url.rstrip('/')}/chat/completions"
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "divmon"}
        variable = self.api_key_env or ("OPENAI_API_KEY" if self.base_url.rstrip("/") == _OPENAI else "")
        key = os.environ.get(variable, "").strip() if variable else ""
        if key:
            if not key.isascii() or not key.isprintable():
                raise JudgeError(f"The key in {variable} holds characters that no key has.", lasting=True)
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(url, data=data, headers=headers, method="POST")
        try:
            with _opener(url).open(request, timeout=self.timeout) as response:
                return response.read(_MOST_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error, variable, bool(key)) from None
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: no address, or no proxy's
            reason = getattr(error, "reason", None) or error or type(error).__name__
            raise _TransientError(
                f"The judge's server {self.base_url} cannot be reached ({reason}).", lasting=True
            ) from None

    def _refused(self, error: urllib.error.HTTPError, variable: str, had_key: bool) -> JudgeError:
        said = _said(error)
        if error.code in _AGAIN:
            pause = error.headers.get("Retry-After", "")
            seconds = float(pause) if pause.replace(".", "", 1).isdecimal() else None
            return _TransientError(f"The judge's server answers {error.code}: {said}.", pause=seconds)
        if error.code in (401, 403):
            how = (
                f"the key in {variable} is not accepted"
                if had_key
                else (
                    f"it wants a key: put it into the environment variable {variable or 'of your choice'}"
                    f"{'' if variable else ' and name that with api_key_env'}"
                )
            )
            return JudgeError(f"The judge's server {self.base_url} answers {error.code}: {how}. ({said})", lasting=True)
        if error.code == 404:
            return JudgeError(
                f"The judge's server answers 404 for {error.url}, model {self.model!r}: is the address right up to "
                f"its version (/v1), and does the server know the model? ({said})",
                lasting=True,
            )
        hint = " Fields of the request can be changed with `options`." if error.code in (400, 422) else ""
        return JudgeError(f"The judge's server {self.base_url} answers {error.code}: {said}.{hint}")


class _TransientError(JudgeError):
    """It may be different next time."""

    def __init__(self, message: str, *, pause: float | None = None, lasting: bool = False) -> None:
        super().__init__(message, lasting=lasting)
        self.pause = pause


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """The request and its key are for the address that was given."""


def _opener(url: str) -> urllib.request.OpenerDirector:
    local = urllib.parse.urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if local:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _said(error: urllib.error.HTTPError) -> str:
    """A server's own words, in one line that cannot steer a terminal."""
    try:
        text = error.read(1 << 16).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException):
        text = ""
    try:
        content = json.loads(text)
        inner = content.get("error", content)
        text = str(inner.get("message", inner) if isinstance(inner, dict) else inner)
    except (ValueError, AttributeError, RecursionError):
        pass
    return visible(" ".join(text.split())[:300].rstrip(".") or str(error.reason))


def _content(data: bytes) -> str:
    try:
        message = json.loads(data)["choices"][0]["message"]
        content = message.get("content")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        shown = data[:80].decode("utf-8", "replace")
        raise JudgeError(f"The judge's server sent what is no chat completion: {shown!r}.", lasting=True) from None
    return content if isinstance(content, str) else ""
