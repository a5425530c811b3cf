"""Runs in a pod of the cluster, with nothing but the standard library: talks to an agent through its Service without a pause.

Prints one JSON line a second: how many requests were answered, and what became of those that were not.
"""

import http.client
import json
import os
import threading
import time
import urllib.parse

ADDRESS = urllib.parse.urlsplit(os.environ["LOAD_URL"]).netloc
HEADERS = {"Authorization": f"Bearer {os.environ['LOAD_KEY']}", "Content-Type": "application/json"}
AGENT = os.environ["LOAD_AGENT"]
PARTS = ("short", "streamed", "stored")

answers = dict.fromkeys(PARTS, 0)
failures: list[str] = []


def post(connection: http.client.HTTPConnection, path: str, body: dict[str, object]) -> str:
    """The answer's body.

    Raises:
        RuntimeError: the answer is no success.
    """
    connection.request("POST", path, json.dumps(body), HEADERS)
    response = connection.getresponse()
    text = response.read().decode()
    if response.status >= 300:
        raise RuntimeError(f"{path}: HTTP {response.status}: {text}")
    return text


def ask_short(connection: http.client.HTTPConnection) -> None:
    """A completion in one piece."""
    post(connection, "/v1/chat/completions", {"model": AGENT, "messages": [{"role": "user", "content": "Hi"}]})


def ask_streamed(connection: http.client.HTTPConnection) -> None:
    """A completion that takes its time."""
    question = "Please repeat this sentence of some length, word by word, as slowly as you can."
    body = {"model": AGENT, "stream": True, "messages": [{"role": "user", "content": question}]}
    if not post(connection, "/v1/chat/completions", body).rstrip().endswith("[DONE]"):
        raise RuntimeError("a stream ended before its end")


def ask_stored(connection: http.client.HTTPConnection) -> None:
    """A new conversation with one message."""
    made = json.loads(post(connection, f"/v1/agents/{AGENT}/conversations", {}))
    post(connection, f"/v1/conversations/{made['id']}/messages", {"content": "Hi"})


def repeat(name: str) -> None:
    """Ask for ever, each time over a new connection, so that the Service chooses a pod each time."""
    ask = {"short": ask_short, "streamed": ask_streamed, "stored": ask_stored}[name]
    while True:
        connection = http.client.HTTPConnection(ADDRESS, timeout=30)
        try:
            ask(connection)
            answers[name] += 1
        except (OSError, http.client.HTTPException, RuntimeError, ValueError) as error:
            failures.append(f"{time.strftime('%H:%M:%S')} {name}: {error!r}")
        finally:
            connection.close()


def main() -> None:
    """Ask and report until killed."""
    for name in PARTS:
        threading.Thread(target=repeat, args=(name,), daemon=True).start()
    while True:
        time.sleep(1)
        print(json.dumps({"answers": answers, "failures": failures[:20]}), flush=True)


if __name__ == "__main__":
    main()
