//! Every value is dropped once, also where a drop, an iterator or a predicate panics.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mallocer_array::{Array, Source};

use crate::{on_every_source, quiet};

/// Who is alive, and in which order they died.
#[derive(Default)]
struct Book {
    dead: RefCell<Vec<u32>>,
    /// Whose drop panics.
    bad: Cell<Option<u32>>,
}

struct Mortal {
    number: u32,
    book: Rc<Book>,
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.book.dead.borrow_mut().push(self.number);
        if self.book.bad.get() == Some(self.number) {
            panic!("{} does not want to go", self.number);
        }
    }
}

struct Case<S: Source> {
    book: Rc<Book>,
    array: Option<Array<Mortal, S>>,
}

impl<S: Source> Case<S> {
    fn new(source: S, bad: Option<u32>) -> Case<S> {
        let book = Rc::new(Book::default());
        book.bad.set(bad);
        let mortals = (0..10).map(|number| Mortal { number, book: book.clone() });
        let array = Some(Array::from_iter_in(mortals, source));
        Case { book, array }
    }

    fn array(&mut self) -> &mut Array<Mortal, S> {
        self.array.as_mut().unwrap()
    }

    /// Acts, perhaps panicking, and ends the array; all must be dead once. Returns the order in
    /// which they died.
    fn ends(self, what: &str, act: impl FnOnce(&mut Case<S>)) -> Vec<u32> {
        self.ended(what, act).1
    }

    /// The same, where the act must panic.
    fn ends_by_panic(self, what: &str, act: impl FnOnce(&mut Case<S>)) {
        assert!(self.ended(what, act).0, "{what} does not panic");
    }

    /// Whether the act panicked, and the order.
    fn ended(mut self, what: &str, act: impl FnOnce(&mut Case<S>)) -> (bool, Vec<u32>) {
        let panicked = catch_unwind(AssertUnwindSafe(|| act(&mut self))).is_err();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self.array.take())));
        let order = self.book.dead.take();
        let mut dead = order.clone();
        dead.sort();
        assert_eq!(dead, Vec::from_iter(0..10), "{what} (panicked: {panicked})");
        assert_eq!(Rc::strong_count(&self.book), 1, "{what}: one is neither dead nor alive");
        (panicked, order)
    }
}

fn each_once<S: Source>(source: S) {
    for bad in [None, Some(0), Some(3), Some(5), Some(9)] {
        let case = || Case::new(source, bad);
        let order = case().ends("drop", |case| drop(case.array.take()));
        assert_eq!(order, Vec::from_iter(0..10), "dropped from first to last");
        case().ends("truncate", |case| case.array().truncate(3));
        case().ends("clear", |case| case.array().clear());
        case().ends("retain", |case| case.array().retain(|mortal| mortal.number % 2 == 0));
        case().ends("dedup", |case| case.array().dedup_by_key(|mortal| mortal.number / 3));
        case().ends("drain", |case| drop(case.array().drain(2..7)));
        case().ends("drain, partly", |case| {
            let mut drain = case.array().drain(2..7);
            drop(drain.next());
            drop(drain.next_back());
        });
        case().ends("splice", |case| {
            let book = Rc::new(Book::default());
            let more = (20..30).map(|number| Mortal { number, book: book.clone() });
            case.array().splice(4..6, more);
        });
        case().ends("into_iter", |case| {
            let mut values = case.array.take().unwrap().into_iter();
            drop(values.next());
            drop(values.next_back());
        });
        case().ends("into_vec", |case| drop(case.array.take().unwrap().into_vec()));
        case().ends("extract", |case| case.array().extract(1..9, |one| one.number != 4, drop));
        case().ends("swap_remove", |case| drop(case.array().swap_remove(3)));
        case().ends("assignment", |case| case.array = None);
    }
    // A predicate that panics.
    for at in [0, 4, 9] {
        let case = || Case::new(source, None);
        let check = |number: u32| assert!(number != at, "enough");
        case().ends_by_panic("retain", |case| {
            case.array().retain(|mortal| {
                check(mortal.number);
                mortal.number % 2 == 0
            });
        });
        case().ends_by_panic("dedup", |case| {
            case.array().dedup_by(|one, kept| {
                check(kept.number);
                check(one.number);
                one.number % 2 == 0
            });
        });
        case().ends_by_panic("extract", |case| {
            case.array().extract(
                ..,
                |one| {
                    check(one.number);
                    one.number % 2 == 0
                },
                drop,
            );
        });
        case().ends_by_panic("resize_with", |case| {
            let mut made = 0;
            case.array().resize_with(20, || {
                made += 1;
                check(made % 10);
                Mortal { number: 99, book: Rc::new(Book::default()) }
            });
        });
    }
}

#[test]
fn dropped_once_on_every_source() {
    quiet(|| on_every_source!(each_once));
}

/// An iterator that panics: what it gave is the array's.
#[test]
fn an_iterator_that_panics_once() {
    quiet(|| {
        let book = Rc::new(Book::default());
        let mut array = Array::<Mortal, mallocer_flist::Global>::new();
        let values = (0..100).map(|number| {
            assert!(number < 70, "enough");
            Mortal { number, book: book.clone() }
        });
        assert!(catch_unwind(AssertUnwindSafe(|| array.extend(values))).is_err());
        assert_eq!(array.len(), 70);
        drop(array);
        assert_eq!(book.dead.take(), Vec::from_iter(0..70));
    });
}

/// A drain or an iterator that is forgotten loses values, but drops none twice.
#[test]
fn forgotten_once() {
    let mut case = Case::new(mallocer_malloc::Global, None);
    std::mem::forget(case.array().drain(3..6));
    assert!(case.array().iter().map(|mortal| mortal.number).eq(0..3));
    drop(case.array.take());
    assert_eq!(case.book.dead.take(), [0, 1, 2]);
}

/// Values of no size are dropped, too.
#[test]
fn values_of_no_size_are_dropped_once() {
    std::thread_local!(static DEAD: Cell<usize> = const { Cell::new(0) });
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DEAD.set(DEAD.get() + 1);
        }
    }
    let mut array = Array::<Nothing, mallocer_flist::Global>::new();
    for _ in 0..1000 {
        array.push(Nothing);
    }
    array.truncate(900);
    assert_eq!(DEAD.get(), 100);
    array.drain(10..20);
    drop(array.pop());
    assert_eq!(DEAD.get(), 111);
    drop(array);
    assert_eq!(DEAD.get(), 1000);
}
