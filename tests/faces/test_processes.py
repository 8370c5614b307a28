"""What lives in one process says so in a fork of it."""

import os
import re

import pytest

from faces.errors import UserError
from faces.processes import OwnProcess
from tests.forks import in_fork


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_is_told_what_to_do():
    thing = OwnProcess("The thing")
    thing.require()
    said = in_fork(thing.require)
    assert re.fullmatch(
        rf'UserError: The thing was made in process {os.getpid()} .* fork of it\. Start .*"spawn".*', said
    )
    with pytest.raises(UserError, match="The thing was made in process 1 "):
        thing._process = 1
        thing.require()
