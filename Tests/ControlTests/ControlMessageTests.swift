import Foundation
import Testing

@testable import Control

@Suite("Requests and messages of the control protocol")
struct ControlMessageTests {
    static let requests: [(ControlRequest, String)] = [
        (.status, #"{"request":"status"}"#),
        (.events, #"{"request":"events"}"#),
        (.wait(port: 5001, seconds: 1.5), #"{"port":5001,"request":"wait","seconds":1.5}"#),
        (
            .ready(port: 5001, seconds: 2, http: nil), #"{"port":5001,"request":"ready","seconds":2}"#
        ),
        (
            .ready(port: 5001, seconds: 2, http: ControlHTTPCheck(status: 200, path: "/a")),
            #"{"http":{"path":"/a","status":200},"port":5001,"request":"ready","seconds":2}"#
        ),
        (
            .ready(port: 5001, seconds: 2, http: ControlHTTPCheck()),
            #"{"http":{"path":"/"},"port":5001,"request":"ready","seconds":2}"#
        ),
        (.why(port: 5001), #"{"port":5001,"request":"why"}"#),
        (
            .add(ControlForward(bind: "::1", host: 8080, guest: 80)),
            #"{"forward":{"bind":"::1","guest":80,"host":8080},"request":"add"}"#
        ),
        (
            .remove(ControlForward(bind: "127.0.0.1", host: 8080, guest: 80)),
            #"{"forward":{"bind":"127.0.0.1","guest":80,"host":8080},"request":"remove"}"#
        ),
        (.allow(port: 5001), #"{"port":5001,"request":"allow"}"#),
        (.deny(port: 5001), #"{"port":5001,"request":"deny"}"#),
        (.forget(port: 5001), #"{"port":5001,"request":"forget"}"#),
        (.forget(port: nil), #"{"request":"forget"}"#),
        (.reload(file: "/srv/rum.toml"), #"{"file":"/srv/rum.toml","request":"reload"}"#),
        (.stop, #"{"request":"stop"}"#),
    ]

    @Test("Each request is the documented line", arguments: requests)
    func request(_ request: ControlRequest, text: String) {
        #expect(ControlLine.bytes(request) == Array(text.utf8) + [10])
        #expect(ControlLine.value(ControlRequest.self, from: text.utf8) == request)
    }

    static let messages: [(ControlMessage, String)] = [
        (
            .hello(ControlHello(version: 1, rum: "0.1.0", machine: "dev", pid: 7, isBackground: true)),
            #"{"hello":{"background":true,"machine":"dev","pid":7,"rum":"0.1.0","version":1}}"#
        ),
        (.said("dev reboots"), #"{"said":"dev reboots"}"#),
        (
            .answer(ControlAnswer(isDone: false, reason: "ignored", sentence: "s", hint: "h")),
            #"{"answer":{"done":false,"hint":"h","reason":"ignored","sentence":"s"}}"#
        ),
        (.ended(ControlEnd(code: 1, message: "m")), #"{"ended":{"code":1,"message":"m"}}"#),
        (
            .error(ControlRefusal(message: "m", hint: "h")),
            #"{"error":{"hint":"h","message":"m"}}"#
        ),
        (
            .event(ControlEvent(line: "l", object: EventDocument(event: "agent_lost", timeMicroseconds: 1))),
            #"{"event":{"line":"l","object":{"bind":null,"event":"agent_lost","guest_address":null,"#
                + #""guest_port":null,"host_port":null,"kind":null,"label":null,"latency_us":null,"pid":null,"#
                + #""process":null,"reason":null,"rule_line":null,"time_us":1}}}"#
        ),
        (
            .report(
                OwnerReport(
                    pid: 7, isBackground: false, rum: "0.1.0",
                    forwards: [
                        .init(kind: "auto", bind: "127.0.0.1", hostPort: 1, guestPort: 2, state: "open")
                    ])),
            #"{"report":{"agent":null,"agent_problem":null,"auto_range":null,"background":false,"#
                + #""delivery":null,"forwards":[{"active":0,"bind":"127.0.0.1","bytes":0,"#
                + #""connections":0,"guest_address":null,"guest_port":2,"host_port":1,"kind":"auto","#
                + #""label":null,"latency_us":null,"on_conflict":null,"pid":null,"process":null,"reason":null,"#
                + #""rule_line":null,"state":"open","url":null}],"pid":7,"rum":"0.1.0","url":null}}"#
        ),
    ]

    @Test("Each message is the documented line", arguments: messages)
    func message(_ message: ControlMessage, text: String) {
        #expect(String(decoding: ControlLine.bytes(message), as: UTF8.self) == text + "\n")
        #expect(ControlLine.value(ControlMessage.self, from: text.utf8) == message)
    }

    @Test("What a newer end says beside or in place of what is known is no fault")
    func newer() {
        #expect(
            ControlLine.value(ControlMessage.self, from: #"{"sung":{"a":1}}"#.utf8) == .unknown("sung"))
        let hello = #"{"hello":{"background":true,"machine":"d","more":1,"pid":7,"rum":"2","version":9}}"#
        #expect(ControlLine.value(ControlMessage.self, from: hello.utf8) != nil)
    }

    @Test(
        "What is no request is none",
        arguments: [
            "", "{", "[]", "null", #"{"request":"sing"}"#, #"{"request":"why"}"#,
            #"{"port":70000,"request":"why"}"#, #"{"port":-1,"request":"why"}"#, "\u{feff}{}", "\0\0",
        ])
    func badRequest(_ text: String) {
        #expect(ControlLine.value(ControlRequest.self, from: text.utf8) == nil)
    }

    @Test("Lines are taken whole, however they come")
    func lines() {
        var buffer = LineBuffer(limit: 8)
        for byte in Array("one\ntwo\nthr".utf8) { buffer.add([byte]) }
        #expect(buffer.next() == Array("one".utf8))
        #expect(buffer.next() == Array("two".utf8))
        #expect(buffer.next() == nil)
        #expect(!buffer.isOverfull)
        buffer.add("xxxxxx".utf8)
        #expect(buffer.next() == nil)
        #expect(buffer.isOverfull)
    }
}
