"""scripts/run-tests on event streams as Swift Testing writes them."""
import contextlib
import io
import json
import re
import unittest

from loading import script

tests = script("run-tests")


def stream(*results, ended=True):
    """Lines for tests given as (name, tags, verdict); "none" is one that never ends, "skip" a skipped one."""
    lines = []
    for name, tags, _ in results:
        test = {"kind": "function", "id": f"M.S/{name}()/F.swift:1:1", "_tags": tags}
        lines.append({"kind": "test", "payload": test})

    def event(kind, **more):
        lines.append({"kind": "event", "payload": {"kind": kind, **more}})

    for name, _, verdict in results:
        test = f"M.S/{name}()/F.swift:1:1"
        if verdict == "skip":
            event("testSkipped", testID=test, messages=[{"symbol": "skip", "text": ""}])
            continue
        event("testStarted", testID=test, messages=[])
        if verdict == "fail":
            event("issueRecorded", testID=test, issue={"isFailure": True, "isKnown": False},
                  messages=[{"symbol": "fail", "text": f"{name} is wrong"}])
        if verdict != "none":
            event("testEnded", testID=test, messages=[{"symbol": verdict, "text": ""}])
    if ended:
        event("runEnded", messages=[])
    return tests.Outcome(json.dumps(line) + "\n" for line in lines)


class RunTestsTest(unittest.TestCase):
    def judge(self, first, code, second=None, root=False, times_count=True):
        """(all well, filters of the second run or None, what was printed)"""
        asked = []

        def run_again(filters):
            asked.append(filters)
            return second, 1 if second.failed else 0

        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            well = tests.judge(first, code, run_again, root, times_count)
        return well, asked[0] if asked else None, said.getvalue()

    def test_all_pass(self):
        self.assertEqual(self.judge(stream(("a", [], "pass")), 0), (True, None, ""))

    def test_times_do_not_count_beside_a_sanitizer(self):
        first = stream(("a", [], "pass"), ("b", [".timed"], "fail"))
        well, again, said = self.judge(first, 1, times_count=False)
        self.assertEqual((well, again), (True, None))
        self.assertIn("not counted, since it is timed: M.S/b(): b is wrong", said)
        first = stream(("a", [], "fail"), ("b", [".timed"], "fail"))
        self.assertEqual(self.judge(first, 1, times_count=False)[:2], (False, None))

    def test_untimed_fails_at_once(self):
        first = stream(("a", [], "fail"), ("b", [".timed"], "fail"))
        well, again, said = self.judge(first, 1)
        self.assertEqual((well, again), (False, None))
        self.assertIn("failed: M.S/a()", said)
        self.assertIn("failed (timed): M.S/b()", said)

    def test_timed_runs_again_alone(self):
        first = stream(("a", [], "pass"), ("b", [".timed"], "fail"), ("c", [".timed"], "pass"))
        well, again, said = self.judge(first, 1, stream(("b", [".timed"], "pass")))
        self.assertTrue(well)
        self.assertEqual(len(again), 1)
        self.assertTrue(re.match(again[0], "M.S/b()/F.swift:1:1"))
        self.assertIn("flaky: M.S/b(): first run: b is wrong; second run: passed", said)

    def test_timed_fails_twice(self):
        first = stream(("b", [".timed"], "fail"))
        well, _, said = self.judge(first, 1, stream(("b", [".timed"], "fail")))
        self.assertFalse(well)
        self.assertIn("failed twice: M.S/b(): first run: b is wrong; second run: b is wrong", said)

    def test_second_run_that_does_not_run_it(self):
        well, _, said = self.judge(stream(("b", [".timed"], "fail")), 1, stream())
        self.assertFalse(well)
        self.assertIn("second run: did not end", said)

    def test_crash(self):
        well, again, said = self.judge(stream(("b", [".timed"], "none"), ended=False), 139)
        self.assertEqual((well, again), (False, None))
        self.assertIn("ended with 139 before all had run; it was in M.S/b()", said)

    def test_exit_code_without_a_failure(self):
        self.assertFalse(self.judge(stream(("a", [], "pass")), 1)[0])

    def test_skipped(self):
        first = stream(("a", [], "skip"))
        self.assertTrue(self.judge(first, 0)[0])
        self.assertFalse(self.judge(first, 0, root=True)[0])


if __name__ == "__main__":
    unittest.main()
