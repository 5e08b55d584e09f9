@main
enum ExtractTool {
    static func main() {}
}
