// fuzz NAME [OPTION-OF-LIBFUZZER...] [CORPUS...]: gives the reader NAME whatever libFuzzer makes up; without NAME, lists them.
//
// libFuzzer's own main would want one program for each reader; this one has all of them.
import CFuzzer
import Glibc

guard let name = CommandLine.arguments.dropFirst().first, Readers.all[name] != nil else {
    for name in Readers.all.keys.sorted() { print(name) }
    exit(CommandLine.arguments.count > 1 ? 2 : 0)
}
let words = [CommandLine.arguments[0]] + CommandLine.arguments.dropFirst(2)
var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
var count = Int32(words.count)
let status = pointers.withUnsafeMutableBufferPointer { buffer in
    var start = buffer.baseAddress
    return LLVMFuzzerRunDriver(&count, &start) { data, size in
        Readers.chosen?(UnsafeRawBufferPointer(start: data, count: size))
        return 0
    }
}
exit(status)
