import Testing

@testable import RumConfig

/// After the cases of the toml-test suite for TOML 1.0.
@Suite("Numbers, dates and times of TOML")
struct TOMLScalarTests {
    @Test(
        "Every form of a whole number has its value",
        arguments: [
            ("0", 0), ("+0", 0), ("-0", 0), ("42", 42), ("+99", 99), ("-17", -17), ("1_000", 1000),
            ("1_2_3", 123), ("0xDEAD_beef", 0xdead_beef), ("0x00ff", 255), ("0o755", 0o755), ("0b1_0", 2),
            ("9223372036854775807", .max), ("-9223372036854775808", .min), ("0x7fffffffffffffff", .max),
        ])
    func integers(text: String, expected: Int) {
        guard case .integer(let number)? = TOMLScalar.value(text) else {
            Issue.record("\(text) is no integer")
            return
        }
        #expect(number == expected)
    }

    @Test(
        "Floating-point numbers, dates and times are recognised",
        arguments: [
            "1.0", "-0.0", "+1.5", "3.1_4", "1e06", "6.626e-34", "5e+22", "1E2", "0e0", "inf", "-inf", "+nan",
            "1_0.2_0e1_0", "1979-05-27T07:32:00Z", "1979-05-27t07:32:00z", "1979-05-27 07:32:00",
            "1979-05-27T00:32:00.999999-07:00", "1979-05-27", "07:32:00", "00:32:00.5", "2000-02-29",
            "2016-12-31T23:59:60Z",
        ])
    func others(text: String) {
        guard case .other? = TOMLScalar.value(text) else {
            Issue.record("\(text) is not recognised")
            return
        }
    }

    @Test(
        "What is no value is refused",
        arguments: [
            "1__2", "_1", "1_", "+_1", "0x_1", "0x1_", "0x1__2", "+0x1", "-0b1", "0X1", "0B1", "0O7", "0x",
            "0xg",
            "0o8", "0b2", "01", "-01", "00", "+", "-", "++1", "1a", "9223372036854775808",
            "0x8000000000000000",
            ".5", "5.", "5.e1", "1._2", "1_.2", "1.2_", "1e", "1e_1", "1e1_", "1e1.2", "03.14", "1.2.3",
            "1e2e3",
            "+-1.0", "Inf", "NaN", "infinity", "1.e5", "0x1.8p1", "٣", "1979-5-27", "1979-13-01",
            "1979-00-01",
            "1979-01-00", "1979-02-29", "1900-02-29", "1979-04-31", "1979-05-27T", "1979-05-27T7:32:00",
            "1979-05-27T24:00:00Z", "1979-05-27T00:60:00Z", "1979-05-27T00:00:61Z", "1979-05-27T00:32",
            "1979-05-27T00:32:00.", "1979-05-27T00:32:00.Z", "1979-05-27T07:32:00+24:00",
            "1979-05-27T07:32:00+12:60", "1979-05-27T07:32:00+9:00", "1979-05-27T07:32:00-",
            "79-05-27", "24:00:00", "07:32", "7:32:00", "07:32:00Z", "1979-05-27x07:32:00", "-1979-05-27",
            "1979-05-27Z", "tru", "True", "TRUE",
        ])
    func refused(text: String) {
        #expect(TOMLScalar.value(text) == nil)
    }
}
