"""`python -m services.intake`: this one service."""

from services.intake.app import NAME as NAME
from services.intake.app import build as build


def main() -> None:
    """Serve intake until told to stop."""
    from libs.service.run import serve

    serve(NAME, build)


if __name__ == "__main__":
    main()
