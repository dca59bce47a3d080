"""An images API on loopback, as engine `openai` asks it, and at `/chat/v1` a language model. Prints its
address, then answers.

A prompt with "refuse" in it is refused. One with "fail 502" is answered with that status, "fail close" with nothing; such
orders are counted by prompt (`GET /orders`). A stream sends a draft, waits until the client under test
has shown that it got it (`GET /seen`), and then sends the picture: so nothing depends on time.
The language model says a few words; asked to "wait" it says two and then nothing until its client goes. Asked to
"say" a text, it says this text.
`PUT /picture` and `PUT /draft` replace these. `GET /edit` returns the fields of the last edit; its files are in base64.
"""

import base64
import collections
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DRAFT = "R0lGODlhAgABAIAAAAAAAP///ywAAAAAAQABAAACAkQBADs="
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
USAGE = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
REFUSAL = {"error": {"message": "Not this.", "code": "moderation_blocked", "type": "image_generation_user_error"}}
PATIENCE_SECS = 60

WORDS = ["Here is ", "your ", "fox."]

seen = threading.Semaphore(0)
orders = collections.Counter()
images = {"/draft": DRAFT, "/picture": PICTURE}
last_edit = {}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/seen":
            seen.release()
        if self.path == "/orders":
            return self.answer(200, orders)
        if self.path == "/edit":
            return self.answer(200, last_edit)
        model = "mock-chat" if self.path.startswith("/chat/") else "gpt-image-2"
        self.answer(200, {"object": "list", "data": [{"id": model, "object": "model"}]})

    def do_PUT(self):
        images[self.path] = base64.b64encode(self.rfile.read(int(self.headers["content-length"]))).decode()
        self.answer(200, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        text = body.decode("utf-8", "replace")
        if failing := re.search(r"fail (\w+) \w+", text):
            orders[failing[0]] += 1
            if failing[1] == "close":
                return None
            return self.answer(int(failing[1]), {"error": {"message": "The order was taken."}})
        if self.path == "/chat/v1/chat/completions":
            return self.speak(json.loads(text))
        if "refuse" in text:
            return self.answer(400, REFUSAL)
        edits = self.path.endswith("/edits")
        if edits:
            last_edit.clear()
            last_edit.update(self.form_fields(body))
        fields = re.findall(r'form-data; name="([^"]+)"', text) if edits else sorted(json.loads(text))
        if "partial_images" in fields:
            return self.stream("image_edit" if edits else "image_generation")
        # What was asked for is shown in the one text that reaches the client.
        item = {"b64_json": images["/picture"], "revised_prompt": " ".join(sorted(fields))}
        self.answer(200, {"created": 1, "data": [item], "usage": USAGE})

    def form_fields(self, body):
        boundary = self.headers["content-type"].partition("boundary=")[2].strip('"').encode()
        for part in body.split(b"--" + boundary)[1:-1]:
            head, _, content = part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]+)"', head)[1].decode()
            is_file = b"filename=" in head
            yield name, base64.b64encode(content).decode() if is_file else content.decode()

    def speak(self, request):
        answer = {"id": "chatcmpl-1", "created": 1, "model": "mock-chat"}
        if not request.get("stream"):
            message = {"role": "assistant", "content": "".join(WORDS)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return self.answer(200, {**answer, "object": "chat.completion", "choices": [choice], "usage": USAGE})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        question = request["messages"][-1]["content"]
        waits = "wait" in str(question)
        said = re.match(r"say (.+)", question, re.DOTALL) if isinstance(question, str) else None
        for word in [said[1]] if said else WORDS[:1] if waits else WORDS:
            choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
            self.chunk({**answer, "object": "chat.completion.chunk", "choices": [choice]})
        if waits:
            # Nothing more is sent to be read: this ends when the client goes.
            return self.connection.recv(1)
        choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
        self.chunk({**answer, "object": "chat.completion.chunk", "choices": [choice], "usage": USAGE})
        self.wfile.write(b"data: [DONE]\n\n")

    def chunk(self, data):
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def stream(self, operation):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        draft = {"type": operation + ".partial_image", "b64_json": images["/draft"], "partial_image_index": 0}
        self.event(draft)
        seen.acquire(timeout=PATIENCE_SECS)
        self.event({"type": operation + ".completed", "b64_json": images["/picture"], "usage": USAGE})

    def event(self, data):
        self.wfile.write(f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
