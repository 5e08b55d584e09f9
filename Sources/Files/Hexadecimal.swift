/// The digits of a number in lower-case hexadecimal, as many as its type has room for.
package func hexadecimal(_ value: some FixedWidthInteger & UnsignedInteger) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: type(of: value).bitWidth / 4 - digits.count) + digits
}
