"""The client of a language model, against servers on loopback that answer well, late, badly, and with malice."""

import socket
import threading

import pytest

from saelab.errors import EvalError
from saelab.explain.llm import KEY, LLM, MODEL, URL

from .serving import said

SECRET = "sk-not-to-be-seen"


def client(url, **more):
    waited = []
    return LLM(url, "small", **{"sleep": waited.append, **more}), waited


def test_the_question_and_the_key_are_sent_and_the_words_come_back(serve):
    url, asked = serve(said("fires on commas"))
    llm, _ = client(url, key=SECRET)
    assert llm.ask("be brief", "what?") == "fires on commas"
    path, headers, body = asked[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {SECRET}"
    assert body["model"] == "small" and [one["content"] for one in body["messages"]] == ["be brief", "what?"]


def test_a_busy_server_is_asked_again_when_it_says_and_at_most_a_minute_later(serve):
    url, asked = serve((429, {"Retry-After": "7"}, ""), (429, {"Retry-After": "99999"}, ""), (503, {}, ""), said("ok"))
    llm, waited = client(url)
    assert llm.ask("", "") == "ok"
    assert waited == [7.0, 60.0, 4.0] and len(asked) == 4


def test_a_server_that_stays_busy_is_given_up(serve):
    url, asked = serve((429, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, ""))
    llm, waited = client(url)
    with pytest.raises(EvalError, match="429"):
        llm.ask("", "")
    assert len(asked) == 4 and waited == [1.0, 2.0, 4.0]


def test_a_server_that_says_nothing_is_given_up_in_time(serve):
    url, _ = serve((0, {}, ""))
    llm, waited = client(url, timeout=0.2)
    with pytest.raises(EvalError, match=r"no answer within 0\.2 s"):
        llm.ask("", "")
    assert len(waited) == 3


def test_nobody_there_is_one_clear_message():
    llm, _ = client("http://127.0.0.1:9/v1")
    with pytest.raises(EvalError, match="asked in vain"):
        llm.ask("", "")


@pytest.mark.parametrize(
    "body", ["no json", "[]", "{}", '{"choices": []}', '{"choices": [{"message": {"content": 3}}]}', "[" * 200_000]
)
def test_an_answer_of_another_kind_is_refused_at_once(serve, body):
    url, asked = serve((200, {}, body))
    llm, _ = client(url)
    with pytest.raises(EvalError, match="not what /chat/completions answers"):
        llm.ask("", "")
    assert len(asked) == 1


def test_a_refusal_is_not_repeated_and_a_redirect_is_not_followed(serve):
    elsewhere, asked_there = serve(said("caught"))
    url, _ = serve((302, {"Location": f"{elsewhere}/chat/completions"}, ""))
    for address, code in ((url, "302"), (serve((401, {}, SECRET))[0], "401")):
        llm, _ = client(address, key=SECRET)
        with pytest.raises(EvalError, match=code) as refused:
            llm.ask("", "")
        assert SECRET not in str(refused.value)
    assert not asked_there


def test_the_key_is_never_shown_and_never_sent_in_the_clear():
    assert SECRET not in repr(LLM("http://127.0.0.1:9/v1", "small", SECRET))
    with pytest.raises(EvalError, match="unencrypted") as refused:
        LLM("http://example.com/v1", "small", SECRET)
    assert SECRET not in str(refused.value)


def test_an_answer_that_is_no_http_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def nonsense():
            for _ in range(4):
                with listening.accept()[0] as one:
                    one.recv(9999)
                    one.sendall(b"SSH-2.0-hello\r\n\r\n")

        threading.Thread(target=nonsense, daemon=True).start()
        llm, waited = client(f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        with pytest.raises(EvalError, match="asked in vain"):
            llm.ask("", "")
    assert len(waited) == 3


def test_a_proxy_does_not_come_between_on_this_machine(serve, monkeypatch):
    proxy, asked_proxy = serve(said("caught"))
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    llm, _ = client(serve(said("well"))[0], key=SECRET)
    assert llm.ask("", "") == "well"
    assert not asked_proxy


def test_it_is_off_unless_the_environment_names_a_model():
    assert LLM.from_environment({KEY: SECRET}) is None
    found = LLM.from_environment({URL: "http://localhost:1/v1", MODEL: "small"})
    assert found is not None and (found.model, found.key) == ("small", None)
    with pytest.raises(EvalError, match="set both"):
        LLM.from_environment({URL: "http://localhost:1/v1"})
    with pytest.raises(EvalError, match="no address"):
        LLM.from_environment({URL: "file:///etc/passwd", MODEL: "small"})
    with pytest.raises(EvalError, match="holds a name or a password") as refused:
        LLM.from_environment({URL: f"https://me:{SECRET}@example.com/v1", MODEL: "small"})
    assert SECRET not in str(refused.value)
