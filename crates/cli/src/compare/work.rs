//! The work of a round: which words are indexed, updated and deleted, in which order.
//!
//! It is planned once, by the process that the user started, and passed whole to
//! every process that runs a round: so all of them do exactly the same, and none of
//! them leaves memory of planning behind that a backend might find and reuse.
//!
//! A *token* is a word of the text, or two neighbouring words of a line. An
//! *operation* is a token in one of the copies of the text; its key is the token's
//! bytes, and for copies after the first a zero byte and the copy's number. No word
//! has a zero byte, so keys order as (token, copy).

use std::io::{self, Read, Write};

use crate::compare::corpus::Corpus;
use crate::compare::random::Random;

/// The longest word; what is longer is cut into several.
const LONGEST_WORD: usize = 64;

/// The longest text that goes into a version: a line, or what is around the word.
const LONGEST_TEXT: usize = 240;

/// A word or pair of words, and the line it stands in; offsets into the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    start: u32,
    len: u32,
    line_start: u32,
    line_len: u32,
}

/// The operations of one worker, by number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// In the order of the text.
    pub(crate) builds: Vec<u32>,
    /// Shuffled.
    pub(crate) updates: Vec<u32>,
    /// One for every key that goes, shuffled.
    pub(crate) deletes: Vec<u32>,
}

/// All that a round needs to know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Work {
    text: Vec<u8>,
    tokens: Vec<Token>,
    parts: Vec<Part>,
}

/// Room for the longest key: two words and what stands between, and a copy's number.
pub(crate) type KeyBuffer = [u8; 2 * LONGEST_WORD + GAP + 5];

/// The most bytes between two words of a pair.
const GAP: usize = 4;

impl Work {
    /// Plans the work for `threads` workers: `copies` of the words of `corpus`, half
    /// of the keys deleted in the end, orders by `seed`.
    ///
    /// Each worker gets a range of the keys, with about as many operations as any.
    pub(crate) fn plan(corpus: &Corpus, copies: u32, threads: usize, seed: u64) -> Work {
        let text = corpus.text.clone();
        let tokens = tokens(&text);
        let bytes = |token: &Token| &text[token.start as usize..][..token.len as usize];

        // The rank of each token among the distinct ones, and how many have each rank.
        let mut order: Vec<u32> = (0..tokens.len() as u32).collect();
        order.sort_by_key(|&token| (bytes(&tokens[token as usize]), token));
        let mut ranks = vec![0u32; tokens.len()];
        let mut firsts: Vec<u32> = Vec::new();
        let mut counts: Vec<u64> = Vec::new();
        for &token in &order {
            let new = firsts.last().is_none_or(|&first| {
                bytes(&tokens[first as usize]) != bytes(&tokens[token as usize])
            });
            if new {
                firsts.push(token);
                counts.push(0);
            }
            ranks[token as usize] = firsts.len() as u32 - 1;
            *counts.last_mut().expect("the first token is new") += 1;
        }

        // The worker of each key: operations before the key, as a share of all.
        let total = tokens.len() as u64 * u64::from(copies);
        let mut before = 0;
        let starts: Vec<u64> = counts
            .iter()
            .map(|count| {
                before += count * u64::from(copies);
                before - count * u64::from(copies)
            })
            .collect();
        let worker = |operation: u32| {
            let (copy, token) = split(operation, tokens.len());
            let rank = ranks[token] as usize;
            let start = starts[rank] + u64::from(copy) * counts[rank];
            (start * threads as u64 / total) as usize
        };

        let mut random = Random::new(seed);
        let mut parts: Vec<Part> = (0..threads).map(|_| Part::default()).collect();
        let mut operations: Vec<u32> = (0..total as u32).collect();
        operations.iter().for_each(|&operation| parts[worker(operation)].builds.push(operation));
        random.shuffle(&mut operations);
        operations.iter().for_each(|&operation| parts[worker(operation)].updates.push(operation));
        let mut keys: Vec<u32> = (0..copies)
            .flat_map(|copy| firsts.iter().map(move |&first| (copy, first)))
            .map(|(copy, first)| copy * tokens.len() as u32 + first)
            .collect();
        random.shuffle(&mut keys);
        keys.truncate(keys.len() / 2);
        keys.iter().for_each(|&operation| parts[worker(operation)].deletes.push(operation));
        Work { text, tokens, parts }
    }

    /// How many tokens the text of `corpus` has.
    pub(crate) fn count_tokens(corpus: &Corpus) -> usize {
        tokens(&corpus.text).len()
    }

    /// The parts, one for each worker, in the order of their keys.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The key of an operation.
    #[inline]
    pub(crate) fn key<'b>(&self, operation: u32, buffer: &'b mut KeyBuffer) -> &'b [u8] {
        let (copy, token) = split(operation, self.tokens.len());
        let Token { start, len, .. } = self.tokens[token];
        let mut len = len as usize;
        buffer[..len].copy_from_slice(&self.text[start as usize..][..len]);
        if copy > 0 {
            buffer[len] = 0;
            buffer[len + 1..len + 5].copy_from_slice(&copy.to_be_bytes());
            len += 5;
        }
        &buffer[..len]
    }

    /// The text that an operation puts into a version.
    #[inline]
    pub(crate) fn line(&self, operation: u32) -> &[u8] {
        let (_, token) = split(operation, self.tokens.len());
        let Token { line_start, line_len, .. } = self.tokens[token];
        &self.text[line_start as usize..][..line_len as usize]
    }

    /// Writes the work as it is passed to another process: all numbers in 32 bits,
    /// little-endian, each list with its length in front.
    pub(crate) fn write(&self, mut out: impl Write) -> io::Result<()> {
        let mut bytes = Vec::new();
        put(&mut bytes, [self.text.len() as u32]);
        bytes.extend_from_slice(&self.text);
        put(&mut bytes, [self.tokens.len() as u32]);
        for token in &self.tokens {
            put(&mut bytes, [token.start, token.len, token.line_start, token.line_len]);
        }
        put(&mut bytes, [self.parts.len() as u32]);
        for list in self.parts.iter().flat_map(|part| [&part.builds, &part.updates, &part.deletes])
        {
            put(&mut bytes, [list.len() as u32]);
            put(&mut bytes, list.iter().copied());
        }
        out.write_all(&bytes)?;
        out.flush()
    }

    /// Reads what [`write`](Work::write) has written.
    pub(crate) fn read(mut from: impl Read) -> io::Result<Work> {
        let len = number(&mut from)?;
        let mut text = vec![0; len as usize];
        from.read_exact(&mut text)?;
        let tokens = (0..number(&mut from)?)
            .map(|_| {
                let [start, len, line_start, line_len] = numbers(&mut from)?;
                Ok(Token { start, len, line_start, line_len })
            })
            .collect::<io::Result<_>>()?;
        let parts = (0..number(&mut from)?)
            .map(|_| {
                let (builds, updates) = (list(&mut from)?, list(&mut from)?);
                Ok(Part { builds, updates, deletes: list(&mut from)? })
            })
            .collect::<io::Result<_>>()?;
        Ok(Work { text, tokens, parts })
    }
}

/// The copy and the token of an operation.
#[inline]
fn split(operation: u32, tokens: usize) -> (u32, usize) {
    let tokens = tokens as u32;
    if operation < tokens {
        return (0, operation as usize);
    }
    (operation / tokens, (operation % tokens) as usize)
}

fn put(bytes: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>) {
    numbers.into_iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

fn number(from: &mut impl Read) -> io::Result<u32> {
    Ok(numbers::<1>(from)?[0])
}

fn numbers<const N: usize>(from: &mut impl Read) -> io::Result<[u32; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes)?;
        *number = u32::from_le_bytes(bytes);
    }
    Ok(numbers)
}

fn list(from: &mut impl Read) -> io::Result<Vec<u32>> {
    let len = number(from)? as usize;
    let mut list = Vec::with_capacity(len);
    for _ in 0..len {
        list.push(number(from)?);
    }
    Ok(list)
}

/// The words of a text, and after each the pair it forms with the one before.
fn tokens(text: &[u8]) -> Vec<Token> {
    let in_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
    let mut tokens = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let mut previous: Option<(usize, usize)> = None;
        let mut at = 0;
        while at < line.len() {
            if !in_word(line[at]) {
                at += 1;
                continue;
            }
            let rest = line[at..].iter().take(LONGEST_WORD);
            let end = at + rest.take_while(|&&byte| in_word(byte)).count();
            // The whole line, or of a long one what is around the word.
            let from = if line.len() <= LONGEST_TEXT { 0 } else { at.saturating_sub(80) };
            let to = line.len().min(from + LONGEST_TEXT);
            let token = |start: usize| Token {
                start: (line_start + start) as u32,
                len: (end - start) as u32,
                line_start: (line_start + from) as u32,
                line_len: (to - from) as u32,
            };
            tokens.push(token(at));
            if let Some((start, _)) = previous.filter(|&(_, last)| at - last <= GAP) {
                tokens.push(token(start));
            }
            previous = Some((at, end));
            at = end;
        }
        line_start += line.len();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn corpus(text: &str) -> Corpus {
        let text = text.as_bytes().to_vec();
        Corpus { bytes: text.len(), text, files: 1, cut: false, unreadable: Vec::new() }
    }

    fn keys(work: &Work, operations: &[u32]) -> Vec<Vec<u8>> {
        let mut buffer = [0; size_of::<KeyBuffer>()];
        operations.iter().map(|&op| work.key(op, &mut buffer).to_vec()).collect()
    }

    #[test]
    fn words_and_pairs_within_a_line_are_tokens() {
        let text = b"let x = fn_1(y)\nz";
        let tokens: Vec<&[u8]> =
            tokens(text).iter().map(|t| &text[t.start as usize..][..t.len as usize]).collect();
        let words: [&[u8]; 8] =
            [b"let", b"x", b"let x", b"fn_1", b"x = fn_1", b"y", b"fn_1(y", b"z"];
        assert_eq!(tokens, words);
    }

    #[test]
    fn long_words_and_long_lines_are_cut() {
        let text = "é".repeat(1000);
        for token in tokens(text.as_bytes()) {
            assert!(token.len as usize <= 2 * LONGEST_WORD + GAP);
            assert!(token.line_len as usize <= LONGEST_TEXT);
            assert!(token.line_start <= token.start);
        }
        let key = keys(&Work::plan(&corpus(&text), 3, 1, 1), &[1, 20, 60]);
        assert!(key.iter().all(|key| key.len() <= size_of::<KeyBuffer>()));
    }

    #[test]
    fn workers_have_ascending_ranges_of_the_keys_and_share_all_operations() {
        let text = include_str!("work.rs");
        let alone = Work::plan(&corpus(text), 2, 1, 7);
        let shared = Work::plan(&corpus(text), 2, 4, 7);
        assert_eq!(shared.parts.len(), 4);
        let ranges: Vec<BTreeSet<Vec<u8>>> = shared
            .parts
            .iter()
            .map(|part| keys(&shared, &part.builds).into_iter().collect())
            .collect();
        for pair in ranges.windows(2) {
            assert!(pair[0].last() < pair[1].first());
        }
        let joined = |list: fn(&Part) -> &Vec<u32>| {
            let mut all: Vec<u32> =
                shared.parts.iter().flat_map(|part| list(part).clone()).collect();
            all.sort_unstable();
            let mut whole = list(&alone.parts[0]).clone();
            whole.sort_unstable();
            assert_eq!(all, whole);
            all.len()
        };
        assert_eq!(joined(|part| &part.builds), joined(|part| &part.updates));
        let distinct: BTreeSet<_> = ranges.iter().flatten().collect();
        assert_eq!(joined(|part| &part.deletes), distinct.len() / 2);
        let largest = shared.parts.iter().map(|part| part.builds.len()).max().unwrap();
        assert!(largest < 2 * alone.parts[0].builds.len() / 4, "the shares are about even");
    }

    #[test]
    fn the_seed_decides_the_orders() {
        let text = include_str!("work.rs");
        let plan = |seed| Work::plan(&corpus(text), 1, 1, seed);
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1).parts[0].updates, plan(2).parts[0].updates);
        assert_eq!(plan(1).parts[0].builds, plan(2).parts[0].builds);
    }

    #[test]
    fn work_is_read_as_it_was_written() {
        let work = Work::plan(&corpus("to be or not to be\n"), 3, 2, 1);
        let mut bytes = Vec::new();
        work.write(&mut bytes).unwrap();
        assert_eq!(Work::read(bytes.as_slice()).unwrap(), work);
        bytes.pop();
        assert!(Work::read(bytes.as_slice()).is_err());
    }
}
