import Glibc
import TestSupport
import Testing

/// Worktrees as git itself makes them, whose files are read without it.
@Suite(
    "Worktrees of one repository",
    .enabled(if: access("/usr/bin/git", X_OK) == 0, "needs git: scripts/setup-packages test"),
    .timeLimit(.minutes(1)))
struct WorktreeTests {
    @Test("Ten worktrees with one rum.toml are ten machines, from any folder in them")
    func tenMachines() async throws {
        let folder = try TestFolder()
        let script = """
            set -eu
            exec 2>&1
            export LIBVIRT_DEFAULT_URI=test:///default RUM_HOME='\(folder.path)/home' GIT_CONFIG_GLOBAL=/dev/null
            cd '\(folder.path)'
            git init -q shop
            cd shop
            git checkout -q -b main
            mkdir src
            touch src/kept
            printf 'name = "shop-{branch}"\\nimage.base = "debian-12"\\n' >rum.toml
            git add .
            git -c user.name=ann -c user.email=ann@example.org commit -q -m first
            for number in 1 2 3 4 5 6 7 8; do git worktree add -q ../tree-$number -b feature/$number; done
            git worktree add -q --detach ../commit
            for tree in . ../tree-* ../commit; do (cd $tree/src && '\(builtPrograms)/rum' status --json); done
            printf 'sha %.8s\\n' "$(git rev-parse HEAD)"
            """
        let run = try Program("/bin/sh", ["-c", script])
        try await eventually("the script ended") { run.status != nil }
        try #require(run.status == 0, "it said: \(run.lines)")
        let commit = try #require(run.lines.last { $0.hasPrefix("sha ") }).dropFirst(4)
        let expected = ["main"] + (1...8).map { "feature-\($0)" } + [String(commit)]
        for branch in expected {
            #expect(
                run.lines.contains { $0.contains("\"name\":\"shop-\(branch)\"") }, "it said: \(run.lines)")
        }
    }
}
