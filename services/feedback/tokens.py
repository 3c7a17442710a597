"""Tokens of the customer's page: derived with the vault's secret key, so that nobody can guess one and doing it again gives it
again; looked up by a second keyed hash, so that the database holds none."""

from base64 import urlsafe_b64encode

from libs.events.vault import Vault

LENGTH = 32
"""Characters of 6 bits each: 192 bits, far beyond guessing and short enough for a text message."""


def token_of(vault: Vault, request_id: str) -> str:
    return urlsafe_b64encode(vault.hash("answer-token", request_id)).decode()[:LENGTH]


def token_hash(vault: Vault, token: str) -> bytes:
    return vault.hash("answer-page", token)
