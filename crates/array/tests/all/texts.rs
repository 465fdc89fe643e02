//! What a text can do that is not on `String`, and its corners.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;

use mallocer_array::{Array, In, Source, Text};
use mallocer_core::{Config, Mallocer};
use mallocer_flist::{Flist, Global};

use crate::on_every_source;

fn split_and_joined<S: Source>(source: S) {
    let line = Text::from_str_in("to be, or not to be", source);
    let words = line.split_into(" ");
    assert_eq!(words.len(), 6);
    assert_eq!(words[1], "be,");
    let again = Text::join_in(&words, "\u{a0}", source);
    assert_eq!(again.replace('\u{a0}', " "), line.as_str());
    let mut counts = HashMap::new();
    for word in words {
        *counts.entry(word).or_insert(0) += 1;
    }
    // A text is found by a `str`, since it hashes like one.
    assert_eq!(counts["to"], 2);
}

#[test]
fn split_and_joined_on_every_source() {
    on_every_source!(split_and_joined);
}

#[test]
fn formatted() {
    let heap = Flist::open(&Config::default()).unwrap();
    let source = In::new(&heap);
    let mut text = Text::format_in(format_args!("{:08.3}|{:>6}|", 2.71, "ab"), source);
    write!(text, "{:?}", ["x"]).unwrap();
    text += "!";
    assert_eq!(text, r#"0002.710|    ab|["x"]!"#);
    assert_eq!(format!("{text:>30}").len(), 30);
    assert_eq!(format!("{text:?}"), format!("{:?}", text.as_str()));
}

#[test]
fn not_utf8() {
    let bytes = Array::from_slice_in(b"ab\xff\xfe\xc3\xa4", Global);
    let (bytes, wrong) = Text::from_utf8(bytes).unwrap_err();
    assert_eq!(wrong.valid_up_to(), 2);
    let lossy = Text::from_utf8_lossy_in(&bytes, Global);
    assert_eq!(lossy, String::from_utf8_lossy(&bytes));
    let units: Vec<u16> = "a𝄞ü".encode_utf16().collect();
    assert_eq!(Text::from_utf16_in(&units, Global).unwrap(), "a𝄞ü");
    assert!(Text::from_utf16_in(&units[..2], Global).is_err());
}

#[test]
fn written_to_like_a_file() {
    let heap = Flist::open(&Config::default()).unwrap();
    let mut bytes = Array::new_in(In::new(&heap));
    for line in 0..1000 {
        writeln!(bytes, "line {line}").unwrap();
    }
    let text = Text::from_utf8(bytes).unwrap();
    assert!(text.lines().enumerate().all(|(line, text)| text == format!("line {line}")));

    let mut config = Config::default();
    config.capacity = 64 << 10;
    let small = Flist::open(&config).unwrap();
    let mut bytes = Array::new_in(In::new(&small));
    let refusal = bytes.write_all(&[0; 100_000]).unwrap_err();
    assert_eq!(refusal.kind(), std::io::ErrorKind::OutOfMemory);
}

/// What `String` can be made of, a text can.
#[test]
fn made_of_all_that_strings_are() {
    use std::borrow::{BorrowMut, Cow};
    use std::path::Path;

    type Ours = Text<Global>;
    let mut owned = String::from("aß");
    let all = [
        Ours::from("aß"),
        Ours::from(&owned),
        Ours::from(owned.as_mut_str()),
        Ours::from(owned.clone().into_boxed_str()),
        Ours::from(Cow::Borrowed("aß")),
        Ours::from(owned.clone()),
        ['a', 'ß'].iter().collect(),
        ['a', 'ß'].into_iter().collect(),
        ["a", "ß"].into_iter().collect(),
        [String::from("a"), String::from("ß")].into_iter().collect(),
        [Cow::Borrowed("a"), Cow::Owned(String::from("ß"))].into_iter().collect(),
        [Box::<str>::from("a"), "ß".into()].into_iter().collect(),
        [Ours::from("a"), Ours::from('ß')].into_iter().collect(),
    ];
    assert!(all.iter().all(|text| *text == owned), "{all:?}");

    let mut text = Ours::from("file");
    assert_eq!(AsRef::<Path>::as_ref(&text), Path::new("file"));
    BorrowMut::<str>::borrow_mut(&mut text).make_ascii_uppercase();
    assert_eq!(text.leak(), "FILE");
    assert_eq!(Array::<u8, Global>::from("ab"), Array::<u8, Global>::from(b"ab"));
    assert_eq!(Array::<u8, Global>::from(String::from("ab")), [97, 98]);
    assert_eq!(Array::<u8, Global>::from(Cow::Borrowed(&[1u8, 2][..])), [1, 2]);
    assert_eq!(Array::<u8, Global>::from(&mut [1u8, 2][..]), [1, 2]);
}

/// A heap that refuses leaves the text, and gives the element back.
#[test]
fn refused_politely() {
    let mut config = Config::default();
    config.capacity = 64 << 10;
    let heap = Flist::open(&config).unwrap();
    let mut text = Text::new_in(In::new(&heap));
    while text.try_push_str("to be or not to be, ").is_ok() {}
    assert!(text.len() > 16 << 10, "{}", text.len());
    assert_eq!(text.len() % "to be or not to be, ".len(), 0);
    drop(text);
    let mut boxes = Array::new_in(In::new(&heap));
    let refused = (0..).find_map(|number| boxes.try_push(Box::new(number)).err()).unwrap();
    assert_eq!(*refused.0, boxes.len());
    assert_eq!(refused.1.to_string(), boxes.try_reserve(1).unwrap_err().to_string());
    assert!(boxes.iter().enumerate().all(|(index, number)| **number == index));
}

#[cfg(feature = "serde")]
#[test]
fn into_an_arena_through_serde() {
    let heap = Flist::open(&Config::default()).unwrap();
    let mut json = serde_json::Deserializer::from_str(r#""a\"b""#);
    let text = Text::deserialize_in(In::new(&heap), &mut json).unwrap();
    assert_eq!(text, "a\"b");
    let mut json = serde_json::Deserializer::from_str("[1, 2, null]");
    assert!(Array::<u8, _>::deserialize_in(In::new(&heap), &mut json).is_err());
    let mut json = serde_json::Deserializer::from_str("[]");
    assert!(Array::<(), _>::deserialize_in(In::new(&heap), &mut json).unwrap().is_empty());
    drop(text);
    assert_eq!(heap.info().alloc, 0);
}

#[cfg(feature = "serde")]
#[test]
fn through_serde() {
    let heap = Flist::open(&Config::default()).unwrap();
    let source = In::new(&heap);
    let mut rows = Array::new_in(source);
    rows.push(Text::from_str_in("a\"b", source));
    let json = serde_json::to_string(&rows).unwrap();
    assert_eq!(json, r#"["a\"b"]"#);
    let back: Array<Text<Global>, Global> = serde_json::from_str(&json).unwrap();
    assert_eq!(back, rows);
}
