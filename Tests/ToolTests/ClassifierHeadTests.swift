import Fixtures
import Foundation
import Testing

/// Heads of classifiers, which adapters bring along and bases seldom have.
@Suite struct ClassifierHeadTests {
    /// A causal model gets a classifier's head: its config must say how many labels, and which class has it.
    @Test func newLabels() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.adapter.append(.init(Pair.prefix + "score.weight", "F32", [4, 6], (0..<24).map(Double.init)))
        pair.config["task_type"] = "SEQ_CLS"
        pair.config["modules_to_save"] = ["classifier", "score"]
        let (base, adapter) = try pair.write(in: scratch)
        try scratch.write("base/config.json", #"{"model_type":"made-up","architectures":["MadeUpForCausalLM"]}"#)
        #expect(Tools.merge(base, [adapter], scratch("out")).status == 0)
        let config = try object(in: scratch("out/config.json"))
        #expect(config["architectures"] as? [String] == ["MadeUpForSequenceClassification"])
        let labels = config["id2label"] as? [String: String]
        #expect(labels == ["0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2", "3": "LABEL_3"])
        #expect((config["label2id"] as? [String: Int])?["LABEL_3"] == 3)
        #expect(try tensors(in: scratch("out"))["score.weight"]?.shape == [4, 6])
    }

    /// PEFT names the class of the model where the adapter has no task.
    @Test func theClassComesFromTheAdapter() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.adapter.append(.init(Pair.prefix + "classifier.weight", "F32", [3, 6], (0..<18).map(Double.init)))
        pair.config["auto_mapping"] = ["base_model_class": "MadeUpForImageClassification"]
        pair.config["modules_to_save"] = ["classifier"]
        let (base, adapter) = try pair.write(in: scratch)
        try scratch.write("base/config.json", #"{"model_type":"made-up","architectures":["MadeUpModel"]}"#)
        #expect(Tools.merge(base, [adapter], scratch("out")).status == 0)
        let config = try object(in: scratch("out/config.json"))
        #expect(config["architectures"] as? [String] == ["MadeUpForImageClassification"])
        #expect((config["id2label"] as? [String: String])?.count == 3)
    }

    /// A head with another number of labels takes the place of the base's; one that nobody announced does not fit.
    @Test func anotherNumberOfLabels() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.base.append(.init("classifier.weight", "F32", [3, 6], (0..<18).map(Double.init)))
        pair.adapter.append(.init(Pair.prefix + "classifier.weight", "F32", [5, 6], (0..<30).map(Double.init)))
        pair.config["modules_to_save"] = ["classifier"]
        let (base, adapter) = try pair.write(in: scratch)
        try scratch.write("base/config.json", #"{"model_type":"made-up","vocab_size":3}"#)
        let answer = Tools.merge(base, [adapter], scratch("out"))
        #expect(answer.status == 0, "\(answer.err)")
        #expect(answer.err.contains("changes the number of labels from 3 to 5"))
        #expect(try tensors(in: scratch("out"))["classifier.weight"]?.shape == [5, 6])
        let config = try object(in: scratch("out/config.json"))
        #expect((config["id2label"] as? [String: String])?.count == 5)
        #expect(config["vocab_size"] as? Int == 3)
        #expect(Tools.verify(base, adapter, options: ["--merged", scratch("out")]).status == 0)
        pair.config["modules_to_save"] = ["score"]
        let stray = try pair.writeAdapter(as: "stray", in: scratch)
        #expect(Tools.verify(base, stray).err.contains("shape [5, 6] was to replace 'classifier.weight' [3, 6]"))
    }

    /// With `bias="all"` PEFT saves the bias of a new head under two names.
    @Test func aBiasThatIsSavedTwice() throws {
        let scratch = try Scratch()
        for (same, status) in [(true, 0), (false, 1)] {
            var pair = Pair()
            let (name, values) = (Pair.prefix + "classifier", [1.0, 2, 3])
            pair.adapter.append(.init(name + ".weight", "F32", [3, 6], (0..<18).map(Double.init)))
            pair.adapter.append(.init(name + ".bias", "F32", [3], values))
            pair.adapter.append(.init(name + ".modules_to_save.bias", "F32", [3], same ? values : [1.0, 2, 4]))
            pair.config["modules_to_save"] = ["classifier"]
            pair.config["bias"] = "all"
            let (base, adapter) = try pair.write(in: scratch)
            #expect(Tools.verify(base, adapter).err.contains("and so does") == !same)
            #expect(Tools.merge(base, [adapter], scratch("out\(status)")).status == Int32(status))
        }
    }

    /// Masked-LM checkpoints have no pooler, but a `dense` in their head, which is not the pooler's.
    @Test func aPoolerIsNotTheHeadsDense() throws {
        let scratch = try Scratch()
        var pair = Pair()
        pair.base.append(.init("cls.transform.dense.weight", "F32", [2, 2], [1, 2, 3, 4]))
        pair.adapter.append(.init(Pair.prefix + "bert.pooler.dense.weight", "F32", [2, 2], [5, 6, 7, 8]))
        pair.config["modules_to_save"] = ["pooler"]
        let (base, adapter) = try pair.write(in: scratch)
        #expect(Tools.merge(base, [adapter], scratch("out")).status == 0)
        let merged = try tensors(in: scratch("out"))
        #expect(merged["cls.transform.dense.weight"]?.values == [1, 2, 3, 4])
        #expect(merged["bert.pooler.dense.weight"]?.values == [5, 6, 7, 8])
    }
}
