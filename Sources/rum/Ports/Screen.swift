import Glibc

/// What a terminal understands (ECMA-48, and xterm's alternate screen).
enum Screen {
    /// Another screen, without a cursor.
    static var enter: StaticString { "\u{1b}[?1049h\u{1b}[?25l" }
    static var leave: StaticString { "\u{1b}[?25h\u{1b}[?1049l" }

    /// Draws over what is there and clears only what is left, so that nothing flickers.
    static func picture(_ lines: [String], _ size: TerminalSize) -> String {
        let shown = lines.prefix(size.rows)
        return "\u{1b}[H" + shown.map { $0 + "\u{1b}[K" }.joined(separator: "\r\n") + "\u{1b}[J"
    }

    /// Whether a terminal of this kind, as TERM has it, understands that (terminfo(5) has "dumb" for one that does not).
    static func isUnderstood(by kind: String?) -> Bool { !["", "dumb"].contains(kind ?? "") }

    /// Has Ctrl-Z give the terminal back before the program stops, and take it again when the program goes on; `letStopsBe`
    /// ends that. What is drawn next fills the screen.
    static func leaveAtStops() {
        var action = sigaction()
        // The handler gives the signal its own action back and raises it again, so that the kernel decides whether somebody is
        // there who could let the program go on (setpgid(2), orphaned process groups).
        action.sa_flags = SA_RESTART
        // Only what signal-safety(7) allows.
        action.__sigaction_handler.sa_handler = { _ in
            let before = errno
            _ = write(STDOUT_FILENO, Screen.leave.utf8Start, Screen.leave.utf8CodeUnitCount)
            Screen.letStopsBe()
            _ = raise(SIGTSTP)
            // Blocked while its handler runs; with this it stops. SA_NODEFER would not do: the thread sanitizer has all signals
            // blocked in a handler.
            var (stop, blocked) = (sigset_t(), sigset_t())
            sigemptyset(&stop)
            sigaddset(&stop, SIGTSTP)
            pthread_sigmask(SIG_UNBLOCK, &stop, &blocked)
            pthread_sigmask(SIG_SETMASK, &blocked, nil)
            Screen.leaveAtStops()
            _ = write(STDOUT_FILENO, Screen.enter.utf8Start, Screen.enter.utf8CodeUnitCount)
            errno = before
        }
        sigaction(SIGTSTP, &action, nil)
    }

    static func letStopsBe() { _ = signal(SIGTSTP, SIG_DFL) }
}
