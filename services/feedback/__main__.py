"""`python -m services.feedback`: this one service."""

from services.feedback.app import NAME, build


def main() -> None:
    """Serve feedback until told to stop."""
    from libs.service.run import serve

    serve(NAME, build)


if __name__ == "__main__":
    main()
