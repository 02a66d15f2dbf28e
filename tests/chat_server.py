"""A server with OpenAI's chat API on this machine, in the place of a judge's."""

import http.server
import json
import re
import threading

CODE = re.compile(r"\[\[(\w+): ")
ANSWERS = re.compile(r"=== \w+: (answer[ 12]*) ===\n(.*?)\n=== \w+: end of", re.DOTALL)


class FakeServer:
    """Speaks the API; ``reply`` turns (system, user, messages) into a text or an (HTTP status, body, headers)."""

    def __init__(self, reply):
        self.reply = reply
        self.requests = []
        self.together = self.most_together = 0
        lock = threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.requests.append((self.path, dict(self.headers), body))
                    outer.together += 1
                    outer.most_together = max(outer.most_together, outer.together)
                messages = body["messages"]
                answer = outer.reply(messages[0]["content"], messages[1]["content"], messages)
                if isinstance(answer, str):
                    content = json.dumps({"choices": [{"message": {"role": "assistant", "content": answer}}]})
                    answer = 200, content, {}
                status, content, headers = answer
                with lock:
                    outer.together -= 1
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content.encode())))
                self.end_headers()
                self.wfile.write(content.encode())

            def do_GET(self):
                outer.requests.append((self.path, dict(self.headers), None))
                self.send_error(404)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # a client that has gone
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def scores_length(system, user, messages):
    """Scores an answer by its length in words, and prefers the longer one."""
    answers = [text for _, text in ANSWERS.findall(user)]
    code = CODE.search(system)[1]
    if len(answers) == 1:
        return f"It has some words.\n[[{code}: {min(len(answers[0].split()), 10)}]]"
    left, right = (len(answer.split()) for answer in answers)
    return f"[[{code}: {'tie' if left == right else 1 if left > right else 2}]]"


def judges(system, user, messages):
    """As `scores_length`; an answer meets as many items of a checklist as it has words, and a checklist has two."""
    code = CODE.search(system)[1]
    if "You write checklists" in system:
        return f"[[{code}: Is it there?]]\n[[{code}: Is it to the point?]]"
    if items := re.search(r"The checklist has (\d+) items", system):
        met, count = len(ANSWERS.search(user)[2].split()), int(items[1])
        return f"[[{code}: {', '.join('yes' if place < met else 'no' for place in range(count))}]]"
    return scores_length(system, user, messages)


def error(status, message="no", **headers):
    return status, json.dumps({"error": {"message": message}}), headers
