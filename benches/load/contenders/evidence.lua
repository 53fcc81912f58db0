-- What lua.lua leaves out: a keyed pseudonym, and a record that is hashed and chained. The bytes are those of
-- docs/audit-record.md, so that `careplane audit verify` can read them. Written for LuaJIT: the words of SHA-256 are in
-- FFI arrays, and the state after the key's block is computed once.

local bit, ffi = require("bit"), require("ffi")
local band, bor, bswap, bxor, ror, rshift, tobit, tohex =
  bit.band, bit.bor, bit.bswap, bit.bxor, bit.ror, bit.rshift, bit.tobit, bit.tohex

-- As 32-bit words: what is over 2^31 becomes negative.
local function words_of(numbers)
  local words = ffi.new("int32_t[?]", #numbers)
  for at, number in ipairs(numbers) do
    words[at - 1] = tobit(number)
  end
  return words
end

-- FIPS 180-4, 4.2.2 and 5.3.3: the fractions of cube roots and square roots of the first primes.
local ROUND = words_of({
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
})
local START = words_of({
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
})
local BLOCK, STATE = 64, 32
-- Bytes of the longest record. A real filter would grow its buffer.
local CAPACITY = 16384

local schedule = ffi.new("int32_t[64]")
local state, inner, outer = ffi.new("int32_t[8]"), ffi.new("int32_t[8]"), ffi.new("int32_t[8]")
local buffer = ffi.new("uint8_t[?]", CAPACITY + 2 * BLOCK)
local words = ffi.cast("int32_t*", buffer)

local function compress(h, at)
  local w = schedule
  for t = 0, 15 do
    w[t] = bswap(words[at + t])
  end
  for t = 16, 63 do
    local x, y = w[t - 15], w[t - 2]
    local one, two = bxor(ror(x, 7), ror(x, 18), rshift(x, 3)), bxor(ror(y, 17), ror(y, 19), rshift(y, 10))
    w[t] = tobit(w[t - 16] + one + w[t - 7] + two)
  end
  local a, b, c, d, e, f, g, i = h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
  for t = 0, 63 do
    local one = tobit(i + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(g, band(e, bxor(f, g))) + ROUND[t] + w[t])
    local two = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bor(band(a, b), band(c, bor(a, b)))
    i, g, f, e, d, c, b, a = g, f, e, tobit(d + one), c, b, a, tobit(one + two)
  end
  h[0], h[1], h[2], h[3] = tobit(h[0] + a), tobit(h[1] + b), tobit(h[2] + c), tobit(h[3] + d)
  h[4], h[5], h[6], h[7] = tobit(h[4] + e), tobit(h[5] + f), tobit(h[6] + g), tobit(h[7] + i)
end

-- Pads the `length` bytes of the buffer and adds them to `h`, which has taken `before` bytes in.
local function finish(h, length, before)
  local blocks = math.floor((length + 8) / BLOCK) + 1
  ffi.fill(buffer + length, blocks * BLOCK - length)
  buffer[length] = 0x80
  words[blocks * 16 - 1] = bswap((before + length) * 8)
  for block = 0, blocks - 1 do
    compress(h, block * 16)
  end
end

-- The state as the bytes of the buffer, from its beginning.
local function give(h)
  for t = 0, 7 do
    words[t] = bswap(h[t])
  end
end

-- The state after the block of the key, which HMAC begins with.
local function take_key(h, key, pad)
  for at = 0, BLOCK - 1 do
    buffer[at] = bxor(key:byte(at + 1) or 0, pad)
  end
  ffi.copy(h, START, STATE)
  compress(h, 0)
end

-- HMAC-SHA-256 of the text; `bytes` of it as letters of a to p, one for each four bits.
local function mac(text, bytes)
  assert(#text <= CAPACITY, "the text is too long")
  ffi.copy(buffer, text, #text)
  ffi.copy(state, inner, STATE)
  finish(state, #text, BLOCK)
  give(state)
  ffi.copy(state, outer, STATE)
  finish(state, STATE, BLOCK)
  give(state)
  local letters = {}
  for at = 0, bytes - 1 do
    letters[at + 1] = string.char(97 + rshift(buffer[at], 4), 97 + band(buffer[at], 15))
  end
  return table.concat(letters)
end

-- A leaf of RFC 6962: the hash of a zero byte and the text, in hexadecimal.
local function leaf(text)
  assert(#text < CAPACITY, "the record is too long")
  buffer[0] = 0
  ffi.copy(buffer + 1, text, #text)
  ffi.copy(state, START, STATE)
  finish(state, #text + 1, 0)
  return tohex(state[0]) .. tohex(state[1]) .. tohex(state[2]) .. tohex(state[3])
    .. tohex(state[4]) .. tohex(state[5]) .. tohex(state[6]) .. tohex(state[7])
end

local SECRET = "a key of the benchmark, known to all"
take_key(inner, SECRET, 0x36)
take_key(outer, SECRET, 0x5c)
local PREFIX = "p-" .. mac("key\0", 4) .. "-"

-- Each worker has a Lua of its own, and so a chain of its own.
local chain = string.format("%08x-0000-7000-8000-%012x", os.time(), math.random(0, 2 ^ 47))
local last, next_number = string.rep("0", 64), 1

evidence = {}

function evidence.pseudonym(user)
  return PREFIX .. mac("user\0" .. user, 16)
end

-- The next record of the chain. Canonical JSON has its members in the order of their names: `begin` has those before
-- `hash`, `rest` those after `outcome`.
function evidence.record(begin, status, rest)
  local before = table.concat({
    '{"chain":{"id":"', chain, '","prev":"', last, '","seq":', next_number, "},", begin,
  })
  local after = table.concat({',"kind":"request","outcome":{"status":', status, "},", rest, "}"})
  last, next_number = leaf(before .. after), next_number + 1
  return table.concat({before, ',"hash":"', last, '"', after})
end
