"""`python -m services.classification`: this one service."""

from services.classification.app import NAME as NAME
from services.classification.app import build as build


def main() -> None:
    """Serve classification until told to stop."""
    from libs.service.run import serve

    serve(NAME, build)


if __name__ == "__main__":
    main()
