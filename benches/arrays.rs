//! Arrays, texts and pools beside `Vec` and `Box` on the libraries, with criterion's statistics.
//!
//! The same jobs as the example `arrays` runs, smaller: everything is in one process, so no
//! peaks of memory here, and who comes later finds the pages that others have touched.

mod configuration;

use std::hint::black_box;
use std::iter::repeat_n;

use configuration::configuration;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mallocer::array::{Array, In, Source, Text};
use mallocer::{Arena, Flist, collections, global};
use mallocer_benches::structures::{self, IsNode, Node, Std};

const PUSHES: u32 = 1_000_000;
const TEXTS: usize = 20_000;
const NODES: usize = 50_000;

/// Who competes: a name, and what does each job. A `Vec` is allocator-api2's, which is the
/// standard library's with an allocator; so is `Box`; a string is a `Vec` of bytes.
struct Competitor {
    name: &'static str,
    push: fn(),
    texts: fn(),
    tree: fn(),
}

/// `Vec` and `Box` on a library.
macro_rules! std_on {
    ($name:literal, $library:ty) => {
        Competitor {
            name: $name,
            push: || {
                let mut vec = collections::Vec::new_in(Std::<$library>::default());
                (0..PUSHES).for_each(|number| vec.push(black_box(number)));
                black_box(&vec);
            },
            texts: || {
                let new = || collections::Vec::new_in(Std::<$library>::default());
                let mut texts: Vec<_> = std::iter::repeat_with(new).take(TEXTS).collect();
                structures::texts(&mut texts, |text, piece| {
                    text.extend_from_slice(piece.as_bytes())
                });
            },
            tree: || {
                struct BoxNode(Node<Link>);
                type Link = collections::Box<BoxNode, Std<$library>>;
                impl IsNode<Link> for BoxNode {
                    #[inline(always)]
                    fn node(&mut self) -> &mut Node<Link> {
                        &mut self.0
                    }
                }
                structures::tree(&mut vec![0; NODES], |_, key| {
                    collections::Box::new_in(BoxNode(Node::new(key)), Std::default())
                });
            },
        }
    };
}

/// Ours where `$source` says, which is made once for a job.
macro_rules! ours {
    ($name:literal, |$arena:ident| $source:expr) => {
        Competitor {
            name: $name,
            push: || {
                let $arena = arena();
                push($source);
            },
            texts: || {
                let $arena = arena();
                let source = $source;
                let new = || Text::new_in(source);
                let mut texts: Vec<_> = std::iter::repeat_with(new).take(TEXTS).collect();
                structures::texts(&mut texts, Text::push_str);
            },
            tree: || {
                let $arena = arena();
                let mut keys = Array::from_iter_in(repeat_n(0, NODES), $source);
                structures::tree_near(&mut keys, $source);
            },
        }
    };
}

fn arena() -> Arena<Flist> {
    Arena::<Flist>::builder().build().expect("a flist arena")
}

fn push<S: Source>(source: S) {
    let mut array = Array::new_in(source);
    (0..PUSHES).for_each(|number| array.push(black_box(number)));
    black_box(&array);
}

const COMPETITORS: [Competitor; 6] = [
    ours!("in-arena", |arena| In::from(&arena)),
    ours!("on-global", |_arena| global::Flist),
    std_on!("std-flist", global::Flist),
    std_on!("std-jemalloc", global::Jemalloc),
    std_on!("std-mimalloc", global::Mimalloc),
    std_on!("std-glibc", std::alloc::System),
];

fn all(criterion: &mut Criterion) {
    type Job = fn(&Competitor) -> fn();
    let jobs: [(&str, u64, Job); 3] = [
        ("array-push", PUSHES.into(), |competitor| competitor.push),
        ("array-texts", (TEXTS * structures::PIECES) as u64, |competitor| competitor.texts),
        ("array-tree", 3 * NODES as u64, |competitor| competitor.tree),
    ];
    for (name, operations, job) in jobs {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(operations));
        for competitor in &COMPETITORS {
            group.bench_function(competitor.name, |bencher| bencher.iter(job(competitor)));
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = configuration();
    targets = all
}
criterion_main!(benches);
