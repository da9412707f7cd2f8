"""A job that answers requests, for the tests of launch.py: echoes, fails on demand, or ends without a word."""

import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    if request.get("end"):
        sys.exit("it is enough")
    answer = {"error": "no such thing"} if request.get("fail") else {"echo": request}
    print(json.dumps(answer), flush=True)
