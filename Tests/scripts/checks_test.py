"""Which checks of the vsock rig run a second time."""
import contextlib
import io
import os
import sys
import unittest

from loading import TOP

sys.path += [os.path.join(TOP, "Tests/vsock-rig"), os.path.join(TOP, "Tests/guest")]
from harness import Failure, TooLate  # noqa: E402
from rig import Checks  # noqa: E402


class ChecksTest(unittest.TestCase):
    def run_check(self, *results):
        """(held, times it ran, failures, what was printed) for a check whose runs end like `results`."""
        left = list(results)

        def check():
            result = left.pop(0)
            if isinstance(result, Exception):
                raise result
            return result

        said = io.StringIO()
        checks = Checks(lambda title: None)
        with contextlib.redirect_stdout(said):
            held = checks.run("title", check)
        return held, len(results) - len(left), checks.failures, said.getvalue()

    def test_holds(self):
        self.assertEqual(self.run_check("note", "unused")[:3], (True, 1, 0))

    def test_failure_counts_at_once(self):
        for error in (Failure("wrong"), KeyError("x")):
            self.assertEqual(self.run_check(error, "unused")[:3], (False, 1, 1))

    def test_late_once_is_flaky(self):
        held, times, failures, said = self.run_check(TooLate("600 ms"), "20 ms")
        self.assertEqual((held, times, failures), (True, 2, 0))
        self.assertIn("flaky: title: first: TooLate: 600 ms; second: 20 ms\n", said)

    def test_late_twice_fails(self):
        held, times, failures, said = self.run_check(TooLate("600 ms"), TooLate("700 ms"), "unused")
        self.assertEqual((held, times, failures), (False, 2, 1))
        self.assertIn("FAIL title: first: TooLate: 600 ms; second: TooLate: 700 ms", said)
        self.assertNotIn("flaky", said)


if __name__ == "__main__":
    unittest.main()
