//! The compression function in WebAssembly with SIMD.
//!
//! The words of the message schedule are computed four at a time. Sixteen rounds stand one after another, so the eight
//! variables change their roles and not their places.

use std::arch::wasm32::{
    i8x16_shuffle, i32x4_add, i32x4_shuffle, u32x4, u32x4_extract_lane, u32x4_shl, u32x4_shr, u64x2, u64x2_shr, v128,
    v128_or, v128_xor,
};

use crate::{Block, State};

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4 §4.2.2).
const K: [[v128; 4]; 4] = [
    [
        u32x4(0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5),
        u32x4(0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5),
        u32x4(0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3),
        u32x4(0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174),
    ],
    [
        u32x4(0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc),
        u32x4(0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da),
        u32x4(0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7),
        u32x4(0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967),
    ],
    [
        u32x4(0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13),
        u32x4(0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85),
        u32x4(0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3),
        u32x4(0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070),
    ],
    [
        u32x4(0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5),
        u32x4(0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3),
        u32x4(0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208),
        u32x4(0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2),
    ],
];

/// One round (FIPS 180-4 §6.2.2, step 3). `$bc` is `b ^ c`, and `a ^ b` afterwards, which the next round takes for its
/// own.
macro_rules! round {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $bc:ident, $word:expr) => {
        let choice = $g ^ ($e & ($f ^ $g));
        let sum = $e.rotate_right(6) ^ $e.rotate_right(11) ^ $e.rotate_right(25);
        $h = $h.wrapping_add($word).wrapping_add(choice).wrapping_add(sum);
        $d = $d.wrapping_add($h);
        let ab = $a ^ $b;
        let majority = $b ^ (ab & $bc);
        let sum = $a.rotate_right(2) ^ $a.rotate_right(13) ^ $a.rotate_right(22);
        $h = $h.wrapping_add(majority).wrapping_add(sum);
        $bc = ab;
    };
}

/// Four rounds, after which `e` to `h` stand for `a` to `d`, and the other way round.
macro_rules! four_rounds {
    ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident, $bc:ident, $words:expr) => {
        let words = $words;
        round!($a $b $c $d $e $f $g $h, $bc, u32x4_extract_lane::<0>(words));
        round!($h $a $b $c $d $e $f $g, $bc, u32x4_extract_lane::<1>(words));
        round!($g $h $a $b $c $d $e $f, $bc, u32x4_extract_lane::<2>(words));
        round!($f $g $h $a $b $c $d $e, $bc, u32x4_extract_lane::<3>(words));
    };
}

/// Takes blocks in.
#[inline(never)]
pub(crate) fn compress(state: &mut State, blocks: &[Block]) {
    for block in blocks {
        let mut words = load(block);
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
        let mut bc = b ^ c;
        let [rounds @ .., last] = &K;
        for [k0, k1, k2, k3] in rounds {
            let [mut w0, mut w1, mut w2, mut w3] = words;
            four_rounds!(a b c d e f g h, bc, i32x4_add(w0, *k0));
            w0 = schedule(w0, w1, w2, w3);
            four_rounds!(e f g h a b c d, bc, i32x4_add(w1, *k1));
            w1 = schedule(w1, w2, w3, w0);
            four_rounds!(a b c d e f g h, bc, i32x4_add(w2, *k2));
            w2 = schedule(w2, w3, w0, w1);
            four_rounds!(e f g h a b c d, bc, i32x4_add(w3, *k3));
            w3 = schedule(w3, w0, w1, w2);
            words = [w0, w1, w2, w3];
        }
        let ([w0, w1, w2, w3], [k0, k1, k2, k3]) = (words, last);
        four_rounds!(a b c d e f g h, bc, i32x4_add(w0, *k0));
        four_rounds!(e f g h a b c d, bc, i32x4_add(w1, *k1));
        four_rounds!(a b c d e f g h, bc, i32x4_add(w2, *k2));
        four_rounds!(e f g h a b c d, bc, i32x4_add(w3, *k3));
        let _ = bc;
        state.iter_mut().zip([a, b, c, d, e, f, g, h]).for_each(|(word, add)| *word = word.wrapping_add(add));
    }
}

/// The sixteen words of a block, which are big-endian.
fn load(block: &Block) -> [v128; 4] {
    let mut words = [u64x2(0, 0); 4];
    let (halves, _) = block.as_chunks::<8>();
    for (word, pair) in words.iter_mut().zip(halves.as_chunks::<2>().0) {
        let [low, high] = pair.map(u64::from_le_bytes);
        let bytes = u64x2(low, high);
        *word = i8x16_shuffle::<3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12>(bytes, bytes);
    }
    words
}

/// The four words that follow sixteen (FIPS 180-4 §6.2.2, step 1).
fn schedule(w0: v128, w1: v128, w2: v128, w3: v128) -> v128 {
    let zero = u64x2(0, 0);
    let second = i32x4_shuffle::<1, 2, 3, 4>(w0, w1);
    let tenth = i32x4_shuffle::<1, 2, 3, 4>(w2, w3);
    let sum = i32x4_add(i32x4_add(w0, tenth), small_sigma_0(second));
    // Of the last two of sixteen come the first two, and of these the other two.
    let low = i32x4_add(sum, i32x4_shuffle::<0, 2, 4, 5>(small_sigma_1(i32x4_shuffle::<2, 2, 3, 3>(w3, w3)), zero));
    i32x4_add(low, i32x4_shuffle::<4, 5, 0, 2>(small_sigma_1(i32x4_shuffle::<0, 0, 1, 1>(low, low)), zero))
}

fn small_sigma_0(words: v128) -> v128 {
    v128_xor(v128_xor(rotate_right::<7>(words), rotate_right::<18>(words)), u32x4_shr(words, 3))
}

/// Of two words, each of which is there twice: then the half of a shift is a rotation. The results are the first and
/// the third.
fn small_sigma_1(words: v128) -> v128 {
    v128_xor(v128_xor(u64x2_shr(words, 17), u64x2_shr(words, 19)), u32x4_shr(words, 10))
}

fn rotate_right<const BY: u32>(words: v128) -> v128 {
    v128_or(u32x4_shr(words, BY), u32x4_shl(words, 32_u32.wrapping_sub(BY)))
}
