"""scripts/graph on small packages that break one rule each."""
import unittest

from loading import script

graph = script("graph")


def package(**targets):
    """name=(declared, imported) -> targets as the manifest and the files would give them."""
    return {
        name: graph.Target(
            name, "regular", f"Sources/{name}", declared.split(), {module: "A.swift" for module in imported.split()})
        for name, (declared, imported) in targets.items()
    }


def broken(targets, *rule):
    return list(graph.broken_rule(targets, graph.edges(targets), *rule))


class GraphTest(unittest.TestCase):
    def test_imports(self):
        text = (
            'import A\npackage import B\n@testable import C\npublic import struct D.E\n'
            '@preconcurrency internal import F\n'
            '#if canImport(G)\n    import G\n#endif\nlet text = """\nimport no\n"""\n/*\nimport no\n*/\n// import no\n'
            'important()\n')
        self.assertEqual(graph.imports_of(text), ["A", "B", "C", "D", "F", "G"])

    def test_agreement(self):
        self.assertEqual(list(graph.disagreements(package(A=("B", "B Glibc"), B=("", "")))), [])

    def test_unused_and_undeclared(self):
        found = list(graph.disagreements(package(A=("B", "C"), B=("", ""), C=("", ""))))
        self.assertEqual(found, [
            "A: Package.swift lists B, which none of its files imports",
            "A: A.swift imports C, which Package.swift does not list for it"])

    def test_program_that_a_test_only_runs(self):
        targets = package(T=("P", ""), P=("", ""))
        targets["P"].kind = "executable"
        self.assertEqual(len(list(graph.disagreements(targets))), 1)
        targets["T"].kind = "test"
        self.assertEqual(list(graph.disagreements(targets)), [])

    def test_circle(self):
        targets = package(A=("B", "B"), B=("C", "C"), C=("B", "B"))
        self.assertEqual(graph.circle(graph.edges(targets)), ["B", "C", "B"])
        self.assertIsNone(graph.circle(graph.edges(package(A=("B C", ""), B=("C", ""), C=("", "")))))

    def test_layers(self):
        targets = package(A=("B C", ""), B=("C", ""), C=("", ""), D=("", ""))
        self.assertEqual(graph.layers(graph.edges(targets)), [["C", "D"], ["B"], ["A"]])

    def test_reaches(self):
        targets = package(A=("B", "B"), B=("C", "C"), C=("", ""))
        self.assertEqual(broken(targets, "A", "reaches only", ["B"]), ["A must not reach C: A -> B -> C"])
        self.assertEqual(broken(targets, "A", "reaches only", ["B", "C"]), [])
        self.assertEqual(broken(targets, "A", "never reaches", ["C"]), ["A must not reach C: A -> B -> C"])
        self.assertEqual(broken(targets, "B", "never reaches", ["A"]), [])

    def test_imports_of_a_module(self):
        targets = package(A=("", "Glibc"), B=("A", "A"), C=("A", "A"))
        self.assertEqual(broken(targets, "A", "never imports", ["Glibc"]), ["A must not import Glibc; A.swift does"])
        self.assertEqual(broken(targets, "A", "imported by", ["B", "C"]), [])
        self.assertEqual(broken(targets, "A", "imported by", ["B"]), ["C imports A; only B may"])
        self.assertEqual(
            broken(targets, "C", "imported by", ["B"]), ["B does not import C; take it out of the rule"])

    def test_rule_about_a_module_that_does_not_exist(self):
        targets = package(A=("", ""))
        self.assertEqual(graph.missing(targets, "A", "reaches only", ["B"]), ["B"])
        self.assertEqual(graph.missing(targets, "A", "never imports", ["Glibc"]), [])


if __name__ == "__main__":
    unittest.main()
