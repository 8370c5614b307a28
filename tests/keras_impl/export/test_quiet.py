"""What libraries say inside is held back; what they say later has a stream to go to."""

import logging
import os
import sys

import pytest

from faces.errors import UserError
from keras_impl.export.quiet import quiet


def test_both_kinds_of_output_are_held_back(capfd):
    with quiet():
        print("python")
        os.write(2, b"native\n")
    print("after")
    assert capfd.readouterr() == ("after\n", "")


def test_logging_set_up_inside_goes_on_outside(capsys):
    log = logging.getLogger("made inside")
    with quiet():
        log.addHandler(handler := logging.StreamHandler(sys.stderr))
        log.warning("inside")
    log.warning("outside")
    log.removeHandler(handler)
    assert capsys.readouterr().err == "outside\n"


def test_errors_show_what_was_held_back_unless_they_are_the_users(capfd):
    for error, shown in ((ValueError("broken"), "reason\n"), (UserError("wrong word"), "")):
        with pytest.raises(type(error)), quiet():
            print("reason", file=sys.stderr)
            raise error
        assert capfd.readouterr().err == shown
