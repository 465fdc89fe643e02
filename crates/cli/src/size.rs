//! Sizes as people write them: `72`, `4KiB`, `1.5 MiB`, `1TiB`.

/// The units, with the bytes of each. A bare letter is binary, as in most tools;
/// `kB` and its like are decimal, as the standard has it.
const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("kb", 1_000),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("mb", 1_000_000),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("gb", 1_000_000_000),
    ("t", 1 << 40),
    ("tib", 1 << 40),
    ("tb", 1_000_000_000_000),
];

/// Parses a size in bytes: a number, and a unit in any case.
///
/// A fraction is taken if the result is a whole number of bytes. The error is a
/// sentence that names the text and what would be right.
pub(crate) fn parse_size(text: &str) -> Result<usize, String> {
    let wrong = |what: &str| {
        format!("`{text}` {what}; write bytes, or a number with KiB, MiB, GiB or TiB, as in 4KiB")
    };
    let trimmed = text.trim();
    let digits = trimmed
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'))
        .unwrap_or(trimmed.len());
    let number = trimmed[..digits].replace('_', "");
    let unit = trimmed[digits..].trim().to_ascii_lowercase();
    let &(_, scale) =
        UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| wrong("is not a size"))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.ends_with('.')) {
        return Err(wrong("is not a size"));
    }
    let whole: u64 = whole.parse().map_err(|_| wrong("is too large"))?;
    let bytes = whole.checked_mul(scale).ok_or_else(|| wrong("is too large"))?;
    let bytes = bytes.checked_add(fraction_of(fraction, scale).map_err(wrong)?);
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| wrong("is too large"))
}

/// The bytes that the digits after the point stand for, which must be whole.
fn fraction_of(digits: &str, scale: u64) -> Result<u64, &'static str> {
    if digits.is_empty() {
        return Ok(0);
    }
    if digits.len() > 12 {
        return Err("has too many digits after the point");
    }
    let parts = 10u128.pow(digits.len() as u32);
    let value: u128 = digits.parse().map_err(|_| "is not a size")?;
    let bytes = value * u128::from(scale);
    if !bytes.is_multiple_of(parts) {
        return Err("is not a whole number of bytes");
    }
    Ok((bytes / parts) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_with_units() {
        let sizes = [
            ("0", 0),
            ("8", 8),
            ("96", 96),
            ("1_000", 1000),
            ("72B", 72),
            ("1k", 1024),
            ("4KiB", 4096),
            ("4 kib", 4096),
            ("1.5KiB", 1536),
            ("2kB", 2000),
            ("1MiB", 1 << 20),
            ("3m", 3 << 20),
            ("1GiB", 1 << 30),
            ("1TiB", 1 << 40),
            ("0.5TiB", 1 << 39),
        ];
        for (text, bytes) in sizes {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_named() {
        for text in ["", "KiB", "-1", "1.", ".5", "1.2.3", "0.3", "4XiB", "4 Ki B", "99999999TiB"] {
            let message = parse_size(text).unwrap_err();
            assert!(message.starts_with(&format!("`{text}`")), "{message}");
            assert!(message.contains("as in 4KiB"), "{message}");
        }
    }

    #[test]
    fn a_number_above_64_bits_is_too_large() {
        let message = parse_size("18446744073709551616").unwrap_err();
        assert!(message.contains("is too large"), "{message}");
    }
}
