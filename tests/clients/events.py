"""The official Socket.IO client for Python against a running server: `CLIENT_SERVER`, `CLIENT_KEY`.

As Open WebUI's client does: connect with a token, join, then ask for answers that come by events.
"""

import json
import os
import queue
import urllib.error
import urllib.request
from importlib.metadata import version

import socketio

SERVER, KEY = os.environ["CLIENT_SERVER"], os.environ["CLIENT_KEY"]
UPSTREAM = os.environ["CLIENT_UPSTREAM"]
PATIENCE_SECS = 60
OWN = ("pinhole:job", "pinhole:progress")


class Listener:
    """A connection, and what it hears."""

    def __init__(self, transports):
        self.heard = queue.Queue()
        self.socket = socketio.Client(reconnection=False)
        self.socket.on("events", self.heard.put)
        self.socket.connect(SERVER, auth={"token": KEY}, socketio_path="/ws/socket.io", transports=transports)
        self.joined = self.socket.call("user-join", {"auth": {"token": KEY}}, timeout=PATIENCE_SECS)
        self.socket.emit("heartbeat", {})

    def next(self):
        """The next event that other servers tell too."""
        while True:
            event = self.heard.get(timeout=PATIENCE_SECS)
            if event["data"]["type"] not in OWN:
                return event

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.disconnect()


def ask(method, path, body=None):
    body = json.dumps(body).encode() if method == "POST" else None
    request = urllib.request.Request(SERVER + path, body, method=method)
    request.add_header("authorization", f"Bearer {KEY}")
    request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{path}: {error.code} {error.read()}") from error


def turn(listener, chat_id, words, picture=True):
    """The task that goes on."""
    answer = ask("POST", "/api/chat/completions", {
        "model": "mock-chat", "stream": True, "session_id": listener.socket.get_sid(), "chat_id": chat_id,
        "id": "a1", "features": {"image_generation": picture}, "background_tasks": {},
        "messages": [{"role": "user", "content": words}],
    })
    assert answer["status"] is True, answer
    return answer["task_id"]


def terms():
    for transports in [["websocket"], ["polling"], None]:
        with Listener(transports) as listener:
            assert listener.joined["name"] == "Administrator", listener.joined
            assert listener.joined["id"]


def answers():
    question = {"id": "u1", "parentId": None, "childrenIds": ["a1"], "role": "user", "content": "a fox"}
    answer = {"id": "a1", "parentId": "u1", "childrenIds": [], "role": "assistant", "content": ""}
    history = {"messages": {"u1": question, "a1": answer}, "currentId": "a1"}
    chat = ask("POST", "/api/v1/chats/new", {"chat": {"title": "Foxes", "history": history}})
    with Listener(None) as one, Listener(["websocket"]) as two:
        turn(one, chat["id"], "a fox")
        for listener in (one, two):
            kinds, words = [], []
            while not words or not words[-1].get("done"):
                event = listener.next()
                assert (event["chat_id"], event["message_id"]) == (chat["id"], "a1"), event
                kinds.append(event["data"]["type"])
                if kinds[-1] == "chat:completion":
                    words.append(event["data"]["data"])
            assert kinds[:4] == ["status", "status", "files", "chat:completion"], kinds
            assert set(kinds[4:]) <= {"chat:completion"}, kinds
            so_far = [it["content"] for it in words]
            assert all(later.startswith(earlier) for earlier, later in zip(so_far, so_far[1:])), so_far
            assert words[-1]["content"] == "Here is your fox."
            assert words[-1]["title"] == "Foxes"
    message = ask("GET", f"/api/v1/chats/{chat['id']}")["chat"]["history"]["messages"]["a1"]
    assert message["content"] == "Here is your fox." and message["done"] is True, message
    assert [status["done"] for status in message["statusHistory"]] == [False, True], message
    assert len(message["files"]) == 1, message


def stop():
    with Listener(["websocket"]) as listener:
        task = turn(listener, "local:1", "wait for me", picture=False)
        assert listener.next()["data"] == {"type": "chat:completion", "data": {"content": "Here is "}}
        assert ask("GET", "/api/tasks/chat/local:1") == {"task_ids": [task]}
        assert ask("POST", f"/api/tasks/stop/{task}")["status"] is True
        assert listener.next()["data"] == {"type": "chat:tasks:cancel"}


for check in [terms, answers, stop]:
    check()
    print(f"python socketio {version('python-socketio')}: {check.__name__} ok", flush=True)
