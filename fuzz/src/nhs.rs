//! A slow and obvious search for NHS numbers.

/// Whether `text` shows ten digits with a valid check digit, in a row or as 3-3-4, that no further digit touches.
pub(crate) fn shows(text: &[u8]) -> bool {
    let begins = |start: &usize| *start == 0 || !text[start - 1].is_ascii_digit();
    let gaps = || (1..=3).flat_map(|first| (1..=3).map(move |second| (first, second))).chain([(0, 0)]);
    (0..text.len()).filter(begins).any(|start| gaps().any(|gaps| reads(&text[start..], gaps)))
}

/// Whether `text` begins with a number whose groups are so many separators apart.
fn reads(text: &[u8], (first, second): (usize, usize)) -> bool {
    let length = 10 + first + second;
    let Some(written) = text.get(..length).filter(|_| !text.get(length).is_some_and(u8::is_ascii_digit)) else {
        return false;
    };
    let (groups, separators): (Vec<usize>, Vec<usize>) = (0..length).partition(|position| {
        (0..3).contains(position) || (3 + first..6 + first).contains(position) || *position >= 6 + first + second
    });
    if separators.into_iter().any(|position| written[position].is_ascii_alphanumeric()) {
        return false;
    }
    let digits: Option<Vec<u32>> =
        groups.into_iter().map(|position| char::from(written[position]).to_digit(10)).collect();
    digits.is_some_and(|digits| {
        let sum: u32 = digits[..9].iter().zip((2..=10).rev()).map(|(digit, weight)| digit * weight).sum();
        // 11 is written 0, and 10 cannot be written.
        digits[9] == (11 - sum % 11) % 11
    })
}
