"""How a customer is written to: by the channel they used where it can carry a message, else by one that can."""

from libs.events.catalogue.interactions import Channel

_BY_PHONE = (Channel.WHATSAPP, Channel.SMS)
LANGUAGES = ("es", "en")


def reach(used: Channel, email: str | None, phone: str | None) -> tuple[Channel, str] | None:
    """Channel and address for messages about a case; None where no address is known and nobody can be written to."""
    if used in _BY_PHONE and phone:
        return used, phone
    if email:
        return Channel.EMAIL, email
    if phone:
        return Channel.SMS, phone
    return None


def language(locale: str | None, written: str | None, default: str) -> str:
    """es or en: the customer's own setting first, then the language they wrote in."""
    for tag in (locale, written):
        primary = (tag or "").replace("_", "-").split("-", 1)[0].lower()
        if primary in LANGUAGES:
            return primary
    return default
