//! Statistics, ladders and backends as JSON.

use mallocer::{Arena, Backend, Info, Ladder, SlabUse};

use crate::bytes;

#[test]
fn backends_are_their_names() {
    for backend in Backend::ALL {
        let json = serde_json::to_string(&backend).unwrap();
        assert_eq!(json, format!("\"{backend}\""));
        assert_eq!(serde_json::from_str::<Backend>(&json).unwrap(), backend);
    }
    assert!(serde_json::from_str::<Backend>("\"tcmalloc\"").is_err());
}

#[test]
fn what_an_arena_says_survives_a_round_trip() {
    for &backend in Backend::compiled() {
        let arena = Arena::builder().backend(backend).capacity(8 << 20).build().unwrap();
        arena.alloc(bytes(1000));
        let json = serde_json::to_value(arena.info()).unwrap();
        assert_eq!(json["capacity"], 8 << 20);
        assert_eq!(serde_json::from_value::<Info>(json).unwrap(), arena.info());
        let uses = arena.utilization();
        assert!(!uses.is_empty(), "{backend}");
        let json = serde_json::to_string(&uses).unwrap();
        assert_eq!(serde_json::from_str::<Vec<SlabUse>>(&json).unwrap(), uses);
    }
}

#[test]
fn ladders_are_checked_when_they_are_read() {
    let ladder = Ladder::between(96, 1 << 20).unwrap();
    let json = serde_json::to_string(&ladder).unwrap();
    assert_eq!(serde_json::from_str::<Ladder>(&json).unwrap(), ladder);
    let refusal = serde_json::from_str::<Ladder>("[16, 8]").unwrap_err().to_string();
    assert!(refusal.contains("does not ascend"), "{refusal}");
}
