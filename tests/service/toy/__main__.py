"""The toy as a process, as `python -m services.<name>` runs a service."""

import sys

from libs.service.run import serve
from tests.service.toy.app import build

if __name__ == "__main__":
    sys.exit(serve("toy", build))
