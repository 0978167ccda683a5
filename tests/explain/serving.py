"""A language model's server on loopback, which answers as a test tells it to."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from saelab.explain.llm import KEY, MODEL, URL


@pytest.fixture
def serve():
    """Starts a server; see `answering`."""
    with answering() as started:
        yield started


@contextmanager
def answering():
    """Starts servers that give these answers in turn, the last one again and again; they end with the block.

    An answer is (status, headers, body), or a function that makes it of the question.
    """
    servers = []

    def started(*answers):
        asked = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append((self.path, dict(self.headers), body))
                answer = answers[min(len(asked), len(answers)) - 1]
                status, headers, said = answer(body) if callable(answer) else answer
                if status == 0:  # says nothing, until the client has gone
                    gone.wait(20)
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said.encode())

            def log_message(self, *_):
                pass

        gone = threading.Event()
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append((server, gone))
        return f"http://127.0.0.1:{server.server_port}/v1", asked

    try:
        yield started
    finally:
        for server, gone in servers:
            gone.set()
            server.shutdown()
            server.server_close()


def said(text):
    return 200, {}, json.dumps({"choices": [{"message": {"content": text}}]})


def asked_to_judge(body):
    """Whether a question is one to a judge, and not one for words."""
    return body["messages"][0]["content"].startswith("You check")


def believer(words):
    """Says `words`; as a judge, that every text fires and that no mark is right."""

    def answer(body):
        if not asked_to_judge(body):
            return said(words)
        detects = "For each text" in body["messages"][0]["content"]
        return said(json.dumps([int(detects)] * body["messages"][1]["content"].count("<text>")))

    return answer


SECRET = "sk-not-to-be-seen"


@pytest.fixture
def unnamed(monkeypatch):
    """No model in the environment."""
    for name in (URL, MODEL, KEY):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def named(unnamed, monkeypatch):
    """Names a server in the environment."""

    def name_it(url):
        monkeypatch.setenv(URL, url)
        monkeypatch.setenv(MODEL, "small")
        monkeypatch.setenv(KEY, SECRET)

    return name_it
