"""What a test's own process gives back."""

import os
import signal

from tests.processes import run_python


def test_a_process_of_its_own_says_how_it_ended():
    done = run_python("import sys; print(sys.argv[1]); assert 1 == 2, 'wrong'", "here")
    assert done.returncode == 1 and done.stdout == "here\n" and done.stderr.endswith("AssertionError: wrong\n")
    assert run_python("import os; os.environ['ELSE'] = '1'; os.kill(os.getpid(), 9)").returncode == -signal.SIGKILL
    assert "ELSE" not in os.environ and run_python("import os; assert 'ELSE' not in os.environ").returncode == 0
