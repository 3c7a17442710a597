"""`python -m services.indicators`: this service alone."""

import sys

from libs.service.run import serve
from services.indicators.app import NAME, build

if __name__ == "__main__":
    sys.exit(serve(NAME, build))
