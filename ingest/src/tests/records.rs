//! Records of instructions in each layout as it is published (the texts are made up), and what is wrong with others.

use serde_json::{Value, json};

use super::sources;
use crate::read::{Found, Payload, ReadLimits, Record, read_documents};
use crate::{Layout, Source};

/// A source whose template shows who says what.
pub(super) const DIALOGUES: &str = r#"
[[source]]
name = "talk"
path = "talk.json"
format = "json"
kind = "instruction"
license = "CC0-1.0"
records = "alpaca"
loss = "responses"
templates = [{ system = "S({text})", user = "U({text})", assistant = "A({text})", tool = "T({text})" }]
"#;

pub(super) fn limits() -> ReadLimits {
    super::settings().reading
}

pub(super) fn read(source: &Source, record: Value) -> Vec<Result<Found, String>> {
    let record = Record { locator: "talk.json:1".into(), content: Ok(Payload::Row(record)) };
    let documents = read_documents(record, source, &limits()).into_iter();
    documents.map(|document| document.map_err(|bad| bad.what)).collect()
}

#[track_caller]
fn check(layout: &str, record: Value, expected: Result<&str, &str>) {
    let source = &sources(&DIALOGUES.replace("alpaca", layout), std::path::Path::new(""))[0];
    let documents = read(source, record);
    let [found] = &documents[..] else { panic!("{documents:?}") };
    let text = found.as_ref().map(|found| &found.text[..]).map_err(|what| &what[..]);
    assert_eq!(text, expected, "{layout}");
}

#[test]
fn alpaca_and_belle() {
    check("alpaca", json!({"instruction": "Add.", "input": "1 and 2", "output": "3"}), Ok("U(Add.\n1 and 2)A(3)"));
    check("alpaca", json!({"instruction": "你好", "input": "", "output": "您好"}), Ok("U(你好)A(您好)"));
    check("alpaca", json!({"instruction": "a", "input": null, "output": "b", "system": ""}), Ok("U(a)A(b)"));
    let with_history = json!({
        "instruction": "And now?", "input": "", "output": "Rain.", "system": "Be short.",
        "history": [["Weather?", "Sun."], ["Sure?", "Yes."]]
    });
    check("alpaca", with_history, Ok("S(Be short.)U(Weather?)A(Sun.)U(Sure?)A(Yes.)U(And now?)A(Rain.)"));
    check("alpaca", json!({"instruction": "a", "input": ""}), Err("field \"output\" is missing"));
    check("alpaca", json!({"instruction": 3, "output": "b"}), Err("field \"instruction\" is not text"));
    check("alpaca", json!({"instruction": "a", "output": null}), Err("field \"output\" is null"));
    check("alpaca", json!({"instruction": "a", "output": "b", "history": "c"}), Err("field \"history\" is not a list"));
    let broken = json!({"instruction": "a", "output": "b", "history": [["c", "d"], ["e"]]});
    check("alpaca", broken, Err("field \"history.1\" is not a question and an answer"));
    check("alpaca", json!(["a", "b"]), Err("is not an object"));
}

#[test]
fn sharegpt() {
    let talk = json!({"id": "x1", "conversations": [
        {"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"},
        {"from": "user", "value": "And?"}, {"from": "chatgpt", "value": "So."}
    ]});
    check("sharegpt", talk, Ok("U(Hello)A(Hi)U(And?)A(So.)"));
    let tools = json!({"system": "Use tools.", "tools": "[]", "conversations": [
        {"from": "human", "value": "Weather?"}, {"from": "function_call", "value": "{\"name\": \"look\"}"},
        {"from": "observation", "value": "rain"}, {"from": "gpt", "value": "It rains."}
    ]});
    check("sharegpt", tools, Ok("S(Use tools.)U(Weather?)A({\"name\": \"look\"})T(rain)A(It rains.)"));
    // Nobody answers the last one.
    let open = json!({"conversations": [
        {"from": "system", "value": " "}, {"from": "human", "value": "a"}, {"from": "gpt", "value": "b"},
        {"from": "human", "value": "c"}
    ]});
    check("sharegpt", open, Ok("U(a)A(b)"));
    check("sharegpt", json!({"messages": []}), Err("field \"conversations\" is missing"));
    check("sharegpt", json!({"conversations": []}), Err("holds no answer of an assistant"));
    check("sharegpt", json!({"conversations": "a"}), Err("field \"conversations\" is not a list of messages"));
    let nobody = json!({"conversations": [{"from": "human", "value": "a"}, {"from": "moon", "value": "b"}]});
    check("sharegpt", nobody, Err("in \"conversations.1\", \"from\" is \"moon\", which is no role"));
    let silent = json!({"conversations": [{"from": "human"}]});
    check("sharegpt", silent, Err("in \"conversations.0\", field \"value\" is missing"));
}

#[test]
fn openai() {
    let talk = json!({"messages": [
        {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]}
    ]});
    check("openai", talk, Ok("S(Be kind.)U(Hello)A(Hi\nthere)"));
    let picture = json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]});
    let what = "in \"messages.0\", field \"content\" holds a part of type \"image_url\", which is not text";
    check("openai", picture, Err(what));
    let called = json!({"messages": [{"role": "assistant", "content": null, "tool_calls": []}]});
    check("openai", called, Err("in \"messages.0\", field \"content\" is null"));
}

#[test]
fn oig() {
    let text = "<human>: What is bamboo? \n<bot>: A grass.\n<human>: Of course.\n<bot>: Yes, <b>of</b> course.";
    let record = json!({"text": text, "metadata": {"source": "made up"}});
    check("oig", record, Ok("U( What is bamboo? \n)A( A grass.\n)U( Of course.\n)A( Yes, <b>of</b> course.)"));
    let background = json!({"text": "Background: A river.\n\n<human>: Which?\n\n<bot>: The long one.\n<human>:"});
    check("oig", background, Ok("S(Background: A river.\n\n)U( Which?\n\n)A( The long one.\n)"));
    // A marker inside a word is none.
    check("oig", json!({"text": "<human>: a<bot>: b\n<bot>: c"}), Ok("U( a<bot>: b\n)A( c)"));
    check("oig", json!({"text": "An essay."}), Err("holds no answer of an assistant"));
    check("oig", json!({"content": "<bot>: a"}), Err("field \"text\" is missing"));
}

#[test]
fn coig() {
    let translated = json!({"task_id": "1", "instruction": "Add.", "input": "", "output": "3",
        "trans_instruction": "相加。", "trans_input": "一和二", "trans_output": "三"});
    check("coig", translated, Ok("U(相加。\n一和二)A(三)"));
    let exam = json!({"textbox_q_instruction": "回答下面的选择题。", "textbox_q_context": "", "textbox_question": "竹子是？\nA. 草\nB. 树",
        "textbox_answer": "A", "textbox_answer_analysis": "竹子是禾本科植物。", "subject": "生物"});
    check("coig", exam, Ok("U(回答下面的选择题。\n竹子是？\nA. 草\nB. 树)A(A\n竹子是禾本科植物。)"));
    let values = json!({"textbox_q_instruction": "判断。", "textbox_q_context": "有人落水。", "textbox_question": "怎么办？",
        "textbox_answer": "呼救。", "textbox_answer_analysis": null});
    check("coig", values, Ok("U(判断。\n有人落水。\n怎么办？)A(呼救。)"));
    check(
        "coig",
        json!({"instruction": "写代码", "input": "", "output": "def f(): pass"}),
        Ok("U(写代码)A(def f(): pass)"),
    );
    let rounds = json!({"entity": "竹",
        "round_0": {"prompt": "p", "response": "{\"Q\": \"竹子是树吗？\", \"A\": \"是。\"}"},
        "round_1": {"prompt": "p", "response": "```json\n{\"Q\": \"不对吧？\", \"A\": \"是草。\"}\n```"},
        "round_2": {"prompt": "p", "response": "I cannot."},
        "round_3": {"prompt": "p", "response": "{\"Q\": \"c\", \"A\": \"d\"}"}});
    check("coig", rounds, Ok("U(竹子是树吗？)A(是。)U(不对吧？)A(是草。)"));
    let silent = json!({"round_0": {"response": "I cannot."}});
    check("coig", silent, Err("field \"round_0.response\" is no JSON with the texts \"Q\" and \"A\""));
    let other = "has none of the fields \"trans_instruction\", \"textbox_question\", \"round_0\", \"instruction\"";
    check("coig", json!({"text": "a"}), Err(other));
}

/// The published layouts of pairs of preferences, each of the same pair.
fn preferences() -> Vec<Value> {
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let (asked, good, bad) = (message("user", "2+2?"), message("assistant", "4"), message("assistant", "5"));
    vec![
        json!({"prompt": "2+2?", "chosen": "4", "rejected": "5"}),
        json!({"question": "2+2?", "chosen": "4", "rejected": "5"}),
        json!({"instruction": "2+2?", "input": "", "chosen": "4", "rejected": "5"}),
        json!({"prompt": [asked], "chosen": [good], "rejected": [bad]}),
        json!({"chosen": [asked, good], "rejected": [asked, bad], "score_chosen": 9.0}),
        json!({"prompt": "2+2?", "chosen": [asked, good], "rejected": [asked, bad]}),
        json!({"prompt": "2+2?", "chosen": [good], "rejected": [bad]}),
        json!({"chosen_messages": [asked, good], "rejected_messages": [asked, bad]}),
        json!({"chosen": "\n\nHuman: 2+2?\n\nAssistant: 4", "rejected": "\n\nHuman: 2+2?\n\nAssistant: 5"}),
        json!({"conversations": [{"from": "human", "value": "2+2?"}], "chosen": {"from": "gpt", "value": "4"},
            "rejected": {"from": "gpt", "value": "5"}}),
    ]
}

#[test]
fn every_layout_of_preferences_is_the_same_pair() {
    let plain = |text: &str| text.replace(' ', "");
    let of_kind = |text: &str| sources(text, std::path::Path::new("")).remove(0);
    let instruction = of_kind(&DIALOGUES.replace("alpaca", "dpo"));
    let proposition = DIALOGUES.replace("alpaca", "dpo").replace("\"instruction\"", "\"proposition\"");
    let proposition =
        proposition.replace("loss = \"responses\"\n", "").replace("T({text})\"", "T({text})\", end = \" Right:\"");
    let proposition = of_kind(&proposition);
    for record in preferences() {
        let [Ok(chosen)] = &read(&instruction, record.clone())[..] else { panic!("{record}") };
        assert_eq!(plain(&chosen.text), "U(2+2?)A(4)", "{record}");
        let [Ok(right), Ok(wrong)] = &read(&proposition, record.clone())[..] else { panic!("{record}") };
        assert_eq!((&plain(&right.text)[..], right.label), ("U(2+2?)A(4)Right:", Some(true)), "{record}");
        assert_eq!((&plain(&wrong.text)[..], wrong.label), ("U(2+2?)A(5)Right:", Some(false)), "{record}");
        assert_eq!((&right.locator[..], &wrong.locator[..]), ("talk.json:1#true", "talk.json:1#false"));
    }
    for (record, what) in [
        (json!({"prompt": "a", "rejected": "b"}), "field \"chosen\" is missing"),
        (
            json!({"prompt": "a", "chosen": 4, "rejected": "b"}),
            "field \"chosen\" is neither text nor a list of messages",
        ),
        (
            json!({"chosen": "a", "rejected": "b"}),
            "field \"chosen\" is text without a prompt, and does not begin with \"Human:\"",
        ),
        (json!({"prompt": "a", "chosen": "b"}), "field \"rejected\" is missing"),
    ] {
        assert_eq!(read(&proposition, record), [Err(what.to_owned())]);
    }
}

#[test]
fn tables_are_asked_for_every_field_that_a_layout_reads() {
    let records = [
        ("alpaca", json!({"instruction": "a", "input": "b", "output": "c", "history": [["d", "e"]], "system": "f"})),
        ("sharegpt", json!({"conversations": [{"from": "gpt", "value": "a"}], "system": "f"})),
        ("openai", json!({"messages": [{"role": "assistant", "content": "a"}]})),
        ("oig", json!({"text": "<bot>: a"})),
        (
            "coig",
            json!({"textbox_q_instruction": "a", "textbox_q_context": "b", "textbox_question": "c", "textbox_answer": "d",
            "textbox_answer_analysis": "e"}),
        ),
        ("coig", json!({"trans_instruction": "a", "trans_input": "b", "trans_output": "c"})),
    ];
    let records = records.into_iter().chain(preferences().into_iter().map(|record| ("dpo", record)));
    for (name, record) in records {
        let source = &sources(&DIALOGUES.replace("alpaca", name), std::path::Path::new(""))[0];
        let wanted = source.reading.fields();
        let mut only_wanted = record.clone();
        only_wanted.as_object_mut().unwrap().retain(|field, _| wanted.contains(&&field[..]));
        assert_eq!(read(source, only_wanted), read(source, record.clone()), "{record}");
        assert!(read(source, record.clone())[0].is_ok(), "{record}");
    }
    assert!(Layout::Coig.fields().contains(&"round_9"));
}

#[test]
fn a_tools_answer_needs_a_template() {
    let source = &sources(
        &DIALOGUES.replace("alpaca", "openai").replace(", tool = \"T({text})\"", ""),
        std::path::Path::new(""),
    )[0];
    let record =
        json!({"messages": [{"role": "tool", "content": "rain"}, {"role": "assistant", "content": "It rains."}]});
    assert_eq!(read(source, record), [Err("has a tool's answer as turn 1, and a template without tool".to_owned())]);
}
