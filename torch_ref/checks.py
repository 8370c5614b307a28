"""Checks that several modules share."""

from faces.errors import UserError


def check_known(what, value, known):
    """Raise a UserError that lists the known words unless value is one of them."""
    if value not in known:
        raise UserError(f"Unknown {what} {value!r}. Expected one of {', '.join(known)}.")
