//! A slow and obvious search for NHS numbers.

/// Whether `text` shows ten digits with a valid check digit, in a row or as 3-3-4, that no further digit touches.
pub(crate) fn shows(text: &[u8]) -> bool {
    let begins = |start: &usize| *start == 0 || !text[start - 1].is_ascii_digit();
    (0..text.len()).filter(begins).any(|start| reads(&text[start..]).is_some_and(|digits| is_valid(&digits)))
}

/// The ten digits that `text` begins with.
fn reads(text: &[u8]) -> Option<Vec<u32>> {
    let row = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let written: Vec<u8> = match row {
        10 => text[..10].to_vec(),
        3 => {
            let (first, rest) = text.split_at(3);
            let (second, rest) = group(behind_separator(rest)?, 3)?;
            let (third, rest) = group(behind_separator(rest)?, 4)?;
            if rest.first().is_some_and(u8::is_ascii_digit) {
                return None;
            }
            [first, second, third].concat()
        }
        _ => return None,
    };
    Some(written.into_iter().map(|digit| u32::from(digit - b'0')).collect())
}

fn group(text: &[u8], length: usize) -> Option<(&[u8], &[u8])> {
    let (group, rest) = text.split_at_checked(length)?;
    group.iter().all(u8::is_ascii_digit).then_some((group, rest))
}

/// What follows a separator: at most five characters, of at most 20 bytes, none of which is a letter or a digit.
fn behind_separator(text: &[u8]) -> Option<&[u8]> {
    let (separator, rest) = text.split_at(text.iter().take_while(|byte| !byte.is_ascii_alphanumeric()).count());
    let characters = separator.iter().filter(|byte| !(0x80..0xc0).contains(*byte)).count();
    ((1..=20).contains(&separator.len()) && characters <= 5).then_some(rest)
}

fn is_valid(digits: &[u32]) -> bool {
    let sum: u32 = digits[..9].iter().zip((2..=10).rev()).map(|(digit, weight)| digit * weight).sum();
    // 11 is written 0, and 10 cannot be written.
    digits[9] == (11 - sum % 11) % 11
}
